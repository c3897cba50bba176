//! `mutants`: breaks the code in one place after another and sees to it that the simulation notices.
//!
//! Each mutant is a copy of the workspace with one text replaced, built and run over seeds 1 to 100; those of the pace, over brief
//! fleets. One that survives is a hole in the simulation.

#[path = "../mutants.rs"]
mod mutants;

use mutants::{MUTANTS, Mutant, PACE};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// A mutant must be found out within so many seeds.
const SEEDS: &str = "100";

/// And one of the pace within so many.
const FLEET_SEEDS: &str = "2";

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    match run(&filter) {
        Ok(survivors) if survivors.is_empty() => ExitCode::SUCCESS,
        Ok(survivors) => {
            eprintln!("survived, so that the simulation does not notice what they break: {}", survivors.join(", "));
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("mutants: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(filter: &str) -> Result<Vec<&'static str>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("target/mutants");
    let tree = folder.join("tree");
    copy(&root, &tree)?;
    println!("{:<36} {:>6}  first complaint", "mutant", "seed");
    let mut survivors = Vec::new();
    let worlds = MUTANTS.iter().map(|mutant| (mutant, ["--seeds", SEEDS].as_slice()));
    let fleets = PACE.iter().map(|mutant| (mutant, ["--fleet", "--seeds", FLEET_SEEDS].as_slice()));
    for (mutant, arguments) in worlds.chain(fleets).filter(|(mutant, _)| mutant.name.contains(filter)) {
        let begun = Instant::now();
        let verdict = attempt(&tree, &folder, mutant, arguments)?;
        let seconds = begun.elapsed().as_secs();
        match verdict {
            Some((seed, complaint)) => println!("{:<36} {seed:>6}  {complaint} ({seconds} s)", mutant.name),
            None => {
                survivors.push(mutant.name);
                println!(
                    "{:<36} {:>6}  SURVIVED {}: {} ({seconds} s)",
                    mutant.name,
                    "-",
                    arguments.join(" "),
                    mutant.breaks
                );
            }
        }
    }
    Ok(survivors)
}

/// Copies what the build needs. Files that have not changed keep their times, so that little is built anew.
fn copy(root: &Path, tree: &Path) -> Result<(), String> {
    let list = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            "Cargo.toml",
            "Cargo.lock",
            "rust-toolchain.toml",
            "crates",
            "functions",
            "tests",
            "benches",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git: {error}"))?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    remove_others(tree, &list.lines().map(|name| tree.join(name)).collect())?;
    for name in list.lines() {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        write(&to, &content).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

/// Removes what an earlier run has left and the list no longer holds.
fn remove_others(folder: &Path, listed: &BTreeSet<PathBuf>) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            remove_others(&path, listed)?;
        } else if !listed.contains(&path) {
            fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

/// The seed that killed the mutant and what was wrong; `None` when it lives.
fn attempt(
    tree: &Path,
    folder: &Path,
    mutant: &Mutant,
    arguments: &[&str],
) -> Result<Option<(String, String)>, String> {
    let file: PathBuf = tree.join(mutant.file);
    let original = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    if original.matches(mutant.from).count() != 1 {
        return Err(format!("{}: {} does not hold its text just once", mutant.name, mutant.file));
    }
    let explain = |error: io::Error| format!("{}: {error}", file.display());
    fs::write(&file, original.replace(mutant.from, mutant.to)).map_err(explain)?;
    let verdict = build_and_run(tree, folder, mutant, arguments);
    fs::write(&file, original).map_err(explain)?;
    verdict
}

fn build_and_run(
    tree: &Path,
    folder: &Path,
    mutant: &Mutant,
    arguments: &[&str],
) -> Result<Option<(String, String)>, String> {
    let target = folder.join("build");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "sim", "-p", "tidelock-sim", "--bin", "tidelock-sim", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cap-lints allow")
        // Most of a crate is the same as in the mutant before.
        .env("CARGO_INCREMENTAL", "1")
        .current_dir(tree)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.status.success() {
        return Err(format!("{} does not compile: {}", mutant.name, String::from_utf8_lossy(&built.stderr)));
    }
    let ran = Command::new(target.join("sim/tidelock-sim"))
        .args(arguments)
        .arg("--terse")
        .output()
        .map_err(|error| format!("tidelock-sim: {error}"))?;
    if ran.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let line = said.lines().last().unwrap_or_default();
    let (seed, complaint) =
        line.strip_prefix("seed ").and_then(|line| line.split_once(": ")).unwrap_or(("?", "it panicked"));
    Ok(Some((seed.to_owned(), complaint.chars().take(110).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_its_place_in_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut names = BTreeSet::new();
        for mutant in MUTANTS.iter().chain(PACE) {
            let code = fs::read_to_string(root.join(mutant.file)).expect(mutant.file);
            assert_eq!(code.matches(mutant.from).count(), 1, "{}: {}", mutant.name, mutant.file);
            assert!(names.insert(mutant.name) && mutant.from != mutant.to, "{}", mutant.name);
        }
        assert!(names.len() >= 15, "{}", names.len());
    }
}

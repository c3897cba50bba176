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
use std::process::{Child, Command, ExitCode, Stdio};
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
    let chosen = worlds.chain(fleets).filter(|(mutant, _)| mutant.name.contains(filter));
    // One is built while the one before it runs.
    let mut before = None::<Running>;
    for (number, (mutant, arguments)) in chosen.enumerate() {
        let built = build(&tree, &folder, mutant, number % 2);
        if let Some(running) = before.take() {
            survivors.extend(running.end()?);
        }
        before = Some(Running::start(mutant, arguments, &built?)?);
    }
    survivors.extend(before.map(Running::end).transpose()?.flatten());
    Ok(survivors)
}

/// A mutant that is being simulated.
struct Running {
    mutant: &'static Mutant,
    arguments: &'static [&'static str],
    process: Child,
    began: Instant,
}

impl Running {
    fn start(mutant: &'static Mutant, arguments: &'static [&'static str], program: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(arguments).arg("--terse").stdout(Stdio::piped()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| format!("tidelock-sim: {error}"))?;
        Ok(Self { mutant, arguments, process, began: Instant::now() })
    }

    /// Says what has become of it, and gives its name if it lives.
    fn end(self) -> Result<Option<&'static str>, String> {
        let Self { mutant: Mutant { name, breaks, .. }, arguments, process, began } = self;
        let ran = process.wait_with_output().map_err(|error| format!("tidelock-sim: {error}"))?;
        let seconds = began.elapsed().as_secs();
        if ran.status.success() {
            println!("{name:<36} {:>6}  SURVIVED {}: {breaks} ({seconds} s)", "-", arguments.join(" "));
            return Ok(Some(name));
        }
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let line = said.lines().last().unwrap_or_default();
        let (seed, complaint) =
            line.strip_prefix("seed ").and_then(|line| line.split_once(": ")).unwrap_or(("?", "it panicked"));
        let complaint: String = complaint.chars().take(110).collect();
        println!("{name:<36} {seed:>6}  {complaint} ({seconds} s)");
        Ok(None)
    }
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

/// Builds a mutant and leaves the tree as it was. Its program has one of two names by turns, for the other one may be running.
fn build(tree: &Path, folder: &Path, mutant: &Mutant, turn: usize) -> Result<PathBuf, String> {
    let file: PathBuf = tree.join(mutant.file);
    let explain = |error: io::Error| format!("{}: {error}", file.display());
    let original = fs::read_to_string(&file).map_err(explain)?;
    if original.matches(mutant.from).count() != 1 {
        return Err(format!("{}: {} does not hold its text just once", mutant.name, mutant.file));
    }
    fs::write(&file, original.replace(mutant.from, mutant.to)).map_err(explain)?;
    let target = folder.join("build");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "sim", "-p", "tidelock-sim", "--bin", "tidelock-sim", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cap-lints allow")
        // Most of a crate is the same as in the mutant before.
        .env("CARGO_INCREMENTAL", "1")
        .current_dir(tree)
        .output();
    fs::write(&file, original).map_err(explain)?;
    let built = built.map_err(|error| format!("cargo: {error}"))?;
    if !built.status.success() {
        return Err(format!("{} does not compile: {}", mutant.name, String::from_utf8_lossy(&built.stderr)));
    }
    let program = folder.join(format!("mutant-{turn}"));
    fs::copy(target.join("sim/tidelock-sim"), &program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
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

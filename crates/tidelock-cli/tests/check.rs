//! `tidelock check` on broken files: what it prints is beside each of them, in `check/`. `TIDELOCK_UPDATE_DOCS=1` writes it anew.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::bootstrap::TestFolder;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check")
}

fn tidelock(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    command.args(arguments).current_dir(folder).env_clear();
    command
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    text(&tidelock(&folder(), arguments).output().unwrap())
}

/// The broken files, by name.
fn files() -> Vec<String> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".out")).collect();
    names.sort();
    assert!(names.len() >= 20, "{names:?}");
    names
}

#[test]
fn each_broken_file_is_told_of() {
    for name in files() {
        let file = fs::read_to_string(folder().join(&name)).unwrap();
        let first = file.lines().next().unwrap_or_default();
        let arguments = first.strip_prefix("# arguments: ").unwrap_or_default().split_whitespace();
        let (code, printed, errors) = run(&["check", &name].into_iter().chain(arguments).collect::<Vec<_>>());
        assert_eq!(errors, "", "{name}");
        assert_eq!(code, Some(i32::from(name != "only-suspicious.yaml")), "{name}: {printed}");
        assert!(!printed.contains("secret@") && !printed.contains('\x1b'), "{printed}");
        let path = folder().join(format!("{name}.out"));
        if std::env::var_os("TIDELOCK_UPDATE_DOCS").is_some_and(|value| value == "1") {
            fs::write(&path, &printed).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(printed == expected, "{name}: TIDELOCK_UPDATE_DOCS=1 writes what is printed now:\n{printed}");
    }
}

#[test]
fn files_and_targets_are_found_as_functions_find_them() {
    let (code, printed, errors) = run(&["check"]);
    assert_eq!((code, printed.as_str()), (Some(2), ""));
    assert!(errors.starts_with("error: `pipeline.yaml` cannot be read: "), "{errors}");
    let place = TestFolder::new("check");
    fs::write(place.path().join("pipeline.yaml"), "version: 1\nroutes: [{from: a, to: A}]\n").unwrap();
    let good = text(&tidelock(place.path(), &["check"]).output().unwrap());
    assert_eq!(good, (Some(0), "1 file: nothing is wrong\n".to_owned(), String::new()));
    let mut check = tidelock(place.path(), &["check"]);
    let (code, printed, _) = text(&check.env("TIDELOCK_TARGET", "opensearch+http://localhost").output().unwrap());
    assert_eq!(code, Some(1));
    assert!(printed.starts_with("pipeline.yaml:2:24: error: routes[0].to: `A` cannot be an index"), "{printed}");
    let mut check = tidelock(place.path(), &["check"]);
    let (code, printed, _) = text(&check.env("TIDELOCK_PIPELINE", "version: 1\nroutes:").output().unwrap());
    assert!(code == Some(1) && printed.starts_with("TIDELOCK_PIPELINE:2:7: error: routes: "), "{printed}");
    let (code, _, errors) = run(&["check", "--target", "http://admin:secret@host"]);
    assert!(
        code == Some(2) && errors.starts_with("error: --target: not one of") && !errors.contains("secret"),
        "{errors}"
    );
    let mut check =
        tidelock(place.path(), &["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(b"version: 1\nroutes: [\xff]").unwrap();
    let (code, printed, _) = text(&check.wait_with_output().unwrap());
    assert!(code == Some(1) && printed.starts_with("<stdin>:2:10: error: this is no text"), "{printed}");
}

#[test]
fn json_has_every_problem_of_every_file() {
    let (code, printed, _) = run(&["check", "--json", "unreachable.yaml", "only-suspicious.yaml"]);
    assert_eq!(code, Some(1));
    let all: Vec<Value> = serde_json::from_str(&printed).unwrap();
    assert_eq!(all[0]["file"], "unreachable.yaml");
    assert_eq!(
        (&all[0]["line"], &all[0]["column"], &all[0]["path"]),
        (&5.into(), &11.into(), &"routes[1].from".into())
    );
    assert_eq!(all.last().unwrap()["severity"], "warning");
    assert_eq!(run(&["check", "--json", "only-suspicious.yaml"]).0, Some(0));
    assert_eq!(run(&["check", "--json", "--strict", "only-suspicious.yaml"]).0, Some(1));
}

#[test]
fn the_schema_is_printed() {
    let (code, printed, _) = run(&["schema"]);
    assert_eq!(code, Some(0));
    let schema: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["route"]["additionalProperties"], false);
}

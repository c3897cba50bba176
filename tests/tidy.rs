//! The repository's own order: what no file may mention, how large files grow, and that documents say what the code does.
//!
//! `TIDELOCK_UPDATE_DOCS=1 cargo test -p tidelock-tests tidy` rewrites the generated parts of `docs/settings.md`, `docs/outcomes.md`
//! and `docs/pipelines.md`, and `docs/pipeline.schema.json`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidelock_core::cause::{Cause, Disposition};
use tidelock_core::pipeline::{Pipeline, reference, schema};
use tidelock_core::settings::ALL;

const MAX_LINES: usize = 600;

/// Names that say nothing about what is inside.
const NOT_MODULES: [&str; 3] = ["utils", "common", "types"];

/// Where one machine keeps its things. Put together here, so that this file does not mention them itself.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk"), concat!("/ro", "ot")];

const ELSEWHERE: &str = concat!("../sha", "red");

/// A package is named, not the host it comes from: whoever builds has their own mirrors.
const REGISTRY_HOSTS: [&str; 13] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("://crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("registry.yarnpkg", ".com"),
    concat!("proxy.golang", ".org"),
    concat!("sum.golang", ".org"),
    concat!("repo.maven.apache", ".org"),
    concat!("repo1.maven", ".org"),
    concat!("deb.debian", ".org"),
    concat!("docker", ".io"),
];

/// Files written by package managers, and the only sources they may name.
const LOCK_FILES: [(&str, &str, &str); 2] = [
    ("Cargo.lock", "source = \"", "registry+https://github.com/rust-lang/crates.io-index"),
    ("package-lock.json", "\"resolved\": \"", concat!("https://registry.npmjs", ".org/")),
];

/// Variables of scripts and tests: a function never sees them.
const NOT_SETTINGS: [&str; 4] =
    ["TIDELOCK_TEST_", "TIDELOCK_CACHE", "TIDELOCK_REQUIRE_SERVICES", "TIDELOCK_UPDATE_DOCS"];

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every file of the repository, also one that is about to be added; paths relative to its root.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(repository());
    let output = git.output().expect("git starts");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let names: BTreeSet<&str> = names.split_terminator('\0').filter(|name| repository().join(name).is_file()).collect();
    assert!(names.contains("Cargo.toml"), "git lists no Cargo.toml");
    names.into_iter().map(str::to_owned).collect()
}

fn with_extension<'a>(files: &'a [String], extension: &str) -> impl Iterator<Item = &'a String> {
    files.iter().filter(move |path| path.ends_with(extension))
}

/// `README.md` and what lies directly in `docs/`: the user's manual.
fn manual() -> String {
    let files = files();
    let pages = with_extension(&files, ".md")
        .filter(|path| *path == "README.md" || path.strip_prefix("docs/").is_some_and(|name| !name.contains('/')));
    pages.map(read).collect::<Vec<_>>().join("\n")
}

/// Whether a path is mentioned as such, not as the end or the beginning of something longer.
fn mentions_path(text: &str, path: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-.}".contains(c);
    text.match_indices(path).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + path.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    })
}

/// What of that which no file may mention this one does.
fn forbidden(name: &str, text: &str) -> Vec<String> {
    let mut found: Vec<String> =
        MACHINE_PATHS.iter().filter(|path| mentions_path(text, path)).map(|path| format!("{path}/")).collect();
    found.extend(text.contains(ELSEWHERE).then(|| ELSEWHERE.to_owned()));
    let file = name.rsplit('/').next().unwrap_or(name);
    match LOCK_FILES.iter().find(|(lock, ..)| *lock == file) {
        None => found.extend(REGISTRY_HOSTS.iter().filter(|host| text.contains(*host)).map(ToString::to_string)),
        Some((_, key, source)) => {
            let sources = text.lines().filter_map(|line| line.trim().strip_prefix(key));
            found.extend(sources.filter(|given| !given.starts_with(source)).map(str::to_owned));
        }
    }
    found
}

/// The names under which a Rust file is, or holds, modules of the forbidden kind.
fn vague_modules(path: &str, text: &str) -> Vec<&'static str> {
    let is = |name: &&str| {
        let module = Path::new(path).iter().any(|part| part == *name) || path.ends_with(&format!("/{name}.rs"));
        module || text.lines().any(|line| line.trim_end_matches([';', '{', ' ']).ends_with(&format!("mod {name}")))
    };
    NOT_MODULES.into_iter().filter(is).collect()
}

/// The words of a text that begin like settings.
fn setting_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.len() > "TIDELOCK_".len() && word.starts_with("TIDELOCK_")).collect()
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*").replace('<', "\\<")
}

fn settings_table() -> String {
    let row = |name: &str, meaning: &str| format!("| `{name}` | {} |\n", cell(meaning));
    let rows: String = ALL.iter().map(|setting| row(setting.name, setting.meaning)).collect();
    format!("| setting | meaning |\n| --- | --- |\n{rows}")
}

fn outcomes_table(disposition: Disposition) -> String {
    let rows: String = Cause::ALL
        .iter()
        .filter(|cause| cause.disposition() == disposition)
        .map(|cause| format!("| `{}` | {} | {} |\n", cause.code(), cell(cause.meaning()), cell(cause.action())))
        .collect();
    format!("| code | what happened | what to do |\n| --- | --- | --- |\n{rows}")
}

/// A page with the text between its lines `<!-- NAME:begin -->` and `<!-- NAME:end -->` replaced.
fn replaced(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->\n"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{text}{end}{after}"))
}

/// Compares the generated parts of a page with what the code says, or rewrites them.
fn check_generated(path: &str, parts: &[(&str, String)]) {
    let mut right = read(path);
    for (name, text) in parts {
        right = replaced(&right, name, text)
            .unwrap_or_else(|| panic!("{path} lacks the lines <!-- {name}:begin --> and <!-- {name}:end -->"));
    }
    check_whole(path, &right);
}

/// Compares a file with what the code says, or rewrites it.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, no setting of a function")]
fn check_whole(path: &str, right: &str) {
    if std::env::var_os("TIDELOCK_UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(repository().join(path), right).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    assert!(
        read(path) == right,
        "{path} does not say what the code says. TIDELOCK_UPDATE_DOCS=1 cargo test -p tidelock-tests tidy rewrites it. \
         It should be:\n\n{right}"
    );
}

#[test]
fn no_file_mentions_a_machine_or_a_mirror() {
    let found = files().into_iter().flat_map(|path| {
        let found = forbidden(&path, &read(&path));
        found.into_iter().map(move |what| format!("{path} mentions {what}"))
    });
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));

    let (path, host) = (MACHINE_PATHS[0], REGISTRY_HOSTS[3]);
    assert_eq!(forbidden("a.rs", &format!("see {path}/x, https://{host}/y, {ELSEWHERE}/z")).len(), 3);
    assert_eq!(forbidden("a.sh", &format!("cd {path}")).len(), 1);
    let longer = format!("net{path}/a ${{x}}{path}/a {path}er/a {path}-load");
    assert_eq!(forbidden("a.rs", &longer), Vec::<String>::new());
    let locked = |host: &str| format!("  \"resolved\": \"https://{host}/a/-/a-1.0.0.tgz\",");
    assert_eq!(forbidden("x/package-lock.json", &locked(REGISTRY_HOSTS[5])), Vec::<String>::new());
    assert_eq!(forbidden("x/package-lock.json", &locked("mirror.example.com")).len(), 1);
    assert_eq!(forbidden("Cargo.lock", "source = \"git+https://github.com/a/b\"\n").len(), 1);
}

#[test]
fn source_files_stay_readable() {
    let files = files();
    let mut problems = Vec::new();
    for path in with_extension(&files, ".rs") {
        let text = read(path);
        let lines = text.lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{path} has {lines} lines, {MAX_LINES} are allowed: look for a seam"));
        }
        problems.extend(vague_modules(path, &text).iter().map(|name| format!("{path}: `{name}` says nothing")));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));

    assert_eq!(vague_modules("src/utils/hex.rs", ""), ["utils"]);
    assert_eq!(vague_modules("src/types.rs", ""), ["types"]);
    assert_eq!(vague_modules("src/lib.rs", "pub(crate) mod common {\n"), ["common"]);
    assert_eq!(vague_modules("src/event_types.rs", "mod event_types; // types"), Vec::<&str>::new());
}

#[test]
fn settings_are_documented_as_they_are() {
    check_generated("docs/settings.md", &[("settings", settings_table())]);
    let manual = manual();
    let documented = setting_names(&manual);
    for setting in ALL {
        assert!(documented.contains(setting.name), "{} is not in README.md or docs/", setting.name);
    }
    let known = |name: &&str| {
        ALL.iter().any(|setting| setting.name == *name) || NOT_SETTINGS.iter().any(|prefix| name.starts_with(prefix))
    };
    let invented: Vec<&str> = documented.into_iter().filter(|name| !known(name)).collect();
    assert!(invented.is_empty(), "README.md and docs/ speak of {invented:?}, which do not exist");
}

#[test]
fn the_pipelines_file_is_documented_as_it_is() {
    check_generated("docs/pipelines.md", &[("reference", reference())]);
    check_whole("docs/pipeline.schema.json", &schema());
    for page in ["README.md", "docs/pipelines.md"] {
        let text = read(page);
        let examples = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let examples: Vec<&str> = examples.filter(|example| example.contains("routes:")).collect();
        assert!(!examples.is_empty(), "{page} has no pipeline");
        for example in examples {
            let checked = Pipeline::check(example);
            assert_eq!(checked.problems(), [], "{page}: {example}");
        }
    }
}

#[test]
fn causes_are_documented_as_they_are() {
    check_generated("docs/dead-letters.md", &[("parked", outcomes_table(Disposition::Park))]);
    check_generated("docs/outcomes.md", &[("retried", outcomes_table(Disposition::Retry))]);
    let manual = manual();
    for cause in Cause::ALL {
        assert!(manual.contains(&format!("`{cause}`")), "{cause} is not in docs/");
    }
}

#[test]
fn generated_parts_are_replaced_and_nothing_else() {
    let page = "# Page\n<!-- a:begin -->\nold\n<!-- a:end -->\nrest\n";
    let right = "# Page\n<!-- a:begin -->\nnew\n<!-- a:end -->\nrest\n";
    assert_eq!(replaced(page, "a", "new\n").as_deref(), Some(right));
    assert_eq!(replaced(page, "b", "new\n"), None);
    assert_eq!(cell("a|b*<c"), "a\\|b\\*\\<c");
}

#[test]
fn every_sample_event_is_described() {
    let files = files();
    let page = read("events/README.md");
    let (dynamodb, others) = page.split_once("## DocumentDB").unwrap();
    let (documentdb, _) = others.split_once("## Change streams enabled").unwrap_or((others, ""));
    for (source, page, least) in [("dynamodb", dynamodb, 20), ("documentdb", documentdb, 14)] {
        let folder = format!("events/{source}/");
        let events: BTreeSet<&str> = files.iter().filter_map(|path| path.strip_prefix(&folder)).collect();
        assert!(events.len() > least, "{events:?}");
        // The first cell may name several.
        let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let rows = cells.flat_map(|cell| cell.split('`')).filter(|name| name.ends_with(".json"));
        assert_eq!(rows.collect::<BTreeSet<_>>(), events, "events/README.md has a row for each file of {folder}");
        for event in events {
            let text = read(format!("{folder}{event}"));
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{event}: {error}"));
        }
    }
}

#[test]
fn every_sample_event_of_an_api_is_described() {
    let page = read("events/README.md");
    for folder in ["enable-change-streams", "demo"] {
        let prefix = format!("events/{folder}/");
        let files = files();
        let events: BTreeSet<&str> = files.iter().filter_map(|path| path.strip_prefix(&prefix)).collect();
        let (_, table) = page.split_once(&format!("| file in `{folder}/` |")).expect("a table");
        let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `")?.split_once('`'));
        assert_eq!(rows.map(|(name, _)| name).collect::<BTreeSet<_>>(), events, "{folder}");
        for event in events {
            let text = read(format!("{prefix}{event}"));
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{event}: {error}"));
        }
    }
}

#[test]
fn every_template_is_described() {
    let files = files();
    let page = read("infra/README.md");
    for template in files.iter().filter_map(|path| path.strip_prefix("infra/")).filter(|name| name.ends_with(".yaml")) {
        assert!(page.contains(&format!("| `{template}` |")), "{template} has no row in infra/README.md");
    }
}

/// cargo-lambda looks for a file of another name by itself, and says nothing when it finds none.
#[test]
fn cargo_lambda_is_told_where_its_settings_are() {
    assert!(read("cargo-lambda.toml").contains("[build]"));
    for file in ["Makefile", "scripts/environment.sh"] {
        let text = read(file);
        let export = text.lines().find(|line| line.starts_with("export CARGO_LAMBDA_GLOBAL"));
        assert!(
            export.is_some_and(|line| line.ends_with("/cargo-lambda.toml")),
            "{file} does not export CARGO_LAMBDA_GLOBAL"
        );
    }
    let files = files();
    let mut callers = 0;
    for script in with_extension(&files, ".sh") {
        let text = read(script);
        if text.lines().any(|line| line.trim_start().starts_with("cargo lambda")) {
            callers += 1;
            assert!(text.contains("/environment.sh\""), "{script} calls cargo lambda without scripts/environment.sh");
        }
    }
    assert!(callers > 0, "no script calls cargo lambda");
}

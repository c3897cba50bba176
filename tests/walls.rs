//! Dependency walls: which package may know which, and what a function may never link. Cargo itself is asked.

use crate::tidy::repository;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What functions are built for.
const PLATFORMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

const CORE: &str = "tidelock-core";

/// These put the others together. Every other package of `crates/` may know the core and, but for [`MAY_KNOW`], none of its
/// siblings.
const ASSEMBLIES: [&str; 5] = ["tidelock-sync", "tidelock-api", "tidelock-local", "tidelock-cli", "tidelock-demo"];

/// The siblings that a package may know beside the core: connections have two users, the model of an engine is a transport.
const MAY_KNOW: [(&str, &str); 4] = [
    ("tidelock-aws", "tidelock-http"),
    ("tidelock-dynamodb", "tidelock-http"),
    ("tidelock-opensearch", "tidelock-http"),
    ("tidelock-sim", "tidelock-opensearch"),
];

/// Named one by one, so that none of them escapes its wall by being renamed or moved.
const WALLED: [&str; 8] = [
    CORE,
    "tidelock-aws",
    "tidelock-dynamodb",
    "tidelock-http",
    "tidelock-lambda",
    "tidelock-mongodb",
    "tidelock-opensearch",
    "tidelock-sqlite",
];

/// The core computes; it waits for nothing and talks to nobody.
const NOT_IN_CORE: [&str; 5] = ["hyper", "mongodb", "reqwest", "rusqlite", "tokio"];

/// Each would cost cold start and size, or brings a second TLS library.
const NOT_IN_FUNCTIONS: [&str; 13] = [
    "aws-config",
    "aws-lc-rs",
    "aws-lc-sys",
    "aws-sdk-dynamodb",
    "aws-sdk-s3",
    "aws-sdk-secretsmanager",
    "aws-sdk-sts",
    "clap",
    "libsqlite3-sys",
    "native-tls",
    "openssl-sys",
    "rusqlite",
    "tidelock-local",
];

/// Two versions of these are two sets of certificates, two caches, twice the code.
const ONCE_IN_FUNCTIONS: [&str; 2] = ["ring", "rustls"];

const MAIN_LINES: usize = 40;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(repository()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// The workspace and all it depends on, features as resolved for the whole of it.
struct Graph {
    packages: BTreeMap<String, Package>,
}

struct Package {
    name: String,
    /// Folder inside the repository; `None` for packages from elsewhere.
    folder: Option<String>,
    features: BTreeMap<String, Vec<String>>,
    /// Ids of the packages that the package's own code uses.
    normal: BTreeSet<String>,
    /// Ids of the packages that only its tests or its build script use.
    other: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        let mut arguments = vec!["metadata", "--format-version", "1", "--locked"];
        for platform in PLATFORMS {
            arguments.extend(["--filter-platform", platform]);
        }
        Self::new(&serde_json::from_str(&cargo(&arguments)).expect("cargo metadata prints JSON"))
    }

    fn new(metadata: &Value) -> Self {
        let root = metadata["workspace_root"].as_str().expect("a root");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array().expect("packages") {
            let manifest = package["manifest_path"].as_str().expect("a manifest");
            let folder = manifest
                .strip_prefix(root)
                .filter(|_| package["source"].is_null())
                .map(|path| path.trim_start_matches('/').trim_end_matches("/Cargo.toml").to_owned());
            let features = serde_json::from_value(package["features"].clone()).expect("features");
            let (normal, other) = (BTreeSet::new(), BTreeSet::new());
            packages.insert(
                text(&package["id"]),
                Package { name: text(&package["name"]), folder, features, normal, other },
            );
        }
        for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
            let package = packages.get_mut(node["id"].as_str().expect("an id")).expect("a node is a package");
            for dependency in node["deps"].as_array().expect("deps") {
                let kinds = dependency["dep_kinds"].as_array().expect("kinds");
                let normal = kinds.iter().any(|kind| kind["kind"].is_null());
                if normal { &mut package.normal } else { &mut package.other }.insert(text(&dependency["pkg"]));
            }
        }
        Self { packages }
    }

    /// The packages of the repository.
    fn own(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.folder.is_some())
    }

    fn named(&self, name: &str) -> &Package {
        self.own().find(|package| package.name == name).unwrap_or_else(|| panic!("the workspace has no package {name}"))
    }

    /// Names of the packages of the repository that a package's own code uses.
    fn siblings(&self, package: &Package) -> BTreeSet<&str> {
        let used = package.normal.iter().filter_map(|id| self.packages.get(id));
        used.filter(|used| used.folder.is_some()).map(|used| used.name.as_str()).collect()
    }

    /// Names of all that a package's code uses, however indirectly.
    fn reach(&self, package: &Package) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = package.normal.iter().collect();
        while let Some(id) = next.pop() {
            if seen.insert(id) {
                next.extend(&self.packages[id].normal);
            }
        }
        seen.into_iter().map(|id| self.packages[id].name.as_str()).collect()
    }

    fn functions(&self) -> Vec<&Package> {
        let functions: Vec<_> = self.own().filter(|package| is_function(package)).collect();
        assert!(!functions.is_empty(), "no package lies in functions/");
        functions
    }
}

fn is_function(package: &Package) -> bool {
    package.folder.as_deref().is_some_and(|folder| folder.starts_with("functions/"))
}

/// Siblings that a package which puts nothing together must not know.
fn unwelcome_siblings<'a>(name: &str, siblings: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let welcome = |sibling: &str| sibling == CORE || MAY_KNOW.contains(&(name, sibling));
    siblings.iter().copied().filter(|sibling| !welcome(sibling)).collect()
}

fn unwelcome_in_core(reach: &BTreeSet<&str>) -> Vec<String> {
    let unwelcome =
        |name: &&str| NOT_IN_CORE.contains(name) || name.starts_with("aws-") || name.starts_with("tidelock");
    reach.iter().copied().filter(unwelcome).map(str::to_owned).collect()
}

/// What is wrong with the lines `NAME vVERSION …` of `cargo tree`.
fn unwelcome_in_a_function(tree: &str) -> Vec<String> {
    let linked: BTreeSet<(&str, &str)> = tree.lines().filter_map(|line| line.split_once(' ')).collect();
    let linked: BTreeSet<(&str, &str)> =
        linked.iter().map(|&(name, rest)| (name, rest.split(' ').next().unwrap_or(rest))).collect();
    let mut problems: Vec<String> = linked
        .iter()
        .filter(|(name, _)| NOT_IN_FUNCTIONS.contains(name))
        .map(|(name, version)| format!("links {name} {version}"))
        .collect();
    for once in ONCE_IN_FUNCTIONS {
        let versions: Vec<&str> =
            linked.iter().filter(|(name, _)| *name == once).map(|&(_, version)| version).collect();
        if versions.len() != 1 {
            problems.push(format!("links {} versions of {once} instead of one: {versions:?}", versions.len()));
        }
    }
    problems
}

/// The features that are on by default, and those they turn on.
fn default_features(features: &BTreeMap<String, Vec<String>>) -> BTreeSet<&str> {
    let mut on = BTreeSet::new();
    let mut next = vec!["default"];
    while let Some(feature) = next.pop() {
        if on.insert(feature) {
            next.extend(features.get(feature).into_iter().flatten().map(String::as_str));
        }
    }
    on
}

/// The value of a key in one table of a TOML file that is written a key a line.
fn toml_value<'a>(text: &'a str, table: &str, key: &str) -> Option<&'a str> {
    let lines = text.lines().skip_while(|line| line.trim() != format!("[{table}]")).skip(1);
    let mut lines = lines.take_while(|line| !line.trim_start().starts_with('['));
    lines.find_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == key)).map(|(_, value)| value.trim())
}

#[test]
fn the_core_knows_no_sibling_no_runtime_and_no_client() {
    let graph = Graph::read();
    assert_eq!(unwelcome_in_core(&graph.reach(graph.named(CORE))), Vec::<String>::new());
}

#[test]
fn clients_and_adapters_know_the_core_and_no_sibling() {
    let graph = Graph::read();
    for name in WALLED {
        let folder = graph.named(name).folder.as_deref();
        assert_eq!(folder, Some(format!("crates/{name}").as_str()), "a walled package has moved");
    }
    for package in graph.own().filter(|package| package.folder.as_deref().is_some_and(|f| f.starts_with("crates/"))) {
        if ASSEMBLIES.contains(&package.name.as_str()) {
            continue;
        }
        let unwelcome = unwelcome_siblings(&package.name, &graph.siblings(package));
        assert!(unwelcome.is_empty(), "{} may not depend on {unwelcome:?}", package.name);
    }
}

#[test]
fn nothing_depends_on_a_function() {
    let graph = Graph::read();
    graph.functions();
    for package in graph.packages.values() {
        for id in package.normal.iter().chain(&package.other) {
            let used = &graph.packages[id];
            assert!(!is_function(used), "{} depends on the function {}", package.name, used.name);
        }
    }
}

#[test]
fn functions_link_one_tls_library_and_no_local_tools() {
    for function in Graph::read().functions() {
        for platform in PLATFORMS {
            let tree = cargo(&[
                "tree",
                "--locked",
                "--package",
                &function.name,
                "--target",
                platform,
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
            ]);
            assert!(tree.starts_with(&function.name) && tree.lines().count() > 100, "not a whole tree: {tree}");
            assert_eq!(unwelcome_in_a_function(&tree), Vec::<String>::new(), "{} on {platform}", function.name);
        }
    }
}

#[test]
fn functions_are_built_without_sqlite() {
    for function in Graph::read().functions() {
        assert!(function.features.contains_key("default"), "{} names no default features", function.name);
        let on = default_features(&function.features);
        let sqlite: Vec<_> = on.iter().filter(|feature| feature.contains("sqlite")).collect();
        assert!(sqlite.is_empty(), "{}: {sqlite:?} is on by default", function.name);
    }
}

#[test]
fn functions_only_call_the_crates() {
    for function in Graph::read().functions() {
        let folder = repository().join(function.folder.as_deref().expect("a folder")).join("src");
        let files: Vec<_> =
            std::fs::read_dir(&folder).expect("src/").map(|entry| entry.expect("a file").path()).collect();
        assert_eq!(files, [folder.join("main.rs")], "logic belongs into crates/");
        let lines = std::fs::read_to_string(folder.join("main.rs")).expect("main.rs").lines().count();
        assert!(lines <= MAIN_LINES, "{}: main.rs has {lines} lines, {MAIN_LINES} are allowed", function.name);
    }
}

#[test]
fn a_panic_unwinds_in_release_builds() {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).expect("the root manifest");
    assert_eq!(
        toml_value(&manifest, "profile.release", "panic"),
        Some("\"unwind\""),
        "cargo-lambda would set `abort`, and a panic would end the sandbox instead of the invocation"
    );
    assert!(!manifest.replace("panic = \"unwind\"", "").contains("panic ="), "another profile sets panic too");
}

#[test]
fn a_breach_is_seen() {
    let package = |name: &str, features: Value| {
        json!({"id": name, "name": name, "source": null, "features": features,
            "manifest_path": format!("/r/crates/{name}/Cargo.toml")})
    };
    let uses = |name: &str, other: &str, kind: Value| {
        let dependency = json!({"pkg": other, "dep_kinds": [{"kind": kind}]});
        json!({"id": name, "deps": [dependency]})
    };
    let graph = Graph::new(&json!({
        "workspace_root": "/r",
        "packages": [
            package("tidelock-core", json!({})),
            package("helper", json!({"default": ["a"], "a": ["x/sqlite"], "b": []})),
            package("tokio", json!({})),
            package("rusqlite", json!({})),
        ],
        "resolve": {"nodes": [
            uses("tidelock-core", "helper", Value::Null),
            uses("helper", "tokio", Value::Null),
            uses("tokio", "rusqlite", "dev".into()),
        ]},
    }));
    assert_eq!(unwelcome_in_core(&graph.reach(graph.named("tidelock-core"))), ["tokio"]);
    assert_eq!(graph.siblings(graph.named("tidelock-core")), BTreeSet::from(["helper"]));
    assert_eq!(graph.named("tokio").other, BTreeSet::from(["rusqlite".to_owned()]));
    assert_eq!(default_features(&graph.named("helper").features), BTreeSet::from(["a", "default", "x/sqlite"]));

    let siblings = BTreeSet::from([CORE, "tidelock-aws", "tidelock-http"]);
    assert_eq!(unwelcome_siblings("tidelock-dynamodb", &siblings), ["tidelock-aws"]);
    assert_eq!(unwelcome_siblings("tidelock-mongodb", &siblings), ["tidelock-aws", "tidelock-http"]);

    assert_eq!(
        unwelcome_in_core(&BTreeSet::from(["aws-config", "serde", "tidelock-aws"])),
        ["aws-config", "tidelock-aws"]
    );
    let sound = "f v0.1.0 (/r/f)\nrustls v0.23.1\nring v0.17.14\nrustls v0.23.1 (*)\nrustls-pki-types v1.0.0";
    assert_eq!(unwelcome_in_a_function(sound), Vec::<String>::new());
    let second = format!("{sound}\nrustls v0.21.0\nclap v4.0.0");
    let problems = ["links clap v4.0.0", "links 2 versions of rustls instead of one: [\"v0.21.0\", \"v0.23.1\"]"];
    assert_eq!(unwelcome_in_a_function(&second), problems);
    assert_eq!(unwelcome_in_a_function("f v0.1.0").len(), 2);

    let manifest = "[profile.dev]\npanic = \"abort\"\n[profile.release]\nlto = true\npanic = \"unwind\"\n[other]\n";
    assert_eq!(toml_value(manifest, "profile.release", "panic"), Some("\"unwind\""));
    assert_eq!(toml_value("[profile.release]\n[x]\npanic = 1", "profile.release", "panic"), None);
}

//! The rules notice what they are there for.

mod backfill;
mod pipeline;
mod recovery;

use super::check::problems;
use super::read;

/// What is replaced in a template, by what, and what must be said about it.
type Break<'a> = (&'a str, &'a str, &'a str);

/// Each of them breaks a template in one place.
pub(super) fn refuses(name: &str, breaks: &[Break<'_>]) {
    let text = read(&format!("infra/{name}"));
    let mut passed = Vec::new();
    for (from, to, problem) in breaks {
        assert!(text.contains(from), "{name} has no {from:?} to be changed");
        let found = problems(name, &text.replace(from, to));
        if !found.iter().any(|found| found.contains(problem)) {
            passed.push(format!("{from:?} -> {to:?}, not `{problem}` but {found:#?}"));
        }
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

#[test]
fn a_template_without_rules_is_refused() {
    let text = read("infra/dynamodb-to-mongodb.yaml");
    assert!(problems("kafka-to-mongodb.yaml", &text)[0].contains("no rules for the source `kafka`"));
    assert!(problems("dynamodb-to-kafka.yaml", &text)[0].contains("no rules for the target `kafka`"));
    assert!(problems("template.json", &text)[0].contains("SOURCE-to-TARGET"));
}

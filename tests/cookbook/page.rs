//! The cookbook's page, read as what it tells a test.
//!
//! Under `## N. TITLE` stand the pipeline as ```` ```yaml ````, and what happens, in order, each a line of its own with
//! ```` ```json ```` below it, one object a line:
//!
//! | line | objects |
//! | --- | --- |
//! | ``Changes of `TABLE` (key `NAME`, …, stream `VIEW`):`` | `{"INSERT": item}`, `{"MODIFY": item, "was": old item}`, `{"REMOVE": old item or key}`, each with `at` in seconds or without |
//! | ``Editors change `INDEX` in OpenSearch:`` | fields by `_id` |
//! | ``Then `PLACE` in OpenSearch:`` or `… in MongoDB:` | all documents there; `… holds nothing.` has no objects |
//! | ``Parked as `REASON`.`` | none |

use serde_json::Value;

/// A part of the page: a case, or what stands behind the last one.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) title: String,
    pub(super) pipeline: String,
    pub(super) acts: Vec<Act>,
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Act {
    Change {
        table: String,
        keys: Vec<String>,
        view: String,
        changes: Vec<Value>,
    },
    Edit {
        index: String,
        edits: Vec<Value>,
    },
    /// Since the last changes.
    Parked {
        reason: String,
    },
    Then {
        place: String,
        kind: Kind,
        documents: Vec<String>,
    },
}

/// A kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    OpenSearch,
    MongoDb,
}

/// A line that says what is below it.
fn act(line: &str) -> Option<Act> {
    let names: Vec<String> = line.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let name = || names.first().unwrap_or_else(|| panic!("no name in: {line}")).clone();
    let kind = |line: &str| match line {
        line if line.contains("` in OpenSearch") => Kind::OpenSearch,
        line if line.contains("` in MongoDB") => Kind::MongoDb,
        _ => panic!("no target in: {line}"),
    };
    Some(match line.split_once('`').map_or(line, |(words, _)| words) {
        "Changes of " => {
            let [table, keys @ .., view] = names.as_slice() else { panic!("{line}") };
            assert!(!keys.is_empty() && line.contains("stream `"), "{line}");
            Act::Change { table: table.clone(), keys: keys.to_vec(), view: view.clone(), changes: Vec::new() }
        }
        "Editors change " => {
            assert_eq!(kind(line), Kind::OpenSearch, "{line}");
            Act::Edit { index: name(), edits: Vec::new() }
        }
        "Parked as " => Act::Parked { reason: name() },
        "Then " => Act::Then { place: name(), kind: kind(line), documents: Vec::new() },
        _ => return None,
    })
}

impl Act {
    /// Takes in a block; whether the line asks for one.
    fn fill(&mut self, block: &str) {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        match self {
            Self::Change { changes: objects, .. } | Self::Edit { edits: objects, .. } => {
                *objects = block.lines().map(read).collect();
            }
            Self::Then { documents, .. } => *documents = block.lines().map(str::to_owned).collect(),
            Self::Parked { .. } => panic!("there is nothing to say below: {self:?}"),
        }
    }
}

/// Every part that has a pipeline, in order.
pub(super) fn cases(page: &str) -> Vec<Case> {
    let parts = page.split("\n## ").skip(1).map(|part| {
        let (title, body) = part.split_once('\n').unwrap_or_default();
        let mut case = Case { title: title.to_owned(), ..Case::default() };
        let mut lines = body.lines();
        // The line that waits for its block.
        let mut open: Option<Act> = None;
        while let Some(line) = lines.next() {
            let Some(language) = line.strip_prefix("```") else {
                if let Some(act) = act(line) {
                    assert!(open.is_none(), "{title}: nothing is below {open:?}");
                    match line.ends_with(':') {
                        true => open = Some(act),
                        false => case.acts.push(act),
                    }
                }
                continue;
            };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let block = block.join("\n");
            match language {
                "yaml" => {
                    assert!(case.pipeline.is_empty(), "{title} has two pipelines");
                    case.pipeline = block;
                }
                "json" => {
                    let mut act = open.take().unwrap_or_else(|| panic!("{title}: no line says what this is: {block}"));
                    act.fill(&block);
                    case.acts.push(act);
                }
                other => panic!("{title}: a block of `{other}`"),
            }
        }
        assert!(open.is_none(), "{title}: nothing is below {open:?}");
        case
    });
    parts.collect()
}

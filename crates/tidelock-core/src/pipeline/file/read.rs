//! YAML, and so JSON, as a tree with marks.
//!
//! Nothing in a text makes the reader take long or take much: size, depth and what aliases repeat are bounded.

use super::node::{Mark, Member, Node, Value, joined};
use super::problem::Problem;
use super::scalar;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// Longer texts are not read, bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Lists and objects in one another.
const MAX_DEPTH: usize = 64;
/// Values, those that aliases repeat included.
const MAX_NODES: usize = 20_000;

/// Reads a text.
///
/// # Errors
/// Why it is no tree. Names that stand twice are told beside the tree: the first of them counts.
pub(crate) fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    if text.len() > MAX_BYTES {
        let words = format!("the file has {} bytes; {MAX_BYTES} are allowed", text.len());
        return (None, vec![Problem::error(Mark::START, words)]);
    }
    let mut reader =
        Reader { text, bytes: Bytes::default(), open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0 };
    let mut documents = 0;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let step = match event {
            Err(error) => {
                let mark = mark(error.marker());
                Err(Problem::error(mark, format!("this is neither YAML nor JSON: {}", error.info())))
            }
            Ok((Event::DocumentStart(_), span)) if documents > 0 => {
                Err(Problem::error(mark(&span.start), "a second document begins here; a file holds one".to_owned()))
            }
            Ok((Event::DocumentStart(_), _)) => {
                documents += 1;
                Ok(())
            }
            Ok((event, span)) => reader.take(event, span, &mut problems),
        };
        if let Err(problem) = step {
            problems.push(problem);
            return (None, problems);
        }
    }
    if reader.root.is_none() {
        problems.push(Problem::error(Mark::START, "the file is empty".to_owned()));
    }
    (reader.root, problems)
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A list or an object that has begun.
struct Open {
    node: Node,
    anchor: usize,
    /// Values before it, to count those in it.
    before: usize,
    /// An object's name whose value comes next.
    name: Option<(String, Mark)>,
    /// The names that an object has.
    names: HashMap<String, Mark>,
}

struct Reader<'t> {
    text: &'t str,
    bytes: Bytes,
    open: Vec<Open>,
    root: Option<Node>,
    /// What anchors stand for, with the number of values in it.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span, problems: &mut Vec<Problem>) -> Result<(), Problem> {
        let at = mark(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().map(|tag| if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "?" });
                let plain = style == ScalarStyle::Plain;
                if self.wants_name() {
                    if plain && text.is_empty() {
                        return Err(Problem::error(at, "a name is missing before the colon".to_owned()));
                    }
                    return self.name(text.into_owned(), at);
                }
                let spelled = self.spelled(&text, style, span);
                let value = scalar::value(text, plain, tag).map_err(|words| Problem::error(at, words))?;
                self.put(Node { mark: at, value, spelled }, anchor, 1, problems)
            }
            Event::SequenceStart(anchor, _) => self.begin(Value::List(Vec::new()), anchor, at),
            Event::MappingStart(anchor, _) => self.begin(Value::Map(Vec::new()), anchor, at),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, before, .. }) => {
                    let inside = self.nodes - before;
                    self.nodes = before;
                    self.put(node, anchor, inside + 1, problems)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, count)) => {
                    let (node, count) = (node.clone(), *count);
                    if self.nodes + count > MAX_NODES {
                        return Err(too_many(at));
                    }
                    match node.value {
                        Value::Text(name) if self.wants_name() => self.name(name, at),
                        _ => self.put(node, 0, count, problems),
                    }
                }
                None => Err(Problem::error(at, "the alias stands for what is not complete yet".to_owned())),
            },
            _ => Ok(()),
        }
    }

    fn wants_name(&self) -> bool {
        matches!(self.open.last(), Some(Open { node: Node { value: Value::Map(_), .. }, name: None, .. }))
    }

    fn name(&mut self, name: String, at: Mark) -> Result<(), Problem> {
        if let Some(open) = self.open.last_mut() {
            open.name = Some((name, at));
        }
        Ok(())
    }

    fn begin(&mut self, value: Value, anchor: usize, at: Mark) -> Result<(), Problem> {
        if self.wants_name() {
            return Err(Problem::error(
                at,
                "a name must be a text; is a quote missing around `{…}` or `[…]`?".to_owned(),
            ));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::error(at, format!("more than {MAX_DEPTH} lists and objects in one another")));
        }
        let node = Node { mark: at, value, spelled: None };
        self.open.push(Open { node, anchor, before: self.nodes, name: None, names: HashMap::new() });
        Ok(())
    }

    /// Puts a whole value where it belongs; `count` values are in it, itself included.
    fn put(&mut self, node: Node, anchor: usize, count: usize, problems: &mut Vec<Problem>) -> Result<(), Problem> {
        self.nodes += count;
        if self.nodes > MAX_NODES {
            return Err(too_many(node.mark));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), count));
        }
        let Some(Open { node: holder, name, names, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut holder.value, name.take()) {
            (Value::Map(members), Some((name, mark))) => match names.get(&name) {
                Some(first) => {
                    let words = format!("stands here for the second time; the first is in {first}");
                    let path = path(&self.open, &name);
                    problems.push(Problem { path, ..Problem::error(mark, words) });
                    return Ok(());
                }
                None => {
                    names.insert(name.clone(), mark);
                    members.push(Member { name, mark, node });
                }
            },
            (Value::List(items), _) => items.push(node),
            _ => {}
        }
        Ok(())
    }

    /// Where the text begins, when it stands in the file as it is.
    fn spelled(&mut self, text: &str, style: ScalarStyle, span: Span) -> Option<Mark> {
        let quote = match style {
            ScalarStyle::Plain => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            _ => return None,
        };
        let from = self.bytes.of(self.text, span.start.index())? + quote;
        let is = self.text.get(from..).is_some_and(|rest| rest.starts_with(text)) && !text.contains('\n');
        let at = mark(&span.start);
        is.then_some(Mark { column: at.column + quote, ..at })
    }
}

/// The path of a name in the innermost of what has begun.
fn path(open: &[Open], name: &str) -> String {
    let outer = open.iter().fold(String::new(), |path, open| match (&open.node.value, &open.name) {
        (Value::List(items), _) => format!("{path}[{}]", items.len()),
        (_, Some((name, _))) => joined(&path, name),
        _ => path,
    });
    joined(&outer, name)
}

fn too_many(at: Mark) -> Problem {
    Problem::error(at, format!("more than {MAX_NODES} values, those that aliases repeat included"))
}

/// Finds bytes for characters, going forward only.
#[derive(Default)]
struct Bytes {
    character: usize,
    byte: usize,
}

impl Bytes {
    fn of(&mut self, text: &str, character: usize) -> Option<usize> {
        let ahead = character.checked_sub(self.character)?;
        let mut rest = text.get(self.byte..)?.char_indices().map(|(at, _)| at);
        let at = if ahead == 0 { Some(0) } else { rest.nth(ahead) };
        self.byte += at?;
        self.character = character;
        Some(self.byte)
    }
}

//! A file against the table: all that has the wrong shape, at once.

use super::nearest::{listed, nearest};
use super::{FILE, Object, Shape, objects};
use crate::pipeline::commands::{DELETE_ALL, NOTHING_NAMED};
use crate::pipeline::file::{Mark, Member, Node, Problem, Severity, Value, has_room, joined};
use crate::transform::Path;

/// Fields that one step may list: what steps mean together takes long to find out.
const MAX_FIELDS: usize = 1_000;
/// Fields that one step may move or copy: cycles among them take longest.
const MAX_PAIRS: usize = 500;

/// Takes what has the wrong shape out of a tree, and tells of it. What is left can be looked at for its meaning: objects lack
/// what was wrong in them, lists have nothing in the place of an object that cannot be used.
pub(in crate::pipeline) fn validate(tree: &mut Node, problems: &mut Vec<Problem>) -> bool {
    let mut validator = Validator { path: String::new(), problems };
    validator.object(tree, &FILE)
}

struct Validator<'p> {
    path: String,
    problems: &'p mut Vec<Problem>,
}

impl Validator<'_> {
    fn wrong(&mut self, mark: Mark, words: String, help: Option<String>) -> bool {
        if has_room(self.problems, Severity::Error) {
            self.problems.push(Problem { path: self.path.clone(), help, ..Problem::error(mark, words) });
        }
        false
    }

    /// Does something with a longer path.
    fn within<T>(&mut self, path: String, inner: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.path, path);
        let result = inner(self);
        self.path = outer;
        result
    }

    fn object(&mut self, node: &mut Node, object: &'static Object) -> bool {
        let at = node.mark;
        let Value::Map(members) = &mut node.value else {
            let fields =
                listed(object.fields.iter().filter(|field| !field.name.starts_with('$')).map(|field| field.name));
            let what = if object.name == "file" { "`version` and `routes`".to_owned() } else { fields };
            return self.wrong(at, format!("expected an object with {what}, found {node}"), None);
        };
        let mut sound = true;
        let mut used = 0;
        let (mut seen, mut meant) = (Vec::new(), Vec::new());
        members.retain_mut(|Member { name, mark, node }| {
            let path = joined(&self.path, name);
            self.within(path, |own| match object.fields.iter().find(|field| field.name == name) {
                Some(field) => {
                    used += 1;
                    seen.push(field.name);
                    // Nothing is the same as leaving it out, but where nothing is a value.
                    let left_out = node.value == Value::Null && !field.required && !matches!(field.shape, Shape::Json);
                    let left_out = left_out && !object.one;
                    let fits = left_out || own.value(node, &field.shape);
                    sound &= fits || !(field.required || object.one);
                    fits && !left_out
                }
                None => {
                    let help = help(name, object);
                    meant.extend(nearest(name, object.fields.iter().map(|field| field.name)));
                    sound &= !object.one;
                    own.wrong(*mark, format!("{} has no such field", called(object)), help)
                }
            })
        });
        for field in object.fields.iter().filter(|field| field.required) {
            // One that was there and wrong has been told of.
            if seen.contains(&field.name) {
                continue;
            }
            sound = false;
            // So has one whose name is misspelled.
            if !meant.contains(&field.name) {
                let path = joined(&self.path, field.name);
                self.within(path, |own| own.wrong(at, "is missing".to_owned(), None));
            }
        }
        if object.one && used != 1 {
            let kinds = listed(object.fields.iter().map(|field| field.name));
            let words = match used {
                // What is there was told of.
                0 if !sound => return false,
                0 => format!("{} has one of {kinds}", called(object)),
                _ => format!("{} does one thing; begin the next with a `-`", called(object)),
            };
            return self.wrong(at, words, None);
        }
        sound
    }

    fn value(&mut self, node: &mut Node, shape: &'static Shape) -> bool {
        let at = node.mark;
        match (shape, &mut node.value) {
            (Shape::Json, _) | (Shape::Text | Shape::Pattern | Shape::Template | Shape::Expression, Value::Text(_)) => {
                true
            }
            (Shape::Path, Value::Text(text)) => match Path::parse(text) {
                Ok(_) => true,
                Err(words) => self.wrong(at, words, None),
            },
            (Shape::Version, Value::Number(number)) if number == "1" => true,
            (Shape::Version, Value::Number(number)) => {
                let words = format!("version {number} is not known; this tidelock reads version 1");
                self.wrong(at, words, None)
            }
            (Shape::Count, Value::Number(number)) if number.parse::<u32>().is_ok() => true,
            (Shape::OneOfOr(_, object), Value::Map(_)) => self.object(node, object),
            (Shape::OneOf(choices) | Shape::OneOfOr(choices, _), Value::Text(text)) => {
                if choices.iter().any(|choice| choice.value == text) {
                    return true;
                }
                let known = || choices.iter().map(|choice| choice.value);
                let help = match text.as_str() {
                    DELETE_ALL => Some(NOTHING_NAMED.to_owned()),
                    _ => nearest(text, known()).map(|near| format!("did you mean `{near}`?")),
                };
                let words = format!("expected {}, found `{}`", listed(known()), shortened(text));
                self.wrong(at, words, help)
            }
            (Shape::OneOrMany(of), Value::List(_)) => self.items(node, of),
            (Shape::OneOrMany(of), Value::Text(_)) => self.value(node, of),
            (Shape::List(of), Value::List(_)) => self.items(node, of),
            (Shape::Map { paths: true, .. }, Value::Map(members)) if members.len() > MAX_PAIRS => {
                let words = format!("there are {}; {MAX_PAIRS} are allowed", members.len());
                self.wrong(at, words, None)
            }
            (Shape::Map { of, paths }, Value::Map(members)) => {
                let mut sound = true;
                for Member { name, node, mark } in members {
                    if *paths && let Err(words) = Path::parse(name) {
                        sound = self.wrong(*mark, words, None);
                    }
                    let path = joined(&self.path, name);
                    sound &= self.within(path, |own| own.value(node, of));
                }
                sound
            }
            (Shape::Object(object), _) => self.object(node, object),
            _ => {
                let help = match &node.value {
                    Value::Number(_) | Value::Boolean(_) if matches!(expected(shape), "a text" | "a field's path") => {
                        Some("put it in quotes".to_owned())
                    }
                    Value::Text(_) if matches!(shape, Shape::List(Shape::Path)) => {
                        Some("write [NAME], also for one".to_owned())
                    }
                    Value::Text(text) if matches!(shape, Shape::Version) && text == "1" => {
                        Some("write it without quotes".to_owned())
                    }
                    _ => None,
                };
                self.wrong(at, format!("expected {}, found {node}", expected(shape)), help)
            }
        }
    }

    fn items(&mut self, node: &mut Node, of: &'static Shape) -> bool {
        let at = node.mark;
        let Value::List(items) = &mut node.value else { return false };
        if items.len() > MAX_FIELDS && matches!(of, Shape::Path) {
            let words = format!("there are {}; {MAX_FIELDS} are allowed", items.len());
            return self.wrong(at, words, None);
        }
        // Routes and steps are looked at one by one: the others among them keep their numbers.
        let apart = matches!(of, Shape::Object(_));
        let mut sound = true;
        for (index, item) in items.iter_mut().enumerate() {
            let path = format!("{}[{index}]", self.path);
            let fits = self.within(path, |own| own.value(item, of));
            if apart && !fits {
                item.value = Value::Null;
            }
            sound &= fits;
        }
        sound || apart
    }
}

/// What an object is called.
fn called(object: &Object) -> String {
    match object.name {
        "file" => "the file".to_owned(),
        name @ ("route" | "step") => format!("a {name}"),
        step => format!("`{step}`"),
    }
}

/// What a shape is called.
fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Version => "the number 1",
        Shape::Text | Shape::Pattern | Shape::Template | Shape::Expression | Shape::OneOf(_) => "a text",
        Shape::Count => "a whole number from 0",
        Shape::Path => "a field's path",
        Shape::Json => "any value",
        Shape::List(Shape::Path) => "a list of fields' paths",
        Shape::List(Shape::Object(Object { name: "route", .. })) => "a list of routes",
        Shape::List(Shape::Object(_)) => "a list of steps",
        Shape::List(_) => "a list of texts",
        Shape::OneOrMany(_) => "a field's path, or a list of them",
        Shape::Map { of: Shape::Path, .. } => "an object of fields' paths, OLD: NEW",
        Shape::Map { .. } => "an object, NAME: VALUE",
        Shape::Object(_) => "an object",
        Shape::OneOfOr(..) => "a text or an object",
    }
}

/// What was meant by an unknown field.
fn help(name: &str, object: &Object) -> Option<String> {
    let known = || object.fields.iter().map(|field| field.name);
    let elsewhere = objects().into_iter().find(|other| other.fields.iter().any(|field| field.name == name));
    match (nearest(name, known()), elsewhere) {
        (Some(near), _) => Some(format!("did you mean `{near}`?")),
        (None, Some(other)) => Some(format!("it is a field of {}", called(other))),
        (None, None) => Some(format!("known are {}", listed(known()).replace(" or ", " and "))),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

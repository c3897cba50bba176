//! The same steps, one by one, with what each has changed.

use super::{Fields, Transform, Value};
use crate::bson::{self, Elements, write_extended};
use crate::diff::{Change, Node, diff, quoted};
use crate::encode::base64_text;
use crate::image::{Image, Notation};
use crate::json::{Cursor, unescape};

/// What a step has done with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Its number in the route's `transform`, from 0.
    pub step: usize,
    /// Its name in the file.
    pub name: &'static str,
    /// The fields that it has changed. Values are
    /// [extended JSON](https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md), in which
    /// a date and a text are told apart.
    pub changes: Vec<Change>,
    /// Why it could not be done; it is the last one then.
    pub failure: Option<String>,
}

impl Transform {
    /// Carries out the steps on an item; `None` where the item cannot be read.
    pub(crate) fn trace(&self, image: &Image<'_>) -> Option<Vec<Traced>> {
        let mut fields = fields(image)?;
        let mut before = shown(&fields);
        let mut traced = Vec::with_capacity(self.steps.len());
        for (step, doing) in self.steps.iter().enumerate() {
            let failure = doing.apply(&mut fields, self.key.as_ref().map(|key| &*key.0)).err();
            let after = shown(&fields);
            let changes = diff(&before, &after);
            let failure = failure.map(|wrong| format!("field `{}`: {}", wrong.path, wrong.words));
            let failed = failure.is_some();
            traced.push(Traced { step, name: doing.name(), changes, failure });
            if failed {
                break;
            }
            before = after;
        }
        Some(traced)
    }
}

/// All fields at the top of an item.
fn fields<'a>(image: &Image<'a>) -> Option<Fields<'a>> {
    let mut fields = Fields::new();
    match image.notation {
        Notation::DynamoDb => {
            let mut cursor = Cursor::new(image.bytes);
            if !cursor.take(b'{') {
                return None;
            }
            let mut more = !cursor.take(b'}');
            while more {
                let name = unescape(cursor.name().ok()?)?;
                fields.push((name, Value::attribute(&mut cursor)?.into()));
                more = cursor.more(b'}').ok()?;
            }
        }
        Notation::Bson => {
            for element in Elements::new(image.bytes).ok()? {
                let element = element.ok()?;
                fields.push((element.name.into(), Value::element(&element).into()));
            }
        }
    }
    Some(fields)
}

fn shown(fields: &Fields<'_>) -> Node {
    Node::Map(fields.iter().map(|(name, held)| (name.to_string(), node(&held.clone().into_opened()))).collect())
}

fn node(value: &Value) -> Node {
    match value.opened() {
        Value::Null => Node::leaf("null".to_owned()),
        Value::Boolean(value) => Node::leaf(value.to_string()),
        Value::Number(text) => Node::leaf(text),
        Value::Double(number) => extended(bson::Value::Double(number)),
        Value::Text(text) => Node::leaf(quoted(&text)),
        Value::Binary(bytes) => {
            Node::leaf(format!("{{\"$binary\":{{\"base64\":{},\"subType\":\"00\"}}}}", quoted(&base64_text(&bytes))))
        }
        Value::Date(milliseconds) => extended(bson::Value::DateTime(milliseconds)),
        Value::List(items) => Node::List(items.iter().map(node).collect()),
        Value::Map(members) => Node::Map(members.iter().map(|(name, value)| (name.clone(), node(value))).collect()),
        Value::Unread(text) => Node::leaf(String::from_utf8_lossy(&text).into_owned()),
        Value::Raw(kind, bytes) => match bson::value(kind, &bytes) {
            Ok(value) => extended(value),
            Err(_) => Node::leaf("null".to_owned()),
        },
    }
}

fn extended(value: bson::Value<'_>) -> Node {
    let mut out = Vec::new();
    write_extended(&mut out, value);
    Node::leaf(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;

    fn traced(steps: &str, item: &str) -> Vec<String> {
        let text = format!("{{version: 1, routes: [{{from: t, transform: {steps}}}]}}");
        let pipeline = Pipeline::parse(&text).expect("a pipeline");
        let image = Image { notation: Notation::DynamoDb, bytes: item.as_bytes() };
        let rules = pipeline.rules("t", 0);
        let traced = rules.transform(&image).expect("steps").trace(&image).expect("an item");
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        traced
            .iter()
            .flat_map(|step| {
                let changes = step.changes.iter();
                let changes = changes.map(|change| format!("{} {}", text(&change.before), text(&change.after)));
                let head = format!("{} {}", step.step, step.name);
                std::iter::once(head).chain(changes).chain(step.failure.clone()).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn each_step_tells_what_it_changed() {
        let item = r#"{"id":{"N":"1"},"at":{"N":"1588166528"},"big":{"N":"12345678901234567890123456789012345678"}}"#;
        let steps = "[{default: {age: null}}, {convert: {field: at, from: epoch_seconds, to: date}}, {rename: {id: key}}, {drop: [nothing]}, {keep: [key]}]";
        assert_eq!(
            traced(steps, item),
            [
                "0 default",
                "- null",
                "1 convert",
                r#"1588166528 {"$date":"2020-04-29T13:22:08.000Z"}"#,
                "2 rename",
                "1 -",
                "- 1",
                "3 drop",
                "4 keep",
                r#"{"$date":"2020-04-29T13:22:08.000Z"} -"#,
                "12345678901234567890123456789012345678 -",
                "null -",
            ]
        );
    }

    #[test]
    fn a_step_that_cannot_be_done_is_the_last() {
        let told = traced("[{convert: {field: id, to: long}}, {drop: [id]}]", r#"{"id":{"S":"x"}}"#);
        assert!(told.len() == 2 && told[0] == "0 convert" && told[1].starts_with("field `id`: "), "{told:?}");
    }
}

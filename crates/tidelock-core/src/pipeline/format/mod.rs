//! The format of the pipeline's file, as a table: each field once, with its shape, its default and a sentence.
//!
//! From it follow what a file is checked against ([`validate`]), the JSON Schema and the reference (`schema` and `reference`, with
//! the feature of that name). A field is added by a row here and a field of the same name in the struct that serde fills; a test
//! compares the two.

mod nearest;
#[cfg(feature = "reference")]
mod reference;
#[cfg(feature = "reference")]
mod schema;
mod step;
mod table;
#[cfg(all(test, feature = "reference"))]
mod tests;
mod validate;

#[cfg(feature = "reference")]
pub use reference::reference;
#[cfg(feature = "reference")]
pub use schema::schema;
pub(super) use table::FILE;
pub(super) use validate::validate;

/// A sentence for people: left out of functions, whose packages are small.
macro_rules! sentence {
    ($text:literal) => {
        if cfg!(feature = "reference") { $text } else { "" }
    };
}
use sentence;

/// An object of the file.
#[derive(Debug)]
pub(super) struct Object {
    /// What it is called in messages, and in the schema.
    pub(super) name: &'static str,
    #[cfg_attr(not(feature = "reference"), expect(dead_code, reason = "for people"))]
    pub(super) doc: &'static str,
    pub(super) fields: &'static [Field],
    /// It has exactly one of its fields.
    pub(super) one: bool,
}

/// A field of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// What counts where it is left out, as the file would have it; empty where that needs words.
    #[cfg_attr(not(feature = "reference"), expect(dead_code, reason = "for people"))]
    pub(super) default: &'static str,
    #[cfg_attr(not(feature = "reference"), expect(dead_code, reason = "for people"))]
    pub(super) doc: &'static str,
}

impl Field {
    const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, required: false, default: "", doc }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

/// What a value may be.
#[derive(Debug)]
pub(super) enum Shape {
    /// The one version that there is.
    Version,
    Text,
    /// A whole number from zero.
    Count,
    /// The name of a source, `*` and `?` matching.
    Pattern,
    /// A name in which `{field}` stands for a field of the item.
    Template,
    /// A condition.
    Expression,
    /// The path of a field.
    Path,
    /// Anything.
    Json,
    OneOf(&'static [Choice]),
    List(&'static Self),
    OneOrMany(&'static Self),
    /// Any names, read as paths where `paths` says so.
    Map {
        paths: bool,
        of: &'static Self,
    },
    Object(&'static Object),
    /// One of these, or an object.
    OneOfOr(&'static [Choice], &'static Object),
}

/// One of the values that a field may have.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) value: &'static str,
    #[cfg_attr(not(feature = "reference"), expect(dead_code, reason = "for people"))]
    pub(super) doc: &'static str,
}

const fn choice(value: &'static str, doc: &'static str) -> Choice {
    Choice { value, doc }
}

/// Every object of the file, the outermost first.
pub(super) fn objects() -> Vec<&'static Object> {
    fn below(shape: &'static Shape, found: &mut Vec<&'static Object>) {
        match shape {
            Shape::Object(object) | Shape::OneOfOr(_, object)
                if !found.iter().any(|known| known.name == object.name) =>
            {
                found.push(object);
                object.fields.iter().for_each(|field| below(&field.shape, found));
            }
            Shape::List(of) | Shape::OneOrMany(of) | Shape::Map { of, .. } => below(of, found),
            _ => {}
        }
    }
    let mut found = vec![&FILE];
    FILE.fields.iter().for_each(|field| below(&field.shape, &mut found));
    found
}

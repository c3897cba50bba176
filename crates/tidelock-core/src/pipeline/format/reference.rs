//! The table as a page for people.

use super::{Choice, Field, Object, Shape, objects};

/// The reference of the pipeline's file, in Markdown.
#[must_use]
pub fn reference() -> String {
    let sections: Vec<String> = objects().into_iter().map(section).collect();
    sections.join("\n")
}

fn section(object: &Object) -> String {
    let title = match object.name {
        "file" => "The file".to_owned(),
        "route" => "A route".to_owned(),
        "step" => "A step of `transform`".to_owned(),
        "index" => "An index".to_owned(),
        "soft" => "A soft delete".to_owned(),
        "version" => "A version".to_owned(),
        step => format!("The step `{step}`"),
    };
    let rows: String = object.fields.iter().map(row).collect();
    format!("### {title}\n\n{}\n\n| field | value | default | meaning |\n| --- | --- | --- | --- |\n{rows}", object.doc)
}

fn row(field: &Field) -> String {
    let default = match (field.default, field.required) {
        ("", true) => "required".to_owned(),
        ("", false) => String::new(),
        (default, _) => format!("`{default}`"),
    };
    let mut meaning = field.doc.to_owned();
    if let Shape::OneOf(choices) | Shape::OneOfOr(choices, _) = &field.shape {
        let said: Vec<String> = choices.iter().map(|Choice { value, doc }| format!("`{value}`: {doc}")).collect();
        meaning = format!("{meaning} {}.", said.join("; "));
    }
    let cells = [format!("`{}`", field.name), value(&field.shape), default, meaning];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Version => "`1`".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Count => "whole number".to_owned(),
        Shape::Pattern => "name with `*` and `?`".to_owned(),
        Shape::Template => "name with `{field}`".to_owned(),
        Shape::Expression => "expression".to_owned(),
        Shape::Path => "path".to_owned(),
        Shape::Json => "any value".to_owned(),
        Shape::OneOf(_) => "one of".to_owned(),
        Shape::List(of) => match of {
            Shape::Object(object) => format!("list of {}s", object.name),
            _ => format!("list of {}s", value(of)),
        },
        Shape::OneOrMany(of) => format!("{0}, or list of {0}s", value(of)),
        Shape::Map { of, paths } => {
            let names = if *paths { "paths" } else { "names" };
            let of = match of {
                Shape::Json => "values".to_owned(),
                Shape::Object(Object { name: "index", .. }) => "[indices](#an-index)".to_owned(),
                of => format!("{}s", value(of)),
            };
            format!("{names} with {of}")
        }
        Shape::OneOfOr(_, object) => format!("one of, or [{0}](#a-{0})", object.name),
        Shape::Object(Object { name: "soft", .. }) => "[soft](#a-soft-delete)".to_owned(),
        Shape::Object(object) => format!("[{0}](#the-step-{0})", object.name),
    }
}

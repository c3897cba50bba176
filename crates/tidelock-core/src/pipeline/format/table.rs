//! The rows of the file and of its routes.

use super::step::{OTHERWISE, STEP};
use super::{Choice, Field, Object, Shape, choice, sentence};

pub(in crate::pipeline) static FILE: Object = Object {
    name: "file",
    doc: sentence!("Which source goes where: the pipeline."),
    one: false,
    fields: &[
        Field::new(
            "$schema",
            Shape::Text,
            sentence!("Where the JSON Schema of this file is, for editors: what `tidelock schema` prints."),
        ),
        Field::new("version", Shape::Version, sentence!("The version of the format.")).required(),
        Field::new("unmatched", Shape::OneOf(UNMATCHED), sentence!("What becomes of records that no route is for."))
            .default("filter"),
        Field::new(
            "routes",
            Shape::List(&Shape::Object(&ROUTE)),
            sentence!("Where records go. The first route that matches wins, `where` included."),
        )
        .required(),
    ],
};

const UNMATCHED: &[Choice] = &[
    choice("filter", sentence!("they are left out, and count as done")),
    choice("error", sentence!("they are parked as dead letters")),
];

pub(in crate::pipeline) static ROUTE: Object = Object {
    name: "route",
    doc: sentence!("Which records go where, and as what."),
    one: false,
    fields: &[
        Field::new("name", Shape::Text, sentence!("What people call the route; no two have the same.")),
        Field::new(
            "from",
            Shape::Pattern,
            sentence!("The source: a DynamoDB table's name, or `database.collection`. `*` stands for any text, `?` for one character."),
        )
        .required(),
        Field::new(
            "to",
            Shape::Template,
            sentence!("Where documents go: an index for OpenSearch, `collection` or `database.collection` for MongoDB. `{field}` stands for a field of the item. Left out: a target of the source's own name."),
        ),
        Field::new(
            "where",
            Shape::Expression,
            sentence!("Which items the route is for, as jq would say it: `.status == \"paid\" and (.deleted | not)`. Left out: all."),
        ),
        Field::new(
            "shard_key",
            Shape::List(&Shape::Text),
            sentence!("The fields of a sharded MongoDB collection's key, as paths of names with dots."),
        ),
        Field::new("on_outage", Shape::OneOf(ON_OUTAGE), sentence!("What becomes of changes while the target cannot be reached."))
            .default("retry"),
        Field::new("on_conflict", Shape::OneOf(ON_CONFLICT), sentence!("What becomes of a change when the target refuses a field of it."))
            .default("park"),
        Field::new("on_missing", Shape::OneOf(OTHERWISE), sentence!("What the route's steps do where their field is missing."))
            .default("skip"),
        Field::new(
            "on_wrong_type",
            Shape::OneOf(OTHERWISE),
            sentence!("What the route's steps do where their field is of a type that they cannot use."),
        )
        .default("park"),
        Field::new(
            "transform",
            Shape::List(&Shape::Object(&STEP)),
            sentence!("What becomes of an item's fields, step by step. `where`, `to` and `shard_key` see the item as it was."),
        ),
    ],
};

const ON_OUTAGE: &[Choice] = &[
    choice("retry", sentence!("the event source mapping repeats them until they pass")),
    choice("hold", sentence!("they go to the fallback queue and count as done; `redrive` applies them later")),
    choice("always_hold", sentence!("every change goes to the fallback queue, and `redrive` alone writes")),
];

const ON_CONFLICT: &[Choice] = &[
    choice("park", sentence!("it becomes a dead letter")),
    choice(
        "salvage",
        sentence!(
            "the document is written without the field, which is kept under `_rejected`, and a letter tells of it"
        ),
    ),
];

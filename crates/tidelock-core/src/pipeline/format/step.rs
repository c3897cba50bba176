//! The rows of a route's steps.

use super::{Choice, Field, Object, Shape, choice, sentence};

pub(super) static STEP: Object = Object {
    name: "step",
    doc: sentence!("One thing that is done with an item's fields: exactly one of these."),
    one: true,
    fields: &[
        Field::new(
            "default",
            Shape::Map { paths: true, of: &Shape::Json },
            sentence!("Puts values where fields are missing: `{age: null}`. A field that is null is there."),
        ),
        Field::new("convert", Shape::Object(&CONVERT), sentence!("Gives fields another type, exactly or not at all.")),
        Field::new(
            "rename",
            Shape::Map { paths: true, of: &Shape::Path },
            sentence!(
                "Moves fields, all at once: `{Name: name}`. A field of the new name that is there already parks the record; a `drop` before takes it away."
            ),
        ),
        Field::new(
            "copy",
            Shape::Map { paths: true, of: &Shape::Path },
            sentence!(
                "Copies fields, all at once: `{name: search.name}`. As for `rename`, there must be no field of the new name."
            ),
        ),
        Field::new("keep", FIELDS, sentence!("Keeps these fields and no others.")),
        Field::new("drop", FIELDS, sentence!("Takes these fields away.")),
        Field::new(
            "flatten",
            Shape::Object(&FLATTEN),
            sentence!("Puts a map's members beside it, and takes the map away."),
        ),
        Field::new("nest", Shape::Object(&NEST), sentence!("Moves fields into a map.")),
        Field::new("split", Shape::Object(&SPLIT), sentence!("Makes a list of a text.")),
        Field::new("join", Shape::Object(&JOIN), sentence!("Makes a text of fields.")),
        Field::new("mask", Shape::Object(&MASK), sentence!("Covers texts and numbers.")),
        Field::new(
            "hash",
            Shape::Object(&HASH),
            sentence!(
                "Puts a keyed hash in the place of values: HMAC-SHA256 in hexadecimal digits, with the key of `TIDELOCK_HASH_SECRET`."
            ),
        ),
        Field::new(
            "set",
            Shape::Map { paths: true, of: &Shape::Expression },
            sentence!(
                "Makes fields by expressions: `{total: '.price * .count'}`. Each sees the item as it is before the step. See docs/expressions.md."
            ),
        ),
    ],
};

const FIELDS: Shape = Shape::List(&Shape::Path);
const FIELD_OR_FIELDS: Shape = Shape::OneOrMany(&Shape::Path);

pub(super) const OTHERWISE: &[Choice] = &[
    choice("skip", sentence!("the step leaves the item as it is")),
    choice("default", sentence!("the step's `default` is put there, or null")),
    choice("park", sentence!("the record becomes a dead letter")),
];

static CONVERT: Object = Object {
    name: "convert",
    doc: sentence!("Gives fields another type, exactly or not at all."),
    one: false,
    fields: &[
        Field::new("field", FIELD_OR_FIELDS, sentence!("Which field, or fields.")).required(),
        Field::new("from", Shape::OneOf(FROM), sentence!("How the value tells a time; where it does not show.")),
        Field::new("to", Shape::OneOf(TO), sentence!("What it becomes.")).required(),
        Field::new(
            "scale",
            Shape::Count,
            sentence!("For `to: scaled`: the power of ten, 18 at most; 2 makes cents of euros."),
        ),
        Field::new(
            "default",
            Shape::Json,
            sentence!("What is put there where `on_missing` or `on_wrong_type` says `default`."),
        )
        .default("null"),
        Field::new(
            "on_missing",
            Shape::OneOf(OTHERWISE),
            sentence!("What is done where the field is missing. Left out: as the route says."),
        ),
        Field::new(
            "on_wrong_type",
            Shape::OneOf(OTHERWISE),
            sentence!("What is done where the value cannot be converted. Left out: as the route says."),
        ),
    ],
};

const FROM: &[Choice] = &[
    choice("epoch_seconds", sentence!("seconds since 1970, with at most three digits after the point")),
    choice("epoch_milliseconds", sentence!("milliseconds since 1970")),
    choice("epoch_microseconds", sentence!("microseconds since 1970, in whole milliseconds")),
    choice("rfc3339", sentence!("text such as `2020-04-29T13:22:08Z` or `2020-04-29T15:22:08+02:00`")),
    choice("base64", sentence!("text that is binary in Base64")),
    choice("hex", sentence!("text that is binary in hexadecimal digits")),
];

const TO: &[Choice] = &[
    choice("date", sentence!("a date: BSON's, or RFC 3339 text with milliseconds where documents are JSON")),
    choice("epoch_seconds", sentence!("seconds since 1970")),
    choice("epoch_milliseconds", sentence!("milliseconds since 1970")),
    choice("epoch_microseconds", sentence!("microseconds since 1970")),
    choice("text", sentence!("a number as text, every digit of it; a boolean or a date as text")),
    choice("exact_text", sentence!("the same")),
    choice("exact-text", sentence!("the same")),
    choice("number", sentence!("a text as number, every digit of it")),
    choice("double", sentence!("a double, of at most 15 digits")),
    choice("long", sentence!("an integer of 64 bits")),
    choice("scaled", sentence!("a number times ten to the power of `scale`, as an integer of 64 bits: cents of euros")),
    choice("binary", sentence!("binary of text in Base64, or in hexadecimal digits where `from` says so")),
    choice("base64", sentence!("binary as Base64 text")),
    choice("hex", sentence!("binary as hexadecimal text")),
    choice("boolean", sentence!("true of the text true or the number 1, false of false or 0")),
];

static FLATTEN: Object = Object {
    name: "flatten",
    doc: sentence!("Puts a map's members beside it, and takes the map away: `m: {a: {b: 1}}` becomes `m_a_b: 1`."),
    one: false,
    fields: &[
        Field::new("field", Shape::Path, sentence!("The map.")).required(),
        Field::new("separator", Shape::Text, sentence!("What stands between the names.")).default("_"),
    ],
};

static NEST: Object = Object {
    name: "nest",
    doc: sentence!("Moves fields into a map, in which there must be none of their names."),
    one: false,
    fields: &[
        Field::new("fields", FIELDS, sentence!("Which fields.")).required(),
        Field::new("into", Shape::Path, sentence!("The map; it is made where there is none.")).required(),
    ],
};

static SPLIT: Object = Object {
    name: "split",
    doc: sentence!("Makes a list of a text."),
    one: false,
    fields: &[
        Field::new("field", Shape::Path, sentence!("The text.")).required(),
        Field::new("separator", Shape::Text, sentence!("Where it is split.")).required(),
        Field::new("to", Shape::Path, sentence!("Where the list goes. Left out: in the text's place.")),
    ],
};

static JOIN: Object = Object {
    name: "join",
    doc: sentence!(
        "Makes a text of fields: texts, numbers, booleans, and lists of them. What is missing or null is passed over."
    ),
    one: false,
    fields: &[
        Field::new("fields", FIELDS, sentence!("Which fields.")).required(),
        Field::new("separator", Shape::Text, sentence!("What stands between them.")).required(),
        Field::new("to", Shape::Path, sentence!("Where the text goes.")).required(),
    ],
};

static MASK: Object = Object {
    name: "mask",
    doc: sentence!("Covers texts and numbers, character by character."),
    one: false,
    fields: &[
        Field::new("field", FIELD_OR_FIELDS, sentence!("Which field, or fields.")).required(),
        Field::new("keep_last", Shape::Count, sentence!("How many characters at the end stay.")).default("0"),
        Field::new("with", Shape::Text, sentence!("What stands for each of the others.")).default("*"),
    ],
};

static HASH: Object = Object {
    name: "hash",
    doc: sentence!("Puts a keyed hash in the place of values."),
    one: false,
    fields: &[Field::new("field", FIELD_OR_FIELDS, sentence!("Which field, or fields.")).required()],
};

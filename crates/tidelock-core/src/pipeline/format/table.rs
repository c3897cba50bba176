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
        Field::new(
            "indexes",
            Shape::Map { paths: false, of: &Shape::Object(&INDEX) },
            sentence!(
                "How OpenSearch's indices are made, by name; a name with `*` is a template for all that match. See docs/indexes.md."
            ),
        ),
    ],
};

const ANY: Shape = Shape::Map { paths: false, of: &Shape::Json };

static INDEX: Object = Object {
    name: "index",
    doc: sentence!("How an index is made, as OpenSearch's create index API takes it."),
    one: false,
    fields: &[
        Field::new("settings", ANY, sentence!("Shards, replicas, analyzers.")),
        Field::new("mappings", ANY, sentence!("The types of fields. `_tidelock` is added.")),
        Field::new("aliases", ANY, sentence!("Other names.")),
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
            sentence!(
                "The source: a DynamoDB table's name, or `database.collection`. `*` stands for any text, `?` for one character. Left out in routes that only the `also` of others leads to."
            ),
        ),
        Field::new(
            "to",
            Shape::Template,
            sentence!(
                "Where documents go: an index for OpenSearch, `collection` or `database.collection` for MongoDB. `{field}` stands for a field of the item, `{field:%Y.%m}` for a part of its date (`%Y`, `%m`, `%d`, `%H`, in UTC; of RFC 3339 text, or of seconds or milliseconds since 1970). Left out: a target of the source's own name."
            ),
        ),
        Field::new(
            "id",
            Shape::Template,
            sentence!(
                "The document's id: `{field}`, `order-{field}` or `{a}|{b}`. A lone field keeps its type; several are a document in MongoDB, and escaped and joined by `|` elsewhere. It must hold the source's key. Left out: the source's key."
            ),
        ),
        Field::new(
            "long_id",
            Shape::OneOf(LONG_ID),
            sentence!("What becomes of an id of more than the 512 bytes that OpenSearch allows."),
        )
        .default("park"),
        Field::new(
            "routing",
            Shape::Template,
            sentence!(
                "OpenSearch: what decides the shard, `{tenant}`. Its fields must be in the source's key or in `id`, so that one id never has two shards."
            ),
        ),
        Field::new(
            "ingest_pipeline",
            Shape::Text,
            sentence!(
                "OpenSearch: the ingest pipeline that documents go through. It must leave `_id`, `_index`, `_routing` and `_tidelock` as they are."
            ),
        ),
        Field::new(
            "also",
            Shape::List(&Shape::Text),
            sentence!(
                "Names of further routes that get the same change, each with a place, a `where` and steps of its own."
            ),
        ),
        Field::new("write", Shape::OneOf(WRITE), sentence!("Whether a document is replaced as a whole."))
            .default("replace"),
        Field::new(
            "preserve",
            Shape::List(&Shape::Text),
            sentence!("For `write: merge`: the fields at the top of documents that belong to the target's users."),
        ),
        Field::new(
            "deletes",
            Shape::OneOf(DELETES),
            sentence!("What becomes of the document when the item is deleted."),
        )
        .default("hard"),
        Field::new(
            "soft",
            Shape::Object(&SOFT),
            sentence!("For `deletes: soft`: how a document tells that it is deleted."),
        ),
        Field::new(
            "where",
            Shape::Expression,
            sentence!(
                "Which items the route is for, as jq would say it: `.status == \"paid\" and (.deleted | not)`. Left out: all."
            ),
        ),
        Field::new(
            "shard_key",
            Shape::List(&Shape::Text),
            sentence!("The fields of a sharded MongoDB collection's key, as paths of names with dots."),
        ),
        Field::new(
            "version",
            Shape::OneOfOr(VERSION, &VERSION_FIELD),
            sentence!(
                "Which of two changes of an item is the newer one: by the source's own order, or by a number that the item holds. The routes of a source have the same."
            ),
        )
        .default("auto"),
        Field::new(
            "locate",
            Shape::OneOf(LOCATE),
            sentence!("How it is known where the document of a changed item has been, where its place is made of fields or depends on `where`."),
        )
        .default("image"),
        Field::new(
            "on_outage",
            Shape::OneOf(ON_OUTAGE),
            sentence!(
                "What becomes of changes while the target cannot be reached. `retry` where the event source mapping answers for single records, `hold` for DocumentDB."
            ),
        ),
        Field::new(
            "on_conflict",
            Shape::OneOf(ON_CONFLICT),
            sentence!("What becomes of a change when the target refuses a field of it."),
        )
        .default("park"),
        Field::new(
            "on_drop",
            Shape::OneOf(ON_END),
            sentence!("DocumentDB: what becomes of the event that the collection was dropped."),
        )
        .default("park"),
        Field::new(
            "on_rename",
            Shape::OneOf(ON_END),
            sentence!("DocumentDB: what becomes of the event that the collection was renamed, and of the documents of its old name."),
        )
        .default("park"),
        Field::new(
            "on_drop_database",
            Shape::OneOf(ON_END),
            sentence!(
                "DocumentDB: what becomes of the event that the database was dropped. All routes from it must want the same."
            ),
        )
        .default("park"),
        Field::new(
            "on_invalidate",
            Shape::OneOf(ON_INVALIDATE),
            sentence!(
                "DocumentDB: what becomes of the event that the change stream has ended. All routes must want the same."
            ),
        )
        .default("park"),
        Field::new(
            "on_missing",
            Shape::OneOf(OTHERWISE),
            sentence!("What the route's steps do where their field is missing."),
        )
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
            sentence!(
                "What becomes of an item's fields, step by step. `where`, `to` and `shard_key` see the item as it was."
            ),
        ),
    ],
};

const LOCATE: &[Choice] = &[
    choice("image", sentence!("by the record's old image, which the stream must carry")),
    choice(
        "state",
        sentence!("by `TIDELOCK_STATE`, which remembers it: a read and a write of that table for each change"),
    ),
];

const LONG_ID: &[Choice] = &[
    choice("park", sentence!("its change becomes a dead letter")),
    choice("hash", sentence!("the id is `sha256-` and a hash of it")),
];

const WRITE: &[Choice] = &[
    choice("replace", sentence!("nothing else remains of what was there")),
    choice(
        "merge",
        sentence!("the fields in `preserve` stay as they are in the target; each write looks at the document first"),
    ),
];

const DELETES: &[Choice] = &[
    choice("hard", sentence!("it goes")),
    choice(
        "soft",
        sentence!("it stays, as the item was at last, and says that it is deleted; the stream needs old images"),
    ),
    choice("ignore", sentence!("it stays as it is")),
];

static SOFT: Object = Object {
    name: "soft",
    doc: sentence!("How a document tells that its item is deleted."),
    one: false,
    fields: &[
        Field::new("flag", Shape::Text, sentence!("The field that is true then.")).default("_deleted"),
        Field::new("at", Shape::Text, sentence!("The field with the time of the delete. Left out: none.")),
    ],
};

const VERSION: &[Choice] = &[choice("auto", sentence!("by the source's own order, as its stream tells it"))];

static VERSION_FIELD: Object = Object {
    name: "version",
    doc: sentence!(
        "A number of the item that grows with every change. A delete has the number of the item's last image, and is newer. What is older by number is read from the source again, so that functions need TIDELOCK_SOURCE."
    ),
    one: false,
    fields: &[Field::new(
        "field",
        Shape::Text,
        sentence!("The field with the number, a path of names with dots: whole, from 0 to 2^61."),
    )
    .required()],
};

const ON_OUTAGE: &[Choice] = &[
    choice("retry", sentence!("the event source mapping repeats them until they pass")),
    choice("hold", sentence!("they go to the fallback queue and count as done; `redrive` applies them later")),
    choice("always_hold", sentence!("every change goes to the fallback queue, and `redrive` alone writes")),
];

const ON_INVALIDATE: &[Choice] = &[
    choice("park", sentence!("it becomes a dead letter")),
    choice("ignore", sentence!("it is left out, and counts as done")),
];

const ON_END: &[Choice] = &[
    choice("park", sentence!("it becomes a dead letter, and the documents stay")),
    choice("ignore", sentence!("it is left out, counts as done, and the documents stay")),
    choice(
        "delete-all",
        sentence!("the documents go that have come of the collection before (docs/change-streams.md)"),
    ),
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

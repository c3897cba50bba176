//! As much of MongoDB as the target asks for, in memory: what the scripted server answers where a script has no other idea.

use crate::events::{run, whatever_the_hint};
use crate::scripted::{Reply, Scripted, found, name};
use crate::servers::{Server, servers};
use mongodb::bson::{Bson, Document, doc};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Collections by name, whatever the database.
#[derive(Default)]
pub(crate) struct Data {
    collections: BTreeMap<String, BTreeMap<String, Document>>,
    /// Fields with a unique index, by collection.
    unique: BTreeMap<String, String>,
}

impl Data {
    pub(crate) fn of(&self, collection: &str) -> Vec<Document> {
        self.collections.get(collection).map(|documents| documents.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn only(&self, collection: &str) -> Document {
        let documents = self.of(collection);
        assert_eq!(documents.len(), 1, "{documents:?}");
        documents[0].clone()
    }

    /// Writes without any guard, as a writer that nobody expects.
    pub(crate) fn put(&mut self, collection: &str, document: Document) {
        self.collections.entry(collection.to_owned()).or_default().insert(id(&document), document);
    }

    pub(crate) fn drop(&mut self, collection: &str) {
        self.collections.remove(collection);
    }

    pub(crate) fn make_unique(&mut self, collection: &str, field: &str) {
        self.unique.insert(collection.to_owned(), field.to_owned());
    }

    fn answer(&mut self, command: &Document) -> Document {
        let verb = name(command);
        let collection = command.get_str(&verb).unwrap_or_default();
        match verb.as_str() {
            "find" => return self.find(collection, command),
            "drop" => {
                self.drop(collection);
                return doc! {"ok": 1};
            }
            "dropDatabase" => {
                self.collections.clear();
                return doc! {"ok": 1};
            }
            "insert" | "update" | "delete" => {}
            _ => return doc! {"ok": 1},
        }
        let (mut n, mut errors) = (0, Vec::new());
        let statements = list(command, &if verb == "insert" { "documents".to_owned() } else { format!("{verb}s") });
        for (index, statement) in statements.iter().enumerate() {
            let nothing = doc! {"_id": statement.get("_id").cloned(), "$nothing": true};
            let filter = statement.get_document("q").unwrap_or(&nothing);
            let effect = match statement.get_document("u") {
                Ok(document) => {
                    self.replace(collection, filter, document, statement.get_bool("upsert").unwrap_or_default())
                }
                // Nothing that is stored meets the filter.
                Err(_) if verb == "insert" => self.replace(collection, filter, statement, true),
                Err(_) => Ok(self.delete(collection, filter, statement.get_i32("limit").unwrap_or_default() == 0)),
            };
            match effect {
                Ok(effect) => n += i32::from(effect),
                Err(()) => errors.push(doc! {"index": index as i32, "code": 11000, "errmsg": "duplicate key"}),
            }
        }
        let mut answer = doc! {"n": n, "ok": 1};
        if !errors.is_empty() {
            answer.insert("writeErrors", errors);
        }
        answer
    }

    fn find(&self, collection: &str, command: &Document) -> Document {
        let filter = command.get_document("filter").expect("a filter");
        let all = self.collections.get(collection).into_iter().flatten().map(|(_, document)| document);
        let mut documents: Vec<Document> = all.filter(|document| matches(document, filter)).cloned().collect();
        if let Ok(sort) = command.get_document("sort") {
            documents.sort_by(|a, b| {
                let by = |field: &String| compare(a.get(field).expect("a field"), b.get(field).expect("a field"));
                sort.keys().filter_map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            });
        }
        if let Ok(limit) = command.get_i64("limit") {
            documents.truncate(limit as usize);
        }
        let Reply::Answer(answer) = found(documents) else { unreachable!("an answer") };
        answer
    }

    fn delete(&mut self, collection: &str, filter: &Document, all: bool) -> bool {
        let documents = self.collections.entry(collection.to_owned()).or_default();
        if all {
            documents.retain(|_, stored| !matches(stored, filter));
            return true;
        }
        let place = id(filter);
        let matches = documents.get(&place).is_some_and(|stored| matches(stored, filter));
        matches && documents.remove(&place).is_some()
    }

    fn replace(&mut self, collection: &str, filter: &Document, document: &Document, upsert: bool) -> Result<bool, ()> {
        let unique = self.unique.get(collection);
        let documents = self.collections.entry(collection.to_owned()).or_default();
        // Every filter of a write names an id.
        let place = id(filter);
        let there = documents.get(&place).map(|stored| matches(stored, filter));
        if there != Some(true) && !upsert {
            return Ok(false);
        }
        let same =
            |stored: &Document, field: &str| stored.get(field).is_some() && stored.get(field) == document.get(field);
        let taken = |field: &String| documents.iter().any(|(id, stored)| *id != place && same(stored, field));
        if there == Some(false) || unique.is_some_and(taken) {
            return Err(());
        }
        documents.insert(place, document.clone());
        Ok(true)
    }
}

fn id(document: &Document) -> String {
    document.get("_id").expect("an id").to_string()
}

fn list(command: &Document, name: &str) -> Vec<Document> {
    let list = command.get_array(name).expect("a list");
    list.iter().map(|one| one.as_document().expect("a document").clone()).collect()
}

fn matches(document: &Document, filter: &Document) -> bool {
    filter.iter().all(|(path, condition)| {
        if path == "$or" {
            let any = condition.as_array().expect("a list");
            return any.iter().any(|filter| matches(document, filter.as_document().expect("a filter")));
        }
        let (first, rest) = path.split_once('.').map_or((path.as_str(), None), |(first, rest)| (first, Some(rest)));
        let value = document.get(first);
        let value = rest.map_or(value, |name| value.and_then(Bson::as_document).and_then(|inner| inner.get(name)));
        match condition.as_document().filter(|one| one.keys().next().is_some_and(|name| name.starts_with('$'))) {
            Some(operators) => operators.iter().all(|(operator, operand)| meets(value, operator, operand)),
            None => value == Some(condition),
        }
    })
}

fn meets(value: Option<&Bson>, operator: &str, operand: &Bson) -> bool {
    let order = value.and_then(|value| compare(value, operand));
    match operator {
        "$exists" => value.is_some() == operand.as_bool().expect("a choice"),
        "$eq" => value == Some(operand),
        "$in" => value.is_some_and(|value| operand.as_array().expect("a list").contains(value)),
        "$lt" => order == Some(Ordering::Less),
        "$gt" => order == Some(Ordering::Greater),
        "$gte" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        other => panic!("unknown operator {other}"),
    }
}

fn compare(a: &Bson, b: &Bson) -> Option<Ordering> {
    match (a, b) {
        (Bson::Int64(a), Bson::Int64(b)) => Some(a.cmp(b)),
        (Bson::String(a), Bson::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// A server of such data.
pub(crate) struct Model {
    pub(crate) server: Scripted,
    data: Arc<Mutex<Data>>,
}

impl Model {
    pub(crate) async fn start() -> Self {
        Self::with(|_, _| None).await
    }

    /// Before each command, `meddle` may change the data, or answer in its own way.
    pub(crate) async fn with(mut meddle: impl FnMut(&Document, &mut Data) -> Option<Reply> + Send + 'static) -> Self {
        let data = Arc::<Mutex<Data>>::default();
        let shared = Arc::clone(&data);
        let server = Scripted::start(move |command| {
            let mut data = shared.lock().expect("the data");
            meddle(command, &mut data).unwrap_or_else(|| Reply::Answer(data.answer(command)))
        })
        .await;
        Self { server, data }
    }

    pub(crate) fn data<T>(&self, with: impl FnOnce(&mut Data) -> T) -> T {
        with(&mut self.data.lock().expect("the data"))
    }
}

/// Runs a test on a model, and on each real server there is.
pub(crate) fn everywhere(test: impl AsyncFn(&Server)) {
    whatever_the_hint(|| {
        run(async {
            let model = Model::start().await;
            let address = model.server.address();
            test(&Server { name: "the model", uri: format!("mongodb://{address}/"), large_batch: 0 }).await;
        });
        servers().iter().for_each(|server| run(test(server)));
    });
}

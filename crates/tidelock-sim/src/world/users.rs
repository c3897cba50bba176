//! The target's users, who write to the fields that are theirs while everything else goes on; and who looks after that nobody
//! writes over them.
//!
//! What a user writes between a look at a document and the write that follows may be lost (docs/guarantees.md, Limits). Nothing else
//! may: whatever is written carries the field as it was when the same client looked at it last.

use super::World;
use super::history::History;
use super::ledger::Ledger;
use super::routing::{Location, NOTE};
use crate::chaos::Chaos;
use crate::path::Route;
use crate::transport::EngineTransport;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tidelock_core::cause::Failure;
use tidelock_opensearch::{Request, Response, Transport};

/// Somebody writes to documents.
pub(crate) fn edit(world: &World) {
    let indices = world.history.routing.indices();
    let theirs = |location: &Location| world.history.routing.manner_at(location).merges;
    let mut open: Vec<Location> = Vec::new();
    for index in indices {
        let ids = world.engine.documents(&index).into_keys();
        open.extend(ids.map(|id| Location { index: index.clone(), id }).filter(theirs));
    }
    world.rng.borrow_mut().shuffle(&mut open);
    open.truncate(usize::try_from(world.between(1, 30)).unwrap_or_default());
    world.storm.note("user's edit beside the stream");
    for Location { index, id } in open {
        let note = json!(format!("note {}", world.between(0, 1_000_000)));
        world.note(|| format!("a user writes {note} into {index}/{id}"));
        world.engine.edit(&index, &id, NOTE, note);
    }
}

/// A way to the engine on which it is seen what of the users' fields is read and written.
pub(crate) struct Witness {
    way: EngineTransport,
    history: Rc<History>,
    ledger: Rc<Ledger>,
    /// The users' field, as it was when it was looked at last.
    seen: RefCell<BTreeMap<Location, Value>>,
}

impl Witness {
    pub(crate) fn new(world: &World, chaos: Rc<dyn Chaos>) -> Self {
        let way = EngineTransport::new(world.engine.clone(), chaos);
        let (history, ledger) = (Rc::clone(&world.history), Rc::clone(&world.ledger));
        Self { way, history, ledger, seen: RefCell::default() }
    }

    /// What documents are asked for whole, by position.
    fn asked(index: Option<&str>, body: &[u8]) -> Vec<Option<Location>> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let docs = body["docs"].as_array().into_iter().flatten();
        docs.map(|doc| {
            let index = doc["_index"].as_str().or(index)?.to_owned();
            let id = doc["_id"].as_str()?.to_owned();
            (doc["_source"] == true).then_some(Location { index, id })
        })
        .collect()
    }

    fn looked(&self, asked: Vec<Option<Location>>, response: &Response) {
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let docs = answer["docs"].as_array().map_or(&[][..], Vec::as_slice);
        if docs.len() == asked.len() {
            for (location, doc) in asked.into_iter().zip(docs) {
                location.map(|location| self.seen.borrow_mut().insert(location, doc["_source"][NOTE].clone()));
            }
        }
    }

    /// Compares what is about to be written with what was seen.
    fn check(&self, index: Option<&str>, body: &[u8]) {
        let mut lines = body.split(|byte| *byte == b'\n');
        while let Some(line) = lines.next() {
            let action: Value = serde_json::from_slice(line).unwrap_or_default();
            let Some(meta) = action.get("index") else { continue };
            let document: Value = lines.next().and_then(|line| serde_json::from_slice(line).ok()).unwrap_or_default();
            let (index, id) = (meta["_index"].as_str().or(index), meta["_id"].as_str());
            let (Some(index), Some(id)) = (index, id) else { continue };
            let location = Location { index: index.to_owned(), id: id.to_owned() };
            if !self.history.routing.indices().contains(&location.index)
                || !self.history.routing.manner_at(&location).merges
            {
                continue;
            }
            let seen = self.seen.borrow().get(&location).cloned();
            if seen.as_ref() != Some(&document[NOTE]) {
                self.ledger.complain(format!(
                    "{index}/{id} is written with the users' field as {}, seen was {seen:?}",
                    document[NOTE]
                ));
            }
        }
    }
}

impl Transport for Witness {
    async fn send(&self, request: Request, deadline: std::time::Instant) -> Result<Response, Failure> {
        if !self.history.routing.merges() {
            return self.way.send(request, deadline).await;
        }
        match Route::of(request.method, &request.path) {
            Route::MultiGet(index, _) => {
                let asked = Self::asked(index.as_deref(), &request.body);
                let response = self.way.send(request, deadline).await?;
                if response.status == 200 {
                    self.looked(asked, &response);
                }
                Ok(response)
            }
            Route::Bulk(index, _) => {
                self.check(index.as_deref(), &request.body);
                self.way.send(request, deadline).await
            }
            _ => self.way.send(request, deadline).await,
        }
    }

    fn place(&self) -> &str {
        self.way.place()
    }
}

//! Truth writes: what the source's collection holds now is what the target holds.

use crate::events::{place, run, target, within};
use crate::model::{Model, everywhere};
use crate::scripted::{Scripted, refused};
use crate::source::{key_of, source};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId};
use std::time::Duration;
use tidelock_core::cause::Cause;
use tidelock_core::fence::FENCE_COLLECTION;
use tidelock_core::pipeline::{Routed, Rules};
use tidelock_core::slow::{Source, Wish, truth};
use tidelock_core::source::mongodb::DocumentKey;
use tidelock_core::target::{Done, Outcome, Salvage};
use tidelock_core::version::Version;
use tidelock_core::version::mongodb::space;
use tidelock_mongodb::MongoDbTarget;

const SPACE: &str = "mongodb:rs0:shop.orders";

/// The version of a change, as text.
fn exact(second: u64) -> String {
    format!("{:020}", second << 32)
}

fn mark(second: u64) -> Document {
    doc! {"space": SPACE, "label": "", "exact": exact(second), "at": (second * 1_000) as i64}
}

/// Writes what the source says, for changes of that second.
async fn truths<S: Source>(
    target: &MongoDbTarget,
    source: &S,
    origin: &str,
    keys: &[DocumentKey],
    second: u64,
) -> Vec<Outcome> {
    assert_eq!(SPACE, space("rs0", "shop", "orders"));
    let (into, exact) = (place("c"), exact(second));
    let coarse = i64::try_from(second << 32).expect("small");
    let version = Version { space: SPACE, label: "", exact: &exact, token: "", coarse, at: (second * 1_000) as i64 };
    let rules = Rules::Same(Routed::To(into.clone()), None);
    let wish = |key| Wish { origin, rules: &rules, into: &into, key, version, salvage: Salvage::Never, manner: None };
    let wishes: Vec<Wish<'_>> = keys.iter().map(|key| wish(key.key())).collect();
    let told = truth(target, source, &wishes, within(Duration::from_secs(20))).await;
    told.into_iter().map(|told| told.outcome).collect()
}

#[test]
fn the_target_becomes_what_the_source_is() {
    everywhere(async |server| {
        let (from, to) = (server.database().await, server.database().await);
        // The model has one set of collections for all databases.
        let orders = from.database.collection::<Document>("orders");
        let id = ObjectId::from_bytes([7; 12]);
        orders
            .insert_many([
                doc! {"_id": id, "v": "new", "list": [1.5, {"a": 5_i64}]},
                doc! {"_id": 7, "v": "seven"},
                doc! {"_id": {"b": 1, "a": 2}, "v": "composite"},
                doc! {"_id": "kept", "v": "old"},
            ])
            .await
            .expect(server.name);
        to.collection()
            .insert_many([
                doc! {"_id": id, "v": "old", "gone": true, "_tidelock": mark(5)},
                doc! {"_id": "deleted", "v": "old", "_tidelock": mark(5)},
                doc! {"_id": "foreign", "v": "another's"},
                doc! {"_id": "kept", "v": "old", "_tidelock": mark(9)},
            ])
            .await
            .expect(server.name);
        let (source, target) = (source(&from.uri), target(&to.uri));
        let origin = format!("{}.orders", from.database.name());
        let ids: [Bson; 6] =
            [id.into(), 7.0.into(), doc! {"b": 1, "a": 2}.into(), "deleted".into(), "foreign".into(), "kept".into()];
        let keys = ids.map(key_of);
        let outcomes = truths(&target, &source, &origin, &keys, 6).await;
        assert_eq!(outcomes, [const { Ok(Done::Applied) }; 6], "{}", server.name);

        let stored = to.database.collection::<RawDocumentBuf>("c");
        for document in [
            doc! {"_id": id, "v": "new", "list": [1.5, {"a": 5_i64}], "_tidelock": mark(6)},
            doc! {"_id": 7, "v": "seven", "_tidelock": mark(6)},
            doc! {"_id": {"b": 1, "a": 2}, "v": "composite", "_tidelock": mark(6)},
            // Its version is never lowered.
            doc! {"_id": "kept", "v": "old", "_tidelock": mark(9)},
        ] {
            let id = document.get("_id").expect("an id").clone();
            let found = stored.find_one(doc! {"_id": id}).await.expect("read").expect("there");
            assert_eq!(found.as_bytes(), document.to_vec().expect("serializable"), "{}: {document}", server.name);
        }
        assert_eq!(to.find(doc! {}).await.len(), 4, "{}", server.name);
        let fences = to.database.collection::<Document>(FENCE_COLLECTION);
        for (gone, second) in [("deleted", 6), ("foreign", 6)] {
            assert_eq!(stored.find_one(doc! {"_id": gone}).await.expect("read"), None, "{}: {gone}", server.name);
            let fence = fences.find_one(doc! {"id": gone}).await.expect("read").expect("a fence");
            assert_eq!(fence.get("_tidelock"), Some(&mark(second).into()), "{}: {gone}", server.name);
        }
        from.drop().await;
        to.drop().await;
    });
}

#[test]
fn a_document_that_is_deleted_meanwhile_is_deleted() {
    everywhere(async |server| {
        let (from, to) = (server.database().await, server.database().await);
        let orders = from.database.collection::<Document>("orders");
        let (source, target) = (source(&from.uri), target(&to.uri));
        let origin = format!("{}.orders", from.database.name());
        let keys = [key_of("a"), key_of("b")];
        orders
            .insert_many([doc! {"_id": "a", "value": "1"}, doc! {"_id": "b", "value": "1"}])
            .await
            .expect(server.name);
        assert_eq!(truths(&target, &source, &origin, &keys, 5).await, [Ok(Done::Applied), Ok(Done::Applied)]);
        assert_eq!(to.values().await, ["a=1", "b=1"], "{}", server.name);
        // The change that asks for the truth is an old one; what it finds is newer.
        orders.delete_one(doc! {"_id": "a"}).await.expect("deleted");
        assert_eq!(truths(&target, &source, &origin, &keys, 4).await, [Ok(Done::Applied), Ok(Done::Applied)]);
        assert_eq!(to.values().await, ["b=1"], "{}", server.name);
        let fence = to.database.collection::<Document>(FENCE_COLLECTION).find_one(doc! {"id": "a"}).await;
        let fence = fence.expect("read").expect("a fence");
        assert_eq!(fence.get("_tidelock"), Some(&mark(5).into()), "{}: as new as what it has removed", server.name);
        from.drop().await;
        to.drop().await;
    });
}

#[test]
fn a_source_that_cannot_be_read_deletes_nothing() {
    run(async {
        let model = Model::start().await;
        model.data(|data| data.put("c", doc! {"_id": "a", "value": "kept", "_tidelock": mark(5)}));
        let before = model.data(|data| data.of("c"));
        let broken = Scripted::start(|_| refused(13)).await;
        let (source, target) = (source(&broken.uri("")), target(&model.server.uri("")));
        let outcomes = truths(&target, &source, "shop.orders", &[key_of("a"), key_of("b")], 6).await;
        for outcome in outcomes {
            assert_eq!(outcome.expect_err("unreadable").cause, Cause::SourceUnreadable);
        }
        assert_eq!(model.data(|data| data.of("c")), before);
        assert_eq!(model.data(|data| data.of(FENCE_COLLECTION)), Vec::<Document>::new());
    });
}

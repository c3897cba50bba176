//! The slow lanes, with a live lane that delivers between any two of their steps.

use crate::support::{Change, Folder, by, operations, place, run, soon};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::time::Instant;
use tidelock_core::batch::Batch;
use tidelock_core::cause::{Cause, Failure};
use tidelock_core::encode::Format;
use tidelock_core::fence::{Cleared, Swept, Window};
use tidelock_core::image::Notation;
use tidelock_core::key::Key;
use tidelock_core::pipeline::{Routed, Rules};
use tidelock_core::slow::{Item, ReadResult, Source, Wish, settle, truth};
use tidelock_core::target::{Call, Done, Found, Operation, Outcome, Place, Put, Salvage, Store, Target, Write};
use tidelock_core::version::Mark;
use tidelock_sqlite::{SqliteTarget, Unchanged, documents};

const NAME: &str = "mytable";

/// One item's history, as the source has made it and as the live lane has delivered it so far.
struct World {
    live: SqliteTarget,
    history: Batch,
    into: Place,
    /// How many changes the source has made.
    made: Cell<usize>,
    /// How many of them are delivered.
    delivered: Cell<usize>,
    /// What happens at each step of the slow lane: changes made, changes delivered.
    script: RefCell<std::vec::IntoIter<(u8, u8)>>,
}

impl World {
    fn operation(&self, index: usize) -> Operation<'_> {
        operations(&self.history, &self.into)[index]
    }

    /// Lets the others have their turn.
    async fn others(&self) {
        let Some((made, delivered)) = self.script.borrow_mut().next() else { return };
        self.made.set((self.made.get() + usize::from(made)).min(self.history.slots.len()));
        self.deliver(usize::from(delivered)).await;
    }

    async fn deliver(&self, count: usize) {
        for _ in 0..count {
            let next = self.delivered.get();
            if next == self.made.get() {
                return;
            }
            let outcomes = self.live.apply(&[self.operation(next)], by(soon())).await;
            assert!(outcomes[0].is_ok(), "{outcomes:?}");
            self.delivered.set(next + 1);
        }
    }
}

/// The slow lane's way to the target.
struct Between<'w> {
    target: SqliteTarget,
    world: &'w World,
}

impl Target for Between<'_> {
    fn format(&self) -> Format {
        self.target.format()
    }

    async fn apply(&self, operations: &[Operation<'_>], call: Call) -> Vec<Outcome> {
        self.target.apply(operations, call).await
    }
}

impl Store for Between<'_> {
    type Witness = Unchanged;

    async fn look(&self, operations: &[Operation<'_>], call: Call) -> Vec<Result<Found<Unchanged>, Failure>> {
        self.world.others().await;
        self.target.look(operations, call).await
    }

    async fn put(&self, puts: &[Put<'_, Unchanged>], call: Call) -> Vec<Result<bool, Failure>> {
        self.world.others().await;
        self.target.put(puts, call).await
    }

    async fn ping(&self, deadline: Instant) -> Result<(), Failure> {
        self.target.ping(deadline).await
    }

    async fn sweep(&self, window: Window, call: Call) -> Result<Swept, Failure> {
        self.target.sweep(window, call).await
    }

    async fn clear(&self, into: &Place, fence: &Mark, call: Call) -> Result<Cleared, Failure> {
        self.target.clear(into, fence, call).await
    }
}

impl Source for World {
    async fn read(&self, origin: &str, keys: &[Key<'_>], format: Format, _: Instant) -> Vec<ReadResult> {
        assert_eq!((origin, keys.len(), format), (NAME, 1, Format::Json));
        self.others().await;
        let Some(last) = self.made.get().checked_sub(1) else { return vec![Ok(None)] };
        vec![Ok(match self.operation(last).write {
            Write::Upsert(document) => {
                let (document, notation, bytes) = (Ok(document.to_vec()), Notation::DynamoDb, b"{}".to_vec());
                Some(Item { document, notation, bytes })
            }
            Write::Delete => None,
        })]
    }
}

/// Changes of one item: `true` puts it, `false` removes it.
fn history() -> impl Strategy<Value = Vec<bool>> {
    proptest::collection::vec(any::<bool>(), 1..7)
}

fn script() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0..3_u8, 0..4_u8), 0..16)
}

fn world(folder: &Folder, history: &[bool], script: Vec<(u8, u8)>) -> World {
    let change = |(index, put): (usize, &bool)| {
        let sequence = index as u64 + 1;
        if *put { Change::put(sequence, &sequence.to_string()) } else { Change::remove(sequence) }
    };
    let changes: Vec<Change> = history.iter().enumerate().map(change).collect();
    World {
        live: SqliteTarget::open(folder.database()).expect("open"),
        history: crate::support::batch(&changes),
        into: place("t"),
        made: Cell::new(0),
        delivered: Cell::new(0),
        script: RefCell::new(script.into_iter()),
    }
}

/// Checks that in the end the target holds what the history says.
async fn check(folder: &Folder, world: &World) -> Result<(), TestCaseError> {
    world.made.set(world.history.slots.len());
    world.deliver(usize::MAX).await;
    let stored = documents(folder.database(), "t").expect("readable");
    let stored: Vec<&str> = stored.iter().map(|row| row.document.as_str()).collect();
    let expected = match world.operation(world.made.get() - 1).write {
        Write::Upsert(document) => vec![format!("{}}}", std::str::from_utf8(document).expect("text"))],
        Write::Delete => vec![],
    };
    prop_assert_eq!(stored, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_that_comes_late_never_undoes_a_later_one(history in history(), late in any::<prop::sample::Index>(), script in script()) {
        let folder = Folder::new();
        let world = world(&folder, &history, script);
        run(async {
            let late = late.index(history.len());
            world.made.set(late + 1);
            let target = SqliteTarget::open(folder.database()).expect("open");
            let slow = Between { target, world: &world };
            let outcomes = settle(&slow, &[world.operation(late)], by(soon())).await;
            prop_assert!(outcomes[0].is_ok(), "{:?}", outcomes);
            check(&folder, &world).await
        })?;
    }

    #[test]
    fn what_the_source_says_now_never_hides_a_later_change(history in history(), asked in any::<prop::sample::Index>(), script in script()) {
        let folder = Folder::new();
        let world = world(&folder, &history, script);
        run(async {
            let asked = asked.index(history.len());
            world.made.set(asked + 1);
            let target = SqliteTarget::open(folder.database()).expect("open");
            let slow = Between { target, world: &world };
            let operation = world.operation(asked);
            let rules = Rules::Same(Routed::To(world.into.clone()), None);
            let wish = Wish { origin: NAME, rules: &rules, into: &world.into, key: operation.key, version: operation.version, salvage: Salvage::Never, manner: None };
            let told = truth(&slow, &world, &[wish], by(soon())).await;
            let outcomes: Vec<_> = told.into_iter().map(|told| told.outcome).collect();
            prop_assert_eq!(outcomes, vec![Ok(Done::Applied)]);
            check(&folder, &world).await
        })?;
    }
}

#[test]
fn a_document_of_another_source_is_written_over_by_truth_alone() {
    let folder = Folder::new();
    let world = world(&folder, &[true], vec![]);
    world.made.set(1);
    let target = SqliteTarget::open(folder.database()).expect("open");
    run(async {
        let operation = world.operation(0);
        // Makes the table.
        target.put(&[Put { operation, over: None }], by(soon())).await[0].as_ref().expect("written");
        let connection = rusqlite::Connection::open(folder.database()).expect("open");
        connection.execute("UPDATE t SET document = '{}', _tidelock = 'text'", []).expect("update");
        let outcomes = settle(&target, &[operation], by(soon())).await;
        assert_eq!(outcomes[0].as_ref().expect_err("foreign").cause, Cause::ForeignDocument);
        let rules = Rules::Same(Routed::To(world.into.clone()), None);
        let wish = Wish {
            origin: NAME,
            rules: &rules,
            into: &world.into,
            key: operation.key,
            version: operation.version,
            salvage: Salvage::Never,
            manner: None,
        };
        let told = truth(&target, &world, &[wish], by(soon())).await;
        assert_eq!(told.into_iter().map(|told| told.outcome).collect::<Vec<_>>(), [Ok(Done::Applied)]);
        check(&folder, &world).await.expect("what the history says");
    });
}

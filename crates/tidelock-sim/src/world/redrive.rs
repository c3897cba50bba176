//! Redrive as the function makes it: on the schedule, on demand, by a mapping; killed half-way, two at a time, late.

use super::World;
use super::bucket::{FAILURES, ShelfClient};
use super::function::{Target, target};
use super::given_up::Stream;
use super::history::TABLE;
use super::operator::{call, survey};
use super::singly::{dawdling, lingering};
use super::sqs::{Sqs, SqsClient};
use super::storm::Hits;
use super::table::Table;
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};
use tidelock_core::queue::{Message, Queue as _};
use tidelock_core::redrive::{
    Desk, Filter, Mode, Order, Outlets, PATIENCE, Redriven, Renewal, drain_queue, redrive_failures, redrive_messages,
};
use tidelock_core::source::KINDS;
use tidelock_core::state::NoState;
use tidelock_core::target::Call;
use tokio::time::{Instant, timeout};

/// What is redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Fallback,
    DeadLetters,
    Failures,
}

const EVERYTHING: [What; 3] = [What::Fallback, What::Failures, What::DeadLetters];

/// The time by the clock of the simulation.
pub(crate) fn clock() -> StdInstant {
    Instant::now().into_std()
}

/// The parts of one run.
struct Tools {
    target: Target,
    hits: Hits,
    fallback: SqsClient,
    dead_letters: SqsClient,
    failures: SqsClient,
    bucket: ShelfClient,
    stream: Stream,
    /// The pipeline has changed since: nothing is salvaged.
    careful: bool,
}

impl Tools {
    fn new(world: &World, target: Target) -> Self {
        let hits = Hits::new(&world.storm);
        let queue = |queue: &Rc<Sqs>| queue.client(&hits);
        Self {
            target,
            fallback: queue(&world.fallback),
            dead_letters: queue(&world.dead_letters),
            failures: queue(&world.failures),
            bucket: world.shelf.client(&hits),
            stream: Stream::new(world, &hits),
            careful: false,
            hits,
        }
    }

    fn desk<'a>(&'a self, world: &'a World, source: bool) -> Desk<'a, Target, Table, NoState> {
        Desk {
            pipeline: if self.careful { &world.careful } else { &world.pipeline },
            target: &self.target,
            source: source.then_some(&world.table),
            state: None,
            function: "redrive",
            fence_life_ms: world.climate.fence_life_ms,
            kinds: KINDS,
            patience: PATIENCE,
            clock,
            watch: &|_| {},
        }
    }

    fn outlets(&self) -> Outlets<'_, SqsClient, ShelfClient, Stream> {
        Outlets { dead_letters: Some(&self.dead_letters), bucket: Some(&self.bucket), streams: Some(&self.stream) }
    }

    async fn redrive(&self, world: &World, what: What, source: bool, order: &Order, call: Call) -> Redriven {
        let (desk, outlets) = (self.desk(world, source), self.outlets());
        let queue = match what {
            What::Fallback => &self.fallback,
            What::DeadLetters => &self.dead_letters,
            What::Failures if world.climate.gives_up.is_some_and(|how| !how.whole) => &self.failures,
            What::Failures => {
                return redrive_failures(&desk, &self.bucket, FAILURES, outlets, order, call).await;
            }
        };
        drain_queue(&desk, queue, outlets, order, call).await
    }

    /// How often something was to be changed.
    fn changes(&self) -> usize {
        let queues = [&self.fallback, &self.dead_letters, &self.failures].map(|queue| queue.changes.get());
        queues.iter().sum::<usize>() + self.bucket.changes.get()
    }

    /// Notes what has hit the run, and what became of the records at hand.
    fn account(&self, world: &World, redriven: Option<&Redriven>) {
        for _ in 0..world.table.take_unreadable() {
            self.hits.note("source unreadable");
        }
        if redriven.is_some_and(is_starved) {
            world.complain("a redrive had no time left for what it had done".to_owned());
        }
        let hits = self.hits.take();
        let mut counts = world.counts.borrow_mut();
        hits.iter().for_each(|fault| counts.struck(fault));
        match redriven {
            Some(redriven) => {
                counts.redriven(&hits, redriven);
                counts.redriven(&world.left_behind.take(), redriven);
            }
            None => world.left_behind.borrow_mut().extend(hits),
        }
    }
}

/// An order as somebody may give it.
fn order(world: &World) -> Order {
    let reasons = if world.chance(8) { vec!["mapping_conflict".to_owned()] } else { Vec::new() };
    Order {
        filter: Filter { reasons, source: world.chance(8).then(|| TABLE.to_owned()), ..Filter::default() },
        mode: if world.chance(if world.climate.source { 4 } else { 20 }) { Mode::Truth } else { Mode::Payload },
        dry_run: world.chance(12),
        // Fences live much longer than the world does, whatever is said.
        force: world.chance(4),
        limit: world.chance(4).then(|| usize::try_from(world.between(1, 30)).unwrap_or(1)),
    }
}

/// One run, which may die half-way.
async fn run(world: Rc<World>, what: What, order: Order, target: Target, note: Option<&'static str>) {
    let tools = Tools::new(&world, target);
    note.into_iter().for_each(|fault| tools.hits.note(fault));
    let seconds = if world.chance(3) { world.between(5, 20) } else { world.between(20, 600) };
    let call = call(&world, Duration::from_secs(seconds));
    let work = tools.redrive(&world, what, world.climate.source, &order, call);
    let killed = tools.hits.strikes("redrive killed", 4);
    // Most of what can be cut in two happens soon.
    let until = if world.chance(2) { 1_000 } else { 60_000 };
    let time = if killed { Duration::from_millis(world.between(1, until)) } else { Duration::from_secs(3_600) };
    let redriven = timeout(time, work).await.ok();
    world.note(|| format!("redrive {what:?} {order:?}: {redriven:?}"));
    if order.dry_run && tools.changes() > 0 {
        world.complain(format!("a dry run of {what:?} has changed something"));
    }
    if redriven.is_none() && !killed {
        world.complain(format!("a redrive of {what:?} ran longer than its time"));
    }
    tools.account(&world, redriven.as_ref());
}

/// The target was waited for until nothing could be stored or deleted any more: the next run has to do it all again. Where the
/// queue has let the run wait, it is not the target's doing.
fn is_starved(redriven: &Redriven) -> bool {
    let why = || redriven.kept_because.iter().map(|(_, why)| why).chain(&redriven.stopped);
    let queue_waits = why().any(|why| why.ends_with("the queue did not answer"));
    !queue_waits
        && why().any(|why| ["deleted: time was over", "stored: time was over"].iter().any(|end| why.ends_with(end)))
}

/// Redrives on the schedule for as long as the stream is followed.
pub(crate) async fn on_schedule(world: &Rc<World>) {
    let Some((shortest, longest)) = world.climate.schedule else { return };
    while !world.drained.get() {
        tokio::time::sleep(Duration::from_secs(world.between(shortest, longest))).await;
        // As the function does: what would expire comes first.
        if world.chance(4) {
            survey(world).await;
        }
        for what in [What::Fallback, What::Failures] {
            run(Rc::clone(world), what, Order::default(), target(world), None).await;
        }
    }
}

/// Redrives something, now and then twice at a time.
pub(crate) async fn at_random(world: Rc<World>) {
    let what = world.rng.borrow_mut().choice(EVERYTHING).unwrap_or(What::Fallback);
    let target = |world: &World| if world.chance(3) { dawdling(world) } else { target(world) };
    if world.chance(2) {
        return run(Rc::clone(&world), what, order(&world), target(&world), None).await;
    }
    let twice = Some("two redrives at once");
    let first = run(Rc::clone(&world), what, order(&world), target(&world), twice);
    let second = async {
        tokio::time::sleep(Duration::from_millis(world.between(0, 500))).await;
        run(Rc::clone(&world), what, order(&world), target(&world), twice).await;
    };
    tokio::join!(first, second);
}

/// Redrives what has just been held, slowly.
pub(crate) async fn redrive_at_once(world: &Rc<World>) {
    run(Rc::clone(world), What::Fallback, Order::default(), dawdling(world), Some("redriven at once")).await;
}

/// Messages as a mapping of their queue delivers them.
pub(crate) async fn by_mapping(world: Rc<World>) {
    let tools = Tools::new(&world, target(&world));
    tools.hits.note("redriven by a mapping");
    let queues = [&tools.dead_letters, &tools.failures, &tools.fallback];
    let queue = world.rng.borrow_mut().choice(queues).unwrap_or(&tools.fallback);
    let call = call(&world, Duration::from_secs(world.between(5, 120)));
    let Ok(messages) = queue.take(10, Duration::from_secs(600), call.deadline).await else {
        return tools.account(&world, None);
    };
    let receipts: Vec<String> = messages.iter().map(|message| message.receipt.clone()).collect();
    let desk = tools.desk(&world, world.climate.source);
    let order = Order::default();
    // As if the queue kept messages for a moment: some are sent anew.
    let renewal = world.chance(4).then_some(Renewal { before_ms: i64::MAX });
    let work = redrive_messages(&desk, messages, Some(queue), renewal, tools.outlets(), &order, call);
    let killed = tools.hits.strikes("redrive killed", 4);
    let time = if killed { Duration::from_millis(world.between(1, 5_000)) } else { Duration::from_secs(3_600) };
    let Ok((done, redriven)) = timeout(time, work).await else { return tools.account(&world, None) };
    world.note(|| format!("redrive by a mapping: {done:?} {redriven:?}"));
    let done: Vec<String> =
        receipts.into_iter().zip(done).filter(|(_, done)| *done).map(|(receipt, _)| receipt).collect();
    queue.delete(&done, clock() + Duration::from_secs(60)).await;
    tools.account(&world, Some(&redriven));
}

/// Redrives one letter of no queue, patiently; whether it is done with.
pub(crate) async fn redrive_letter(world: &World, target: Target, letter: String) -> bool {
    let tools = Tools::new(world, target);
    let call = call(world, Duration::from_secs(world.between(220, 600)));
    // As patient as the engine is forgetful.
    let patience = Duration::from_secs(600);
    let desk = Desk { fence_life_ms: i64::MAX, patience, ..tools.desk(world, world.climate.source) };
    let (id, receipt) = ("a letter".to_owned(), String::new());
    let messages = vec![Message { id, receipt, body: letter, sent_ms: 0, taken: 1 }];
    let order = Order::default();
    let (done, redriven) =
        redrive_messages(&desk, messages, None::<&SqsClient>, None, tools.outlets(), &order, call).await;
    world.note(|| format!("redrive of a letter: {redriven:?}"));
    tools.account(world, Some(&redriven));
    done == [true]
}

/// Redrives that come when fences have been swept, and whose writes land long after they were given up.
pub(crate) async fn late(world: &Rc<World>) {
    for _ in 0..world.between(2, 5) {
        let mut runs = Vec::new();
        for what in EVERYTHING {
            for _ in 0..world.between(1, 3) {
                let order = order(world);
                let run = run(Rc::clone(world), what, order, lingering(world), Some("redriven late"));
                runs.push(tokio::task::spawn_local(run));
            }
        }
        for run in runs {
            if let Err(error) = run.await {
                world.complain(format!("a late redrive ended: {error}"));
            }
        }
        tokio::time::sleep(Duration::from_secs(world.between(1, 700))).await;
    }
}

/// Redrives everything when all is well. What cannot be done without the source, where there is none, is done with it then:
/// but only that, because a truth would mend what was taken for done.
pub(crate) async fn all(world: &Rc<World>) {
    for what in EVERYTHING {
        let tools = Tools { careful: world.chance(2), ..Tools::new(world, target(world)) };
        if !world.climate.source {
            let call = call(world, Duration::from_secs(900));
            let redriven = tools.redrive(world, what, false, &Order::default(), call).await;
            world.note(|| format!("redrive {what:?} without the source at last: {redriven:?}"));
            // What it has left is hidden for as long as it might have run.
            tokio::time::sleep(Duration::from_secs(1_000)).await;
        }
        let mode = if world.chance(2) { Mode::Truth } else { Mode::Payload };
        let call = Call { truth: true, ..call(world, Duration::from_secs(900)) };
        let redriven = tools.redrive(world, what, true, &Order { mode, ..Order::default() }, call).await;
        world.note(|| format!("redrive {what:?} at last: {redriven:?}"));
    }
}

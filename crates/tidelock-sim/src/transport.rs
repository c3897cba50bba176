//! The way to the engine: travelling in virtual time, with what may happen on it.

use crate::chaos::{Chaos, RequestKind, Strike};
use crate::engine::{Damage, Engine, refusal};
use std::rc::Rc;
use std::time::Duration;
use tidelock_core::cause::{Cause, Failure};
use tidelock_opensearch::{Request, Response, Transport};
use tokio::time::{Instant, sleep_until};

const PLACE: &str = "engine.example:9200";

/// Carries requests to an [`Engine`].
///
/// A request travels for 1 to 10 ms, its answer for up to 10 ms more. Whoever stops waiting before the request has arrived
/// cannot know whether it does: that is drawn from the seed. What has arrived is applied.
#[derive(Clone)]
pub struct EngineTransport {
    engine: Engine,
    chaos: Rc<dyn Chaos>,
}

impl EngineTransport {
    /// A way to `engine` on which `chaos` rules.
    #[must_use]
    pub fn new(engine: Engine, chaos: Rc<dyn Chaos>) -> Self {
        Self { engine, chaos }
    }
}

impl Transport for EngineTransport {
    async fn send(&self, request: Request, deadline: std::time::Instant) -> Result<Response, Failure> {
        let timed_out = || Failure::new(Cause::TimedOut, format!("{PLACE}: no answer within the invocation's time"));
        let cut = || Failure::new(Cause::Unreachable, format!("{PLACE}: connection closed before message completed"));
        let (sent, deadline) = (Instant::now(), Instant::from_std(deadline));
        if sent >= deadline {
            return Err(timed_out());
        }
        let kind = RequestKind::of(&request);
        let strike = self.chaos.strike(kind);
        let trip = self.engine.depart(sent, kind, strike);
        let arrival = sent + trip.there;
        let (due, damage) = match strike {
            Strike::Refuse(_) | Strike::CutBefore | Strike::Hang => (None, Damage::None),
            Strike::Late(by) => (Some(arrival + by), Damage::None),
            Strike::Half => (Some(arrival), Damage::Half),
            Strike::Garble => (Some(arrival), Damage::Garble),
            Strike::None | Strike::CutAfter | Strike::SlowAnswer(_) => (Some(arrival), Damage::None),
        };
        let end = match strike {
            Strike::CutBefore => arrival,
            Strike::Hang => deadline + Duration::from_millis(1),
            Strike::Late(by) | Strike::SlowAnswer(by) => arrival + by + trip.back,
            _ => arrival + trip.back,
        };
        // A late request is under way for good; any other is lost with its connection, or not.
        let survives = trip.survives || matches!(strike, Strike::Late(_));
        let ticket = due.map(|due| self.engine.post(due, request, damage, survives));
        sleep_until(end.min(deadline)).await;
        if end > deadline {
            return Err(timed_out());
        }
        match strike {
            Strike::CutBefore | Strike::CutAfter => Err(cut()),
            Strike::Refuse(status) => Ok(refusal(status)),
            _ => ticket.and_then(|ticket| self.engine.collect(&ticket)).ok_or_else(cut),
        }
    }

    fn place(&self) -> &str {
        PLACE
    }
}

//! A model of OpenSearch in memory, on a virtual clock.
//!
//! ```text
//! OpenSearchTarget ─ EngineTransport ─ queue by arrival ─▶ Engine (indices, versions, tombstones)
//!                       └ Chaos: what happens to the request     └ documents, trace hash: for the oracle
//! ```
//!
//! The real client speaks to [`Engine`] through [`EngineTransport`]. Requests travel, arrive and are answered in virtual time
//! that is drawn from a seed, so that they overtake one another; [`Chaos`] refuses, cuts, delays and garbles them. Nothing
//! reads a wall clock, and nothing depends on the order of a hash table: equal seeds give equal runs, which
//! [`Engine::trace_hash`] proves.
//!
//! The model keeps to what OpenSearch 3 does with versions, sequence numbers, tombstones, mappings and refreshes. An index has
//! one shard, and a bulk request is applied in one instant. Field types are not enforced. A request that the model does not
//! know is answered with 400 and says so.

mod chaos;
mod engine;
pub mod fleet;
mod path;
mod transport;
pub mod world;

pub use chaos::{Calm, Chaos, RequestKind, Strike};
pub use engine::{Engine, EngineConfig};
pub use transport::EngineTransport;

/// Runs a simulation on a clock of its own that stands still while there is something to do.
///
/// The seed is also that of `fastrand`'s own generator, which clients take their pauses from. Local tasks may be spawned.
///
/// # Panics
/// When no runtime can be built, or when the simulation panics.
pub fn run<F: Future>(seed: u64, simulation: F) -> F::Output {
    fastrand::seed(seed);
    // Paused from the start: a clock that is paused later keeps a fraction of a millisecond that differs from run to run.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs no more than memory");
    tokio::task::LocalSet::new().block_on(&runtime, simulation)
}

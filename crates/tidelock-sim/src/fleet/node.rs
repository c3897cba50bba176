//! One node of a server under load: what its cores do when, and how much its memory holds.
//!
//! Nothing is simulated step by step. Parts are written first come, first served, so that it is known when a part is written as
//! soon as it is taken in.

use super::server::ServerConfig;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Node {
    /// When each thread of the write pool has nothing left to do.
    threads: Vec<Instant>,
    /// When each part that waits for a thread gets one.
    starts: VecDeque<Instant>,
    /// When all that has arrived will have been received and read.
    received: Instant,
    /// Time that receiving and refusing has taken from the threads, and that none of them has lost yet.
    debt: Duration,
    /// Bytes of requests that have not been answered.
    held: usize,
    /// Bytes of those of them that have been taken in.
    indexing: usize,
}

impl Node {
    pub(crate) fn new(config: &ServerConfig, now: Instant) -> Self {
        Self {
            threads: vec![now; config.cores.max(1)],
            starts: VecDeque::new(),
            received: now,
            debt: Duration::ZERO,
            held: 0,
            indexing: 0,
        }
    }

    /// Receives and reads a request, which comes before all writing; gives when that is done.
    pub(crate) fn receive(&mut self, now: Instant, bytes: usize, cost: Duration) -> Instant {
        self.rest(now);
        self.held += bytes;
        self.debt += cost;
        let cores = u32::try_from(self.threads.len()).unwrap_or(u32::MAX);
        self.received = self.received.max(now) + cost / cores;
        self.received
    }

    /// Whether the parent circuit breaker lets no more in.
    pub(crate) fn is_out_of_memory(&self, config: &ServerConfig) -> bool {
        let used = config.heap_used + config.heap_per_byte * self.held;
        used > config.heap / 100 * config.breaker_percent
    }

    /// Whether so many bytes more are too many to be indexed at a time.
    pub(crate) fn is_under_pressure(&self, config: &ServerConfig, bytes: usize) -> bool {
        self.indexing + bytes > config.heap / 100 * config.pressure_percent
    }

    /// Whether the write pool's queue takes no more.
    pub(crate) fn is_full(&mut self, config: &ServerConfig, now: Instant) -> bool {
        while self.starts.front().is_some_and(|start| *start <= now) {
            self.starts.pop_front();
        }
        self.starts.len() >= config.queue && self.threads.iter().all(|free| *free > now)
    }

    /// Takes bytes in that are to be indexed.
    pub(crate) fn take_in(&mut self, bytes: usize) {
        self.indexing += bytes;
    }

    /// Lets go of bytes that are indexed, or not to be.
    pub(crate) fn let_go(&mut self, bytes: usize) {
        self.indexing = self.indexing.saturating_sub(bytes);
    }

    /// A request has been answered.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Gives a part to the write pool; gives when it is written.
    pub(crate) fn write(&mut self, now: Instant, cost: Duration) -> Instant {
        self.rest(now);
        let lost = std::mem::take(&mut self.debt);
        let Some(thread) = self.threads.iter_mut().min() else { return now };
        let start = (*thread).max(now);
        *thread = start + cost + lost;
        if start > now {
            self.starts.push_back(start);
        }
        *thread
    }

    /// What was received while threads had nothing to do has cost them nothing.
    fn rest(&mut self, now: Instant) {
        for free in &mut self.threads {
            if *free < now {
                self.debt = self.debt.saturating_sub(now - *free);
                *free = now;
            }
        }
    }
}

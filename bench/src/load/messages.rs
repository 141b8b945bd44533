//! Messages beside something else: an open loop on a thread that goes before all others of its CPU, so that what a message
//! waits for is the proxy and not what else the load generator does.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use proxy_load::{Exchange, Mode, Stage};

use crate::sample::Latency;
use crate::sys::{self, Priority};

/// Messages a second on each connection.
const PER_SECOND: f64 = 50.0;
/// Bytes of a message.
pub(super) const BYTES: usize = 64;

/// What there was beside the messages, and how long they took meanwhile.
pub(crate) struct Beside<T> {
    pub(crate) work: T,
    pub(crate) latency: Latency,
    /// Of the messages' thread.
    pub(crate) priority: Priority,
}

/// Messages a second of all `connections`.
pub(super) fn rate(connections: usize) -> f64 {
    PER_SECOND * connections as f64
}

/// Passes messages on `connections` through `target`, and does `work` meanwhile, which is told when the measured time
/// begins, after `warmup`. It ends with the work.
pub(crate) fn run_beside<T>(
    connections: usize,
    target: SocketAddr,
    upstream: &TcpListener,
    warmup: Duration,
    work: impl FnOnce(Instant) -> anyhow::Result<T>,
) -> anyhow::Result<Beside<T>> {
    let rate = rate(connections);
    let clients = Exchange::open(connections, BYTES, rate);
    go((clients, rate), target, upstream, warmup, work)
}

/// The same of clients with so many messages a second in all.
pub(super) fn go<T>(
    (clients, rate): (Exchange, f64),
    target: SocketAddr,
    upstream: &TcpListener,
    warmup: Duration,
    work: impl FnOnce(Instant) -> anyhow::Result<T>,
) -> anyhow::Result<Beside<T>> {
    let begin = Instant::now() + warmup;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let messages = scope.spawn(move || {
            let mut messages = Stage::start(target, upstream, Mode::Echo, Box::new(clients))?;
            let priority = sys::go_first();
            messages.run_until(begin)?;
            messages.tally.reset();
            while !over.load(Ordering::Relaxed) {
                messages.turn()?;
            }
            messages.finish();
            anyhow::Ok((priority, messages.tally.latency()))
        });
        let end = End(over);
        let work = work(begin);
        drop(end);
        let messages = messages
            .join()
            .map_err(|_| anyhow!("the messages' thread panicked"))?;
        let (priority, quantiles) = messages?;
        let latency = Latency {
            quantiles,
            rate: Some(rate),
        };
        Ok(Beside {
            work: work?,
            latency,
            priority,
        })
    })
}

/// Says that it is over when dropped, be it by a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! A load in the background: many light flows, and a few heavy ones, each of which is a connection with messages that come
//! back.
//!
//! The clients share the machine with what they measure, so there are few threads of them. Light flows have threads of
//! their own: what a light message waits for is the proxy, not the bulk of the same thread.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustix::fd::OwnedFd;
use rustix::thread::set_current_timer_slack;

use crate::exchange::Exchange;
use crate::open::{self, FirstCore};
use crate::stage::Stage;
use crate::tally::Tally;
use crate::workload::{Flows, Workload};

/// Messages a second of one thread, at most; nothing can send more.
const RATE_MAX: f64 = 1e7;

/// A load at work. It ends, with its connections and threads, when dropped.
pub struct Load {
    light: Vec<Driver>,
    heavy: Vec<Driver>,
    heavy_bytes: usize,
}

/// What the clients saw since [`Load::begin`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Answers to light flows.
    pub requests_per_second: f64,
    /// Of light flows, to the last byte of the answer: in an open loop from when the message was due, else from
    /// when it was sent. Those that are still under way have waited until now at least.
    pub p50: Duration,
    /// The same of the slowest hundredth.
    pub p99: Duration,
    /// Bytes that came back to heavy flows.
    pub heavy_bytes_per_second: f64,
    /// Flows that broke, ever.
    pub lost: u64,
}

impl Load {
    /// Connects to each of the `proxy`'s addresses in turn, and begins. The heavy flows begin on its first core, if
    /// that is wanted and given.
    ///
    /// # Errors
    /// When a connection fails, or there is no thread or epoll left.
    pub fn start(
        proxy: &[SocketAddr],
        workload: &Workload,
        first_core: Option<FirstCore<'_>>,
    ) -> anyhow::Result<Self> {
        let opened = open::open(proxy, workload, first_core)?;
        let threads = workload.threads.max(1);
        Ok(Self {
            light: drive(workload.light, opened.light, threads)?,
            heavy: drive(workload.heavy, opened.heavy, threads)?,
            heavy_bytes: workload.heavy.bytes,
        })
    }

    /// Measures from now on.
    pub fn begin(&self) {
        let drivers = || self.light.iter().chain(&self.heavy);
        let begun: Vec<_> = drivers().map(|driver| driver.ask(Order::Begin)).collect();
        // One that has ended has nothing to measure.
        for begun in begun {
            let _ = begun.recv();
        }
    }

    /// What the clients saw since [`Load::begin`].
    pub fn report(&self) -> Report {
        let light = Counts::of(&self.light);
        let heavy = Counts::of(&self.heavy);
        let [p50, p99, _] = light.tally.latency();
        Report {
            requests_per_second: light.units_per_second,
            p50,
            p99,
            heavy_bytes_per_second: heavy.units_per_second * self.heavy_bytes as f64,
            lost: light.tally.lost() + heavy.tally.lost(),
        }
    }
}

/// A thread of clients.
struct Driver {
    flows: u64,
    /// Gone at the end.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What a thread of clients is asked for.
enum Order {
    /// To count from now on, and to say so.
    Begin(Sender<()>),
    /// What it has counted.
    Count(Sender<Counted>),
}

/// What one thread has counted.
struct Counted {
    units: u64,
    during: Duration,
    /// With the messages that are under way.
    tally: Tally,
}

impl Driver {
    fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Receiver<T> {
        let (answer, answered) = mpsc::channel();
        if let Some(orders) = &self.orders {
            // A thread that has ended answers nothing.
            let _ = orders.send(order(answer));
        }
        answered
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // That the sender is gone is the word to end.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

/// What all threads of one kind have counted.
struct Counts {
    units_per_second: f64,
    tally: Tally,
}

impl Counts {
    fn of(drivers: &[Driver]) -> Self {
        let mut counts = Self {
            units_per_second: 0.0,
            tally: Tally::new(),
        };
        let asked: Vec<_> = drivers
            .iter()
            .map(|driver| driver.ask(Order::Count))
            .collect();
        for (driver, asked) in drivers.iter().zip(asked) {
            match asked.recv() {
                Ok(counted) => {
                    let seconds = counted.during.as_secs_f64().max(1e-9);
                    counts.units_per_second += counted.units as f64 / seconds;
                    counts.tally.merge(&counted.tally);
                }
                // It has ended, and its flows with it.
                Err(_) => (0..driver.flows).for_each(|_| counts.tally.lose()),
            }
        }
        counts
    }
}

/// Deals the opened connections to threads, and starts those.
fn drive(
    flows: Flows,
    opened: Vec<(OwnedFd, SocketAddr)>,
    threads: usize,
) -> anyhow::Result<Vec<Driver>> {
    let mut shares: Vec<Vec<_>> = Vec::new();
    shares.resize_with(threads.min(opened.len()), Vec::new);
    let count = shares.len();
    for (index, connection) in opened.into_iter().enumerate() {
        shares[index % count].push(connection);
    }
    shares
        .into_iter()
        .map(|share| Driver::start(flows, share))
        .collect()
}

impl Driver {
    fn start(flows: Flows, opened: Vec<(OwnedFd, SocketAddr)>) -> anyhow::Result<Self> {
        let count = opened.len();
        let (sockets, addresses): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let somewhere = addresses[0];
        let exchange = match flows.interval {
            None => Exchange::closed(count, flows.bytes),
            Some(interval) => {
                let rate = count as f64 / interval.as_secs_f64();
                Exchange::open(count, flows.bytes, rate.min(RATE_MAX))
            }
        };
        let mut exchange = exchange.on(sockets);
        if let Some(messages) = flows.messages {
            exchange = exchange.renewed_after(messages, addresses);
        }
        let (orders, ordered) = mpsc::channel();
        let (starts, started) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("corelane-load".to_owned())
            .spawn(move || {
                let clients = Box::new(exchange);
                match Stage::without_server(somewhere, clients) {
                    Ok(stage) => {
                        // The receiver waits for it.
                        let _ = starts.send(Ok(()));
                        run(stage, &ordered);
                    }
                    Err(error) => drop(starts.send(Err(error))),
                }
            })
            .context("a thread of clients")?;
        let ended = |_| Err(anyhow!("a thread of clients ended while starting"));
        started.recv().unwrap_or_else(ended)?;
        Ok(Self {
            flows: count as u64,
            orders: Some(orders),
            thread: Some(thread),
        })
    }
}

/// Goes on until nobody can order anything more.
fn run(mut stage: Stage<'_>, orders: &Receiver<Order>) {
    stage.tolerates_losses = true;
    // Else the thread sends late by as much as its sleeps may be long, and latencies would count that. Refused, they do.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let mut begun = Instant::now();
    loop {
        // Who asked may be gone.
        match orders.try_recv() {
            Ok(Order::Begin(begins)) => {
                stage.tally.reset();
                begun = Instant::now();
                let _ = begins.send(());
            }
            Ok(Order::Count(to)) => {
                let counted = Counted {
                    units: stage.tally.units(),
                    during: begun.elapsed(),
                    tally: stage.finished(),
                };
                let _ = to.send(counted);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        if let Err(error) = stage.turn() {
            return tracing::error!("clients of the load have to end: {error:#}");
        }
    }
}

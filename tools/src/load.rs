//! A load of clients on loopback: many light flows, and a few heavy ones. The demo and the comparison make theirs here.
//!
//! The clients share the machine with what they measure, so there are few threads of them, which never are workers.

mod client;
mod clocks;
mod connect;
mod tally;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::client::{Client, Flow};
pub(crate) use self::clocks::{Reading, now, pause};
use self::tally::{Counts, Tally};
use crate::host::Proxy;

/// Flows of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flows {
    pub(crate) count: usize,
    /// Bytes of a message, which comes back as it went.
    pub(crate) bytes: usize,
    /// Time from one message to the next of a flow, however long the answer takes; if that is longer, the next one
    /// follows at once. None: it always does.
    pub(crate) interval: Option<Duration>,
    /// Messages after which a flow goes on in a new connection. None: never.
    pub(crate) messages: Option<u64>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    /// Their latencies are measured.
    pub(crate) light: Flows,
    /// Their bytes are.
    pub(crate) heavy: Flows,
    /// Whether the heavy flows begin on the first core, where there is such a thing: the worst that a hash of addresses
    /// may come to.
    pub(crate) heavy_on_one_core: bool,
    /// Threads of clients.
    pub(crate) threads: usize,
}

/// A load at work. It ends, with its connections and threads, when dropped.
pub(crate) struct Load {
    heavy_bytes: usize,
    tallies: Vec<Arc<Tally>>,
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What was counted until some moment.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    at: Instant,
    counts: Counts,
}

/// What the clients saw between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// Answers to light flows.
    pub(crate) requests_per_second: f64,
    /// Of light flows, from sending to the last byte of the answer.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Bytes that came back to heavy flows.
    pub(crate) heavy_bytes_per_second: f64,
    /// Flows that broke.
    pub(crate) lost: u64,
}

impl Load {
    /// Connects to `proxy`, to each of its addresses in turn, and begins.
    ///
    /// # Errors
    /// When a connection, a thread or a reactor can't be had.
    pub(crate) fn start(proxy: &Proxy, workload: &Workload) -> io::Result<Self> {
        let flows = connect::connect(proxy, workload)?;
        let mut shares: Vec<Vec<Client>> = Vec::new();
        shares.resize_with(workload.threads.max(1), Vec::new);
        let kinds = [
            (Flow::Heavy, flows.heavy, workload.heavy),
            (Flow::Light, flows.light, workload.light),
        ];
        let mut turn = 0;
        for (flow, streams, flows) in kinds {
            let count = streams.len();
            for (index, (stream, address)) in streams.into_iter().enumerate() {
                let threads = shares.len();
                // Paced flows take turns, instead of all sending at once.
                let phase = flows.interval.unwrap_or_default() * index as u32 / count as u32;
                shares[turn % threads].push(client(flow, flows, stream, address, phase)?);
                turn += 1;
            }
        }
        let mut load = Self {
            heavy_bytes: workload.heavy.bytes,
            tallies: Vec::new(),
            stops: Vec::new(),
            threads: Vec::new(),
        };
        for clients in shares {
            let (stop, stopped) = oneshot::channel();
            let tally = Arc::new(Tally::default());
            load.tallies.push(tally.clone());
            load.stops.push(stop);
            load.threads.push(
                thread::Builder::new()
                    .name("corelane-load".into())
                    .spawn(move || client::drive(clients, &tally, stopped))?,
            );
        }
        Ok(load)
    }

    /// The counts of this moment.
    pub(crate) fn mark(&self) -> Mark {
        let mut counts = Counts::default();
        self.tallies.iter().for_each(|tally| counts.add(tally));
        Mark { at: now(), counts }
    }

    /// What the clients saw since `earlier`.
    pub(crate) fn report(&self, earlier: &Mark) -> Report {
        let mark = self.mark();
        let seconds = (mark.at - earlier.at).as_secs_f64().max(1e-9);
        let counts = mark.counts.since(&earlier.counts);
        Report {
            requests_per_second: counts.requests as f64 / seconds,
            p50: counts.percentile(0.5),
            p99: counts.percentile(0.99),
            heavy_bytes_per_second: (counts.heavy_messages * self.heavy_bytes as u64) as f64
                / seconds,
            lost: counts.lost,
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A sender that is gone is the word to end.
        self.stops.clear();
        for thread in self.threads.drain(..) {
            // One that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

fn client(
    flow: Flow,
    flows: Flows,
    stream: TcpStream,
    address: SocketAddr,
    phase: Duration,
) -> io::Result<Client> {
    stream.set_nonblocking(true)?;
    Ok(Client {
        flow,
        flows,
        stream,
        address,
        phase,
    })
}

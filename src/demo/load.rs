//! The demo's load: a few heavy flows, and many light ones.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::observed::Observed;

/// Heavy flows, all on the first core where there is such a thing.
const HEAVY: usize = 4;

/// Light flows at least; those that did not land on the first core while looking for heavy ones are light too.
const LIGHT_MIN: usize = 32;

/// Connections opened in the search for heavy ones.
const CANDIDATES_MAX: usize = 64;

/// Bytes of a light request.
const LIGHT_BYTES: usize = 64;

/// Time between a light answer and the next request.
const THINK_TIME: Duration = Duration::from_millis(2);

/// Bytes that a heavy flow has under way at once.
const HEAVY_BYTES: usize = 256 * 1024;

/// Latencies kept for the percentiles; later ones overwrite earlier ones.
const LATENCIES_MAX: usize = 1 << 16;

/// A load at work.
pub(crate) struct Load {
    thread: JoinHandle<Report>,
    stop: oneshot::Sender<()>,
    latest: Arc<Mutex<Report>>,
}

/// What the clients saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) requests_per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) heavy_bytes_per_second: f64,
}

/// Counts of the clients, all of which are on one thread.
#[derive(Default)]
struct Tally {
    requests: Cell<u64>,
    heavy_bytes: Cell<u64>,
    latencies: RefCell<Vec<Duration>>,
}

impl Load {
    /// Connects and begins, on a thread of its own.
    pub(crate) fn start(proxy: SocketAddr, observed: Arc<Observed>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let latest = Arc::new(Mutex::default());
        let publish = latest.clone();
        let thread = thread::Builder::new()
            .name("corelane-load".into())
            .spawn(move || drive(proxy, &observed, stopped, &publish))?;
        Ok(Self {
            thread,
            stop,
            latest,
        })
    }

    /// The figures so far.
    pub(crate) fn peek(&self) -> Report {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Report {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn drive(
    proxy: SocketAddr,
    observed: &Observed,
    stopped: oneshot::Receiver<()>,
    publish: &Mutex<Report>,
) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    let Ok(runtime) = runtime else {
        return Report::default();
    };
    runtime.block_on(async {
        let tally = Rc::new(Tally::default());
        let begin = now();
        if let Err(error) = connect(proxy, observed, &tally).await {
            eprintln!("corelane: the demo's clients can't connect: {error}");
        }
        let mut stopped = stopped;
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            let report = tally.report(begin.elapsed());
            *publish.lock().unwrap_or_else(PoisonError::into_inner) = report;
            // A sender that is gone means the same as a word from it.
            if !matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                return report;
            }
        }
    })
}

/// Opens the flows, and sees to it that the heavy ones are on the first core.
async fn connect(proxy: SocketAddr, observed: &Observed, tally: &Rc<Tally>) -> io::Result<()> {
    let (mut heavy, mut light) = (0, 0);
    for candidate in 0..CANDIDATES_MAX {
        if heavy == HEAVY && light >= LIGHT_MIN {
            break;
        }
        let before = observed.cores.of(0).started.get();
        let mut stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        // An answer means that a worker has taken the connection, and counted it.
        stream.write_all(&[0]).await?;
        stream.read_exact(&mut [0]).await?;
        let first_core = observed.cores.of(0).started.get() > before;
        let last_chance = CANDIDATES_MAX - candidate <= HEAVY - heavy;
        if heavy < HEAVY && (first_core || observed.mode == "work-stealing" || last_chance) {
            heavy += 1;
            tokio::task::spawn_local(run_heavy(stream, tally.clone()));
        } else {
            light += 1;
            tokio::task::spawn_local(run_light(stream, tally.clone()));
        }
    }
    Ok(())
}

/// Ends with the connection.
async fn run_light(mut stream: TcpStream, tally: Rc<Tally>) -> io::Result<()> {
    let mut message = [7; LIGHT_BYTES];
    loop {
        let asked = now();
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
        tally.on_answer(asked.elapsed());
        tokio::time::sleep(THINK_TIME).await;
    }
}

/// Ends with the connection.
async fn run_heavy(mut stream: TcpStream, tally: Rc<Tally>) -> io::Result<()> {
    let out = vec![9; HEAVY_BYTES];
    let mut back = vec![0; HEAVY_BYTES];
    let (mut read, mut write) = stream.split();
    loop {
        let sent = write.write_all(&out);
        let received = async { read.read_exact(&mut back).await.map(drop) };
        tokio::try_join!(sent, received)?;
        tally
            .heavy_bytes
            .set(tally.heavy_bytes.get() + HEAVY_BYTES as u64);
    }
}

impl Tally {
    fn on_answer(&self, latency: Duration) {
        let request = self.requests.get();
        self.requests.set(request + 1);
        let mut latencies = self.latencies.borrow_mut();
        if latencies.len() < LATENCIES_MAX {
            latencies.push(latency);
        } else {
            latencies[request as usize % LATENCIES_MAX] = latency;
        }
    }

    fn report(&self, elapsed: Duration) -> Report {
        let mut sorted = self.latencies.borrow().clone();
        sorted.sort_unstable();
        let percentile = |share: f64| {
            let rank = (sorted.len() as f64 * share) as usize;
            sorted.get(rank).copied().unwrap_or_default()
        };
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Report {
            requests_per_second: self.requests.get() as f64 / seconds,
            p50: percentile(0.5),
            p99: percentile(0.99),
            heavy_bytes_per_second: self.heavy_bytes.get() as f64 / seconds,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client's thread, which is no worker"
)]
fn now() -> Instant {
    Instant::now()
}

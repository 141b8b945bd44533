//! Glommio whose connections are moved from core to core all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use backend_glommio::{Options, Placement};
use conformance::Backend;
use proxy_core::plan::{Plan, Running, WorkerThread};

use crate::backends::{EXECUTOR_DESCRIPTORS_KEPT, options, unavailable};

/// How long connections stay where they are.
const STIR_INTERVAL: Duration = Duration::from_micros(300);

/// Over io_uring, with connections that are moved at whatever they are at, and placed by message.
pub(crate) enum Restless {}

impl Backend for Restless {
    const SOCKET_A_WORKER: bool = true;
    const DESCRIPTORS_KEPT_A_WORKER: usize = EXECUTOR_DESCRIPTORS_KEPT;

    fn unavailable() -> Option<String> {
        unavailable()
    }

    fn start(plan: Plan) -> Result<Box<dyn Running>, String> {
        let options = Options {
            placement: Placement::RoundRobin,
            ..options(None)
        };
        let glommio = backend_glommio::Glommio::start(plan, options);
        let glommio = Arc::new(glommio.map_err(|error| error.to_string())?);
        Ok(Box::new(Stirred::start(glommio)))
    }
}

/// Cores, and a thread that has them exchange their connections.
struct Stirred {
    glommio: Arc<backend_glommio::Glommio>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Stirred {
    fn start(glommio: Arc<backend_glommio::Glommio>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (stirred, stop) = (glommio.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            let cores = stirred.threads().len();
            let mut turn = 0;
            while !stop.load(SeqCst) {
                // All of a core's connections, or a few.
                let count = [usize::MAX, 1, 2][turn % 3];
                stirred.shed(turn % cores, (turn + 1 + turn / cores) % cores, count);
                turn += 1;
                thread::park_timeout(STIR_INTERVAL);
            }
        });
        Self {
            glommio,
            stopped,
            thread,
        }
    }
}

impl Running for Stirred {
    fn threads(&self) -> &[WorkerThread] {
        self.glommio.threads()
    }

    fn drain(&self) {
        self.glommio.drain();
    }

    fn stop(self: Box<Self>, _patience: Duration) {
        // The stop itself comes while connections are on their way.
        let Self {
            glommio,
            stopped,
            thread,
        } = *self;
        stopped.store(true, SeqCst);
        thread.join().expect("it only sends messages");
        drop(glommio);
    }
}

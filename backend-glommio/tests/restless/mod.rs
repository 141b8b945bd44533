//! Glommio whose connections are moved from core to core all the time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use backend_glommio::{Options, Placement};
use conformance::Scheduler;
use proxy_core::Listener;
use proxy_core::backend::{
    Adopter, Backend, Evacuation, Listening, OwnMetrics, Plan, Profile, Pulse, WorkerThread,
};

use crate::backends::{options, unavailable};

/// How long connections stay where they are.
const STIR_INTERVAL: Duration = Duration::from_micros(300);

/// Over io_uring, with connections that are moved at whatever they are at, and placed by message.
pub(crate) enum Restless {}

impl Scheduler for Restless {
    const SOCKET_A_WORKER: bool = true;

    fn unavailable() -> Option<String> {
        unavailable()
    }

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        let options = Options {
            placement: Placement::RoundRobin,
            ..options(None)
        };
        let glommio = backend_glommio::Glommio::start(plan, options);
        Ok(Box::new(Stirred::start(
            glommio.map_err(|error| error.to_string())?,
        )))
    }
}

/// Cores, and a thread that has them exchange their connections.
struct Stirred {
    glommio: Arc<Mutex<backend_glommio::Glommio>>,
    threads: Vec<WorkerThread>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Stirred {
    fn start(glommio: backend_glommio::Glommio) -> Self {
        let threads = glommio.threads().to_vec();
        let cores = threads.len();
        let glommio = Arc::new(Mutex::new(glommio));
        let stopped = Arc::new(AtomicBool::new(false));
        let (stirred, stop) = (glommio.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            let mut turn = 0;
            while !stop.load(SeqCst) {
                // All of a core's connections, or a few.
                let count = [usize::MAX, 1, 2][turn % 3];
                let stirred = stirred.lock().expect("nobody panics");
                stirred.shed(turn % cores, (turn + 1 + turn / cores) % cores, count);
                drop(stirred);
                turn += 1;
                thread::park_timeout(STIR_INTERVAL);
            }
        });
        Self {
            glommio,
            threads,
            stopped,
            thread,
        }
    }
}

impl Stirred {
    fn lock(&self) -> MutexGuard<'_, backend_glommio::Glommio> {
        self.glommio.lock().expect("nobody panics")
    }
}

impl Backend for Stirred {
    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn profile(&self) -> Profile {
        self.lock().profile()
    }

    fn own_metrics(&self) -> Arc<dyn OwnMetrics> {
        self.lock().own_metrics()
    }

    fn listen(&self, listening: Vec<Listening>) -> io::Result<()> {
        self.lock().listen(listening)
    }

    fn unlisten(&self, listener: &Arc<Listener>) {
        self.lock().unlisten(listener);
    }

    fn drain(&self) {
        self.lock().drain();
    }

    fn is_accepting(&self) -> bool {
        self.lock().is_accepting()
    }

    fn forget(&self, listener: &Arc<Listener>) {
        self.lock().forget(listener);
    }

    fn run_all(&self) {
        self.lock().run_all();
    }

    fn evacuate(&self, evacuation: Arc<Evacuation>) {
        self.lock().evacuate(evacuation);
    }

    fn adopter(&self) -> Arc<dyn Adopter> {
        self.lock().adopter()
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        self.lock().pulse()
    }

    fn stop(self: Box<Self>, _patience: Duration) {
        // The stop itself comes while connections are on their way.
        let Self {
            glommio,
            stopped,
            thread,
            ..
        } = *self;
        stopped.store(true, SeqCst);
        thread.join().expect("it only sends messages");
        drop(glommio);
    }
}

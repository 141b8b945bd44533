//! Connections that go from scheduler to scheduler for as long as `CORELANE_SOAK_SECONDS` says: a process of its own, as its
//! descriptors are counted.

#[allow(dead_code, reason = "it starts what does not switch, too")]
mod backends;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use backend_glommio::{Glommio, Readiness};
use backend_tokio::{PerCore, WorkStealing};
use conformance::{Real, Scheduler, resources};
use proxy_core::backend::{
    Adopter, Backend, Evacuation, Listening, OwnMetrics, Pace, Plan, Profile, Pulse, WorkerThread,
};
use proxy_core::{Descriptor, Generation, Listener, ListenerSettings};

use backends::{options, unavailable};

/// How long connections stay on a scheduler.
const SWITCH_INTERVAL: Duration = Duration::from_millis(3);

/// How often it is asked whether a scheduler has no connection any more.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);

/// How long its end may take.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn connections_survive_switches() {
    conformance::run::<Real<Switching>>(resources::connections_survive_moves::<Switching>);
}

/// Schedulers that take turns, each with other workers than the one before.
enum Switching {}

/// All pairs of neighbours differ, and so do the numbers of workers of a scheduler's turns.
const KINDS: [(Kind, usize); 7] = [
    (Kind::WorkStealing, 1),
    (Kind::Glommio, 2),
    (Kind::PerCore, 3),
    (Kind::WorkStealing, 2),
    (Kind::PerCore, 1),
    (Kind::Epoll, 2),
    (Kind::Glommio, 4),
];

#[derive(Clone, Copy)]
enum Kind {
    WorkStealing,
    PerCore,
    Glommio,
    Epoll,
}

impl Kind {
    fn start(self, plan: Plan) -> Box<dyn Backend> {
        let glommio = |plan, readiness| Glommio::start(plan, options(readiness));
        match self {
            Self::WorkStealing => Box::new(WorkStealing::start(plan).expect("it starts")),
            Self::PerCore => Box::new(PerCore::start(plan).expect("it starts")),
            Self::Glommio => Box::new(glommio(plan, None).expect("it starts")),
            Self::Epoll => {
                let readiness = Some(Readiness::Epoll);
                Box::new(glommio(plan, readiness).expect("it starts"))
            }
        }
    }
}

impl Scheduler for Switching {
    const SOCKET_A_WORKER: bool = true;

    fn unavailable() -> Option<String> {
        unavailable()
    }

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        Ok(Box::new(Switched::start(plan)))
    }
}

struct Switched {
    state: Arc<Mutex<State>>,
    threads: Vec<WorkerThread>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct State {
    running: Option<Box<dyn Backend>>,
    plan: Plan,
    /// What the schedulers lend each other.
    listening: Vec<(Arc<ListenerSettings>, Vec<Vec<Descriptor>>)>,
}

impl State {
    fn running(&self) -> &dyn Backend {
        &**self.running.as_ref().expect("one runs")
    }

    fn lend(&self) -> Vec<Listening> {
        let lend = |sockets: &Vec<Descriptor>| {
            let sockets = sockets.iter().map(Descriptor::try_clone);
            sockets.collect::<io::Result<_>>().expect("descriptors")
        };
        let lend = |(settings, sockets): &(Arc<ListenerSettings>, Vec<_>)| Listening {
            settings: settings.clone(),
            sockets: sockets.iter().map(lend).collect(),
        };
        self.listening.iter().map(lend).collect()
    }

    fn switch(&mut self, (kind, workers): (Kind, usize)) {
        let before = self.plan.generation.clone();
        let next = before.successor(workers).expect("a row");
        self.plan = Plan {
            cpus: vec![None; workers],
            generation: Arc::new(next),
            ..self.plan.clone()
        };
        let new = kind.start(self.plan.clone());
        new.listen(self.lend()).expect("it listens");
        let adopter = new.adopter();
        let old = self.running.replace(new).expect("one runs");
        old.drain();
        let evacuation = Evacuation::new(adopter, Pace::new(now(), 1, workers, Duration::ZERO));
        old.evacuate(evacuation.clone());
        let is_left = |generation: &Generation| {
            let workers = 0..generation.workers();
            let connections = workers.map(|index| {
                let slot = generation.slot(index);
                generation.cores.connections(slot)
            });
            old.is_accepting() || !evacuation.is_still() || connections.sum::<u64>() > 0
        };
        while is_left(&before) {
            thread::park_timeout(LOOK_INTERVAL);
        }
        old.stop(STOP_PATIENCE);
    }
}

impl Switched {
    fn start(plan: Plan) -> Self {
        let running = Kind::PerCore.start(plan.clone());
        let threads = running.threads().to_vec();
        let state = State {
            running: Some(running),
            plan,
            listening: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let stopped = Arc::new(AtomicBool::new(false));
        let (switched, stop) = (state.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            for kind in KINDS.into_iter().cycle() {
                if stop.load(SeqCst) {
                    break;
                }
                switched.lock().expect("nobody panics").switch(kind);
                thread::park_timeout(SWITCH_INTERVAL);
            }
        });
        Self {
            state,
            threads,
            stopped,
            thread,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics")
    }
}

impl Backend for Switched {
    fn profile(&self) -> Profile {
        self.lock().running().profile()
    }

    fn own_metrics(&self) -> Arc<dyn OwnMetrics> {
        self.lock().running().own_metrics()
    }

    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn listen(&self, listening: Vec<Listening>) -> io::Result<()> {
        let mut state = self.lock();
        let listening = listening.into_iter();
        state.listening = listening.map(|one| (one.settings, one.sockets)).collect();
        state.running().listen(state.lend())
    }

    fn unlisten(&self, listener: &Arc<Listener>) {
        self.lock().running().unlisten(listener);
    }

    fn drain(&self) {
        self.lock().running().drain();
    }

    fn is_accepting(&self) -> bool {
        self.lock().running().is_accepting()
    }

    fn forget(&self, listener: &Arc<Listener>) {
        self.lock().running().forget(listener);
    }

    fn run_all(&self) {
        self.lock().running().run_all();
    }

    fn evacuate(&self, evacuation: Arc<Evacuation>) {
        self.lock().running().evacuate(evacuation);
    }

    fn adopter(&self) -> Arc<dyn Adopter> {
        self.lock().running().adopter()
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        self.lock().running().pulse()
    }

    fn stop(self: Box<Self>, patience: Duration) {
        self.stopped.store(true, SeqCst);
        self.thread.join().expect("it only switches");
        let running = self.state.lock().expect("nobody panics").running.take();
        running.expect("one runs").stop(patience);
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch, not a worker")]
fn now() -> Instant {
    Instant::now()
}

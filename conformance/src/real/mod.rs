//! A stage with a backend, in this process, and the kernel's sockets around it.

mod flood;
mod peer;
mod server;

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::backend::{Backend, Listening, Plan};
use proxy_core::lifeline::{Death, Deaths};
use proxy_core::listen::{self, BindAddress, SocketFile};
use proxy_core::{Generation, Inventory, ListenerSettings, Upstream};

use self::flood::Traffic;
pub use self::peer::RealPeer;
use self::server::Server;
use crate::setting::{generation, settings};
use crate::stage::{Setup, Stage};

/// A scheduler that can be started.
pub trait Scheduler {
    /// Whether each worker accepts from a socket of its own.
    const SOCKET_A_WORKER: bool;

    /// Why it can't be started here.
    fn unavailable() -> Option<String> {
        None
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the backend says.
    fn start(plan: Plan) -> Result<Box<dyn Backend>, String>;
}

/// How long a stage that found nothing to do waits before it looks again.
const NAP: Duration = Duration::from_micros(200);

/// Connections that wait to be accepted by the proxy.
const BACKLOG: u16 = 1024;

/// A proxy on the scheduler `B`.
pub struct Real<B> {
    settings: Arc<ListenerSettings>,
    generation: Arc<Generation>,
    address: BindAddress,
    _file: Option<SocketFile>,
    servers: Vec<Server>,
    died: Arc<Mutex<Option<Death>>>,
    running: RefCell<Option<Box<dyn Backend>>>,
    backend: std::marker::PhantomData<B>,
}

/// What cases can do on the kernel's sockets only.
pub trait RealStage: Stage {
    /// Starts a proxy that listens on `address`; its servers are of the same family.
    fn start_on(address: &BindAddress, setup: Setup) -> Self;
    /// Where the proxy listens.
    fn address(&self) -> &BindAddress;
    /// Drains the proxy.
    fn drain(&self);
    /// A client, if the proxy still listens.
    ///
    /// # Errors
    /// What `connect(2)` returns.
    fn try_connect(&self) -> io::Result<Self::Peer>;
}

impl<B> Real<B> {
    /// The socket on which a server listens, for a thread that accepts in the case's place.
    pub(crate) fn server_socket(&self, server: usize) -> socket2::Socket {
        self.servers[server].socket()
    }
}

impl<B: Scheduler> RealStage for Real<B> {
    fn start_on(address: &BindAddress, setup: Setup) -> Self {
        let workers = setup.workers;
        let sockets = if B::SOCKET_A_WORKER { workers } else { 1 };
        let bound = listen::bind(address, BACKLOG, sockets)
            .unwrap_or_else(|error| panic!("listening on {address}: {error}"));
        let unix = matches!(address, BindAddress::Unix(_));
        let servers: Vec<_> = setup
            .servers
            .iter()
            .map(|&kind| Server::start(kind, unix))
            .collect();
        let settings = settings(&Inventory::default(), &setup, |upstream| {
            members(upstream, &servers, setup.one_name)
        });
        let generation = generation(workers, &settings);
        let died = Arc::new(Mutex::new(None));
        let plan = Plan {
            cpus: vec![None; workers],
            generation: generation.clone(),
            deaths: Deaths::new({
                let died = died.clone();
                move |death| *died.lock().expect("it only stores") = Some(death)
            }),
        };
        let running = B::start(plan).unwrap_or_else(|error| panic!("starting: {error}"));
        assert_eq!(running.threads().len(), workers);
        let listening = Listening {
            settings: settings.clone(),
            sockets: vec![bound.sockets],
        };
        running
            .listen(vec![listening])
            .unwrap_or_else(|error| panic!("listening: {error}"));
        Self {
            settings,
            generation,
            address: bound.address,
            _file: bound.file,
            servers,
            died,
            running: RefCell::new(Some(running)),
            backend: std::marker::PhantomData,
        }
    }

    fn address(&self) -> &BindAddress {
        &self.address
    }

    fn drain(&self) {
        if let Some(running) = &*self.running.borrow() {
            running.drain();
        }
    }

    fn try_connect(&self) -> io::Result<RealPeer> {
        RealPeer::connect(&self.address)
    }
}

/// The upstream's members.
fn members(upstream: &Upstream, servers: &[Server], one_name: bool) -> Vec<proxy_core::Server> {
    if one_name {
        let member = proxy_core::Server::named(upstream, "name:1".into());
        let addresses = servers.iter().filter_map(Server::tcp_address);
        member.set_addresses(&addresses.collect::<Vec<_>>());
        vec![member]
    } else {
        let servers = servers.iter().enumerate();
        servers
            .map(|(place, server)| server.member(upstream, place))
            .collect()
    }
}

impl<B: Scheduler> Stage for Real<B> {
    type Peer = RealPeer;
    type Flood = Traffic;

    const ROUNDS: u64 = 1;
    const PATIENCE: Duration = Duration::from_secs(60);
    const LULL: Duration = Duration::from_millis(500);
    const BULK_BYTES: u64 = 20_000_000;
    /// The kernel lets the buffers of the four sockets grow to 33 MB for receiving (of which it counts less than
    /// half as bytes) and to 4 MB for sending, by default.
    const UNDER_WAY_MAX: u64 = 80_000_000;

    fn unavailable() -> Option<String> {
        B::unavailable()
    }

    fn start(setup: Setup) -> Self {
        Self::start_on(&BindAddress::Tcp(([127, 0, 0, 1], 0).into()), setup)
    }

    fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn connect(&self) -> RealPeer {
        self.try_connect().expect("the proxy listens")
    }

    fn accept(&self, server: usize) -> Option<RealPeer> {
        self.servers[server].accept()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pass(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(self.now());
        thread::sleep(NAP.min(left));
        !left.is_zero()
    }

    fn stop(&self) {
        if let Some(running) = self.running.take() {
            running.stop(Self::PATIENCE);
        }
    }

    fn flood(&self, source: RealPeer, sink: RealPeer) -> Traffic {
        Traffic::start(source, sink)
    }
}

impl<B> Drop for Real<B> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(Duration::from_secs(10));
        }
        let died = self.died.lock().expect("it only stores").take();
        if let Some(death) = died
            && !thread::panicking()
        {
            panic!("{death}");
        }
    }
}

//! A proxy made by hand: two workers, two listeners, an upstream of two servers that are checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proxy_core::backend::{
    BindSockets, Evening, OwnFamily, OwnMetrics, Profile, Stealing, WorkerThread,
};
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::{Activity, Balance, Listener, Server, ServerAddress, Upstream};

use crate::observed::Observed;

const WORKERS: usize = 2;

pub(super) const STEALING: Stealing = Stealing {
    advice: "use-stealing",
    keys: "scheduler = \"stealing\"",
};

/// What the scheduler counts.
#[derive(Debug)]
struct Own;

impl OwnMetrics for Own {
    fn families(&self) -> Vec<OwnFamily> {
        let mut own = OwnFamily::counter("corelane_own_total", "Something.");
        own.add_of_core(1, 7);
        let mut gauge = OwnFamily::gauge("corelane_own", "Something else.");
        gauge.add(&[("listener", "web")], 0.5);
        vec![own, gauge]
    }
}

/// On a scheduler that can do nothing about an uneven load, pinned to the CPUs 4 and 5.
pub(super) fn proxy() -> Observed {
    proxy_with(Evening::Nothing)
}

/// As [`proxy`], with a scheduler that evens out the load like this.
pub(super) fn proxy_with(evening: Evening) -> Observed {
    let profile = Profile {
        name: "fixed",
        scheduler: "some",
        mode: "fixed",
        evening,
        queues: true,
        sockets: BindSockets::OneAWorker,
    };
    let server = |port: u16| {
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], port));
        Server::fixed(address.to_string(), ServerAddress::Tcp(address), 1)
    };
    let upstream = Upstream::new(
        "pool".to_owned(),
        vec![server(1), server(2)],
        Balance::least_connections(),
        Duration::from_secs(1),
        WORKERS,
    );
    let upstream = Arc::new(upstream.with_checks());
    let listener = |name: &str| Listener::new(name.to_owned(), upstream.clone(), WORKERS);
    let listeners = vec![
        Arc::new(listener("redis").with_max_connections(100)),
        Arc::new(listener("web")),
    ];
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    Observed::new(
        (profile, STEALING),
        [Some(4), Some(5)]
            .map(|cpu| WorkerThread { tid, cpu })
            .to_vec(),
        Arc::new(PerWorker::new(WORKERS, || CoreCells::new(WORKERS))),
        Arc::new(Activity::default()),
        listeners,
        vec![upstream],
        Arc::new(Own),
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
    )
}

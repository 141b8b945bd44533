//! A proxy made by hand: two workers, two listeners, an upstream of two servers that are checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backend_glommio::{Cells, Readiness};
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::WorkerThread;
use proxy_core::{Activity, Balance, Listener, Server, ServerAddress, Upstream};
use tokio::runtime::{Builder, Runtime};

use crate::observed::{Observed, SchedulersOwn};

const WORKERS: usize = 2;

/// On Glommio, pinned to the CPUs 4 and 5.
pub(super) fn glommio() -> Observed {
    observed(
        ("glommio", "thread-per-core"),
        SchedulersOwn::Glommio(Cells::new(Readiness::IoUring, WORKERS, 2)),
        [Some(4), Some(5)],
    )
}

/// On one runtime of Tokio for both workers, not pinned.
pub(super) fn work_stealing() -> (Runtime, Observed) {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).build();
    let runtime = runtime.expect("two threads");
    let own = SchedulersOwn::Tokio(vec![runtime.handle().clone()]);
    (
        runtime,
        observed(("tokio", "work-stealing"), own, [None, None]),
    )
}

/// On one runtime of Tokio a worker, not pinned.
pub(super) fn per_core() -> ([Runtime; WORKERS], Observed) {
    let build = || Builder::new_current_thread().build().expect("no threads");
    let runtimes = [build(), build()];
    let handles = runtimes.iter().map(|runtime| runtime.handle().clone());
    let own = SchedulersOwn::Tokio(handles.collect());
    (runtimes, observed(("tokio", "per-core"), own, [None, None]))
}

fn observed(
    names: (&'static str, &'static str),
    own: SchedulersOwn,
    cpus: [Option<usize>; WORKERS],
) -> Observed {
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
        names,
        cpus.map(|cpu| WorkerThread { tid, cpu }).to_vec(),
        Arc::new(PerWorker::new(WORKERS, || CoreCells::new(WORKERS))),
        Arc::new(Activity::default()),
        listeners,
        vec![upstream],
        own,
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
    )
}

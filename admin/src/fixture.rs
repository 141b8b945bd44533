//! A proxy made by hand: two workers, two listeners, an upstream of two servers that are checked.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proxy_core::backend::{
    BindSockets, Evening, OwnFamily, OwnMetrics, Profile, Stealing, WorkerThread,
};
use proxy_core::metrics::{Cause, CheckResult, Slots};
use proxy_core::{
    Balance, Closing, EjectionSettings, Generation, Inventory, Listener, ListenerSettings, Member,
    Pool, PoolSettings, Server, Table, Tables,
};

use crate::observed::Observed;
use crate::observed::client_lists::ClientList;
use crate::observed::running::Running;

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
    let inventory = Arc::new(Inventory::default());
    let labels = ["10.0.0.1:1", "10.0.0.1:2"].map(ToOwned::to_owned);
    let pool = pool(&inventory, "pool", &labels, true);
    let settings = |name: &str| ListenerSettings::new(inventory.listener(name), pool.clone());
    let redis = ListenerSettings {
        max_connections: Some(100),
        ..settings("redis")
    };
    let listeners = vec![Arc::new(redis), Arc::new(settings("web"))];
    let generation = Generation::new(
        WORKERS,
        &Slots::default(),
        Arc::default(),
        Arc::default(),
        Arc::new(Tables::new(Table::default())),
    );
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    let threads = [Some(4), Some(5)].map(|cpu| WorkerThread { tid, cpu });
    let running = Running {
        profile,
        threads: threads.to_vec(),
        generation: Arc::new(generation.expect("there is room")),
        own: Arc::new(Own),
    };
    let observed = Observed::new(
        running,
        STEALING,
        inventory,
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
    );
    observed.client_lists.set(vec![ClientList {
        file: "/etc/corelane/deny.txt".to_owned(),
        entries: 3,
        problem: None,
    }]);
    observed.discoveries.on_configured("web", 2, ["timeout"]);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_100);
    observed.discoveries.on_success("web", 3, at);
    observed.discoveries.on_failure("web", "timeout");
    let checked = pool.server(0).clone();
    configure(&observed, listeners, vec![pool]);
    // As if it had shown a certificate to a check, and an agent had answered.
    checked.checks.set_certificate_expiry(Some(978_307_200));
    checked.agent_checks().of(CheckResult::Passed).increment();
    checked.checks.set_took(Duration::from_micros(2500));
    // As if it had been down a moment ago.
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    let now = std::time::Instant::now();
    let closing = Closing::cut(Cause::ServerDown, now);
    checked.on_down.set(Some(closing));
    observed
}

/// The upstream of this name, with servers that have these labels.
pub(super) fn pool(
    inventory: &Inventory,
    name: &str,
    labels: &[String],
    checked: bool,
) -> Arc<Pool> {
    let upstream = inventory.upstream(name);
    let members = labels.iter().map(|label| {
        let make = || Server::named(&upstream, label.clone());
        Member::new(inventory.server(&upstream, label, make), 1)
    });
    let members = members.collect();
    let settings = PoolSettings {
        balance: Balance::LeastConnections,
        connect_timeout: Duration::from_secs(1),
        checked,
        retry_budget: Some(20),
        ..PoolSettings::default()
    };
    Arc::new(Pool::new(upstream, members, settings).with_ejection(Some(EJECTION)))
}

/// As it is where nothing is written.
const EJECTION: EjectionSettings = EjectionSettings {
    consecutive_failures: NonZeroU32::new(5).unwrap(),
    early: Some(Duration::from_secs(1)),
    slow_factor: NonZeroU32::new(10).unwrap(),
    interval: Duration::from_secs(10),
    base: Duration::from_secs(30),
    max: Duration::from_secs(300),
    largest_share: 10,
    panic_threshold: 50,
};

/// Puts these in force, as if there had never been others.
pub(super) fn configure(
    observed: &Observed,
    listeners: Vec<Arc<ListenerSettings>>,
    pools: Vec<Arc<Pool>>,
) {
    let tables = &observed.tables;
    // What was there before is not shown: the inventory hasn't heard of it.
    tables.publish(Table::new(listeners, pools));
}

/// The listener in a place.
pub(super) fn listener(observed: &Observed, place: usize) -> Arc<Listener> {
    observed.view().listeners[place].listener.clone()
}

/// The server in a place of the first upstream.
pub(super) fn server(observed: &Observed, place: usize) -> Arc<Server> {
    observed.view().upstreams[0].servers[place].clone()
}

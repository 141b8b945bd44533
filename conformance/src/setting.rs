//! The proxy of a stage: its listener, its upstream, and what its workers share.

use std::sync::Arc;

use proxy_core::metrics::{PerWorker, Slots};
use proxy_core::{
    Activity, Balance, Generation, Inventory, Listener, ListenerSettings, Member, NamePattern,
    Pool, PoolSettings, Rest, RouteSettings, Routes, Server, Table, Tables, Upstream,
};

use crate::stage::Setup;

/// The listener of `setup`, in front of the servers that `members` makes.
pub(crate) fn settings(
    inventory: &Inventory,
    setup: &Setup,
    members: impl FnOnce(&Upstream) -> Vec<Server>,
) -> Arc<ListenerSettings> {
    let upstream = inventory.upstream("servers");
    let members = members(&upstream).into_iter();
    let members = members.map(|server| Member {
        max_connections: setup.server_connections,
        ..Member::new(known(inventory, &upstream, server), 1)
    });
    let members: Vec<Member> = members.collect();
    let settings = PoolSettings {
        balance: Balance::RoundRobin,
        connect_timeout: setup.connect_timeout,
        starttls_timeout: setup.starttls_timeout,
        checked: false,
        send_proxy: setup.send_proxy,
        retry_budget: setup.retry_budget,
        queue: setup.queue,
        ..PoolSettings::default()
    };
    let listener = inventory.listener("clients");
    listener.bandwidth.set(setup.bandwidth);
    let routes = routes(setup, &listener, |name, server| {
        let upstream = inventory.upstream(name);
        Arc::new(Pool::new(upstream, vec![members[server].clone()], settings))
    });
    let pool = Pool::new(upstream, members, settings).with_ejection(setup.ejection);
    let pool = Arc::new(pool);
    Arc::new(ListenerSettings {
        routes,
        idle_timeout: setup.idle_timeout,
        times: setup.times,
        bandwidth: setup.bandwidth,
        max_connections: setup.max_connections,
        ends: setup.ends.clone(),
        prologue: setup.prologue.clone().map(Arc::new),
        ..ListenerSettings::new(listener, pool)
    })
}

/// A server, known by its name.
fn known(inventory: &Inventory, upstream: &Upstream, server: Server) -> Arc<Server> {
    let label = server.label.clone();
    inventory.server(upstream, &label, || server)
}

fn routes(
    setup: &Setup,
    listener: &Listener,
    pool: impl Fn(&str, usize) -> Arc<Pool>,
) -> Option<Arc<Routes>> {
    let names = setup.routes.iter().map(|(name, _)| *name);
    let counted = listener.routes.of(names.chain(["default"]));
    let (rest, counted) = counted.split_last()?;
    let routes = setup.routes.iter().zip(counted);
    let routes = routes.map(|((name, server), route)| RouteSettings {
        route: route.clone(),
        names: vec![NamePattern::new(name)],
        alpn: Vec::new(),
        source: Vec::new(),
        peer: Vec::new(),
        ports: Vec::new(),
        pools: vec![(pool(name, *server), 1)],
    });
    let routes = Routes::new(routes.collect(), Rest::Default(rest.clone()));
    (!setup.routes.is_empty()).then(|| Arc::new(routes))
}

/// Workers for it.
pub(crate) fn generation(workers: usize, settings: &Arc<ListenerSettings>) -> Arc<Generation> {
    let table = Table::new(vec![settings.clone()], vec![settings.pool.clone()]);
    let generation = Generation::new(
        workers,
        &Slots::default(),
        Arc::new(PerWorker::default()),
        Arc::new(Activity::default()),
        Arc::new(Tables::new(table)),
    );
    Arc::new(generation.expect("the first one has room"))
}

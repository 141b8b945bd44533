//! What is known of servers, what was set by hand and what limits have counted goes on in the process that takes over.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::ctl::Controlled;
use crate::ctl_changes::{Echo, exchange, server, spread, two_servers};
use crate::harness::config::route;
use crate::harness::heirs::{self, Heirs};
use crate::harness::peer;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade::upgrade;

each_scheduler!(
    what_was_set_by_hand_goes_on,
    connections_that_went_over_count_for_limits,
    a_connection_of_what_is_configured_no_longer_goes_on,
    servers_that_a_source_named_stay_though_it_fails_meanwhile,
    what_the_kernel_dropped_is_counted_once,
);

fn what_was_set_by_hand_goes_on(scheduler: Scheduler) {
    let (controlled, servers) = two_servers(scheduler);
    let heirs = Heirs::of(&controlled.proxy);
    let [first, second] = servers.each_ref().map(|one| &one.address[..]);
    let open = controlled.proxy.connect("main");
    exchange(&open);
    controlled.done(&["set-server", "main", second, "--weight", "3"]);
    upgrade(&controlled.proxy, &heirs);
    let shown = server(&controlled, second);
    let (weight, by_hand) = (&shown["weight"], &shown["weight_by_hand"]);
    assert_eq!((weight, by_hand), (&3.into(), &true.into()));
    assert_eq!(spread(&controlled, &servers, 8), [2, 6]);
    controlled.done(&["set-server", "main", first, "--state", "drain"]);
    controlled.done(&["set-listener", "main", "--state", "paused"]);
    upgrade(&controlled.proxy, &heirs);
    assert_eq!(server(&controlled, first)["state"], "draining");
    assert_eq!(controlled.json(&["listeners", "main"])["state"], "paused");
    exchange(&open);
    let waiting = peer::connect(controlled.proxy.address("main"));
    controlled.done(&["set-listener", "main", "--state", "open"]);
    exchange(&waiting);
    assert_eq!(spread(&controlled, &servers, 4), [0, 4]);
}

fn connections_that_went_over_count_for_limits(scheduler: Scheduler) {
    let echo = Echo::start();
    let limits = "max_connections = 3\nmax_connections_per_source = 2";
    let routes = route("main", "127.0.0.1:0", &[&echo.address], limits, "");
    let controlled = Controlled::start(scheduler, "", &routes);
    let heirs = Heirs::of(&controlled.proxy);
    let open: Vec<_> = (0..2).map(|_| controlled.proxy.connect("main")).collect();
    open.iter().for_each(exchange);
    upgrade(&controlled.proxy, &heirs);
    let beyond = peer::connect(controlled.proxy.address("main"));
    beyond
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time");
    let got = (&beyond).read(&mut [0; 1]);
    assert!(matches!(got, Ok(0)), "it is turned away: {got:?}");
    open.iter().for_each(exchange);
    drop(open);
    wait::until("there is room again", || {
        let shown = controlled.json(&["servers", "main", &echo.address]);
        shown["connections"] == 0
    });
    exchange(&controlled.proxy.connect("main"));
}

fn a_connection_of_what_is_configured_no_longer_goes_on(scheduler: Scheduler) {
    let [old, new] = [Echo::start(), Echo::start()];
    let at = |name: &str, server: &Echo| route(name, "127.0.0.1:0", &[&server.address], "", "");
    let both = |of_gone: &Echo| at("main", &old) + &at("gone", of_gone);
    let proxy = Proxy::start(scheduler, &both(&old));
    let heirs = Heirs::of(&proxy);
    let open = ["main", "gone"].map(|name| proxy.connect(name));
    open.iter().for_each(exchange);
    let file = proxy.directory().join("corelane.toml");
    let after = at("main", &new);
    fs::write(file, proxy::configuration(scheduler, "", &after)).expect("write");
    upgrade(&proxy, &heirs);
    open.iter().for_each(exchange);
    let listeners = |name| proxy.metric("corelane_listener_connections", &[("listener", name)]);
    let servers = |name: &str| {
        let labels = [("upstream", name), ("server", &old.address[..])];
        proxy.metric("corelane_upstream_connections", &labels)
    };
    for name in ["main", "gone"] {
        assert_eq!((listeners(name), servers(name)), (1.0, 1.0), "{name}");
    }
    exchange(&proxy.connect("main"));
    assert_eq!(new.accepted(), 1);
    drop(open);
    wait::until("they have ended", || {
        (listeners("gone"), servers("gone"), servers("main")) == (0.0, 0.0, 0.0)
    });
}

fn servers_that_a_source_named_stay_though_it_fails_meanwhile(scheduler: Scheduler) {
    let echo = Echo::start();
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("servers.json");
    fs::write(&list, format!("[\"{}\"]", echo.address)).expect("write");
    let routes = format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n\
         [upstreams.main.discovery]\nfile = \"{}\"\n",
        list.display()
    );
    let controlled = Controlled::start(scheduler, "", &routes);
    let heirs = Heirs::of(&controlled.proxy);
    exchange(&controlled.proxy.connect("main"));
    let since = server(&controlled, &echo.address)["since"].as_f64();
    assert!(since.is_some_and(|since| since > 1e9));
    fs::remove_file(&list).expect("remove");
    upgrade(&controlled.proxy, &heirs);
    exchange(&controlled.proxy.connect("main"));
    assert_eq!(server(&controlled, &echo.address)["state"], "up");
}

fn what_the_kernel_dropped_is_counted_once(scheduler: Scheduler) {
    let routes = route("main", "127.0.0.1:0", &["builtin:echo"], "backlog = 1", "");
    let proxy = Proxy::start(scheduler, &routes);
    let heirs = Heirs::of(&proxy);
    let address = proxy.address("main");
    let labels = [("listener", "main")];
    let drops = || proxy.metric("corelane_listener_accept_drops_total", &labels);
    let fill = || {
        let pid = heirs.only();
        heirs::signal(pid, Signal::STOP);
        let timeout = Duration::from_millis(100);
        let connect = |_| TcpStream::connect_timeout(&address, timeout);
        let clients: Vec<_> = (0..64).map(connect).take_while(Result::is_ok).collect();
        heirs::signal(pid, Signal::CONT);
        assert!(clients.len() < 64, "every client finds room in the queue");
    };
    let answers = || {
        let mut client = proxy.connect("main");
        client.write_all(b"?").expect("send");
        client.read_exact(&mut [0; 1]).expect("an answer");
    };
    fill();
    answers();
    let first = drops();
    assert!(first >= 1.0);
    upgrade(&proxy, &heirs);
    assert_eq!(drops(), first);
    fill();
    answers();
    let second = drops();
    assert!(second > first, "{first}, then {second}");
    upgrade(&proxy, &heirs);
    assert_eq!(drops(), second);
}

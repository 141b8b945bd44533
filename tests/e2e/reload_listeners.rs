//! SIGHUP: listeners come, go and listen elsewhere while clients connect. Nobody who connects to an address that stays is
//! refused.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::harness::peer;
use crate::harness::port;
use crate::harness::proxy::{Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    listeners_come_and_go,
    what_is_left_of_a_removed_listener_is_cut_in_time,
    nobody_is_refused_at_an_address_that_stays,
    an_address_grows_and_shrinks,
    a_taken_address_changes_nothing,
    unix_sockets_come_and_go,
    another_scheduler_and_other_listeners_at_once,
);

/// Clients at a time.
const CLIENTS: usize = 3;

const ECHO: &str = "[upstreams.echo]\nservers = [\"builtin:echo\"]\n";

/// Listeners with these names at these addresses.
fn routes(listeners: &[(&str, &str)]) -> String {
    let listeners = listeners
        .iter()
        .map(|(name, bind)| format!("[listeners.{name}]\nbind = {bind}\nupstream = \"echo\"\n"));
    listeners.collect::<String>() + ECHO
}

fn quoted(address: SocketAddr) -> String {
    format!("\"{address}\"")
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port::free()))
}

/// Has the proxy read this. Whether it took it.
fn reload(proxy: &Proxy, scheduler: Scheduler, runtime: &str, routes: &str) -> bool {
    let read = || {
        let metrics = proxy.metrics();
        let get = |name| metrics.get(name, &[]);
        (
            get("corelane_config_last_reload_timestamp_seconds"),
            get("corelane_config_last_reload_success"),
        )
    };
    let before = read();
    assert_eq!(
        before.1, 1.0,
        "a refusal could not be told from the one before"
    );
    let text = configuration(scheduler, runtime, routes);
    fs::write(proxy.directory().join("corelane.toml"), text).expect("write");
    proxy.signal(Signal::HUP);
    wait::until("it is read", || read() != before);
    read().1 == 1.0
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"still here").expect("send");
    client.read_exact(&mut [0; 10]).expect("receive");
}

fn established(address: SocketAddr) -> TcpStream {
    let client = peer::connect(address);
    exchange(&client);
    client
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn listeners_come_and_go(scheduler: Scheduler) {
    let (a, b) = (free(), free());
    let (only_a, both) = (
        routes(&[("a", &quoted(a))]),
        routes(&[("a", &quoted(a)), ("b", &quoted(b))]),
    );
    let proxy = Proxy::start(scheduler, &only_a);
    let old = established(a);
    assert!(is_refused(b));
    let accepted = || proxy.metric("corelane_listener_connections_total", &[("listener", "b")]);
    // Zero under another scheduler.
    let queues = || {
        let name = "corelane_glommio_task_queue_selected_total";
        proxy.metric(name, &[("listener", "b")])
    };
    let mut selected = 0.0;
    for round in 1..=2_u8 {
        assert!(reload(&proxy, scheduler, "", &both));
        let client = established(b);
        assert_eq!(accepted(), f64::from(round), "it goes on counting");
        assert!(queues() >= selected, "so do its task queues");
        selected = queues();
        assert!(reload(&proxy, scheduler, "", &only_a));
        wait::until("nobody listens there", || is_refused(b));
        exchange(&client);
        let open = [("listener", "b")];
        assert_eq!(proxy.metric("corelane_listener_connections", &open), 1.0);
        drop(client);
        wait::until("its end is counted", || {
            proxy.metric("corelane_listener_connections", &open) == 0.0
        });
        exchange(&old);
    }
    for line in ["[listeners.b] is new", "[listeners.b] is removed"] {
        proxy.logs(line);
    }
    // Elsewhere, under the same name.
    assert!(reload(&proxy, scheduler, "", &routes(&[("a", &quoted(b))])));
    wait::until("it has moved", || is_refused(a));
    drop(established(b));
    exchange(&old);
    drop(old);
    proxy.stop();
}

fn what_is_left_of_a_removed_listener_is_cut_in_time(scheduler: Scheduler) {
    let (a, b) = (free(), free());
    let both = routes(&[("a", &quoted(a)), ("b", &quoted(b))]);
    let proxy = Proxy::start(scheduler, &both);
    let (stays, mut goes) = (established(a), established(b));
    let soon = "drain_timeout = \"1s\"\n";
    assert!(reload(
        &proxy,
        scheduler,
        soon,
        &routes(&[("a", &quoted(a))])
    ));
    // Without a byte.
    assert_eq!(peer::end_of(&mut goes), Some(ErrorKind::ConnectionReset));
    exchange(&stays);
    // One of the same name is like any other.
    assert!(reload(&proxy, scheduler, soon, &both));
    let again = established(b);
    thread::sleep(std::time::Duration::from_millis(1500));
    exchange(&again);
    drop((stays, again));
    proxy.stop();
}

/// Connections that come, exchange and go, until `act` returns; how many they were. None may fail.
fn connecting(address: SocketAddr, act: impl FnOnce()) -> u64 {
    let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _end = wait::End(&over);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let client = established(address);
                    opened.fetch_add(1, Ordering::Relaxed);
                    exchange(&client);
                }
            });
        }
        act();
    });
    opened.into_inner()
}

fn nobody_is_refused_at_an_address_that_stays(scheduler: Scheduler) {
    let (stays, other) = (free(), free());
    let (stays_at, other_at) = (quoted(stays), quoted(other));
    let both = format!("[{stays_at}, {other_at}]");
    let proxy = Proxy::start(scheduler, &routes(&[("a", &stays_at)]));
    let old = established(stays);
    let opened = connecting(stays, || {
        for _ in 0..4 {
            for listeners in [
                &[("a", &both[..])][..],
                &[("b", &stays_at), ("a", &other_at)],
                &[("a", &stays_at), ("c", &other_at)],
                &[("d", &both)],
                &[("a", &stays_at)],
            ] {
                assert!(reload(&proxy, scheduler, "", &routes(listeners)));
                exchange(&old);
            }
        }
    });
    drop(old);
    wait::until("every end is counted", || {
        proxy.metric("corelane_listener_ended_total", &[]) == (opened + 1) as f64
    });
    let finished = [("cause", "finished")];
    assert_eq!(
        proxy.metric("corelane_listener_ended_total", &finished),
        (opened + 1) as f64
    );
    // By core: what listeners counted that are gone is among it.
    assert_eq!(
        proxy.metric("corelane_core_accepts_total", &[]),
        (opened + 1) as f64
    );
    proxy.stop();
}

/// From one address to all of the machine, and back: each overlaps the one before.
fn an_address_grows_and_shrinks(scheduler: Scheduler) {
    let address = free();
    let port = address.port();
    let wider = [
        format!("\"0.0.0.0:{port}\""),
        format!("\"*:{port}\""),
        quoted(address),
        format!("\"*:{port}\""),
        format!("\"0.0.0.0:{port}\""),
        quoted(address),
    ];
    let proxy = Proxy::start(scheduler, &routes(&[("a", &quoted(address))]));
    let old = established(address);
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
    let came = connecting(address, || {
        for bind in &wider {
            assert!(reload(&proxy, scheduler, "", &routes(&[("a", bind)])));
            exchange(&established(address));
            wait::until("it listens on the others, or no more", || {
                is_refused(elsewhere) == (*bind == quoted(address))
            });
            exchange(&old);
        }
    });
    assert!(came > 0);
    drop(old);
    proxy.stop();
}

fn a_taken_address_changes_nothing(scheduler: Scheduler) {
    let (a, b) = (free(), free());
    let before = routes(&[("a", &quoted(a))]);
    let proxy = Proxy::start(scheduler, &before);
    let taken = std::net::TcpListener::bind(b).expect("it is free");
    let elsewhere = routes(&[("a", &quoted(b)), ("c", "\"127.0.0.1:0\"")]);
    assert!(!reload(&proxy, scheduler, "", &elsewhere));
    drop(established(a));
    proxy.logs("[listeners.a] can't listen");
    assert_eq!(
        proxy.metric("corelane_listener_connections_total", &[("listener", "c")]),
        0.0
    );
    drop(taken);
    proxy.stop();
}

fn unix_sockets_come_and_go(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let (a, unix) = (free(), format!("\"unix:{}\"", path.display()));
    let proxy = Proxy::start(scheduler, &routes(&[("a", &quoted(a))]));
    assert!(reload(&proxy, scheduler, "", &routes(&[("a", &unix)])));
    let mut client = UnixStream::connect(&path).expect("it listens");
    client.write_all(b"x").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    wait::until("nobody listens there", || is_refused(a));
    assert!(reload(&proxy, scheduler, "", &routes(&[("b", &unix)])));
    drop(UnixStream::connect(&path).expect("it listens still"));
    assert!(reload(&proxy, scheduler, "", &routes(&[("b", &quoted(a))])));
    assert!(!path.exists());
    client.write_all(b"x").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    drop((established(a), client));
    proxy.stop();
}

/// One file changes both.
fn another_scheduler_and_other_listeners_at_once(scheduler: Scheduler) {
    let (stays, other) = (free(), free());
    let (stays_at, other_at) = (quoted(stays), quoted(other));
    let proxy = Proxy::start(scheduler, &routes(&[("a", &stays_at)]));
    let old = established(stays);
    let all = [
        Scheduler::Glommio,
        Scheduler::WorkStealing,
        Scheduler::PerCore,
    ];
    let others: Vec<_> = all.into_iter().filter(|one| one.usable()).collect();
    connecting(stays, || {
        for (place, next) in others.iter().chain([&scheduler]).enumerate() {
            let (name, more) = [("b", "c"), ("a", "d")][place % 2];
            let listeners = [(name, &stays_at[..]), (more, &other_at)];
            assert!(reload(&proxy, *next, "", &routes(&listeners)));
            wait::until("it listens there, too", || !is_refused(other));
            exchange(&old);
        }
    });
    drop((established(other), old));
    proxy.stop();
}

//! A worker that dies while something else goes on: a switch, a drain, an upgrade. It takes its own connections at most, and nobody
//! is left to wait.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use rustix::process::Signal;

use crate::harness::change;
use crate::harness::config::{forward_with, route};
use crate::harness::doom;
use crate::harness::heirs::{self, Heirs};
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade;

each_scheduler!(
    one_that_is_being_replaced_takes_its_own,
    the_only_one_that_is_being_replaced_takes_its_own,
    one_that_has_just_begun_is_replaced,
    the_others_drain,
    the_only_one_drains_no_more,
    an_upgrade_that_has_not_begun_gives_way,
    the_others_hand_over,
    who_takes_over_loses_none_that_is_to_come,
);

/// Clients that say nothing yet: they hold up what goes on. Enough for each worker to have some.
const SILENT: usize = 16;

/// Clients that are served by a server.
const RELAYED: usize = 4;

/// What a silent client says to be served.
const HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

/// A proxy with two workers, a listener "main" whose clients have to say who they are, and "other", whose clients needn't.
fn start(scheduler: Scheduler, directory: &std::path::Path) -> Option<Proxy> {
    start_with(scheduler, 2, directory)
}

fn start_with(scheduler: Scheduler, cores: usize, directory: &std::path::Path) -> Option<Proxy> {
    let command = doom::command(directory)?;
    let text = text(scheduler, cores, directory);
    Some(Proxy::start_command(command, &text))
}

fn text(scheduler: Scheduler, cores: usize, directory: &std::path::Path) -> String {
    let main = "accept_proxy_protocol = \"required\"\nprologue_timeout = \"10m\"\n";
    let routes = forward_with(&["builtin:echo"], main, "")
        + &route("other", "127.0.0.1:0", &["builtin:echo"], "", "");
    let socket = directory.join("admin.sock");
    let runtime = match scheduler {
        Scheduler::Glommio => "glommio.rebalance.enabled = false\n",
        Scheduler::WorkStealing | Scheduler::PerCore => "",
    };
    let text = change::text(scheduler, cores, runtime, &routes);
    text.replacen("[admin]\n", &format!("[admin]\nsocket = {socket:?}\n"), 1)
}

/// Clients that are accepted, and have said nothing.
fn silent(proxy: &Proxy) -> Vec<TcpStream> {
    let clients = (0..SILENT).map(|_| proxy.connect("main")).collect();
    wait::until("they are accepted", || {
        let listener = [("listener", "main")];
        proxy.metric("corelane_listener_connections", &listener) == SILENT as f64
    });
    clients
}

fn relayed(proxy: &Proxy) -> Vec<TcpStream> {
    let mut clients: Vec<_> = (0..RELAYED).map(|_| proxy.connect("other")).collect();
    for client in &mut clients {
        echoes(client).expect("it is served");
    }
    clients
}

fn echoes(client: &mut TcpStream) -> std::io::Result<()> {
    client.write_all(b"!")?;
    client.read_exact(&mut [0])
}

/// Which of the clients a worker has, as `/connections` tells.
fn of_worker(proxy: &Proxy, clients: &[TcpStream], worker: usize) -> Vec<bool> {
    let list = String::from_utf8(proxy.get("/connections").body).expect("UTF-8");
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let connections = list["connections"].as_array().expect("a list");
    let own = connections.iter().filter(|one| one["core"] == worker);
    let own: BTreeSet<_> = own.filter_map(|one| one["client"].as_str()).collect();
    let address = |client: &TcpStream| client.local_addr().expect("address").to_string();
    clients
        .iter()
        .map(|client| own.contains(&*address(client)))
        .collect()
}

/// Has silent clients speak: each is served, or reset, and only those that `may` be. The number of those that are reset.
fn speak(clients: &mut [TcpStream], may: impl Fn(usize) -> bool) -> usize {
    let mut lost = 0;
    for (index, client) in clients.iter_mut().enumerate() {
        let served = client.write_all(HEADER).and_then(|()| echoes(client));
        if let Err(error) = served {
            let kind = error.kind();
            let is_reset = matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
            assert!(is_reset && may(index), "client {index}: {error}");
            lost += 1;
        }
    }
    lost
}

/// Clients that come now are served.
fn serves(address: SocketAddr) -> bool {
    (0..SILENT).all(|_| {
        let served = TcpStream::connect(address).and_then(|mut client| {
            client.set_read_timeout(Some(wait::DEADLINE))?;
            client.write_all(HEADER)?;
            echoes(&mut client)
        });
        served.is_ok()
    })
}

fn one_that_is_being_replaced_takes_its_own(scheduler: Scheduler) {
    one_of_those_that_are_replaced_dies(scheduler, 2);
}

fn the_only_one_that_is_being_replaced_takes_its_own(scheduler: Scheduler) {
    one_of_those_that_are_replaced_dies(scheduler, 1);
}

/// A switch whose end silent clients hold up.
fn one_of_those_that_are_replaced_dies(scheduler: Scheduler, cores: usize) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(proxy) = start_with(scheduler, cores, directory.path()) else {
        return;
    };
    let (mut clients, mut stay) = (silent(&proxy), relayed(&proxy));
    let own = of_worker(&proxy, &clients, 0);
    let own_served = of_worker(&proxy, &stay, 0);
    let old = doom::workers(proxy.pid());
    change::reload(&proxy, &text(scheduler, 3, directory.path()));
    doom::kill_one(&proxy, scheduler, &old);
    wait::until("it is dead", || proxy.log().contains("a worker died"));
    // Under work stealing nobody has its own, and what is in the prologue can't move.
    let lost = speak(&mut clients, |index| {
        own[index] || scheduler == Scheduler::WorkStealing
    });
    println!("{lost} of {SILENT} were lost");
    for (client, own) in stay.iter_mut().zip(own_served) {
        if let Err(error) = echoes(client) {
            assert!(own && scheduler != Scheduler::WorkStealing, "{error}");
        }
    }
    assert!(serves(proxy.address("main")));
    wait::until("the switch is over", || {
        change::switched(&proxy.metrics()) > 0.0
    });
    drop((clients, stay));
    proxy.stop();
}

fn one_that_has_just_begun_is_replaced(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(proxy) = start(scheduler, directory.path()) else {
        return;
    };
    let mut clients = silent(&proxy);
    let old = doom::workers(proxy.pid());
    change::reload(&proxy, &text(scheduler, 3, directory.path()));
    let mut new = doom::workers(proxy.pid());
    new.retain(|tid| !old.contains(tid));
    // Threads that they start have the same names.
    assert!(new.len() >= 3, "{new:?}");
    doom::kill_one(&proxy, scheduler, &new);
    wait::until("it is replaced", || {
        let _ = TcpStream::connect(proxy.address("other"));
        proxy.metric("corelane_worker_restarts_total", &[]) > 0.0
    });
    assert!(serves(proxy.address("main")));
    let lost = speak(&mut clients, |_| false);
    assert_eq!(lost, 0);
    drop(clients);
    proxy.stop();
}

fn the_others_drain(scheduler: Scheduler) {
    one_of_those_that_drain_dies(scheduler, 2);
}

fn the_only_one_drains_no_more(scheduler: Scheduler) {
    one_of_those_that_drain_dies(scheduler, 1);
}

fn one_of_those_that_drain_dies(scheduler: Scheduler, cores: usize) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(mut proxy) = start_with(scheduler, cores, directory.path()) else {
        return;
    };
    let mut clients: Vec<_> = (0..SILENT).map(|_| proxy.connect("other")).collect();
    for client in &mut clients {
        echoes(client).expect("it is served");
    }
    let own = of_worker(&proxy, &clients, 0);
    proxy.terminate();
    wait::until("it drains", || proxy.log().contains("draining"));
    let workers = doom::workers(proxy.pid());
    doom::kill_one(&proxy, scheduler, &workers);
    wait::until("it is dead", || proxy.log().contains("a worker died"));
    for (client, own) in clients.iter_mut().zip(own) {
        if let Err(error) = echoes(client) {
            assert!(own && scheduler != Scheduler::WorkStealing, "{error}");
        }
    }
    drop(clients);
    let status = proxy.wait();
    let log = proxy.whole_log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("its connections were cut"), "{log}");
}

/// The new process never says that it is ready: until then the old one can have its worker replaced.
fn an_upgrade_that_has_not_begun_gives_way(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(proxy) = start(scheduler, directory.path()) else {
        return;
    };
    let program = directory.path().join("slow");
    program::write(&program, "#!/bin/sh\nexec sleep 60\n");
    let socket = directory.path().join("admin.sock");
    let mut stay = relayed(&proxy);
    let own = of_worker(&proxy, &stay, 0);
    thread::scope(|scope| {
        let asked = scope.spawn(|| upgrade::ask(&socket, Some(&program)));
        wait::until("it begins", || proxy.log().contains("an upgrade begins"));
        doom::kill_one(&proxy, scheduler, &doom::workers(proxy.pid()));
        let asked = asked.join().expect("it ends");
        let words = String::from_utf8_lossy(&asked.stderr).into_owned()
            + &String::from_utf8_lossy(&asked.stdout);
        assert!(!asked.status.success(), "{words}");
        assert!(words.contains("a worker has died"), "{words}");
    });
    wait::until("it is replaced", || {
        proxy.metric("corelane_worker_restarts_total", &[]) > 0.0
    });
    assert!(serves(proxy.address("main")));
    for (client, own) in stay.iter_mut().zip(own) {
        let served = echoes(client);
        assert!(served.is_ok() || own && scheduler != Scheduler::WorkStealing);
    }
    drop(stay);
    proxy.stop();
}

/// Until the end of an upgrade that silent clients hold up.
fn hold_up(proxy: &Proxy, heirs: &Heirs) -> u32 {
    proxy.signal(Signal::USR2);
    wait::until("the new process accepts", || {
        proxy.log().contains("the new process accepts")
    });
    let pids = heirs.pids();
    assert_eq!(pids.len(), 2, "{}", proxy.log());
    pids[1]
}

fn the_others_hand_over(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(proxy) = start(scheduler, directory.path()) else {
        return;
    };
    let heirs = Heirs::of(&proxy);
    let (mut clients, mut stay) = (silent(&proxy), relayed(&proxy));
    let own = of_worker(&proxy, &clients, 0);
    let new = hold_up(&proxy, &heirs);
    wait::until("those have gone over that are served", || {
        let listener = [("listener", "other")];
        proxy.metric("corelane_listener_connections", &listener) == RELAYED as f64
    });
    doom::kill_one(&proxy, scheduler, &doom::workers(proxy.pid()));
    wait::until("it is dead", || proxy.log().contains("a worker died"));
    let lost = speak(&mut clients, |index| {
        own[index] || scheduler == Scheduler::WorkStealing
    });
    println!("{lost} of {SILENT} were lost");
    for client in &mut stay {
        echoes(client).expect("it has gone over");
    }
    assert_eq!(heirs.only(), new);
    assert!(serves(proxy.address("main")));
    drop((clients, stay));
    heirs::signal(new, Signal::TERM);
    wait::until("it ends", || heirs.pids().is_empty());
}

fn who_takes_over_loses_none_that_is_to_come(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(proxy) = start(scheduler, directory.path()) else {
        return;
    };
    let heirs = Heirs::of(&proxy);
    let mut clients = silent(&proxy);
    let new = hold_up(&proxy, &heirs);
    doom::kill_one_of(new, scheduler, &doom::workers(new));
    wait::until("it is replaced", || {
        let _ = TcpStream::connect(proxy.address("other"));
        proxy.metric("corelane_worker_restarts_total", &[]) > 0.0
    });
    assert_eq!(speak(&mut clients, |_| false), 0);
    assert_eq!(heirs.only(), new);
    assert!(serves(proxy.address("main")));
    drop(clients);
    heirs::signal(new, Signal::TERM);
    wait::until("it ends", || heirs.pids().is_empty());
}

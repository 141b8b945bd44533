//! What systemd passes on, and what it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::process::Signal;

use crate::harness::change;
use crate::harness::config::route;
use crate::harness::heirs::Heirs;
use crate::harness::peer;
use crate::harness::port;
use crate::harness::proxy::{Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::unit;
use crate::harness::wait;
use crate::upgrade;

each_scheduler!(
    sockets_of_units_are_served_and_go_on_listening,
    who_comes_after_a_crash_waits_for_the_next_process,
    a_socket_that_nobody_has_yet_goes_over_an_upgrade,
);

/// Clients at each socket: enough for each worker to have some.
const CLIENTS: usize = 8;

fn echoes(client: &mut (impl Read + Write)) {
    client.write_all(b"!").expect("write");
    client.read_exact(&mut [0]).expect("the byte comes back");
}

/// Who came before the proxy, while it runs, and after it has ended: none is lost.
fn sockets_of_units_are_served_and_go_on_listening(scheduler: Scheduler) {
    let echo = peer::echo();
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("socket");
    let (tcp, unix) = (
        TcpListener::bind("127.0.0.1:0").expect("bind"),
        UnixListener::bind(&path).expect("bind"),
    );
    let address = tcp.local_addr().expect("address");
    let sockets: [(&str, OwnedFd); 2] = [("web", tcp.into()), ("local", unix.into())];
    let routes = format!(
        "[listeners.main]\nbind = [\"fd:web\", \"fd:local\"]\nupstream = \"u\"\n[upstreams.u]\nservers = [\"{}\"]\n",
        echo.address()
    );
    let configuration = configuration(scheduler, "", &routes);
    let mut waiting: Vec<TcpStream> = (0..CLIENTS).map(|_| peer::connect(address)).collect();
    for _ in 0..2 {
        let proxy = Proxy::start_command(unit::command(&sockets), &configuration);
        assert_eq!(proxy.address("main"), address);
        waiting.iter_mut().for_each(echoes);
        waiting = (0..CLIENTS).map(|_| peer::connect(address)).collect();
        waiting.iter_mut().for_each(echoes);
        let mut local = UnixStream::connect(&path).expect("connect");
        local
            .set_read_timeout(Some(wait::DEADLINE))
            .expect("timeout");
        echoes(&mut local);
        waiting.clear();
        drop(local);
        proxy.stop();
        assert!(path.exists(), "the file is the unit's");
        waiting = (0..CLIENTS).map(|_| peer::connect(address)).collect();
    }
}

/// Which a reload names after it; and so does one that a listener had before.
fn a_socket_that_nobody_has_yet_goes_over_an_upgrade(scheduler: Scheduler) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("bind");
    let (web, spare) = (bind(), bind());
    let address = spare.local_addr().expect("address");
    let sockets: [(&str, OwnedFd); 2] = [("web", web.into()), ("spare", spare.into())];
    let text = |name: &str| {
        let routes = route("main", &format!("fd:{name}"), &["builtin:echo"], "", "");
        configuration(scheduler, "", &routes)
    };
    let proxy = Proxy::start_command(unit::command(&sockets), &text("web"));
    let heirs = Heirs::of(&proxy);
    upgrade::upgrade(&proxy, &heirs);
    let mut waits = peer::connect(address);
    change::reload(&proxy, &text("spare"));
    echoes(&mut waits);
    drop(waits);
    upgrade::upgrade(&proxy, &heirs);
    echoes(&mut peer::connect(address));
    change::reload(&proxy, &text("web"));
    echoes(&mut proxy.connect("main"));
    proxy.stop();
}

/// Nobody is refused between a process that is killed and the next one, and at an orderly end nothing is kept.
fn who_comes_after_a_crash_waits_for_the_next_process(scheduler: Scheduler) {
    let manager = unit::Manager::start();
    let address = format!("127.0.0.1:{}", port::free());
    let routes = route("main", &address, &["builtin:echo"], "", "");
    let configuration = configuration(scheduler, "", &routes);
    let mut kept = Vec::new();
    let mut waiting: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        let sockets: Vec<_> = kept
            .drain(..)
            .map(|socket| ("corelane-kept", socket))
            .collect();
        let mut command = unit::command(&sockets);
        manager.is_told_by(&mut command);
        let mut proxy = Proxy::start_command(command, &configuration);
        drop(sockets);
        waiting.iter_mut().for_each(echoes);
        waiting.clear();
        kept = manager.keeps();
        proxy.signal(Signal::KILL);
        proxy.wait();
        let address = address.parse().expect("an address");
        waiting = (0..CLIENTS).map(|_| peer::connect(address)).collect();
    }
    drop(waiting);
    let sockets: Vec<_> = kept
        .into_iter()
        .map(|socket| ("corelane-kept", socket))
        .collect();
    let mut command = unit::command(&sockets);
    manager.is_told_by(&mut command);
    let proxy = Proxy::start_command(command, &configuration);
    drop((sockets, manager.keeps()));
    proxy.stop();
    manager.forgets();
    TcpStream::connect(address).expect_err("nobody listens");
}

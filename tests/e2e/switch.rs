//! Another scheduler, or other cores, by SIGHUP while connections run: nobody is refused, and no byte is lost.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::{fs, io, thread};

use rustix::process::Signal;

use crate::harness::bytes::{self, MIB, Pattern};
use crate::harness::change::{self, write};
use crate::harness::child::Child;
use crate::harness::config::route;
use crate::harness::metrics::Totals;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{Proxy, command};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};

each_scheduler!(
    connections_move_to_every_scheduler,
    half_closed_and_stuck_connections_move,
    connections_finish_where_they_are_under_drain,
    a_unix_socket_is_handed_over,
    a_stop_ends_both_schedulers,
    what_comes_while_connections_finish_is_looked_at_and_waits,
    sockets_beyond_the_workers_are_told,
);

/// Connections that say nothing during a switch.
const IDLE: usize = 40;

/// Connections that are mid-transfer all the time.
const BUSY: usize = 6;

/// Clients that come and go.
const COMING: usize = 3;

pub(crate) fn echo() -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], "", "")
}

pub(crate) fn switches(proxy: &Proxy, from: Scheduler, to: Scheduler, result: &str) -> f64 {
    let labels = [("from", from.name()), ("to", to.name()), ("result", result)];
    proxy.metric("corelane_runtime_switches_total", &labels)
}

/// Has the proxy read this, and waits until the switch is over.
pub(crate) fn switch(proxy: &Proxy, from: Scheduler, to: Scheduler, configuration: &str) {
    let before = switches(proxy, from, to, "success");
    write(proxy, configuration);
    wait::until("the switch is over", || {
        switches(proxy, from, to, "success") > before
    });
}

pub(crate) fn exchange(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(message)?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, message, "another answer");
    Ok(())
}

/// Sends and receives what an echo makes of a pattern, in pieces of changing length, until it is over.
pub(crate) fn stream(address: SocketAddr, seed: u64, over: &AtomicBool) -> u64 {
    let client = peer::connect(address);
    let (mut sent, mut received) = (Pattern::new(seed), Pattern::new(seed));
    let mut bytes = 0;
    for length in [1, 70_000, 300, 500_000, 9_000].into_iter().cycle() {
        if over.load(Relaxed) {
            break;
        }
        let mut piece = vec![0; length];
        sent.fill(&mut piece);
        thread::scope(|scope| {
            scope.spawn(|| (&client).write_all(&piece).expect("send"));
            let mut answer = vec![0; length];
            (&client).read_exact(&mut answer).expect("receive");
            let mut wanted = vec![0; length];
            received.fill(&mut wanted);
            assert!(answer == wanted, "other bytes after {bytes}");
        });
        bytes += length as u64;
    }
    client.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!((&client).read(&mut [0; 1]).expect("the end"), 0);
    bytes
}

/// No counter goes backwards or is gone, in whatever scrape.
fn watch_counters(proxy: &Proxy, over: &AtomicBool) -> u64 {
    let mut totals = Totals::default();
    let mut scrapes = 0;
    while !over.load(Relaxed) {
        totals.grow(&proxy.metrics());
        scrapes += 1;
    }
    totals.grow(&proxy.metrics());
    scrapes
}

fn connections_move_to_every_scheduler(scheduler: Scheduler) {
    let proxy = Proxy::start_file(&change::text(scheduler, 2, "", &echo()));
    let address = proxy.address("main");
    let idle: Vec<_> = (0..IDLE).map(|_| proxy.connect("main")).collect();
    for client in &idle {
        exchange(client, b"before").expect("an echo");
    }
    let over = AtomicBool::new(false);
    let (came, scraped) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _end = End(&over);
        let busy: Vec<_> = (0..BUSY)
            .map(|seed| {
                scope.spawn({
                    let over = &over;
                    move || stream(address, seed as u64, over)
                })
            })
            .collect();
        for _ in 0..COMING {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let client = peer::connect(address);
                    exchange(&client, b"a new one").expect("an echo");
                    came.fetch_add(1, Relaxed);
                }
            });
        }
        let scraper = scope.spawn(|| scraped.fetch_add(watch_counters(&proxy, &over), Relaxed));
        let mut from = scheduler;
        // Each scheduler from this one and back, with more workers, fewer, and those of the start.
        for (to, cores) in Scheduler::ALL
            .into_iter()
            .flat_map(|to| [(to, 3), (to, 1), (scheduler, 2)])
        {
            if !to.usable() {
                continue;
            }
            switch(&proxy, from, to, &change::text(to, cores, "", &echo()));
            for (number, client) in idle.iter().enumerate() {
                exchange(client, format!("client {number}").as_bytes()).expect("an echo");
            }
            let info = proxy.metrics();
            assert_eq!(change::shown(&info), (to, cores));
            let (before, new) = (came.load(Relaxed), 20);
            wait::until("clients come and go", || {
                assert!(!scraper.is_finished(), "a counter went backwards");
                came.load(Relaxed) >= before + new
            });
            from = to;
        }
        over.store(true, Relaxed);
        for busy in busy {
            let bytes = busy.join().expect("all bytes came");
            assert!(bytes > 0);
        }
    });
    assert!(scraped.load(Relaxed) > 3);
    let moved = proxy.metric("corelane_runtime_moved_connections_total", &[]);
    assert!(moved >= (6 * (IDLE + BUSY)) as f64, "{moved}");
    // Those that came and went have just been closed.
    wait::until("only the idle ones are left", || {
        proxy.metric("corelane_listener_connections", &[]) == IDLE as f64
    });
    let metrics = proxy.metrics();
    for family in [
        "corelane_tokio_park_total",
        "corelane_glommio_ring_enters_total",
    ] {
        assert!(metrics.get(family, &[]) > 0.0, "{family} is gone");
    }
    let listed = String::from_utf8(proxy.get("/connections").body).expect("JSON");
    assert_eq!(listed.matches("\"id\"").count(), IDLE, "{listed}");
    drop(idle);
    proxy.stop();
}

fn half_closed_and_stuck_connections_move(scheduler: Scheduler) {
    let server = Server::bind();
    let routes = route(
        "main",
        "127.0.0.1:0",
        &[&server.address().to_string()],
        "",
        "",
    );
    let proxy = Proxy::start_file(&change::text(scheduler, 2, "", &routes));
    let pair = || {
        let client = proxy.connect("main");
        (client, server.accept())
    };
    let mut from = scheduler;
    for (to, cores) in Scheduler::ALL
        .into_iter()
        .flat_map(|to| [(to, 1), (scheduler, 3)])
    {
        if !to.usable() {
            continue;
        }
        // The client has ended its stream, and waits for the answer.
        let (mut asks, mut answers) = pair();
        asks.write_all(b"question").expect("send");
        asks.shutdown(Shutdown::Write).expect("half-close");
        let mut question = Vec::new();
        answers.read_to_end(&mut question).expect("the end");
        assert_eq!(question, b"question");
        answers.write_all(b"an").expect("send");
        asks.read_exact(&mut [0; 2]).expect("receive");
        // The server has ended its stream, and still listens.
        let (mut talks, mut listens) = pair();
        listens.shutdown(Shutdown::Write).expect("half-close");
        assert_eq!(talks.read(&mut [0; 1]).expect("the end"), 0);
        // A lot is on its way to who takes nothing.
        let (pours, mut takes) = pair();
        let poured = thread::spawn(move || {
            let mut pours = pours;
            let digest = bytes::send(&mut pours, 7, 64 * MIB);
            pours.shutdown(Shutdown::Write).expect("half-close");
            (digest, pours)
        });
        wait::until("it is stuck", || {
            let before = proxy.metric("corelane_listener_bytes_total", &[("direction", "in")]);
            thread::sleep(std::time::Duration::from_millis(200));
            proxy.metric("corelane_listener_bytes_total", &[("direction", "in")]) == before
        });

        switch(&proxy, from, to, &change::text(to, cores, "", &routes));
        answers.write_all(b"swer").expect("send");
        drop(answers);
        let mut answer = String::new();
        asks.read_to_string(&mut answer).expect("the end");
        assert_eq!(answer, "swer");
        talks.write_all(b"more").expect("send");
        drop(talks);
        let mut more = String::new();
        listens.read_to_string(&mut more).expect("the end");
        assert_eq!(more, "more");
        let taken = bytes::receive(&mut takes);
        let (sent, mut pours) = poured.join().expect("all is sent");
        assert_eq!(taken, sent);
        drop(takes);
        assert_eq!(peer::end_of(&mut pours), None::<ErrorKind>);
        from = to;
    }
    proxy.stop();
}

fn connections_finish_where_they_are_under_drain(scheduler: Scheduler) {
    let drain = "on_switch = \"drain\"\ndrain_timeout = \"60s\"\n";
    let proxy = Proxy::start_file(&change::text(scheduler, 2, drain, &echo()));
    let to = if scheduler == Scheduler::PerCore {
        Scheduler::WorkStealing
    } else {
        Scheduler::PerCore
    };
    let old = proxy.connect("main");
    exchange(&old, b"before").expect("an echo");
    write(&proxy, &change::text(to, 1, drain, &echo()));
    let shows_new = || {
        let metrics = proxy.metrics();
        metrics.series("corelane_core_connections", &[]).count() == 1
    };
    wait::until("the new scheduler is shown", shows_new);
    for _ in 0..10 {
        let new = proxy.connect("main");
        exchange(&new, b"a new one").expect("an echo");
    }
    exchange(&old, b"still here").expect("an echo");
    assert_eq!(
        switches(&proxy, scheduler, to, "success"),
        0.0,
        "it isn't over"
    );
    // What comes meanwhile waits.
    write(&proxy, &change::text(scheduler, 3, drain, &echo()));
    exchange(&old, b"and here").expect("an echo");
    drop(old);
    wait::until("the second switch is over", || {
        switches(&proxy, to, scheduler, "success") == 1.0
    });
    assert_eq!(switches(&proxy, scheduler, to, "success"), 1.0);
    assert_eq!(
        proxy.metric("corelane_runtime_moved_connections_total", &[]),
        0.0
    );
    proxy.stop();
}

fn a_unix_socket_is_handed_over(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("listener");
    let bind = format!("unix:{}", path.display());
    let routes = route("main", &bind, &["builtin:echo"], "", "");
    let proxy = Proxy::start_file(&change::text(scheduler, 2, "", &routes));
    let inode = || fs::metadata(&path).expect("the file").ino();
    let (bound, over) = (inode(), AtomicBool::new(false));
    let exchange = |mut stream: &UnixStream| {
        stream.write_all(b"hello").expect("send");
        stream.read_exact(&mut [0; 5]).expect("an echo");
    };
    let connect = || UnixStream::connect(&path).expect("it listens");
    let old = connect();
    exchange(&old);
    thread::scope(|scope| {
        let _end = End(&over);
        scope.spawn(|| {
            while !over.load(Relaxed) {
                exchange(&connect());
            }
        });
        let mut from = scheduler;
        for (to, cores) in Scheduler::ALL
            .into_iter()
            .flat_map(|to| [(to, 3), (scheduler, 1)])
        {
            if to.usable() {
                switch(&proxy, from, to, &change::text(to, cores, "", &routes));
                exchange(&old);
                from = to;
            }
        }
    });
    assert_eq!(inode(), bound, "it is bound once");
    drop(old);
    proxy.stop();
    assert!(!path.exists());
}

/// A check and a bad file are answered at once, a good one waits and says so.
fn what_comes_while_connections_finish_is_looked_at_and_waits(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("admin.sock");
    let drain = "on_switch = \"drain\"\ndrain_timeout = \"1h\"\n";
    let with_socket = |scheduler, cores: usize, routes: &str| {
        let listen = "listen = \"127.0.0.1:0\"\n";
        change::text(scheduler, cores, drain, routes)
            .replace(listen, &format!("{listen}socket = {socket:?}\n"))
    };
    let ask = |check: bool| {
        let mut command = command();
        command.arg("reload").args(check.then_some("--check"));
        command.arg("--socket").arg(&socket);
        command
    };
    let to = if scheduler == Scheduler::PerCore {
        Scheduler::WorkStealing
    } else {
        Scheduler::PerCore
    };
    let proxy = Proxy::start_file(&with_socket(scheduler, 2, &echo()));
    let file = proxy.directory().join("corelane.toml");
    let succeeded = || proxy.metric("corelane_config_last_reload_success", &[]);
    let old = proxy.connect("main");
    exchange(&old, b"before").expect("an echo");
    fs::write(&file, with_socket(to, 1, &echo())).expect("it is ours");
    let begun = ask(false).output().expect("corelane runs");
    assert!(begun.status.success(), "{begun:?}");
    let limited = route("main", "127.0.0.1:0", &["builtin:echo"], "shares = 7", "");
    fs::write(&file, with_socket(to, 1, &limited)).expect("it is ours");
    let checked = ask(true).output().expect("corelane runs");
    assert!(checked.status.success(), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("is now 7"));
    for bad in ["shares = 0", "nonsense = 1"] {
        let routes = route("main", "127.0.0.1:0", &["builtin:echo"], bad, "");
        fs::write(&file, with_socket(to, 1, &routes)).expect("it is ours");
        let refused = ask(false).output().expect("corelane runs");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("not reloaded"));
        assert_eq!(succeeded(), 0.0);
    }
    let refusals = || {
        proxy
            .log()
            .matches("the configuration is not reloaded")
            .count()
    };
    wait::until("both are told", || refusals() == 2);
    // By a signal, too.
    proxy.signal(Signal::HUP);
    wait::until("it is refused", || refusals() == 3);
    fs::write(&file, with_socket(to, 1, &limited)).expect("it is ours");
    let mut waits = Child::spawn(&mut ask(false), Signal::KILL);
    wait::until("it is told that it waits", || waits.log().contains("waits"));
    let words = waits.log();
    for part in [scheduler.name(), to.name(), "1 connections"] {
        assert!(words.contains(part), "no {part} in {words}");
    }
    assert!(ask(true).output().expect("corelane runs").status.success());
    exchange(&old, b"still here").expect("an echo");
    assert_eq!(switches(&proxy, scheduler, to, "success"), 0.0);
    assert!(waits.exit_status().is_none(), "{}", waits.log());
    let runs = || String::from_utf8_lossy(&proxy.get("/config").body).into_owned();
    assert!(!runs().contains("shares = 7"));
    drop(old);
    assert!(waits.wait().success(), "{}", waits.log());
    assert!(waits.whole_log().contains("shares: 1000 is now 7"));
    assert!(runs().contains("shares = 7"));
    assert_eq!(
        (switches(&proxy, scheduler, to, "success"), succeeded()),
        (1.0, 1.0)
    );
    proxy.stop();
}

/// Those of a scheduler that had more workers stay open, and are served.
fn sockets_beyond_the_workers_are_told(scheduler: Scheduler) {
    let from = match scheduler {
        // It has one socket however many workers there are.
        Scheduler::WorkStealing => Scheduler::PerCore,
        with_one_a_worker => with_one_a_worker,
    };
    let proxy = Proxy::start_file(&change::text(from, 3, "", &echo()));
    let sockets = || proxy.metric("corelane_listener_sockets", &[("listener", "main")]);
    assert_eq!(sockets(), 3.0);
    switch(
        &proxy,
        from,
        scheduler,
        &change::text(scheduler, 1, "", &echo()),
    );
    assert_eq!(sockets(), 3.0);
    let told = |proxy: &Proxy| proxy.log().matches("surplus=2").count();
    wait::until("it is told", || told(&proxy) == 1);
    for _ in 0..20 {
        exchange(&proxy.connect("main"), b"at any of them").expect("an echo");
    }
    // As many as there are.
    switch(
        &proxy,
        scheduler,
        Scheduler::PerCore,
        &change::text(Scheduler::PerCore, 3, "", &echo()),
    );
    assert_eq!((sockets(), told(&proxy)), (3.0, 1));
    proxy.stop();
}

/// A stop that comes while connections finish on the scheduler before waits for those, too.
fn a_stop_ends_both_schedulers(scheduler: Scheduler) {
    let drain = "on_switch = \"drain\"\ndrain_timeout = \"60s\"\n";
    let mut proxy = Proxy::start_file(&change::text(scheduler, 2, drain, &echo()));
    let old = proxy.connect("main");
    exchange(&old, b"before").expect("an echo");
    write(&proxy, &change::text(Scheduler::PerCore, 1, drain, &echo()));
    wait::until("the new scheduler is shown", || {
        let metrics = proxy.metrics();
        metrics.series("corelane_core_connections", &[]).count() == 1
    });
    let new = proxy.connect("main");
    exchange(&new, b"a new one").expect("an echo");
    proxy.terminate();
    wait::until("it drains", || proxy.get("/readyz").status == 503);
    for client in [&old, &new] {
        exchange(client, b"still here").expect("an echo");
    }
    drop((old, new));
    let status = proxy.wait();
    assert!(status.success(), "{status}");
}

//! Another scheduler, or other cores, by SIGHUP while connections run: nobody is refused, and no byte is lost.

use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::{fs, io, thread};

use crate::harness::bytes::{self, MIB, Pattern};
use crate::harness::change::{self, write};
use crate::harness::config::route;
use crate::harness::metrics::Totals;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};

each_scheduler!(
    connections_move_to_every_scheduler,
    half_closed_and_stuck_connections_move,
    connections_finish_where_they_are_under_drain,
    what_can_not_run_changes_nothing,
    a_unix_socket_is_handed_over,
    a_stop_ends_both_schedulers,
);

/// Connections that say nothing during a switch.
const IDLE: usize = 40;

/// Connections that are mid-transfer all the time.
const BUSY: usize = 6;

/// Clients that come and go.
const COMING: usize = 3;

fn configuration(scheduler: Scheduler, cores: impl Display, runtime: &str, routes: &str) -> String {
    let chosen = scheduler.runtime_toml();
    format!(
        "[runtime]\n{chosen}cores = {cores}\npin = false\n{runtime}\n[admin]\nlisten = \"127.0.0.1:0\"\n\n{routes}"
    )
}

fn echo() -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], "", "")
}

fn switches(proxy: &Proxy, from: Scheduler, to: Scheduler, result: &str) -> f64 {
    let labels = [("from", from.name()), ("to", to.name()), ("result", result)];
    proxy.metric("corelane_runtime_switches_total", &labels)
}

/// Has the proxy read this, and waits until the switch is over.
fn switch(proxy: &Proxy, from: Scheduler, to: Scheduler, configuration: &str) {
    let before = switches(proxy, from, to, "success");
    write(proxy, configuration);
    wait::until("the switch is over", || {
        switches(proxy, from, to, "success") > before
    });
}

fn exchange(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
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
    let proxy = Proxy::start_file(&configuration(scheduler, 2, "", &echo()));
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
            switch(&proxy, from, to, &configuration(to, cores, "", &echo()));
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
    let metrics = proxy.metrics();
    for family in [
        "corelane_tokio_park_total",
        "corelane_glommio_ring_enters_total",
    ] {
        assert!(metrics.get(family, &[]) > 0.0, "{family} is gone");
    }
    let open = metrics.get("corelane_listener_connections", &[]);
    assert_eq!(open, IDLE as f64);
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
    let proxy = Proxy::start_file(&configuration(scheduler, 2, "", &routes));
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

        switch(&proxy, from, to, &configuration(to, cores, "", &routes));
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
    let proxy = Proxy::start_file(&configuration(scheduler, 2, drain, &echo()));
    let to = if scheduler == Scheduler::PerCore {
        Scheduler::WorkStealing
    } else {
        Scheduler::PerCore
    };
    let old = proxy.connect("main");
    exchange(&old, b"before").expect("an echo");
    write(&proxy, &configuration(to, 1, drain, &echo()));
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
    write(&proxy, &configuration(scheduler, 3, drain, &echo()));
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

fn what_can_not_run_changes_nothing(scheduler: Scheduler) {
    let proxy = Proxy::start_file(&configuration(scheduler, 2, "", &echo()));
    let client = proxy.connect("main");
    exchange(&client, b"before").expect("an echo");
    // A CPU that there is not.
    let impossible = configuration(Scheduler::PerCore, "\"900\"", "", &echo());
    write(&proxy, &impossible);
    wait::until("it is refused", || {
        proxy.metric("corelane_config_last_reload_success", &[]) == 0.0
    });
    assert_eq!(
        switches(&proxy, scheduler, Scheduler::PerCore, "failure"),
        1.0
    );
    exchange(&client, b"after").expect("an echo");
    exchange(&proxy.connect("main"), b"a new one").expect("an echo");
    let metrics = proxy.metrics();
    assert_eq!(metrics.series("corelane_core_connections", &[]).count(), 2);
    // It can still be what is asked for next.
    let to = Scheduler::WorkStealing;
    switch(&proxy, scheduler, to, &configuration(to, 1, "", &echo()));
    exchange(&client, b"later").expect("an echo");
    drop(client);
    proxy.stop();
}

fn a_unix_socket_is_handed_over(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("listener");
    let bind = format!("unix:{}", path.display());
    let routes = route("main", &bind, &["builtin:echo"], "", "");
    let proxy = Proxy::start_file(&configuration(scheduler, 2, "", &routes));
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
                switch(&proxy, from, to, &configuration(to, cores, "", &routes));
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

/// A stop that comes while connections finish on the scheduler before waits for those, too.
fn a_stop_ends_both_schedulers(scheduler: Scheduler) {
    let drain = "on_switch = \"drain\"\ndrain_timeout = \"60s\"\n";
    let mut proxy = Proxy::start_file(&configuration(scheduler, 2, drain, &echo()));
    let old = proxy.connect("main");
    exchange(&old, b"before").expect("an echo");
    write(
        &proxy,
        &configuration(Scheduler::PerCore, 1, drain, &echo()),
    );
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

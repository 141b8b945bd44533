//! Connects beyond the first one: servers that take a connection and end it at once, beside those that serve.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::harness::bytes::{self, digest, pattern};
use crate::harness::change;
use crate::harness::config::forward_with;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upstream_failure::Blackhole;

each_scheduler!(
    a_liar_and_a_black_hole_are_noticed_by_nobody,
    who_waits_for_its_server_s_first_word_gets_it_from_another_one_after_a_switch,
    a_spent_budget_shows_what_the_servers_do,
    a_server_that_restarts_is_waited_for,
);

const GREETING: &[u8] = b"hello";

/// What each client sends, and hears back.
const MESSAGE: usize = 50_000;

/// Greets first, and then echoes.
fn serve(mut stream: TcpStream) {
    // Who is gone needs no greeting.
    let _ = stream.write_all(GREETING);
    let _ = io::copy(&mut &stream, &mut &stream);
    let _ = stream.shutdown(Shutdown::Write);
}

/// Takes connections and ends them, now orderly and now by a reset.
fn liar() -> peer::Service {
    let turns = AtomicUsize::new(0);
    peer::Server::bind().serve(move |stream| {
        if turns.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            peer::reset(stream);
        }
    })
}

/// A client that is greeted, sends its bytes and hears them back, whole and once.
fn exchange(mut client: TcpStream, seed: u64) {
    let mut greeting = [0; GREETING.len()];
    client.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(greeting, GREETING);
    let message = pattern(seed, MESSAGE);
    thread::scope(|scope| {
        scope.spawn(|| {
            (&client).write_all(&message).expect("it is taken");
            client.shutdown(Shutdown::Write).expect("half-close");
        });
        assert_eq!(bytes::receive(&mut &client), digest(&message));
    });
}

fn retries(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_upstream_retries_total", &[])
}

fn refused(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_upstream_retries_refused_total", &[])
}

fn failures(proxy: &Proxy, reason: &str) -> f64 {
    let labels = [("reason", reason)];
    proxy.metric("corelane_upstream_connect_failures_total", &labels)
}

fn closed(proxy: &Proxy) -> f64 {
    failures(proxy, "closed")
}

fn a_liar_and_a_black_hole_are_noticed_by_nobody(scheduler: Scheduler) {
    let (liar, hole, good) = (liar(), Blackhole::open(), peer::Server::bind().serve(serve));
    let servers = [liar.address(), good.address()].map(|address| address.to_string());
    let text = |line: &str, scheduler| {
        // However busy this machine is, the liar's ends are early ones.
        let upstream = format!(
            "connect_timeout = \"200ms\"\nretry_budget = \"50%\"\n{line}\n\
             [upstreams.main.ejection]\nearly = \"1m\"\nconsecutive_failures = 1000"
        );
        let servers = [&*servers[0], &hole.address, &servers[1]];
        change::text(scheduler, 2, "", &forward_with(&servers, "", &upstream))
    };
    let proxy = Proxy::start_file(&text("", scheduler));
    let is_over = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (proxy, is_over, served) = (&proxy, &is_over, &served);
            scope.spawn(move || {
                while !is_over.load(Ordering::Acquire) {
                    exchange(proxy.connect("main"), seed);
                    served.fetch_add(1, Ordering::Release);
                }
            });
        }
        let more = || {
            let wanted = served.load(Ordering::Acquire) + 10;
            wait::until("ten more are served", || {
                served.load(Ordering::Acquire) >= wanted
            });
        };
        more();
        change::reload(&proxy, &text("on_removed = \"reset\"", scheduler));
        more();
        for to in Scheduler::ALL {
            if to != scheduler && to.usable() {
                change::switch(&proxy, &text("", to));
                more();
            }
        }
        is_over.store(true, Ordering::Release);
    });
    assert!(liar.accepted() > 0, "one of the first three clients met it");
    // A reset may come while the connect is being decided.
    let failures = closed(&proxy) + failures(&proxy, "reset");
    assert_eq!(failures, liar.accepted() as f64);
    assert_eq!(refused(&proxy), 0.0);
    proxy.stop();
}

fn who_waits_for_its_server_s_first_word_gets_it_from_another_one_after_a_switch(
    scheduler: Scheduler,
) {
    let (silent, good) = (peer::Server::bind(), peer::Server::bind().serve(serve));
    let servers = [silent.address(), good.address()].map(|address| address.to_string());
    let text = |cores| {
        // A server has a minute for its first word.
        let upstream = "retry_budget = \"10%\"\n[upstreams.main.ejection]\nearly = \"1m\"";
        let servers = [&*servers[0], &servers[1]];
        change::text(scheduler, cores, "", &forward_with(&servers, "", upstream))
    };
    let proxy = Proxy::start_file(&text(2));
    let clients = [(); 2].map(|()| proxy.connect("main"));
    let server = silent.accept();
    change::switch(&proxy, &text(1));
    assert_eq!(retries(&proxy), 0.0);
    drop(server);
    for (seed, client) in (0..).zip(clients) {
        exchange(client, seed);
    }
    assert_eq!((retries(&proxy), closed(&proxy)), (1.0, 1.0));
    let bytes = [("direction", "in")];
    let taken = || proxy.metric("corelane_upstream_bytes_total", &bytes);
    wait::until("all bytes are counted once", || {
        taken() == 2.0 * MESSAGE as f64
    });
    assert_eq!(proxy.metric("corelane_upstream_queue", &[]), 0.0);
    proxy.stop();
}

fn a_spent_budget_shows_what_the_servers_do(scheduler: Scheduler) {
    // Orderly ends only: a reset may come before a client knows that it is connected.
    let liars = [(); 2].map(|()| peer::Server::bind().serve(drop));
    let servers = liars.each_ref().map(|liar| liar.address().to_string());
    let servers = [&*servers[0], &servers[1]];
    let text = |budget: &str| {
        let upstream = format!("{budget}\nconnect_timeout = \"300ms\"");
        change::text(scheduler, 2, "", &forward_with(&servers, "", &upstream))
    };
    let proxy = Proxy::start_file(&text(""));
    // Without one, an end is the end.
    for _ in 0..4 {
        peer::assert_closed_unanswered(proxy.connect("main"));
    }
    assert_eq!(failures(&proxy, "refused"), 0.0);
    let before = retries(&proxy);
    let begun_at = Instant::now();
    change::reload(&proxy, &text("retry_budget = \"20%\""));
    let mut clients = 0.0;
    wait::until("a retry is refused", || {
        let some = [(); 20].map(|()| proxy.connect("main"));
        some.into_iter().for_each(peer::assert_closed_unanswered);
        clients += 20.0;
        refused(&proxy) > 0.0
    });
    let most = 0.2 * clients + 10.0 + 10.0 * begun_at.elapsed().as_secs_f64();
    let all = retries(&proxy) - before;
    assert!(
        all >= 10.0 && all <= most,
        "{all} retries, at most {most} are allowed"
    );
    wait::until("nobody is left", || {
        proxy.metric("corelane_listener_connections", &[]) == 0.0
    });
    proxy.stop();
}

fn a_server_that_restarts_is_waited_for(scheduler: Scheduler) {
    let address = peer::refusing();
    let upstream = "retry_budget = \"1%\"\nconnect_timeout = \"1m\"";
    let server = address.to_string();
    let proxy = Proxy::start(scheduler, &forward_with(&[&server], "", upstream));
    let client = proxy.connect("main");
    wait::until("it is tried again", || retries(&proxy) > 0.0);
    assert_eq!(proxy.metric("corelane_upstream_queue", &[]), 1.0);
    let listener = TcpListener::bind(address).expect("the port is free");
    thread::scope(|scope| {
        scope.spawn(|| serve(listener.accept().expect("the proxy connects").0));
        exchange(client, 1);
    });
    proxy.stop();
}

//! Servers that are left alone for a while, by what traffic meets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::change;
use crate::harness::config::forward_with;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upstream_failure::Blackhole;

each_scheduler!(
    a_black_hole_stays_ejected_over_a_reload_and_a_switch,
    a_server_that_flaps_is_back_when_its_time_is_over,
    a_passing_check_takes_a_server_back,
);

fn is(proxy: &Proxy, server: &str, state: &str) -> bool {
    let labels = [("server", server), ("state", state)];
    proxy.metric("corelane_upstream_server_state", &labels) == 1.0
}

fn ejections(proxy: &Proxy, server: &str, cause: &str) -> f64 {
    let labels = [("server", server), ("cause", cause)];
    proxy.metric("corelane_upstream_ejections_total", &labels)
}

/// What a client of the proxy gets from its server.
fn word(proxy: &Proxy) -> String {
    let mut text = String::new();
    match proxy.connect("main").read_to_string(&mut text) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

fn greet(mut stream: TcpStream) {
    // Who is gone needs no greeting.
    let _ = stream.write_all(b"hello");
}

fn a_black_hole_stays_ejected_over_a_reload_and_a_switch(scheduler: Scheduler) {
    let (good, hole) = (peer::Server::bind().serve(greet), Blackhole::open());
    let good = good.address().to_string();
    let routes = |line: &str| {
        let upstream = format!(
            "connect_timeout = \"200ms\"\n{line}\n\
             [upstreams.main.ejection]\nconsecutive_failures = 1\nbase = \"1h\"\nmax = \"1h\""
        );
        change::text(
            scheduler,
            2,
            "",
            &forward_with(&[&good, &hole.address], "", &upstream),
        )
    };
    let proxy = Proxy::start_file(&routes(""));
    wait::until("a connect to it fails", || {
        assert_eq!(word(&proxy), "hello");
        is(&proxy, &hole.address, "ejected")
    });
    let expect = || {
        for _ in 0..3 {
            assert_eq!(word(&proxy), "hello");
        }
        assert!(is(&proxy, &hole.address, "ejected") && is(&proxy, &good, "up"));
        assert_eq!(ejections(&proxy, &hole.address, "connect_failures"), 1.0);
    };
    expect();
    change::reload(&proxy, &routes("on_removed = \"reset\""));
    expect();
    change::switch(&proxy, &routes("").replace("cores = 2", "cores = 1"));
    expect();
    // Without the section nobody is.
    let without = routes("");
    let without = without
        .split("[upstreams.main.ejection]")
        .next()
        .expect("a part");
    change::reload(&proxy, &without.replace("cores = 2", "cores = 1"));
    wait::until("it is a server like any other", || {
        !is(&proxy, &hole.address, "ejected")
    });
    proxy.stop();
}

fn a_server_that_flaps_is_back_when_its_time_is_over(scheduler: Scheduler) {
    let good = peer::Server::bind().serve(greet);
    let lies = Arc::new(AtomicBool::new(true));
    let flaps = peer::Server::bind().serve({
        let lies = lies.clone();
        move |mut stream| {
            if !lies.load(Ordering::Acquire) {
                let _ = stream.write_all(b"back");
            }
        }
    });
    let servers = [good.address().to_string(), flaps.address().to_string()];
    let upstream = "[upstreams.main.ejection]\nearly = \"1m\"\nconsecutive_failures = 3\nbase = \"300ms\"\nmax = \"300ms\"";
    let servers = [&*servers[0], &servers[1]];
    let proxy = Proxy::start(scheduler, &forward_with(&servers, "", upstream));
    let mut dropped = 0;
    wait::until("it is ejected", || {
        dropped += u32::from(word(&proxy).is_empty());
        ejections(&proxy, servers[1], "early_ends") >= 1.0
    });
    assert!(dropped >= 3, "after {dropped}");
    lies.store(false, Ordering::Release);
    wait::until("it serves again", || word(&proxy) == "back");
    assert!(is(&proxy, servers[1], "up"));
    let event = |words: &str| proxy.tells("ejection", &format!("main {} {words}", servers[1]));
    event("is ejected for 300ms: early_ends");
    event("is no longer ejected: its time is over");
    proxy.stop();
}

fn a_passing_check_takes_a_server_back(scheduler: Scheduler) {
    let good = peer::Server::bind().serve(greet);
    let drops = peer::Server::bind().serve(drop);
    let servers = [good.address().to_string(), drops.address().to_string()];
    let upstream = "[upstreams.main.health]\ninterval = \"100ms\"\n\
                    [upstreams.main.ejection]\nearly = \"1m\"\nconsecutive_failures = 2\nbase = \"1h\"\nmax = \"1h\"";
    let servers = [&*servers[0], &servers[1]];
    let proxy = Proxy::start(scheduler, &forward_with(&servers, "", upstream));
    wait::until("it is ejected", || {
        word(&proxy);
        ejections(&proxy, servers[1], "early_ends") >= 1.0
    });
    wait::until("a check that passed ends it", || {
        is(&proxy, servers[1], "up")
    });
    proxy.tells("ejection", "is no longer ejected: a check passed");
    proxy.stop();
}

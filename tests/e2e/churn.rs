//! Many reloads and switches, one after the other, while clients connect and transfer: nobody notices.
//!
//! `CORELANE_CHURN_STEPS` makes it longer than the tests have time for.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::harness::metrics::Totals;
use crate::harness::peer::{self, Service};
use crate::harness::port;
use crate::harness::process;
use crate::harness::proxy::{Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(nobody_notices);

/// Reloads, of which every third one is a switch.
const STEPS: usize = 12;

/// Clients that come and go, and those that stay.
const SHORT: usize = 3;
const LONG: usize = 3;

/// Descriptors that may be open at the end beyond those of the first third: connections come and go.
const DESCRIPTORS_MORE: usize = 24;

fn steps() -> usize {
    let steps = std::env::var("CORELANE_CHURN_STEPS").ok();
    steps.map_or(STEPS, |steps| steps.parse().expect("a number"))
}

/// A step's file: other listeners, servers, weights, limits and checks each time, with one address that stays.
fn routes(step: usize, stays: SocketAddr, other: SocketAddr, servers: &[Service]) -> String {
    let name = ["a", "b", "c"][step % 3];
    let binds = match step % 2 {
        0 => format!("[\"{stays}\", \"{other}\"]"),
        _ => format!("\"{stays}\""),
    };
    let mut text = format!(
        "[listeners.{name}]\nbind = {binds}\nupstream = \"u\"\nshares = {}\nmax_connections = {}\n",
        1 + step % 1000,
        100 + step
    );
    if step % 2 == 1 {
        text += &format!("[listeners.more]\nbind = \"{other}\"\nupstream = \"u\"\n");
    }
    let count = 1 + step % servers.len();
    let members = (0..count).map(|place| {
        let server = servers[(step + place) % servers.len()].address();
        format!("{{ address = \"{server}\", weight = {} }}", 1 + step % 3)
    });
    let members: Vec<_> = members.collect();
    text += &format!("[upstreams.u]\nservers = [{}]\n", members.join(", "));
    if step.is_multiple_of(4) {
        text += "[upstreams.u.health]\ninterval = \"200ms\"\n";
    }
    text
}

fn exchange(mut client: &TcpStream, bytes: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| (&mut &*client).write_all(bytes).expect("send"));
        let mut answer = vec![0; bytes.len()];
        client.read_exact(&mut answer).expect("receive");
        assert!(answer == bytes, "it is what was sent");
    });
}

fn nobody_notices(first: Scheduler) {
    let servers = [peer::echo(), peer::echo(), peer::echo()];
    let (stays, other) = [(); 2]
        .map(|()| ([127, 0, 0, 1], port::free()).into())
        .into();
    let proxy = Proxy::start(first, &routes(0, stays, other, &servers));
    let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _end = wait::End(&over);
        for long in (0..SHORT).map(|_| false).chain((0..LONG).map(|_| true)) {
            let (over, opened) = (&over, &opened);
            scope.spawn(move || {
                let bytes: Vec<u8> = (0..if long { 300_000_u32 } else { 200 })
                    .map(|place| (place * 7 % 251) as u8)
                    .collect();
                while !over.load(Ordering::Relaxed) {
                    let client = peer::connect(stays);
                    opened.fetch_add(1, Ordering::Relaxed);
                    exchange(&client, &bytes);
                    while long && !over.load(Ordering::Relaxed) {
                        exchange(&client, &bytes);
                    }
                }
            });
        }
        change(&proxy, first, |step| routes(step, stays, other, &servers));
    });
    let opened = opened.into_inner() as f64;
    let finished = [("cause", "finished")];
    let ended = |labels: &[(&str, &str)]| proxy.metric("corelane_listener_ended_total", labels);
    wait::until("every end is counted", || ended(&[]) == opened);
    assert_eq!(ended(&finished), opened, "nobody was cut");
    proxy.stop();
}

/// Reloads again and again. Whatever is counted only grows.
fn change(proxy: &Proxy, first: Scheduler, routes: impl Fn(usize) -> String) {
    let all = Scheduler::ALL.into_iter();
    let usable: Vec<_> = all.filter(|one| one.usable()).collect();
    let (mut scheduler, mut open) = (first, None);
    let mut totals = Totals::default();
    for step in 1..=steps() {
        if step.is_multiple_of(3) {
            scheduler = usable[step / 3 % usable.len()];
        }
        let read = "corelane_config_last_reload_timestamp_seconds";
        let before = proxy.metric(read, &[]);
        let file = proxy.directory().join("corelane.toml");
        let text = configuration(scheduler, "", &routes(step));
        fs::write(file, text).expect("write the configuration");
        proxy.signal(Signal::HUP);
        wait::until("it is reloaded", || {
            let metrics = proxy.metrics();
            totals.grow_if_there(&metrics);
            assert_eq!(metrics.get("corelane_config_last_reload_success", &[]), 1.0);
            metrics.get(read, &[]) > before
        });
        if step == steps().div_ceil(3) {
            open = Some(process::descriptors(proxy.pid()));
        }
    }
    if let Some(open) = open {
        wait::until("no descriptor is left open", || {
            process::descriptors(proxy.pid()) <= open + DESCRIPTORS_MORE
        });
    }
}

//! Live connections move off a hot core, and nobody notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::duplex::both_ways;
use crate::harness::bytes::{MIB, send};
use crate::harness::config::forward;
use crate::harness::metrics::Metrics;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;

const FLOWS: usize = 4;

/// Bytes of each flow, each way.
const FLOW_BYTES: u64 = 48 * MIB;

const CANDIDATES_MAX: usize = 64;

/// Rounds of flows until one moves, which is nearly always the first. On a machine with little time to spare a round may
/// be over before a core was seen hot twice in a row; a minute or two of them may not.
const ROUNDS_MAX: u64 = 200;

/// What a proxy has gone through.
struct Outcome {
    /// Once all has been counted.
    metrics: Metrics,
    rounds: u64,
    /// Connections, whichever core they were on. Each has sent one byte, and those that were kept have carried a flow.
    opened: u64,
}

/// Flows that are all on core 0, both ends of each, and how many connections were opened until there were enough.
fn flows_on_the_first_core(proxy: &Proxy, server: &Server) -> (Vec<(TcpStream, TcpStream)>, u64) {
    let on_core = || proxy.metric("corelane_core_accepts_total", &[("core", "0")]);
    let mut flows = Vec::new();
    for opened in 1..=CANDIDATES_MAX {
        let before = on_core();
        let (mut client, mut upstream) = (proxy.connect("main"), server.accept());
        client.write_all(b"?").expect("send");
        upstream.read_exact(&mut [0; 1]).expect("receive");
        if on_core() > before {
            flows.push((client, upstream));
        }
        if flows.len() == FLOWS {
            return (flows, opened as u64);
        }
    }
    panic!("the kernel's hash puts {FLOWS} of {CANDIDATES_MAX} connections on the first core");
}

fn moves(metrics: &Metrics, core: &str, direction: &str) -> f64 {
    let labels = [("core", core), ("direction", direction)];
    metrics.get("corelane_core_migrations_total", &labels)
}

/// Sends rounds of flows until `is_enough`.
fn run(settings: &str, is_enough: fn(&Metrics) -> bool) -> Option<Outcome> {
    if !Scheduler::Glommio.usable() {
        return None;
    }
    let server = Server::bind();
    let proxy = Proxy::start_with(
        Scheduler::Glommio,
        &format!("glommio.rebalance = {{ {settings} }}\n"),
        &forward(&[&server.address().to_string()]),
    );
    let (mut rounds, mut opened) = (0, 0);
    loop {
        let (flows, candidates) = flows_on_the_first_core(&proxy, &server);
        rounds += 1;
        opened += candidates;
        thread::scope(|scope| {
            for (seed, (client, upstream)) in flows.iter().enumerate() {
                scope.spawn(move || {
                    both_ways(client, upstream, 2 * seed as u64, |mut stream, seed| {
                        send(&mut stream, seed, FLOW_BYTES)
                    });
                });
            }
        });
        if is_enough(&proxy.metrics()) || rounds == ROUNDS_MAX {
            break;
        }
    }
    // A core may have sent the last bytes and not have come to counting them.
    wait::until("every connection has ended", || {
        proxy.metric("corelane_listener_connections", &[]) == 0.0
    });
    let metrics = proxy.metrics();
    proxy.stop();
    Some(Outcome {
        metrics,
        rounds,
        opened,
    })
}

/// Flows that all begin on one core are spread, in the middle of what they carry, and their bytes are counted once.
#[test]
fn heavy_flows_are_spread() {
    let has_moved = |metrics: &Metrics| moves(metrics, "0", "out") >= 1.0;
    let Some(outcome) = run("interval = \"50ms\"", has_moved) else {
        return;
    };
    let Outcome {
        metrics,
        rounds,
        opened,
    } = outcome;
    assert!(has_moved(&metrics), "nothing moved in {rounds} rounds");
    assert_eq!(moves(&metrics, "0", "out"), moves(&metrics, "1", "in"));
    assert_eq!(moves(&metrics, "1", "out"), moves(&metrics, "0", "in"));
    let sent = rounds * FLOWS as u64 * FLOW_BYTES;
    for (direction, expected) in [("in", sent + opened), ("out", sent)] {
        let labels = [("listener", "main"), ("direction", direction)];
        let counted = metrics.get("corelane_listener_bytes_total", &labels);
        assert_eq!(counted, expected as f64, "bytes {direction}");
    }
}

/// Switched off, they stay.
#[test]
fn they_stay_where_it_is_off() {
    let Some(outcome) = run("enabled = false, interval = \"50ms\"", |_| true) else {
        return;
    };
    for core in ["0", "1"] {
        assert_eq!(moves(&outcome.metrics, core, "out"), 0.0);
    }
}

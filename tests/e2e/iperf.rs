//! iperf3: bulk in both directions.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::process::Command;

use serde_json::Value;

use crate::harness::bytes::{Hasher, MIB, receive, send};
use crate::harness::child;
use crate::harness::config::forward;
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::iperf::Iperf;

each_scheduler!(upload, download, parallel_both_ways, file_contents);

/// Runs a client through the proxy and returns its report.
fn run(scheduler: Scheduler, iperf: &Iperf, arguments: &[&str]) -> Value {
    let proxy = Proxy::start(scheduler, &forward(&[&iperf.address.to_string()]));
    let port = proxy.address("main").port().to_string();
    let mut command = Command::new(program::path("iperf3"));
    command
        .current_dir(iperf.directory.path())
        .args(["-c", "127.0.0.1", "-p", &port, "-J"]);
    let report = child::run(command.args(arguments));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert!(report.get("error").is_none(), "{report}");
    proxy.stop();
    report
}

/// Bytes that arrived, in the direction that this part of the report is about.
fn received(report: &Value, part: &str) -> u64 {
    report["end"][part]["bytes"]
        .as_u64()
        .unwrap_or_else(|| panic!("no {part} in {report}"))
}

fn upload(scheduler: Scheduler) {
    let report = run(scheduler, &Iperf::start(&[]), &["-t", "2"]);
    assert!(received(&report, "sum_received") > MIB, "{report}");
}

fn download(scheduler: Scheduler) {
    let report = run(scheduler, &Iperf::start(&[]), &["-t", "2", "-R"]);
    assert!(received(&report, "sum_received") > MIB, "{report}");
}

fn parallel_both_ways(scheduler: Scheduler) {
    let report = run(
        scheduler,
        &Iperf::start(&[]),
        &["-t", "2", "-P", "4", "--bidir"],
    );
    assert!(received(&report, "sum_received") > MIB, "{report}");
    assert!(
        received(&report, "sum_received_bidir_reverse") > MIB,
        "{report}"
    );
}

/// iperf3 ends by its clock, so what arrived is the beginning of what was sent.
fn file_contents(scheduler: Scheduler) {
    let iperf = Iperf::start(&["-1", "-F", "received"]);
    let (sent, arrived) = (
        iperf.directory.path().join("sent"),
        iperf.directory.path().join("received"),
    );
    send(&mut File::create(&sent).expect("create"), 6, 64 * MIB);
    run(scheduler, &iperf, &["-t", "2", "-F", "sent"]);

    let arrived = receive(&mut BufReader::new(File::open(arrived).expect("open")));
    let mut beginning = Hasher::default();
    io::copy(
        &mut File::open(sent).expect("open").take(arrived.len),
        &mut beginning,
    )
    .expect("hash");
    assert!(arrived.len > MIB, "{arrived:?}");
    assert_eq!(beginning.digest(), arrived);
}

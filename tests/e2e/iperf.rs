//! iperf3: bulk in both directions.
//!
//! What arrives isn't compared: iperf3 sends the same block over and over, and with `-F file` it loses bytes by
//! itself after a partial write (3.12, without a proxy). `duplex`, `nginx` and `postgres` compare by hash.

use std::process::Command;

use serde_json::Value;

use crate::harness::bytes::MIB;
use crate::harness::child;
use crate::harness::config::forward;
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::iperf::Iperf;

each_scheduler!(upload, download, parallel_both_ways);

/// Runs a client through the proxy and returns its report.
fn run(scheduler: Scheduler, arguments: &[&str]) -> Value {
    let iperf = Iperf::start();
    let proxy = Proxy::start(scheduler, &forward(&[&iperf.address.to_string()]));
    let port = proxy.address("main").port().to_string();
    let mut command = Command::new(program::path("iperf3"));
    command.args(["-c", "127.0.0.1", "-p", &port, "-J"]);
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
    let report = run(scheduler, &["-t", "2"]);
    assert!(received(&report, "sum_received") > MIB, "{report}");
}

fn download(scheduler: Scheduler) {
    let report = run(scheduler, &["-t", "2", "-R"]);
    assert!(received(&report, "sum_received") > MIB, "{report}");
}

fn parallel_both_ways(scheduler: Scheduler) {
    let report = run(scheduler, &["-t", "2", "-P", "4", "--bidir"]);
    assert!(received(&report, "sum_received") > MIB, "{report}");
    assert!(
        received(&report, "sum_received_bidir_reverse") > MIB,
        "{report}"
    );
}

//! A scrape of a proxy made by hand.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use proxy_core::metrics::{Cause, CheckResult, ConnectFailure, Rejection};

use super::*;
use crate::fixture;
use crate::sampling::load::Sample;

/// The names that dashboards and rules outside of this repository use.
const NAMES: &[&str] = &[
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "corelane_build_info",
    "corelane_upgrades_total",
    "corelane_runtime_info",
    "corelane_runtime_switch_seconds",
    "corelane_runtime_moved_connections_total",
    "corelane_worker_restarts_total",
    "corelane_config_info",
    "corelane_config_last_reload_success",
    "corelane_config_last_reload_timestamp_seconds",
    "corelane_client_list_entries",
    "corelane_client_list_last_read_success",
    "corelane_discovery_last_success_timestamp_seconds",
    "corelane_discovery_servers",
    "corelane_discovery_failures_total",
    "corelane_core_info",
    "corelane_core_cpu_seconds_total",
    "corelane_core_busy_seconds_total",
    "corelane_core_runqueue_wait_seconds_total",
    "corelane_core_saturated_seconds_total",
    "corelane_core_iowq_cpu_seconds_total",
    "corelane_core_utilization_ratio",
    "corelane_core_connections",
    "corelane_core_accepts_total",
    "corelane_core_bytes_total",
    "corelane_core_polls_total",
    "corelane_connection_panics_total",
    "corelane_core_migrations_total",
    "corelane_core_imbalance_ratio",
    "corelane_core_stranded_ratio",
    "corelane_core_fairness_ratio",
    "corelane_advice",
    "corelane_listener_connections",
    "corelane_listener_connections_limit",
    "corelane_listener_sources",
    "corelane_listener_connections_total",
    "corelane_listener_sockets",
    "corelane_listener_accept_queue",
    "corelane_listener_accept_drops_total",
    "corelane_listener_rejected_total",
    "corelane_listener_bytes_total",
    "corelane_listener_spliced_bytes_total",
    "corelane_listener_connection_duration_seconds",
    "corelane_listener_ended_total",
    "corelane_upstream_up",
    "corelane_upstream_server_state",
    "corelane_upstream_server_weight",
    "corelane_upstream_connections",
    "corelane_upstream_queue",
    "corelane_upstream_slot_queue",
    "corelane_upstream_slot_queue_seconds",
    "corelane_upstream_bytes_total",
    "corelane_upstream_retries_total",
    "corelane_upstream_retries_refused_total",
    "corelane_upstream_connect_seconds",
    "corelane_upstream_connect_failures_total",
    "corelane_upstream_closing_connections",
    "corelane_upstream_health_checks_total",
    "corelane_upstream_health_check_duration_seconds",
    "corelane_upstream_ejections_total",
    "corelane_upstream_ejections_spared_total",
    "corelane_upstream_panic",
    "corelane_upstream_agent_checks_total",
    "corelane_upstream_certificate_expiry_timestamp_seconds",
    "corelane_access_log_lines_total",
    "corelane_access_log_dropped_total",
    "corelane_log_lines_dropped_total",
];
/// Those of the scheduler.
const NAMES_OWN: &[&str] = &["corelane_own_total", "corelane_own"];

fn exposition(observed: Observed) -> Exposition {
    let observed = Arc::new(observed);
    Exposition::new(observed.clone(), Arc::new(Watch::new(observed)))
}

fn encode(exposition: &Exposition) -> String {
    exposition.encode().expect("every family is in order")
}

/// Every kind of event, once or more. Each call adds the same again.
fn work(observed: &Observed) {
    let ms = Duration::from_millis;
    let [redis, web] = [0, 1].map(|place| fixture::listener(observed, place));
    let slots = [0, 1].map(|worker| observed.running().generation.slot(worker));
    let (cells, other) = (redis.cells.of(slots[0]), redis.cells.of(slots[1]));
    cells.accepted.add(5);
    other.accepted.add(2);
    web.cells.of(slots[1]).accepted.add(1);
    cells.bytes_in.add(100);
    other.bytes_in.add(1);
    web.cells.of(slots[1]).bytes_out.add(7);
    other.ended[Cause::Finished as usize].add(3);
    cells.ended[Cause::ClientReset as usize].add(1);
    cells.rejected[Rejection::MaxConnections as usize].add(4);
    cells.duration.observe(ms(3));
    other.duration.observe(ms(7000));
    // Seven began, two of them moved to the second core, three ended there and one here.
    let running = observed.running();
    let [core, neighbour] = [0, 1].map(|worker| running.generation.cells(worker));
    core.started.add(5);
    neighbour.started.add(2);
    neighbour.taken_from.of(slots[0]).add(2);
    neighbour.ended.add(3);
    core.ended.add(1);
    core.polls.add(40);
    core.busy_nanoseconds.add(1_500_000_000);
    let upstream = observed.view().upstreams[0].upstream.clone();
    let cells = upstream.cells.of(slots[1]);
    cells.retries.add(1);
    cells.retries_refused.add(6);
    cells.connect.observe(ms(1));
    // It is over on another worker than it began on.
    cells.waits_begun.add(5);
    upstream.cells.of(slots[0]).waits_over.add(3);
    let [first, second] = [0, 1].map(|place| fixture::server(observed, place));
    let cells = first.cells.of(slots[1]);
    cells.opened.add(2);
    // It goes on for as long as anybody looks.
    std::mem::forget(proxy_core::Taken::beside(&first));
    cells.bytes_in.add(100);
    first.cells.of(slots[0]).bytes_in.add(1);
    second.cells.of(slots[1]).bytes_out.add(7);
    first.checks.of(CheckResult::Passed).add(8);
    second
        .checks
        .of(CheckResult::Failed(ConnectFailure::Refused))
        .add(2);
    let failures = &second.cells.of(slots[1]).failures;
    failures[ConnectFailure::Timeout as usize].add(1);
}

#[test]
fn cells_are_shown() {
    let exposition = exposition(fixture::proxy());
    work(&exposition.observed);
    exposition
        .observed
        .set_configuration(String::new(), "0123".to_owned());
    let text = encode(&exposition);
    for line in [
        "corelane_runtime_info{scheduler=\"some\",mode=\"fixed\",pinned=\"true\"} 1",
        "corelane_config_info{hash=\"0123\"} 1",
        "corelane_config_last_reload_success 1",
        "corelane_config_last_reload_timestamp_seconds 1700000000.5",
        "corelane_core_info{core=\"0\",cpu=\"4\"} 1",
        "corelane_core_info{core=\"1\",cpu=\"5\"} 1",
        "corelane_core_busy_seconds_total{core=\"0\"} 1.5",
        "corelane_core_connections{core=\"0\"} 2",
        "corelane_core_connections{core=\"1\"} 1",
        "corelane_core_accepts_total{core=\"0\"} 5",
        "corelane_core_accepts_total{core=\"1\"} 3",
        "corelane_core_bytes_total{core=\"0\",direction=\"in\"} 100",
        "corelane_core_bytes_total{core=\"1\",direction=\"in\"} 1",
        "corelane_core_bytes_total{core=\"1\",direction=\"out\"} 7",
        "corelane_core_polls_total{core=\"0\"} 40",
        "corelane_core_migrations_total{core=\"0\",direction=\"in\"} 0",
        "corelane_core_migrations_total{core=\"0\",direction=\"out\"} 2",
        "corelane_core_migrations_total{core=\"1\",direction=\"in\"} 2",
        "corelane_core_migrations_total{core=\"1\",direction=\"out\"} 0",
        "corelane_core_utilization_ratio{core=\"1\"} 0",
        "corelane_core_imbalance_ratio 0",
        "corelane_core_fairness_ratio 1",
        "corelane_listener_connections{listener=\"redis\"} 3",
        "corelane_listener_connections_limit{listener=\"redis\"} 100",
        "corelane_listener_connections_total{listener=\"redis\"} 7",
        "corelane_listener_connections_total{listener=\"web\"} 1",
        "corelane_listener_rejected_total{listener=\"redis\",reason=\"max_connections\"} 4",
        "corelane_listener_rejected_total{listener=\"web\",reason=\"descriptors\"} 0",
        "corelane_listener_bytes_total{listener=\"redis\",direction=\"in\"} 101",
        "corelane_listener_connection_duration_seconds_bucket{listener=\"redis\",le=\"0.001\"} 0",
        "corelane_listener_connection_duration_seconds_bucket{listener=\"redis\",le=\"0.005\"} 1",
        "corelane_listener_connection_duration_seconds_bucket{listener=\"redis\",le=\"86400\"} 2",
        "corelane_listener_connection_duration_seconds_sum{listener=\"redis\"} 7.003",
        "corelane_listener_connection_duration_seconds_count{listener=\"web\"} 0",
        "corelane_listener_ended_total{listener=\"redis\",cause=\"finished\"} 3",
        "corelane_listener_ended_total{listener=\"web\",cause=\"drain\"} 0",
        "corelane_upstream_up{upstream=\"pool\",server=\"10.0.0.1:2\"} 1",
        "corelane_upstream_server_state{upstream=\"pool\",server=\"10.0.0.1:1\",state=\"up\"} 1",
        "corelane_upstream_server_state{upstream=\"pool\",server=\"10.0.0.1:1\",state=\"draining\"} 0",
        "corelane_upstream_connections{upstream=\"pool\",server=\"10.0.0.1:1\"} 1",
        "corelane_upstream_queue{upstream=\"pool\"} 2",
        "corelane_upstream_slot_queue{upstream=\"pool\"} 0",
        "corelane_upstream_slot_queue_seconds_count{upstream=\"pool\"} 0",
        "corelane_upstream_bytes_total{upstream=\"pool\",server=\"10.0.0.1:1\",direction=\"in\"} 101",
        "corelane_upstream_bytes_total{upstream=\"pool\",server=\"10.0.0.1:2\",direction=\"out\"} 7",
        "corelane_upstream_retries_total{upstream=\"pool\"} 1",
        "corelane_upstream_retries_refused_total{upstream=\"pool\"} 6",
        "corelane_upstream_connect_failures_total{upstream=\"pool\",server=\"10.0.0.1:2\",reason=\"closed\"} 0",
        "corelane_upstream_closing_connections{upstream=\"pool\",server=\"10.0.0.1:1\",fate=\"on_down\"} 1",
        "corelane_upstream_health_checks_total{upstream=\"pool\",server=\"10.0.0.1:1\",result=\"passed\"} 8",
        "corelane_upstream_health_check_duration_seconds{upstream=\"pool\",server=\"10.0.0.1:1\"} 0.0025",
        "corelane_upstream_health_checks_total{upstream=\"pool\",server=\"10.0.0.1:2\",result=\"refused\"} 2",
        "corelane_upstream_health_checks_total{upstream=\"pool\",server=\"10.0.0.1:2\",result=\"resolve\"} 0",
        "corelane_upstream_connect_seconds_bucket{upstream=\"pool\",le=\"0.0001\"} 0",
        "corelane_upstream_connect_seconds_bucket{upstream=\"pool\",le=\"0.001\"} 1",
        "corelane_upstream_connect_failures_total{upstream=\"pool\",server=\"10.0.0.1:2\",reason=\"timeout\"} 1",
        "corelane_upstream_connect_failures_total{upstream=\"pool\",server=\"10.0.0.1:1\",reason=\"refused\"} 0",
        "corelane_upstream_ejections_total{upstream=\"pool\",server=\"10.0.0.1:1\",cause=\"early_ends\"} 0",
        "corelane_upstream_panic{upstream=\"pool\"} 0",
        "corelane_own_total{core=\"1\"} 7",
        "corelane_own{listener=\"web\"} 0.5",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no line {line}\n{text}"
        );
    }
}

#[test]
fn a_listener_without_a_limit_has_none() {
    let text = encode(&exposition(fixture::proxy()));
    assert!(!text.contains("corelane_listener_connections_limit{listener=\"web\"}"));
}

#[test]
fn every_label_is_there_before_anything_happens() {
    let exposition = exposition(fixture::proxy());
    let before = encode(&exposition);
    work(&exposition.observed);
    let after = encode(&exposition);
    let before: Vec<_> = samples(&before).map(|(series, _)| series).collect();
    let after: Vec<_> = samples(&after).map(|(series, _)| series).collect();
    assert_eq!(before, after);
}

#[test]
fn every_name_is_there() {
    let text = encode(&exposition(fixture::proxy()));
    let has = |name: &&str| text.contains(&format!("# TYPE {name} "));
    for name in NAMES.iter().chain(NAMES_OWN) {
        assert!(has(name), "no {name}\n{text}");
    }
    let families = text.lines().filter(|line| line.starts_with("# TYPE "));
    assert_eq!(
        families.count(),
        NAMES.len() + NAMES_OWN.len(),
        "a name is not in the list"
    );
}

#[test]
fn every_name_is_documented() {
    let page = include_str!("../../../docs/metrics.md");
    for name in NAMES {
        let ends = [format!("`{name}`"), format!("`{name}{{")];
        assert!(
            ends.iter().any(|end| page.contains(end)),
            "docs/metrics.md has no {name}"
        );
    }
}

#[test]
fn counters_never_go_backwards() {
    let exposition = exposition(fixture::proxy());
    let mut last = HashMap::new();
    for second in 0..4 {
        work(&exposition.observed);
        exposition.watch.load().push(Sample {
            at: Duration::from_secs(second),
            cpu: vec![Some(Duration::from_secs(second)); 2],
            polls: second,
        });
        let text = encode(&exposition);
        let counters: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .filter(|(_, kind)| *kind != "gauge")
            .map(|(name, _)| name)
            .collect();
        for (series, value) in samples(&text) {
            if !counters.iter().any(|&name| series.starts_with(name)) {
                continue;
            }
            let before = last.insert(series.to_owned(), value).unwrap_or(0.0);
            assert!(value >= before, "{series}: {before}, then {value}");
        }
    }
    let saturated = last["corelane_core_saturated_seconds_total{core=\"0\"}"];
    assert_eq!(saturated, 3.0);
}

#[test]
fn connections_are_never_negative() {
    let exposition = exposition(fixture::proxy());
    // As if an end had been counted, and its beginning were not seen yet.
    let observed = &exposition.observed;
    observed.running().generation.cells(0).ended.increment();
    let upstream = observed.view().upstreams[0].upstream.clone();
    let cells = upstream.cells.of(observed.running().generation.slot(0));
    cells.waits_over.increment();
    let text = encode(&exposition);
    assert!(
        text.contains("\ncorelane_core_connections{core=\"0\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("\ncorelane_upstream_queue{upstream=\"pool\"} 0\n"),
        "{text}"
    );
}

#[test]
fn promtool_finds_nothing() {
    let observed = fixture::proxy();
    work(&observed);
    let text = encode(&exposition(observed));
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return println!("skipped: promtool is not installed (Debian: prometheus)");
        }
        promtool => promtool.expect("promtool can be run"),
    };
    // Dropped at the end of the statement, which ends its input.
    let fed = promtool
        .stdin
        .take()
        .expect("it is piped")
        .write_all(text.as_bytes());
    fed.expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        (series, value.parse().expect("a value is a number"))
    })
}

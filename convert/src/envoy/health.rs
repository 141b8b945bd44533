//! Health checks and outlier detection of a cluster.

use std::time::Duration;

use super::super::note::Notes;
use super::super::plan::{Keys, Upstream};
use super::super::tree::View;
use super::super::value::{Item, Value};
use super::values::{duration, extension, number, percent};

/// What Envoy ejects by where nothing is written.
const FAILURES: u64 = 5;
/// The part of servers below which all are tried, in percent.
const PANIC: u64 = 50;

pub(super) fn set(view: &View<'_>, upstream: &mut Upstream, notes: &mut Notes) {
    let panic = view.at(&["common_lb_config", "healthy_panic_threshold"]);
    let panic = panic.and_then(|panic| percent(&panic)).unwrap_or(PANIC);
    let checks = view.items_of("health_checks");
    if let Some(check) = checks.first() {
        health(check, panic, upstream, notes);
    }
    for check in checks.iter().skip(1) {
        check.pass_over();
        notes.lose(
            &check.from(),
            "an upstream has one kind of checks; the first one is taken",
        );
    }
    if let Some(detection) = view.view("outlier_detection") {
        ejection(
            &detection,
            panic,
            upstream.table("ejection", &detection.from()),
        );
    }
}

fn health(check: &View<'_>, panic: u64, upstream: &mut Upstream, notes: &mut Notes) {
    let from = check.from();
    let mut keys = Keys::default();
    for (name, key) in [("interval", "interval"), ("timeout", "timeout")] {
        if let Some(time) = check.view(name) {
            match duration(&time) {
                Some(value) => keys.set(key, value, &time.from()),
                None => notes.lose(&time.from(), "this is no time"),
            }
        }
    }
    for (name, key) in [
        ("healthy_threshold", "rise"),
        ("unhealthy_threshold", "fall"),
    ] {
        if let Some((count, from)) = check
            .view(name)
            .and_then(|count| Some((number(&count)?, count.from())))
        {
            keys.set(key, count, &from);
        }
    }
    if let Some((jitter, from)) = check
        .view("interval_jitter_percent")
        .and_then(|jitter| Some((percent(&jitter)?, jitter.from())))
    {
        keys.set("jitter", format!("{jitter}%"), &from);
    }
    for name in [
        "unhealthy_interval",
        "unhealthy_edge_interval",
        "healthy_edge_interval",
    ] {
        if let Some(interval) = check.view(name) {
            notes.lose(
                &interval.from(),
                "`fast_interval` is for all checks that say something else than the verdict",
            );
        }
    }
    if let Some(tls) = check
        .view("tls_options")
        .or_else(|| check.view("transport_socket_match_criteria"))
    {
        notes.lose(&tls.from(), "checks of HTTP go in the clear");
    }
    let kind = kind(check, upstream, &mut keys, notes);
    let Some(kind) = kind else {
        check.pass_over();
        return notes.lose(
            &from,
            "checks are of TCP, HTTP, TLS, PostgreSQL, MySQL or Redis, or say what `expect` says",
        );
    };
    keys.set("type", kind, &from);
    check.view("no_traffic_interval");
    notes.remark(
        &from,
        "the interval is the same without traffic; Envoy checks once a minute then",
    );
    if kind != "tcp" {
        let from = from.part(&format!("healthy_panic_threshold {panic}%"));
        upstream.keys.set(
            "when_all_down",
            if panic == 0 { "refuse" } else { "try" },
            &from,
        );
    }
    let table = upstream.table("health", &from);
    for entry in keys.into_entries() {
        table.set(entry.key, entry.value, &entry.from);
    }
}

/// The kind of a check, with what it says.
fn kind(
    check: &View<'_>,
    upstream: &mut Upstream,
    keys: &mut Keys,
    notes: &mut Notes,
) -> Option<&'static str> {
    if let Some(http) = check.view("http_health_check") {
        let table = upstream.table("health.http", &http.from());
        http_check(&http, table, notes);
        return Some("http");
    }
    if let Some(tcp) = check.view("tcp_health_check") {
        let payload = |view: View<'_>| view.text_of("text").map(str::to_owned);
        let send = tcp.view("send").and_then(payload);
        let receive = tcp.items_of("receive").into_iter().filter_map(payload);
        let steps = send.map(|send| ("send_hex", send)).into_iter();
        let steps = steps.chain(receive.map(|receive| ("expect_hex", receive)));
        let steps: Vec<Item> = steps
            .map(|(key, hex)| Value::Table(vec![(key, hex.into())]).into())
            .collect();
        if steps.is_empty() {
            return Some("tcp");
        }
        keys.set("expect", Value::List(steps), &tcp.from());
        return Some("expect");
    }
    let custom = check.view("custom_health_check")?;
    let (kind, config) = extension(&custom);
    if !kind.eq_ignore_ascii_case("redis") {
        return None;
    }
    if let Some(key) = config.view("key") {
        notes.lose(&key.from(), "the check is a PING");
    }
    Some("redis")
}

fn http_check(http: &View<'_>, table: &mut Keys, notes: &mut Notes) {
    for (name, key) in [("path", "path"), ("host", "host"), ("method", "method")] {
        if let Some(value) = http.view(name) {
            table.set(key, value.text().unwrap_or_default(), &value.from());
        }
    }
    let statuses = http.items_of("expected_statuses");
    let ranges = statuses.iter().filter_map(|range| {
        let start = range.view("start").and_then(|start| number(&start))?;
        // Its end is not a part of it.
        let end = range
            .view("end")
            .and_then(|end| number(&end))?
            .checked_sub(1)?;
        Some(if start == end {
            start.to_string()
        } else {
            format!("{start}-{end}")
        })
    });
    let ranges: Vec<_> = ranges.collect();
    let (ranges, from) = match ranges.is_empty() {
        true => (
            vec!["200".to_owned()],
            http.from().part("200 is Envoy's default"),
        ),
        false => (ranges, statuses[0].from()),
    };
    let statuses = ranges.into_iter().map(|range| match range.parse::<u64>() {
        Ok(status) => Item::from(status),
        Err(_) => Item::from(range),
    });
    table.set("status", statuses.collect::<Value>(), &from);
    let headers: Vec<_> = http
        .items_of("request_headers_to_add")
        .iter()
        .filter_map(|header| {
            let header = header.view("header")?;
            Some(format!(
                "{}: {}",
                header.text_of("key")?,
                header.text_of("value")?
            ))
        })
        .collect();
    if !headers.is_empty() {
        table.set(
            "headers",
            headers.into_iter().collect::<Value>(),
            &http.from(),
        );
    }
    if let Some(codec) = http
        .view("codec_client_type")
        .filter(|codec| codec.text() != Some("HTTP1"))
    {
        notes.lose(&codec.from(), "checks speak HTTP/1.1");
    }
    for name in [
        "receive",
        "send",
        "service_name_matcher",
        "retriable_statuses",
    ] {
        if let Some(other) = http.view(name) {
            notes.lose(&other.from(), "the check goes by the status and by `body`");
        }
    }
}

/// Envoy counts failed connects as errors of the server.
fn ejection(detection: &View<'_>, panic: u64, keys: &mut Keys) {
    let from = detection.from();
    let own = [
        "consecutive_local_origin_failure",
        "consecutive_5xx",
        "consecutive_gateway_failure",
    ];
    let failures = own.iter().find_map(|name| {
        let view = detection.view(name)?;
        Some((number(&view)?, view.from()))
    });
    let (failures, failures_from) =
        failures.unwrap_or((FAILURES, from.part("5 failures are Envoy's default")));
    keys.set("consecutive_failures", failures, &failures_from);
    let times = [
        ("interval", "interval", 10),
        ("base_ejection_time", "base", 30),
        ("max_ejection_time", "max", 300),
    ];
    for (name, key, default) in times {
        let written = detection
            .view(name)
            .and_then(|view| Some((duration(&view)?, view.from())));
        let (time, from) = written.unwrap_or((Duration::from_secs(default), from.clone()));
        keys.set(key, time, &from);
    }
    let share = detection
        .view("max_ejection_percent")
        .and_then(|view| Some((percent(&view)?, view.from())));
    let (share, share_from) = share.unwrap_or((10, from.part("10% is Envoy's default")));
    keys.set("largest_share", format!("{share}%"), &share_from);
    keys.set(
        "panic_threshold",
        format!("{panic}%"),
        &from.part(&format!("healthy_panic_threshold {panic}%")),
    );
    let connects = from.part("of TCP, Envoy counts connects that fail");
    keys.set("early", "off", &connects);
    keys.set("slow_factor", 1000_u64, &connects);
}

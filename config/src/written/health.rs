//! The health checks of an upstream, as they are written.

use super::text::{duration, quoted, table};
use crate::sections::health::{Check, ExpectStep, Expected, Health, HttpCheck, TlsCheck};

/// Writes `[upstreams.NAME.health]`; the name is quoted.
pub(super) fn write(text: &mut String, upstream: &str, health: &Health) {
    let mut values = vec![
        ("type", quoted(health.check.kind())),
        ("interval", duration(health.interval)),
        ("fast_interval", duration(health.fast_interval)),
        ("jitter", quoted(health.jitter)),
        ("timeout", duration(health.timeout)),
        ("rise", health.rise.to_string()),
        ("fall", health.fall.to_string()),
    ];
    values.extend(health.port.map(|port| ("port", port.to_string())));
    match &health.check {
        Check::Tcp | Check::Redis => {}
        Check::Http(check) => values.push(("http", http(check))),
        Check::Tls(check) => values.push(("tls", tls(check))),
        Check::Expect(steps) => {
            let steps: Vec<_> = steps.iter().map(step).collect();
            values.push(("expect", format!("[{}]", steps.join(", "))));
        }
        Check::Postgres { user } | Check::Mysql { user } => values.push(("user", quoted(user))),
    }
    table(text, &format!("[upstreams.{upstream}.health]"), &values);
}

fn http(check: &HttpCheck) -> String {
    let status = check
        .status
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (low, high) if low == high => low.to_string(),
            (low, high) => quoted(format!("{low}-{high}")),
        });
    let status: Vec<_> = status.collect();
    let mut values = vec![
        format!("method = {}", quoted(&check.method)),
        format!("path = {}", quoted(&check.path)),
        format!("status = [{}]", status.join(", ")),
    ];
    values.extend(
        check
            .host
            .as_ref()
            .map(|host| format!("host = {}", quoted(host))),
    );
    if !check.headers.is_empty() {
        let lines: Vec<_> = check.headers.iter().map(quoted).collect();
        values.push(format!("headers = [{}]", lines.join(", ")));
    }
    match &check.body {
        None => {}
        // It was read as a string.
        Some(Expected::Bytes(bytes)) => {
            values.push(format!("body = {}", quoted(String::from_utf8_lossy(bytes))));
        }
        Some(Expected::Regex(regex)) => values.push(format!("body_regex = {}", quoted(regex))),
    }
    format!("{{ {} }}", values.join(", "))
}

fn tls(check: &TlsCheck) -> String {
    let mut values = vec![format!("verify = {}", check.verify)];
    values.extend(
        check
            .ca
            .as_ref()
            .map(|path| format!("ca = {}", quoted(path.display()))),
    );
    values.extend(
        check
            .server_name
            .as_ref()
            .map(|name| format!("server_name = {}", quoted(name))),
    );
    format!("{{ {} }}", values.join(", "))
}

fn step(step: &ExpectStep) -> String {
    match step {
        ExpectStep::Send(bytes) => format!("{{ send_hex = {} }}", hex(bytes)),
        ExpectStep::Expect(Expected::Bytes(bytes)) => format!("{{ expect_hex = {} }}", hex(bytes)),
        ExpectStep::Expect(Expected::Regex(regex)) => {
            format!("{{ expect_regex = {} }}", quoted(regex))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    quoted(digits)
}

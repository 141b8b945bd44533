//! `listen`: where, and with which options.

use std::net::IpAddr;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::value::Value;
use super::directive::Directive;
use super::units::{size, size_text, time};

/// What a `listen` is.
#[derive(Debug)]
pub(super) enum Listen {
    /// An address of TCP, as `bind` has it, and whether a PROXY header must come first.
    Tcp { bind: String, is_announced: bool },
    /// It is left out, which was said.
    Lost,
}

/// Reads a `listen`, and sets the options that it has.
pub(super) fn read(directive: &Directive, keys: &mut Keys, notes: &mut Notes) -> Listen {
    let from = &directive.from;
    if directive.says("udp") || directive.says("quic") {
        notes.lose(from, "corelane forwards TCP only; keep nginx for UDP");
        return Listen::Lost;
    }
    if directive.says("ssl") {
        notes.lose(
            from,
            "TLS is not ended here; let the servers end it, and route by its name (`sni`)",
        );
        return Listen::Lost;
    }
    let is_dual = directive.says("ipv6only=off");
    let bind = match bind(directive.value(), is_dual) {
        Ok(bind) => bind,
        Err(why) => {
            notes.lose(from, why);
            return Listen::Lost;
        }
    };
    let mut is_announced = false;
    for parameter in directive.texts().skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let part = from.part(parameter);
        match (name, size(value)) {
            ("proxy_protocol", _) => {
                is_announced = true;
                keys.set("accept_proxy_protocol", "required", &part);
            }
            ("backlog", Some(backlog)) => keys.set("backlog", backlog, &part),
            ("rcvbuf", Some(bytes)) => keys.set("receive_buffer", size_text(bytes), &part),
            ("sndbuf", Some(bytes)) => keys.set("send_buffer", size_text(bytes), &part),
            ("fastopen", Some(count)) => notes.lose(
                &part,
                format!(
                    "nginx does without where the system doesn't allow it, and corelane would not start: set net.ipv4.tcp_fastopen to \
                     3, and then `fast_open = {count}`"
                ),
            ),
            ("so_keepalive", _) => keepalive(value, keys, &part, notes),
            ("bind" | "reuseport" | "ipv6only" | "default_server" | "multipath", _) => {}
            ("deferred", _) => keys.set("defer_accept", std::time::Duration::from_secs(1), &part),
            _ => notes.lose(&part, "corelane has nothing like it for a listener"),
        }
    }
    Listen::Tcp { bind, is_announced }
}

/// The address as `bind` has it.
fn bind(text: &str, is_dual: bool) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(format!("unix:{path}"));
    }
    let (host, ports) = match text.rsplit_once(':') {
        // The last colon is one of an address without a port.
        Some((_, rest)) if rest.ends_with(']') => return Err(format!("{text:?} has no port")),
        Some((host, ports)) => (host, ports),
        None => ("", text),
    };
    if ports.is_empty()
        || !ports
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        return Err(format!("{text:?} has no port"));
    }
    let ip = |text: &str| text.parse::<IpAddr>().is_ok();
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some("::") if is_dual => Ok(format!("*:{ports}")),
        Some(v6) if ip(v6) => Ok(format!("[{v6}]:{ports}")),
        Some(_) => Err(format!("{text:?} has no address")),
        None if host.is_empty() || host == "*" => Ok(format!("0.0.0.0:{ports}")),
        None if host == "localhost" => Ok(format!("127.0.0.1:{ports}")),
        None if ip(host) => Ok(format!("{host}:{ports}")),
        None => Err(format!(
            "write the IP address of {host:?}; a listener has no name"
        )),
    }
}

/// `so_keepalive=on`, `off`, or `idle:interval:count`, of which each may be left out.
fn keepalive(text: &str, keys: &mut Keys, from: &Origin, notes: &mut Notes) {
    match text {
        // It is on by the system's times.
        "on" => return,
        "off" => return keys.set("keepalive", "off", from),
        _ => {}
    }
    let mut table = Vec::new();
    for (name, value) in ["idle", "interval", "count"]
        .into_iter()
        .zip(text.split(':'))
    {
        let value: Option<Value> = match name {
            _ if value.is_empty() => continue,
            "count" => value.parse::<u64>().ok().map(Value::from),
            _ => time(value).map(Value::from),
        };
        match value {
            Some(value) => table.push((name, value)),
            None => return notes.lose(from, "this is no time"),
        }
    }
    if !table.is_empty() {
        keys.set("keepalive", Value::Table(table), from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_those_of_bind() {
        for (text, is_dual, expected) in [
            ("80", false, "0.0.0.0:80"),
            ("*:80", false, "0.0.0.0:80"),
            ("127.0.0.1:8000-8010", false, "127.0.0.1:8000-8010"),
            ("[::]:80", false, "[::]:80"),
            ("[::]:80", true, "*:80"),
            ("[::1]:80", true, "[::1]:80"),
            ("localhost:80", false, "127.0.0.1:80"),
            ("unix:/run/x.sock", false, "unix:/run/x.sock"),
        ] {
            assert_eq!(bind(text, is_dual).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["", "x", "[::]", "example.com:80", "[x]:1", "1.2.3.4"] {
            assert!(bind(bad, false).is_err(), "{bad}");
        }
    }
}

//! `bind`: where a proxy listens, and how.

use std::time::Duration;

use super::super::note::Notes;
use super::super::plan::{Keys, Said};
use super::proxy::Proxy;
use super::section::Line;
use super::time;

/// A line of `bind`.
#[derive(Debug)]
pub(super) struct Bind {
    /// As `bind` of a listener has them.
    pub(super) addresses: Vec<Said<String>>,
    /// Keys of the listener. Binds with different ones are listeners of their own.
    pub(super) keys: Keys,
}

/// The binds of a frontend, those with the same options together.
pub(super) fn all(proxy: &Proxy, notes: &mut Notes) -> Vec<Bind> {
    let lines = proxy.all("bind");
    // Who has IPv4 for itself leaves IPv6 to others, whichever comes first.
    let mut taken = Vec::new();
    for line in lines {
        let mut alone = Vec::new();
        read(line, &mut alone, &mut Notes::default());
        taken.extend(
            alone
                .into_iter()
                .filter(|address| address.starts_with("0.0.0.0:")),
        );
    }
    let mut groups: Vec<Bind> = Vec::new();
    for line in lines {
        let Some(bind) = read(line, &mut taken, notes) else {
            continue;
        };
        match groups
            .iter_mut()
            .find(|group| group.keys.says_the_same(&bind.keys))
        {
            Some(group) => group.addresses.extend(bind.addresses),
            None => groups.push(bind),
        }
    }
    for group in &mut groups {
        leave_out_parts(&mut group.addresses, notes);
    }
    groups.retain(|group| !group.addresses.is_empty());
    groups
}

/// Leaves out addresses that another one has, too: HAProxy's sockets may share a port.
fn leave_out_parts(addresses: &mut Vec<Said<String>>, notes: &mut Notes) {
    let wide = |address: &str| {
        let (host, port) = address.rsplit_once(':')?;
        matches!(host, "0.0.0.0" | "*" | "[::]").then(|| (host.to_owned(), port.to_owned()))
    };
    let all: Vec<_> = addresses
        .iter()
        .filter_map(|said| wide(&said.value))
        .collect();
    addresses.retain(|said| {
        let Some((host, port)) = said.value.rsplit_once(':') else {
            return true;
        };
        let has_it = |(wider, its): &(String, String)| {
            let family = if host.starts_with('[') {
                "[::]"
            } else {
                "0.0.0.0"
            };
            its == port && wider != host && (wider == "*" || wider == family)
        };
        let is_part = all.iter().any(has_it);
        if is_part {
            notes.remark(&said.from, "an address of all interfaces has it, too");
        }
        !is_part
    });
}

/// Reads a line; nothing if it can't be carried over.
fn read(line: &Line, taken: &mut Vec<String>, notes: &mut Notes) -> Option<Bind> {
    let from = &line.from;
    let words = line.words();
    if words[2..].contains(&"ssl") {
        let why = "corelane ends no TLS; forward it to servers that do, by `sni` in routes where there are several";
        notes.lose(from, why);
        return None;
    }
    let mut keys = Keys::default();
    let mut is_both = None;
    let mut options = words[2..].iter();
    while let Some(&option) = options.next() {
        match option {
            "accept-proxy" => keys.set("accept_proxy_protocol", "required", from),
            "transparent" => keys.set("transparent", true, from),
            "defer-accept" => keys.set("defer_accept", Duration::from_secs(1), from),
            "tfo" => {
                let why = "HAProxy does without where the system doesn't allow it, and corelane would not start: set net.ipv4.tcp_fastopen to 3, \
                           and then `fast_open = 256`";
                notes.lose(&from.part(option), why);
            }
            "v4v6" => is_both = Some(true),
            "v6only" => is_both = Some(false),
            "interface" | "backlog" | "maxconn" | "tcp-ut" => {
                let value = options.next().copied().unwrap_or_default();
                let number = value.parse::<u64>();
                match (option, number, time::parse(value)) {
                    ("interface", _, _) => keys.set("interface", value, from),
                    ("backlog", Ok(number), _) => keys.set("backlog", number, from),
                    ("maxconn", Ok(number), _) if number > 0 => {
                        keys.set("max_connections", number, from)
                    }
                    ("tcp-ut", _, Some(time)) => keys.set("user_timeout", time, from),
                    _ => notes.lose(&from.part(option), "a number is expected after it"),
                }
            }
            "name" | "id" | "nice" | "process" | "thread" | "shards" | "level"
            | "severity-output" | "guid-prefix" | "label" => {
                options.next();
                let why =
                    "nothing here goes by it: each core of `cores` accepts for every listener";
                notes.remark(&from.part(option), why);
            }
            "mss" | "mode" | "uid" | "gid" | "user" | "group" | "namespace" | "proto" | "alpn"
            | "npn" | "cc" | "tcp-md5sig" | "idle-ping" => {
                let value = options.next().copied().unwrap_or_default();
                let why = "a listener has no such option; set it for the system, or leave it out";
                notes.lose(&from.part(&format!("{option} {value}")), why);
            }
            _ => notes.lose(
                &from.part(option),
                "`convert` does not know this option of `bind`",
            ),
        }
    }
    let mut addresses = Vec::new();
    for text in words[1].split(',') {
        match address(text, is_both, taken) {
            Ok(address) => {
                taken.push(address.clone());
                addresses.push(Said::new(address, from));
            }
            Err(why) => notes.lose(&from.part(text), why),
        }
    }
    Some(Bind { addresses, keys })
}

/// An address as `bind` of a listener has it; or why there is none.
fn address(text: &str, is_both: Option<bool>, taken: &[String]) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Ok(format!("unix:{text}"));
    }
    let (family, text) = match text.split_once('@') {
        Some(("unix", path)) => return Ok(format!("unix:{path}")),
        Some(("fd", _)) => {
            return Err("sockets come from systemd by their names: `bind = \"fd:NAME\"`");
        }
        Some((family @ ("ipv4" | "ipv6"), rest)) => (family, rest),
        Some(_) => return Err("corelane listens on TCP and on unix sockets with a path"),
        None => ("", text),
    };
    let (host, ports) = text.rsplit_once(':').ok_or("a port is missing")?;
    if ports.is_empty() {
        return Err("a port is missing");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match (host, family) {
        ("" | "*", "ipv6") | ("::", _) => {
            let every_v4 = format!("0.0.0.0:{ports}");
            // Linux gives such a socket IPv4 clients, too, unless it is told otherwise, or has a socket for those.
            if is_both.unwrap_or(family != "ipv6") && !taken.contains(&every_v4) {
                format!("*:{ports}")
            } else {
                format!("[::]:{ports}")
            }
        }
        ("" | "*", _) => format!("0.0.0.0:{ports}"),
        ("localhost", _) => format!("127.0.0.1:{ports}"),
        (host, _) if host.contains(':') => format!("[{host}]:{ports}"),
        (host, _) => format!("{host}:{ports}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_a_listener() {
        for (text, expected) in [
            (":80", "0.0.0.0:80"),
            ("*:80", "0.0.0.0:80"),
            ("192.0.2.1:80-90", "192.0.2.1:80-90"),
            ("ipv4@:80", "0.0.0.0:80"),
            (":::80", "*:80"),
            ("[::]:80", "*:80"),
            ("ipv6@:80", "[::]:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("unix@/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(address(text, None, &[]), Ok(expected.to_owned()), "{text}");
        }
        for text in ["80", "abns@a", "fd@3", "quic4@:443", "a:", ""] {
            assert!(address(text, None, &[]).is_err(), "{text}");
        }
        assert_eq!(address(":::80", Some(false), &[]).as_deref(), Ok("[::]:80"));
        assert_eq!(
            address(":::80", None, &["0.0.0.0:80".to_owned()]).as_deref(),
            Ok("[::]:80")
        );
    }
}

//! The servers of a proxy.

use super::super::note::Notes;
use super::super::plan::{Server, Upstream};
use super::members::Members;
use super::options::Options;
use super::proxy::Proxy;
use super::section::Line;

/// Fills an upstream with servers and what they say of it. Returns those that are backups beyond the first one, where HAProxy uses one of
/// them at a time.
pub(super) fn read(
    proxy: &Proxy,
    client_port: Option<&str>,
    upstream: &mut Upstream,
    notes: &mut Notes,
) -> Vec<Server> {
    let mut defaults = Options::default();
    let mut members = Members::default();
    for line in &proxy.servers {
        let count = match line.words[0].as_str() {
            "default-server" => {
                defaults = Options::read(line, 1, &defaults);
                continue;
            }
            "server" => 3,
            _ => 4,
        };
        let options = Options::read(line, count, &defaults);
        if !members.have_header_of(&options) {
            // Without the header that it believes, it would believe that of a client.
            let why = "all servers of an upstream get the same PROXY header, or none; put this one into an upstream of its own";
            notes.lose(&line.from, why);
        } else if count == 3 {
            if let Some(server) = member(line, &options, client_port, notes) {
                upstream.add(server, notes);
                members.add(&line.from, options);
            }
        } else if template(line, &options, upstream, notes) {
            members.add(&line.from, options);
        }
    }
    members.describe(proxy, upstream, notes);
    if proxy.options.contains_key("allbackups") {
        return Vec::new();
    }
    let is_backup = |server: &Server| server.keys.iter().any(|(key, _)| *key == "backup");
    if upstream
        .servers
        .iter()
        .filter(|server| is_backup(server))
        .count()
        < 2
    {
        return Vec::new();
    }
    let (mut backups, others): (Vec<_>, Vec<_>) = upstream.servers.drain(..).partition(is_backup);
    upstream.servers = others;
    backups
        .iter_mut()
        .for_each(|server| server.keys.retain(|(key, _)| *key != "backup"));
    backups
}

/// A server; nothing if it can't be one here.
fn member(
    line: &Line,
    options: &Options,
    client_port: Option<&str>,
    notes: &mut Notes,
) -> Option<Server> {
    let from = &line.from;
    if options.has("ssl") {
        let why = "corelane speaks no TLS with servers; have clients speak it with the server, or take a port without";
        notes.lose(from, why);
        return None;
    }
    options.note(notes);
    let address = match address(&line.words[2], client_port) {
        Ok(address) => address,
        Err(why) => {
            notes.lose(from, why);
            return None;
        }
    };
    let mut server = Server::new(address, from);
    match options.number("weight") {
        _ if options.has("disabled") => server.set("weight", 0_u64),
        Some(weight) if weight != 1 => server.set("weight", weight),
        _ => {}
    }
    if options.has("backup") {
        server.set("backup", true);
    }
    if let Some(count) = options.number("maxconn").filter(|count| *count > 0) {
        server.set("max_connections", count);
    }
    if let Some(port) = options.number("port").filter(|_| options.has("check")) {
        server.set("check_port", port);
    }
    Some(server)
}

/// Where to connect to, as an upstream's server has it. One without a port has that to which its clients have come.
fn address(text: &str, client_port: Option<&str>) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Ok(format!("unix:{text}"));
    }
    let text = match text.split_once('@') {
        Some(("unix", path)) => return Ok(format!("unix:{path}")),
        Some(("ipv4" | "ipv6", rest)) => rest,
        Some(_) => return Err("servers are at TCP or at unix sockets with a path"),
        None => text,
    };
    // What has several colons and no brackets ends with a port, too.
    let with_port = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, port)),
        _ => client_port.map(|port| (text, port)),
    };
    let why = "a server has one port of its own here; make a listener and an upstream for each port to which clients come";
    let (host, port) = with_port.ok_or(why)?;
    if port.starts_with(['+', '-']) || port.is_empty() {
        return Err(why);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match host {
        host if host.contains(':') => format!("[{host}]:{port}"),
        "*" | "0.0.0.0" => {
            return Err(
                "it is the address that the client asked for, and servers have addresses of their own",
            );
        }
        host => format!("{host}:{port}"),
    })
}

/// `server-template`: servers that a name has. Returns whether it could be carried over.
fn template(line: &Line, options: &Options, upstream: &mut Upstream, notes: &mut Notes) -> bool {
    let from = &line.from;
    let name = &line.words[3];
    if options.has("ssl")
        || upstream
            .tables
            .iter()
            .any(|(name, ..)| *name == "discovery")
    {
        notes.lose(from, "an upstream finds servers of one name, without TLS");
        return false;
    }
    options.note(notes);
    for option in ["weight", "maxconn", "backup"] {
        if let Some(given) = options.get(option) {
            notes.lose(
                &given.from.part(option),
                "servers that a name has are alike: they have weight 1 and no limit of their own",
            );
        }
    }
    let why = "each address that the name has is a server, however many there are";
    notes.remark(from, why);
    upstream
        .table("discovery", from)
        .set("dns", name.trim_end_matches(':'), from);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_servers() {
        for (text, expected) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("db.example.com:5432", "db.example.com:5432"),
            ("192.0.2.1", "192.0.2.1:25"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:25"),
            ("ipv4@a:80", "a:80"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("unix@/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(address(text, Some("25")).as_deref(), Ok(expected), "{text}");
        }
        for text in ["a", "a:", "a:+1", "abns@a", "*:80", "0.0.0.0:80", ""] {
            assert!(address(text, None).is_err(), "{text}");
        }
    }
}

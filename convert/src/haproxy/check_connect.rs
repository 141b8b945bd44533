//! How a check connects: `tcp-check connect` and `http-check connect`.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::inherited::RULES;
use super::options::Options;
use super::proxy::Proxy;
use super::section::Line;

/// The connection that rules ask for. Only with `default` it goes by the options of its server, such as `check-ssl`.
pub(super) struct Connect {
    pub(super) from: Origin,
    pub(super) port: Option<u64>,
    /// It goes by the options of its server.
    pub(super) is_default: bool,
    /// The name that is asked for inside TLS.
    pub(super) server_name: Option<String>,
    is_tls: bool,
    sends_header: bool,
    /// What there is nothing for.
    lost: Vec<String>,
}

impl Connect {
    /// That of a proxy whose rules begin with one.
    pub(super) fn of(proxy: &Proxy) -> Option<Self> {
        let mut rules = rules(proxy)
            .iter()
            .filter(|line| line.words[1] != "comment");
        let line = rules.next().filter(|line| connects(line))?;
        let mut connect = Self {
            from: line.from.clone(),
            port: None,
            is_default: false,
            server_name: None,
            is_tls: false,
            sends_header: false,
            lost: Vec::new(),
        };
        let mut words = line.words[2..].iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "default" => connect.is_default = true,
                "ssl" => connect.is_tls = true,
                "send-proxy" => connect.sends_header = true,
                "linger" => {}
                "comment" => drop(words.next()),
                "sni" => connect.server_name = words.next().map(str::to_owned),
                "port" => {
                    let port = words.next().unwrap_or_default();
                    match port.parse() {
                        Ok(port) => connect.port = Some(port),
                        Err(_) => connect.lost.push(format!("port {port}")),
                    }
                }
                "addr" | "alpn" | "proto" => {
                    let argument = words.next().unwrap_or_default();
                    connect.lost.push(format!("{word} {argument}"));
                }
                word => connect.lost.push(word.to_owned()),
            }
        }
        Some(connect)
    }

    /// Whether it is inside TLS, where the options of servers say so or not.
    pub(super) fn is_tls(&self, by_options: bool) -> bool {
        self.is_tls || self.is_default && by_options
    }

    /// Sets what it says of the connection.
    pub(super) fn set(&self, keys: &mut Keys, notes: &mut Notes) {
        if let Some(port) = self.port {
            keys.set("port", port, &self.from);
        }
        for words in &self.lost {
            let why = "a check connects to the server's address, or to another port of it, which is a number";
            notes.lose(&self.from.part(words), why);
        }
    }
}

/// The rules of the check that a proxy makes.
pub(super) fn rules(proxy: &Proxy) -> &[Line] {
    let option = proxy.check.as_ref().map(|check| check.words[1].as_str());
    let found = RULES.iter().find(|(_, name)| Some(*name) == option);
    found.map_or(&[], |(word, _)| proxy.all(word))
}

/// What is said over the first connection. Another one is lost with what is said over it.
pub(super) fn said<'p>(proxy: &'p Proxy, notes: &mut Notes) -> Vec<&'p Line> {
    let mut said = Vec::new();
    let mut is_connected = false;
    for line in rules(proxy)
        .iter()
        .filter(|line| line.words[1] != "comment")
    {
        if !connects(line) {
            said.push(line);
        } else if is_connected || !said.is_empty() {
            let why =
                "a check makes one connection; this one is left out, and all that is said after it";
            notes.lose(&line.from, why);
            break;
        }
        is_connected = true;
    }
    said
}

/// Says where HAProxy's checks begin with a PROXY header and those here don't, or the other way round. `is_sent`: connections have one.
pub(super) fn note_header(
    connect: Option<&Connect>,
    servers: &[(&Origin, &Options)],
    is_sent: bool,
    notes: &mut Notes,
) {
    for (_, options) in servers {
        let asked = options.get("check-send-proxy");
        let is_elsewhere = options.has("port") || options.has("addr");
        let by_options = asked.is_some() || is_sent && !is_elsewhere;
        let has_port = options.has("port") || connect.is_some_and(|connect| connect.port.is_some());
        let is_here = is_sent && !has_port;
        let asked = asked.map(|given| given.from.part("check-send-proxy"));
        let (is_there, from) = match connect {
            None => (by_options, asked),
            Some(connect) => {
                let is_there = connect.sends_header || connect.is_default && by_options;
                (is_there, Some(connect.from.clone()))
            }
        };
        match from {
            Some(from) if is_there && !is_here => notes.lose(
                &from,
                "HAProxy's check begins with a PROXY header, and here it does not: checks have one where connections have one, and only at the \
                 server's own port",
            ),
            Some(from) if is_here && !is_there => notes.lose(
                &from,
                "HAProxy's check begins without a PROXY header, and here with one, as connections do",
            ),
            _ => {}
        }
    }
}

fn connects(line: &Line) -> bool {
    line.words[1] == "connect"
}

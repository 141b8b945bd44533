//! The options of `server` and `default-server`.

use std::collections::BTreeMap;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::section::Line;
use super::useless::UNKNOWN;

/// The options of a server, by name, with those of `default-server` that count for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Options(BTreeMap<String, Given>);

/// The arguments of an option, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) arguments: Vec<String>,
    pub(super) from: Origin,
}

/// Options that take no argument. All others take one.
const ALONE: [&str; 23] = [
    "agent-check",
    "allow-0rtt",
    "backup",
    "check",
    "check-send-proxy",
    "check-ssl",
    "check-via-socks4",
    "disabled",
    "enabled",
    "force-sslv3",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
    "non-stick",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "ssl",
    "ssl-reuse",
    "stick",
    "tfo",
];

impl Options {
    /// The options of a line after its first words, on top of those that count by default.
    pub(super) fn read(line: &Line, first: usize, defaults: &Self) -> Self {
        let mut options = defaults.clone();
        let words = line.words();
        let mut words = words.get(first..).unwrap_or_default().iter().peekable();
        while let Some(&name) = words.next() {
            if let Some(taken_back) = name.strip_prefix("no-") {
                options.0.remove(taken_back);
                continue;
            }
            if name == "enabled" {
                options.0.remove("disabled");
            }
            let count = match name {
                // `source ADDRESS [usesrc WHAT] [interface NAME]`
                "source" => {
                    let more = words.clone().skip(1).collect::<Vec<_>>();
                    let mut count = 1;
                    while more
                        .get(count - 1)
                        .is_some_and(|word| matches!(**word, "usesrc" | "interface"))
                    {
                        count += 2;
                    }
                    count
                }
                name if ALONE.contains(&name) => 0,
                _ => 1,
            };
            let arguments = words
                .by_ref()
                .take(count)
                .map(|word| (*word).to_owned())
                .collect();
            let from = line.from.clone();
            options.0.insert(name.to_owned(), Given { arguments, from });
        }
        options
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// The argument of an option.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.arguments.first().map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The version of the PROXY header that the server gets, and the option that says so.
    pub(super) fn header(&self) -> Option<(&'static str, &Given)> {
        let versions = [
            ("send-proxy-v2", "v2"),
            ("send-proxy-v2-ssl", "v2"),
            ("send-proxy-v2-ssl-cn", "v2"),
            ("send-proxy", "v1"),
        ];
        let mut found = versions.iter();
        found.find_map(|(name, version)| Some((*version, self.get(name)?)))
    }

    /// Says of each option that nothing is made of why.
    pub(super) fn note(&self, notes: &mut Notes) {
        for (name, given) in &self.0 {
            let words = std::iter::once(name).chain(&given.arguments);
            let words: Vec<_> = words.map(String::as_str).collect();
            let from = given.from.part(&words.join(" "));
            match verdict(name, &words) {
                Verdict::Carried => {}
                Verdict::Nearly(why) => notes.remark(&from, why),
                Verdict::Lost(why) => notes.lose(&from, why),
            }
        }
    }
}

enum Verdict {
    Carried,
    Nearly(&'static str),
    Lost(&'static str),
}

fn verdict(name: &str, words: &[&str]) -> Verdict {
    use Verdict::{Carried, Lost, Nearly};
    match name {
        "agent-check" | "agent-port" | "agent-inter" | "agent-send" | "backup" | "check"
        | "check-send-proxy" | "error-limit" | "fall" | "fastinter" | "inter" | "interface"
        | "maxconn" | "maxqueue" | "on-marked-down" | "port" | "proxy-v2-options" | "rise"
        | "send-proxy" | "send-proxy-v2" | "slowstart" | "source" | "tcp-ut" | "weight" => Carried,
        "observe" if words.get(1) == Some(&"layer4") => Carried,
        "observe" => {
            Lost("corelane reads no HTTP; `observe layer4` is what [upstreams.NAME.ejection] does")
        }
        // With TLS the whole server is a loss, which is said once.
        "ssl" | "verify" | "verifyhost" | "ca-file" | "crl-file" | "crt" | "ciphers"
        | "ciphersuites" | "curves" | "sigalgs" | "client-sigalgs" | "sni" | "alpn" | "npn"
        | "ssl-min-ver" | "ssl-max-ver" | "ssl-reuse" | "allow-0rtt" | "check-alpn"
        | "check-sni" | "renegotiate" | "force-sslv3" | "force-tlsv10" | "force-tlsv11"
        | "force-tlsv12" | "force-tlsv13" => Carried,
        // It takes back what `disabled` says.
        "check-ssl" | "enabled" => Carried,
        "addr" => {
            Lost("servers are checked at their own address; `check_port` is another port of it")
        }
        "agent-addr" => Lost("an agent is asked at its server's own address"),
        "track" => Lost("each upstream checks its own servers; write a check there, too"),
        "minconn" => Lost("the limit of a server is the same whatever the load is"),
        "on-marked-up" => Lost("connections of backups go on when the others are back"),
        "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => {
            Nearly("the header is of version 2; what it says of TLS is what corelane received")
        }
        "on-error" => Nearly("a failure counts for the ejection; it changes no check"),
        "downinter" => Nearly("a server that is down is checked as often as one that is up"),
        "disabled" => Nearly(
            "it comes out as weight 0: it gets no new connections, until `corelane ctl` or a reload gives it some",
        ),
        "resolvers" | "init-addr" | "resolve-prefer" | "resolve-opts" | "resolve-net" => Nearly(
            "names are asked for while it runs, by the system's resolv.conf; a start doesn't wait for them",
        ),
        "cookie" | "redir" | "ws" | "proto" | "check-proto" | "max-reuse" | "pool-low-conn"
        | "pool-max-conn" | "pool-purge-delay" | "pool-conn-name" | "log-proto" | "hash-key"
        | "log-bufsize" => {
            Nearly("it is about HTTP or logs, and HAProxy itself has no use for it in mode tcp")
        }
        "id" | "guid" | "stick" | "non-stick" | "shard" | "init-state" => {
            Nearly("nothing here goes by it")
        }
        "tfo" => Lost(
            "no bytes go with the SYN to a server, as a connect that seems to work would try no other one",
        ),
        "socks4" | "check-via-socks4" | "namespace" | "tcp-md5sig" | "cc" => {
            Lost("servers are connected to plainly; set it for the system")
        }
        _ => Lost(UNKNOWN),
    }
}

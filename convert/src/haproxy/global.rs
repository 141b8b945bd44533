//! The section `global`.

use std::time::Duration;

use super::super::origin::Origin;
use super::super::plan::{Keys, Plan, Said};
use super::section::Section;
use super::time;
use super::useless::UNKNOWN;

/// What `global` says of all proxies.
#[derive(Debug, Default)]
pub(super) struct Globals {
    /// `maxconn` is written.
    pub(super) max_connections: Option<Origin>,
    /// `spread-checks`, a percentage.
    pub(super) spread: Option<Said<u64>>,
    /// `nosplice`.
    pub(super) no_splice: Option<Origin>,
    pub(super) buffers: Buffers,
}

/// The kernel's buffers of connections.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) client: Vec<Buffer>,
    pub(super) server: Vec<Buffer>,
}

/// The size of one of them.
#[derive(Debug)]
pub(super) struct Buffer {
    key: &'static str,
    bytes: Said<u64>,
}

impl Buffer {
    pub(super) fn set(&self, keys: &mut Keys) {
        let Said { value, from } = &self.bytes;
        let text = match value.is_multiple_of(1024) {
            true => format!("{}KiB", value / 1024),
            false => format!("{value}B"),
        };
        keys.set(self.key, text, from);
    }
}

impl Globals {
    /// Reads a section; there may be several.
    pub(super) fn read(&mut self, section: &Section, plan: &mut Plan) {
        for line in &section.lines {
            let from = &line.from;
            let words = line.words();
            let number = words.get(1).and_then(|text| text.parse::<u64>().ok());
            match (words[0], number) {
                ("maxconn", Some(count)) if count > 0 => {
                    plan.runtime.set("max_connections", count, from);
                    self.max_connections = Some(from.clone());
                }
                ("nbthread", Some(count)) => plan.runtime.set("cores", count, from),
                ("spread-checks", Some(percent)) => self.spread = Some(Said::new(percent, from)),
                (
                    "tune.rcvbuf.client" | "tune.rcvbuf.server" | "tune.sndbuf.client"
                    | "tune.sndbuf.server",
                    Some(bytes),
                ) if bytes > 0 => {
                    let key = match words[0].starts_with("tune.rcvbuf") {
                        true => "receive_buffer",
                        false => "send_buffer",
                    };
                    let bytes = Said::new(bytes, from);
                    let sides = match words[0].ends_with("client") {
                        true => &mut self.buffers.client,
                        false => &mut self.buffers.server,
                    };
                    sides.push(Buffer { key, bytes });
                }
                ("nosplice", _) => self.no_splice = Some(from.clone()),
                ("hard-stop-after", _) => match words.get(1).and_then(|text| time::parse(text)) {
                    Some(after) => {
                        plan.runtime
                            .set("drain_timeout", after.max(Duration::from_millis(1)), from)
                    }
                    None => plan.notes.lose(from, "this is no time"),
                },
                ("close-spread-time", _) => match words.get(1).and_then(|text| time::parse(text)) {
                    Some(over) if !over.is_zero() => plan.runtime.set("close_over", over, from),
                    _ => plan.notes.lose(from, "this is no time"),
                },
                (word, _) => match remark(word) {
                    Some(why) => plan.notes.remark(from, why),
                    None => plan.notes.lose(from, lost(word)),
                },
            }
        }
    }
}

/// Why a word needs nothing here.
fn remark(word: &str) -> Option<&'static str> {
    Some(match word {
        "daemon" | "master-worker" | "pidfile" | "quiet" | "zero-warning" | "default-path"
        | "debug" => "corelane stays in the foreground; systemd or a supervisor keeps it",
        "user"
        | "group"
        | "uid"
        | "gid"
        | "chroot"
        | "set-dumpable"
        | "setcap"
        | "insecure-setuid-wanted"
        | "insecure-fork-wanted" => {
            "the unit of systemd says who corelane is; started by root, it becomes who `user` of [runtime] names"
        }
        "log" | "log-tag" | "log-send-hostname" => {
            "corelane logs to stderr, which systemd keeps; [access_log] has a line for each connection"
        }
        "stats" => {
            "commands go to `socket` of [admin], metrics and a page are at `listen` of [admin]"
        }
        "setenv" | "presetenv" | "unsetenv" | "resetenv" => {
            "variables are used while this is converted"
        }
        "ulimit-n" | "strict-limits" | "fd-hard-limit" => {
            "corelane raises its own limit of descriptors as far as it may"
        }
        "node" | "description" | "cluster-secret" | "localpeer" => "nothing here goes by it",
        "nbproc" | "cpu-map" | "thread-groups" | "thread-group" | "numa-cpu-mapping"
        | "cpu-policy" | "cpu-set" => {
            "each core of `cores` is a worker, which stays there unless `pin = false`; `cores = \"0-3\"` names them"
        }
        "nopoll" | "noepoll" | "nokqueue" | "noevports" | "nogetaddrinfo" | "noreuseport"
        | "busy-polling" => "`scheduler` of [runtime] says how the kernel is asked",
        "server-state-file" | "server-state-base" => {
            "reloads and upgrades keep what is known of servers by themselves"
        }
        "maxsslconn" | "maxsslrate" | "maxcomprate" | "maxcompcpuusage" => {
            "it is about TLS or HTTP that HAProxy ends"
        }
        "maxpipes" => "pipes are pooled, as many as there are bulk flows",
        "external-check" => "corelane runs no programs",
        _ if [
            "ssl-",
            "ca-",
            "crt-",
            "tune.",
            "h1-",
            "h2-",
            "profiling.",
            "issuers-",
            "anonkey",
            "expose-",
            "harden.",
        ]
        .iter()
        .any(|start| word.starts_with(start)) =>
        {
            "it tunes parts of HAProxy that corelane doesn't have"
        }
        _ => return None,
    })
}

/// Why a word is lost.
fn lost(word: &str) -> &'static str {
    match word {
        "lua-load" | "lua-load-per-thread" | "lua-prepend-path" => "corelane runs no programs",
        "maxconnrate" | "maxsessrate" => "rates are limited a listener; write `max_rate` there",
        _ => UNKNOWN,
    }
}

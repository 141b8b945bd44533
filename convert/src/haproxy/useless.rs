//! Lines that need nothing here, and those that there is nothing for.

use super::super::note::Notes;
use super::super::origin::Origin;

/// What is said of a word that `convert` doesn't know.
pub(super) const UNKNOWN: &str = "corelane has nothing like it, or `convert` does not know it; leave it out, or see docs/convert.md";

const HTTP: &str = "it is about HTTP, and HAProxy itself has no use for it in mode tcp";
const LOG: &str = "corelane logs to stderr, and [access_log] has a line for each connection with fields of its own";

/// Notes a line of a proxy that nothing is made of.
pub(super) fn line(words: &[&str], from: &Origin, notes: &mut Notes) {
    match words {
        ["no", "log", ..] | ["log" | "log-format" | "log-format-sd" | "log-tag" | "error-log-format" | "log-steps", ..] => {
            notes.remark(from, LOG);
        }
        ["retries", ..] => notes.remark(
            from,
            "each server is tried once, and then the next one; `retry_budget` bounds the connects that there may be",
        ),
        ["hash-type", ..] => notes.remark(
            from,
            "source-hash is a Maglev table: consistent and even, and each client finds another server than HAProxy's hash would",
        ),
        ["description" | "id" | "guid" | "unique-id-format" | "unique-id-header" | "max-keep-alive-queue" | "load-server-state-from-file" | "server-state-file-name" | "hash-balance-factor" | "hash-preserve-affinity", ..] => {
            notes.remark(from, "nothing here goes by it");
        }
        ["cookie" | "capture" | "compression" | "errorfile" | "errorfiles" | "errorloc" | "errorloc302" | "errorloc303" | "http-request" | "http-response" | "http-after-response" | "http-error" | "http-reuse" | "http-send-name-header" | "monitor-uri" | "monitor" | "monitor-net" | "redirect" | "dynamic-cookie-key" | "force-persist" | "ignore-persist" | "filter" | "declare", ..]
            if !matches!(words[0], "filter" | "monitor-net") =>
        {
            notes.remark(from, HTTP);
        }
        ["email-alert", ..] => notes.lose(from, "corelane sends no mail; the alert CorelaneServerDown of Prometheus says the same"),
        ["persist", ..] => notes.lose(from, "corelane doesn't read RDP; `balance = \"source-hash\"` keeps a client at its server"),
        ["external-check", ..] => notes.lose(from, "corelane runs no programs; use a check of `health`, or an `agent` beside the server"),
        ["tcp-response", ..] => notes.lose(from, "corelane doesn't read what servers say"),
        ["use-server", ..] => notes.lose(from, "make the server an upstream of its own, and a route to that"),
        ["grace", ..] => notes.remark(from, "corelane drains for `drain_timeout` of [runtime]"),
        _ => notes.lose(from, UNKNOWN),
    }
}

/// What is said of an option that is no key here: whether it is lost, and why.
pub(super) fn option(name: &str) -> (bool, &'static str) {
    let remark = |why| (false, why);
    match name {
        "dontlognull"
        | "dontlog-normal"
        | "logasap"
        | "log-separate-errors"
        | "log-health-checks"
        | "socket-stats"
        | "contstats" => remark(LOG),
        "redispatch" => remark("the next server is tried whenever one can't be connected to"),
        "splice-auto" | "splice-request" | "splice-response" => {
            remark("bulk is spliced unless `splice = false`")
        }
        "tcp-smart-accept" | "tcp-smart-connect" => {
            remark("it saves a packet with each connection, which is not needed here")
        }
        "clitcpka" | "srvtcpka" | "tcpka" => {
            remark("keepalive is on, at the system's times, unless `keepalive` says otherwise")
        }
        "abortonclose" => {
            remark("a client that goes while it waits gives its place to the next one")
        }
        "allbackups" => remark("all backups serve"),
        "httplog"
        | "httpclose"
        | "http-server-close"
        | "http-keep-alive"
        | "forwardfor"
        | "forceclose"
        | "http-pretend-keepalive"
        | "http-use-htx"
        | "http-ignore-probes"
        | "http-no-delay"
        | "http-buffer-request"
        | "http-tunnel"
        | "http-use-proxy-header"
        | "originalto"
        | "checkcache"
        | "prefer-last-server"
        | "accept-invalid-http-request"
        | "accept-invalid-http-response"
        | "idle-close-on-response"
        | "h1-case-adjust-bogus-client"
        | "h1-case-adjust-bogus-server"
        | "disable-h2-upgrade"
        | "http-restrict-req-hdr-names"
        | "accept-unsafe-violations-in-http-request"
        | "accept-unsafe-violations-in-http-response" => remark(HTTP),
        "nolinger" => (
            true,
            "connections are closed in an orderly manner, so that what was said arrives",
        ),
        "transparent" | "http_proxy" => (
            true,
            "connections go to the upstream's servers, and never to the address that the client asked for",
        ),
        "persist" => (
            true,
            "a server that is down gets no connections because a client had it before",
        ),
        _ => (true, UNKNOWN),
    }
}

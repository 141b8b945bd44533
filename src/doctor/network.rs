//! What the kernel's TCP is set to.

use super::facts::{Facts, Process};
use super::finding::Finding;
use super::need::Need;

/// Fewer ports than this to each server are hardly meant.
const PORTS_FEW: u64 = 10_000;

/// Half-open connections that a busy listener has without an attack.
const SYN_BACKLOG_FEW: u64 = 1024;

/// The bit of `tcp_fastopen` for listeners.
const FAST_OPEN_SERVER: u64 = 2;

const CAP_NET_BIND_SERVICE: u32 = 10;

pub(super) fn judge(facts: &Facts, process: &Process, need: &Need) -> Vec<Finding> {
    vec![
        somaxconn(facts, need),
        syn_backlog(facts),
        ports(facts, need),
        low_ports(facts, need),
        congestion(facts, need),
        fast_open(facts, need),
        migrate(facts),
        ipv6(process, need),
    ]
}

fn somaxconn(facts: &Facts, need: &Need) -> Finding {
    const NAME: &str = "somaxconn";
    let backlog = need.backlog;
    match facts.somaxconn {
        Some(most) if most < backlog => Finding::warn(
            NAME,
            format!("{most}, which the kernel lowers the listeners' backlog of {backlog} to: a burst of clients is turned away"),
        )
        .mend(format!("sysctl -w net.core.somaxconn={backlog}")),
        Some(most) => Finding::ok(NAME, format!("{most}, and the longest backlog is {backlog}")),
        None => Finding::ok(NAME, "not known"),
    }
}

fn syn_backlog(facts: &Facts) -> Finding {
    const NAME: &str = "tcp_max_syn_backlog";
    match (facts.syn_backlog, facts.syn_cookies) {
        (_, Some(0)) => Finding::warn(
            NAME,
            "SYN cookies are off: a flood of SYNs keeps clients out",
        )
        .mend("sysctl -w net.ipv4.tcp_syncookies=1"),
        (Some(length), _) if length < SYN_BACKLOG_FEW => Finding::warn(
            NAME,
            format!("{length}: a burst of clients falls back to SYN cookies"),
        )
        .mend(format!(
            "sysctl -w net.ipv4.tcp_max_syn_backlog={SYN_BACKLOG_FEW}"
        )),
        (Some(length), _) => Finding::ok(NAME, format!("{length}, with SYN cookies")),
        (None, _) => Finding::ok(NAME, "not known"),
    }
}

fn ports(facts: &Facts, need: &Need) -> Finding {
    const NAME: &str = "ports to servers";
    let Some(range) = &facts.ports else {
        return Finding::ok(NAME, "not known");
    };
    let count = u64::from(range.end().saturating_sub(*range.start())) + 1;
    let shown = format!(
        "{}-{}: {count} connections to each server",
        range.start(),
        range.end()
    );
    let most = need.per_server.unwrap_or(PORTS_FEW);
    if count >= most {
        return Finding::ok(NAME, shown);
    }
    let found = match need.per_server {
        Some(most) => format!("{shown}, and max_connections allows {most}"),
        None => shown,
    };
    Finding::warn(NAME, found).mend("sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\", or more servers or addresses of them")
}

fn low_ports(facts: &Facts, need: &Need) -> Finding {
    const NAME: &str = "low ports";
    let first = facts.unprivileged_from.unwrap_or(1024);
    match need.lowest_port {
        Some(port) if u64::from(port) < first && !facts.has_capability(CAP_NET_BIND_SERVICE) => {
            Finding::fail(NAME, format!("port {port} needs CAP_NET_BIND_SERVICE, as all below {first}")).mend(
                "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, --cap-add NET_BIND_SERVICE for Docker, or \
                 setcap cap_net_bind_service=+ep \"$(command -v corelane)\"",
            )
        }
        Some(port) => Finding::ok(NAME, format!("port {port} and above can be listened on")),
        None => Finding::ok(NAME, format!("not configured; below {first} they need CAP_NET_BIND_SERVICE")),
    }
}

fn congestion(facts: &Facts, need: &Need) -> Finding {
    const NAME: &str = "congestion control";
    let Some(name) = &facts.congestion else {
        return Finding::ok(NAME, "not known");
    };
    let shown = format!("{name} of {}", facts.available);
    if !name.starts_with("bbr") {
        return Finding::ok(NAME, shown);
    }
    match need.loopback {
        Some(true) => Finding::warn(NAME, format!("{shown}: it paces, which makes loopback and local networks several times slower"))
            .mend("congestion = \"cubic\" in the listener and the upstream, or sysctl -w net.ipv4.tcp_congestion_control=cubic"),
        Some(false) => Finding::ok(NAME, shown),
        None => Finding::ok(NAME, format!("{shown}; over loopback it is several times slower than cubic")),
    }
}

fn fast_open(facts: &Facts, need: &Need) -> Finding {
    const NAME: &str = "TCP fast open";
    let Some(bits) = facts.fast_open else {
        return Finding::ok(NAME, "not known");
    };
    match (need.fast_open, bits & FAST_OPEN_SERVER != 0) {
        (true, false) => Finding::fail(
            NAME,
            format!("net.ipv4.tcp_fastopen is {bits}, by which fast_open does nothing"),
        )
        .mend(format!(
            "sysctl -w net.ipv4.tcp_fastopen={}",
            bits | FAST_OPEN_SERVER
        )),
        (true, true) => Finding::ok(NAME, "listeners have it"),
        (false, _) => Finding::ok(NAME, "not configured"),
    }
}

/// Only a socket that closes loses clients: a proxy keeps its own open for as long as somebody waits there.
fn migrate(facts: &Facts) -> Finding {
    const NAME: &str = "tcp_migrate_req";
    match facts.migrate {
        Some(1) => Finding::ok(NAME, "on"),
        Some(_) => Finding::ok(
            NAME,
            "off, and not needed: a reload or a switch closes no socket in which clients wait",
        ),
        None => Finding::ok(
            NAME,
            "not there (it came with Linux 5.14) or not to be read, and not needed",
        ),
    }
}

fn ipv6(process: &Process, need: &Need) -> Finding {
    const NAME: &str = "IPv6";
    match (&process.ipv6, need.ipv6) {
        (Ok(()), _) => Finding::ok(NAME, "there"),
        (Err(_), false) => Finding::ok(NAME, "not there, and not needed"),
        (Err(error), true) => Finding::fail(NAME, format!("configured, and not there: {error}")).mend(
            "sysctl -w net.ipv6.conf.all.disable_ipv6=0, and no ipv6.disable=1 in the kernel's command line; or listen on IPv4 alone",
        ),
    }
}

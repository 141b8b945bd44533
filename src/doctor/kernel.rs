//! What the kernel can do, and lets this process do.

use backend_glommio::Unavailable;
use proxy_config::Scheduler;

use super::facts::{Facts, Process};
use super::finding::{Finding, Level};
use super::need::Need;

/// Rings that only their own thread serves (`IORING_SETUP_DEFER_TASKRUN`).
const RINGS_OF_ONE_THREAD: (u32, u32) = (6, 1);

/// From here on the kernel counts rings as locked memory.
const RINGS_ARE_LOCKED: (u32, u32) = (6, 14);

const CAP_NET_ADMIN: u32 = 12;
const CAP_IPC_LOCK: u32 = 14;

const TOKIO: &str = "scheduler = \"tokio\" in [runtime] needs none of it";

pub(super) fn judge(facts: &Facts, process: &Process, need: &Need) -> Vec<Finding> {
    let mut findings = vec![kernel(facts)];
    findings.extend(ring(process, need));
    findings.push(memlock(facts, process, need));
    findings.push(seccomp(facts));
    findings.push(match &process.splice {
        Ok(()) => Finding::ok("splice", "bulk goes through pipes, uncopied"),
        Err(error) => Finding::warn(
            "splice",
            format!("splice(2) is refused: {error}; no bulk goes through pipes"),
        )
        .mend("allow splice in the seccomp profile, or write splice = false in the listeners"),
    });
    findings.push(match &process.reuse_port {
        Ok(()) => Finding::ok("SO_REUSEPORT", "each core can have a socket of its own"),
        Err(error) => Finding::fail(
            "SO_REUSEPORT",
            format!("sockets of their own for each core are refused: {error}"),
        )
        .mend(
            "use Linux 3.9 or newer, or allow socket, setsockopt and bind in the seccomp profile",
        ),
    });
    findings.push(match &process.stop {
        Ok(()) => Finding::ok("drain", "listening sockets can be told to take nobody any more"),
        Err(error) => Finding::warn(
            "drain",
            format!("a filter on listening sockets is refused: {error}; who connects in the last moment of a drain is reset"),
        )
        .mend("AmbientCapabilities=CAP_NET_ADMIN in the systemd unit, --cap-add NET_ADMIN for Docker"),
    });
    findings.push(transparent(facts, need));
    findings
}

fn kernel(facts: &Facts) -> Finding {
    const NAME: &str = "kernel";
    let release = &facts.release;
    match facts.version() {
        Some(version) if version >= RINGS_OF_ONE_THREAD => {
            Finding::ok(NAME, format!("Linux {release}"))
        }
        Some(_) => Finding::warn(
            NAME,
            format!("Linux {release}: Glommio waits by epoll before 6.1, and needs 5.8 at least"),
        )
        .mend("run Linux 6.1 or newer, such as Debian 12's"),
        None => Finding::warn(NAME, "its release can't be read").mend("mount /proc"),
    }
}

/// How bad it is that Glommio can't run.
fn without_glommio(need: &Need) -> Level {
    match need.scheduler {
        Scheduler::Glommio => Level::Fail,
        Scheduler::Auto => Level::Warn,
        Scheduler::Tokio => Level::Ok,
    }
}

/// None: it is a matter of locked memory, which is told there.
fn ring(process: &Process, need: &Need) -> Option<Finding> {
    const NAME: &str = "io_uring";
    let level = without_glommio(need);
    let consequence = match level {
        Level::Ok => "not needed, as the scheduler is tokio",
        Level::Warn => "\"auto\" runs tokio",
        Level::Fail => "scheduler = \"glommio\" can't start",
    };
    let worse = |found: String, mend: String| {
        let finding = Finding::new(NAME, level, format!("{found}: {consequence}"));
        match level {
            Level::Ok => finding,
            _ => finding.mend(mend),
        }
    };
    Some(match &process.ring {
        Ok(missing) if missing.is_empty() => {
            Finding::ok(NAME, "allowed, with all operations that Glommio needs")
        }
        Ok(missing) => worse(
            format!("this kernel lacks {}", missing.join(", ")),
            format!("run Linux 6.1 or newer; {TOKIO}"),
        ),
        Err(Unavailable::Memlock(_)) => return None,
        Err(Unavailable::Disabled(value)) => worse(
            format!("switched off by kernel.io_uring_disabled = {value}"),
            format!("sysctl -w kernel.io_uring_disabled=0; {TOKIO}"),
        ),
        Err(Unavailable::Forbidden) => worse(
            "not permitted, most likely by a seccomp profile (Docker's and containerd's own block it)".to_owned(),
            format!(
                "docker run --security-opt seccomp=corelane.json (packaging/seccomp), or SystemCallFilter=@aio in a unit; {TOKIO}"
            ),
        ),
        Err(Unavailable::Missing) => worse(
            "this kernel has none".to_owned(),
            format!("run Linux 6.1 or newer with CONFIG_IO_URING; {TOKIO}"),
        ),
        Err(error @ Unavailable::Other(_)) => worse(error.to_string(), TOKIO.to_owned()),
    })
}

fn memlock(facts: &Facts, process: &Process, need: &Need) -> Finding {
    const NAME: &str = "locked memory";
    let needed = process.memlock_needed;
    let kib = needed.div_ceil(1024);
    let Some(limit) = process.memlock else {
        return Finding::ok(NAME, "no limit");
    };
    let is_counted = facts
        .version()
        .is_none_or(|version| version >= RINGS_ARE_LOCKED)
        && !facts.has_capability(CAP_IPC_LOCK);
    let least = match is_counted {
        true => needed,
        false => needed.min(backend_glommio::MEMLOCK_BYTES_MIN),
    };
    let level = without_glommio(need);
    if limit >= least || level == Level::Ok {
        return Finding::ok(NAME, format!("{} KiB", limit / 1024));
    }
    let found = format!(
        "{} KiB for all processes of this user, and Glommio's workers need about {kib} KiB",
        limit / 1024
    );
    Finding::new(NAME, level, found).mend(format!(
        "LimitMEMLOCK={kib}K in the systemd unit, --ulimit memlock={} for Docker, ulimit -l {kib} in a shell of root's; {TOKIO}",
        kib * 1024
    ))
}

fn seccomp(facts: &Facts) -> Finding {
    const NAME: &str = "seccomp";
    match facts.status.seccomp {
        Some(0) => Finding::ok(NAME, "no filter"),
        Some(2) => Finding::ok(
            NAME,
            "a filter is in force; what it refuses of the above is told there",
        ),
        Some(mode) => Finding::fail(NAME, format!("mode {mode} allows next to nothing"))
            .mend("start it without strict seccomp"),
        None => Finding::ok(NAME, "not known"),
    }
}

fn transparent(facts: &Facts, need: &Need) -> Finding {
    const NAME: &str = "transparent";
    const STRICT: u64 = 1;
    if !need.transparent {
        return Finding::ok(NAME, "not configured");
    }
    if !facts.has_capability(CAP_NET_ADMIN) {
        return Finding::fail(
            NAME,
            "clients' addresses can't be used without CAP_NET_ADMIN",
        )
        .mend(
            "AmbientCapabilities=CAP_NET_ADMIN in the systemd unit, --cap-add NET_ADMIN for Docker",
        );
    }
    match facts.rp_filter {
        Some(STRICT) => Finding::warn(
            NAME,
            "rp_filter = 1 drops what comes back by another interface than the route's",
        )
        .mend("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.default.rp_filter=2"),
        _ => Finding::ok(
            NAME,
            "CAP_NET_ADMIN is there; the servers' answers must be routed back to this machine",
        ),
    }
}

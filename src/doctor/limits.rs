//! What this process may have: CPUs, threads, descriptors.

use proxy_core::descriptors::{OF_A_CONNECTION, kept_of};

use super::facts::{Facts, Process};
use super::finding::{Finding, Level};
use super::need::Need;

/// Threads beside the workers: the main one, checks, names, the admin server, logs and what runtimes have.
const OTHER_THREADS: u64 = 24;

/// Of these, the ones that each start has: the main one, checks or names, and the admin server.
const THREADS_MIN: u64 = 3;

/// Fewer connections than this are hardly meant.
const CONNECTIONS_FEW: u64 = 2000;

/// What to raise a small limit to.
const FILES: u64 = 65_536;

/// Descriptors that a process has by itself.
const OWN: u64 = 64;

pub(super) fn judge(facts: &Facts, process: &Process, need: &Need) -> Vec<Finding> {
    vec![
        cgroups(facts),
        cpus(facts, process, need),
        threads(facts, process, need),
        descriptors(facts, process, need),
    ]
}

fn cgroups(facts: &Facts) -> Finding {
    const NAME: &str = "control groups";
    match facts.cgroup.are_hidden {
        false => Finding::ok(NAME, "what they limit is told below"),
        true => Finding::warn(
            NAME,
            "nothing is mounted at /sys/fs/cgroup: whether they limit CPUs and threads can't be told",
        )
        .mend("mount -t sysfs sysfs /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
    }
}

fn cpus(facts: &Facts, process: &Process, need: &Need) -> Finding {
    const NAME: &str = "CPUs";
    let allowed = process.cpus.len();
    let workers = need.workers.unwrap_or(allowed);
    let list = ranges(&process.cpus);
    if let Some(quota) = facts.cgroup.cpus.filter(|quota| *quota < workers as f64) {
        let fitting = (quota.floor() as usize).max(1);
        return Finding::warn(
            NAME,
            format!("{workers} workers on CPUs {list}, and the cgroup's quota is {quota:.2} CPUs: all stand still when it is used up"),
        )
        .mend(format!(
            "cores = {fitting} in [runtime], or CPUQuota={}% in the systemd unit, --cpus {workers} for Docker",
            workers * 100
        ));
    }
    if workers > allowed {
        return Finding::warn(
            NAME,
            format!("{workers} workers, and this process may use {allowed} CPUs ({list}): they wait for each other"),
        )
        .mend("cores = \"all\" in [runtime], or a wider AllowedCPUs= (systemd), --cpuset-cpus (Docker) or taskset");
    }
    let quota = facts.cgroup.cpus.map(|quota| format!(", quota {quota:.2}"));
    Finding::ok(
        NAME,
        format!("{allowed} ({list}){}", quota.unwrap_or_default()),
    )
}

fn threads(facts: &Facts, process: &Process, need: &Need) -> Finding {
    const NAME: &str = "threads";
    let workers = need.workers.unwrap_or(process.cpus.len()) as u64;
    // A switch of schedulers has both for a moment.
    let needed = 2 * workers + OTHER_THREADS;
    let more = format!("TasksMax={needed} in the systemd unit, --pids-limit {needed} for Docker");
    match facts.cgroup.pids {
        Some(max) if max < workers + THREADS_MIN => Finding::fail(
            NAME,
            format!(
                "the cgroup allows {max}, and a start with {workers} workers takes {}",
                workers + THREADS_MIN
            ),
        )
        .mend(more),
        Some(max) if max < needed => Finding::warn(
            NAME,
            format!("the cgroup allows {max}, and up to {needed} run over a switch"),
        )
        .mend(more),
        Some(max) => Finding::ok(NAME, format!("{max} by the cgroup")),
        None if facts.cgroup.are_hidden => Finding::ok(NAME, "not known"),
        None => Finding::ok(NAME, "no limit by a cgroup"),
    }
}

fn descriptors(facts: &Facts, process: &Process, need: &Need) -> Finding {
    const NAME: &str = "descriptors";
    let Some(limit) = process.files else {
        return Finding::ok(NAME, "no limit");
    };
    let kept = kept_of(limit);
    let room = limit.saturating_sub(kept + OWN) / OF_A_CONNECTION;
    let (is_enough, wanted) = match need.descriptors {
        Some(descriptors) => {
            let needed = descriptors.saturating_add(kept + OWN);
            (needed <= limit, needed)
        }
        None => (room >= CONNECTIONS_FEW, FILES),
    };
    if is_enough {
        return Finding::ok(NAME, format!("{limit}, for {room} connections"));
    }
    let found = match need.descriptors {
        Some(descriptors) => format!(
            "{limit}, for {room} connections, and max_connections allows {}",
            descriptors / OF_A_CONNECTION
        ),
        None => format!("{limit}, for only {room} connections"),
    };
    let level = match room {
        0 => Level::Fail,
        _ => Level::Warn,
    };
    let ceiling = facts.nr_open.filter(|nr_open| *nr_open < wanted);
    let ceiling = ceiling.map(|_| format!("sysctl -w fs.nr_open={wanted}, and "));
    Finding::new(NAME, level, found).mend(format!(
        "{}LimitNOFILE={wanted} in the systemd unit, --ulimit nofile={wanted} for Docker, ulimit -n {wanted} in a shell of root's",
        ceiling.unwrap_or_default()
    ))
}

/// CPUs as people write them.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|one, next| one + 1 == *next);
    let runs = runs.map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_written_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[]), "");
    }
}

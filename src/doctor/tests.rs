//! Findings of machines that lack something.

use backend_glommio::Unavailable;
use proxy_config::Scheduler;

use super::cgroup::Cgroup;
use super::facts::{Facts, Process};
use super::finding::{Finding, Level};
use super::judge;
use super::need::Need;
use super::parse::Status;

/// What is looked at, what changes, and words of what mends it.
type FactsCase = (&'static str, fn(&mut Facts), &'static str);
type ProcessCase = (&'static str, Level, fn(&mut Process), &'static str);

/// A machine that has all.
fn facts() -> Facts {
    Facts {
        release: "6.12.1-amd64".to_owned(),
        somaxconn: Some(4096),
        syn_backlog: Some(4096),
        syn_cookies: Some(1),
        ports: Some(32768..=60999),
        congestion: Some("cubic".to_owned()),
        available: "reno cubic bbr".to_owned(),
        fast_open: Some(1),
        migrate: Some(0),
        rp_filter: Some(2),
        unprivileged_from: Some(1024),
        nr_open: Some(1 << 20),
        status: Status {
            seccomp: Some(0),
            capabilities: 0,
        },
        cgroup: Cgroup::default(),
    }
}

fn process() -> Process {
    Process {
        ring: Ok(Vec::new()),
        memlock_needed: 1 << 20,
        memlock: Some(8 << 20),
        files: Some(524_288),
        cpus: vec![0, 1, 2, 3],
        reuse_port: Ok(()),
        splice: Ok(()),
        ipv6: Ok(()),
        stop: Ok(()),
    }
}

fn worst(facts: &Facts, process: &Process, need: &Need) -> Vec<Finding> {
    let mut findings = judge(facts, process, need);
    findings.retain(|finding| finding.level != Level::Ok);
    findings
}

/// The one finding, and that its mend has these words.
fn one(facts: &Facts, process: &Process, need: &Need, name: &str, level: Level, words: &str) {
    let findings = worst(facts, process, need);
    let [finding] = &findings[..] else {
        panic!("{name}: {findings:?}");
    };
    assert_eq!((finding.name, finding.level), (name, level), "{finding:?}");
    let mend = finding.mend.as_deref().unwrap_or_default();
    assert!(mend.contains(words), "{finding:?}");
}

#[test]
fn a_machine_that_has_all_is_healthy() {
    assert_eq!(worst(&facts(), &process(), &Need::default()), []);
    // And where nothing can be read there is no false alarm, but about the kernel itself.
    let blind = worst(&Facts::default(), &process(), &Need::default());
    assert_eq!(blind.len(), 1, "{blind:?}");
}

#[test]
fn each_lack_of_the_machine_is_told_with_a_command() {
    let need = Need::default();
    let cases: [FactsCase; 11] = [
        (
            "kernel",
            |facts| facts.release = "5.10.0-1-amd64".to_owned(),
            "6.1",
        ),
        (
            "somaxconn",
            |facts| facts.somaxconn = Some(128),
            "sysctl -w net.core.somaxconn=4096",
        ),
        (
            "tcp_max_syn_backlog",
            |facts| facts.syn_backlog = Some(128),
            "sysctl -w net.ipv4.tcp_max_syn_backlog=",
        ),
        (
            "tcp_max_syn_backlog",
            |facts| facts.syn_cookies = Some(0),
            "sysctl -w net.ipv4.tcp_syncookies=1",
        ),
        (
            "ports to servers",
            |facts| facts.ports = Some(60000..=60999),
            "ip_local_port_range",
        ),
        (
            "control groups",
            |facts| facts.cgroup.are_hidden = true,
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        ("CPUs", |facts| facts.cgroup.cpus = Some(1.5), "cores = 1 "),
        (
            "CPUs",
            |facts| facts.cgroup.cpus = Some(0.1),
            "CPUQuota=400%",
        ),
        (
            "threads",
            |facts| facts.cgroup.pids = Some(10),
            "TasksMax=32",
        ),
        (
            "threads",
            |facts| facts.cgroup.pids = Some(6),
            "TasksMax=32",
        ),
        ("seccomp", |facts| facts.status.seccomp = Some(1), "strict"),
    ];
    for (name, change, words) in cases {
        let mut facts = facts();
        change(&mut facts);
        let level = match name {
            "seccomp" => Level::Fail,
            // Not even the workers.
            "threads" if facts.cgroup.pids < Some(7) => Level::Fail,
            _ => Level::Warn,
        };
        one(&facts, &process(), &need, name, level, words);
    }
}

#[test]
fn each_lack_of_the_process_is_told_with_a_command() {
    let need = Need::default();
    let cases: [ProcessCase; 12] = [
        (
            "io_uring",
            Level::Warn,
            |process| process.ring = Err(Unavailable::Disabled(2)),
            "sysctl -w kernel.io_uring_disabled=0",
        ),
        (
            "io_uring",
            Level::Warn,
            |process| process.ring = Err(Unavailable::Forbidden),
            "--security-opt seccomp=",
        ),
        (
            "io_uring",
            Level::Warn,
            |process| process.ring = Err(Unavailable::Missing),
            "CONFIG_IO_URING",
        ),
        (
            "io_uring",
            Level::Warn,
            |process| process.ring = Ok(vec!["POLL_ADD"]),
            "6.1",
        ),
        (
            "locked memory",
            Level::Warn,
            |process| process.memlock = Some(64 << 10),
            "LimitMEMLOCK=1024K",
        ),
        (
            "descriptors",
            Level::Warn,
            |process| process.files = Some(1024),
            "LimitNOFILE=65536",
        ),
        (
            "descriptors",
            Level::Fail,
            |process| process.files = Some(40),
            "LimitNOFILE=65536",
        ),
        ("CPUs", Level::Ok, |process| process.cpus = vec![0], ""),
        (
            "splice",
            Level::Warn,
            |process| process.splice = Err("no".to_owned()),
            "splice = false",
        ),
        (
            "SO_REUSEPORT",
            Level::Fail,
            |process| process.reuse_port = Err("no".to_owned()),
            "seccomp",
        ),
        (
            "drain",
            Level::Warn,
            |process| process.stop = Err("no".to_owned()),
            "CAP_NET_ADMIN",
        ),
        (
            "IPv6",
            Level::Ok,
            |process| process.ipv6 = Err("no".to_owned()),
            "",
        ),
    ];
    for (name, level, change, words) in cases {
        let mut process = process();
        change(&mut process);
        match level {
            Level::Ok => assert_eq!(worst(&facts(), &process, &need), []),
            level => one(&facts(), &process, &need, name, level, words),
        }
    }
}

#[test]
fn what_a_file_asks_for_makes_a_lack_worse_or_none() {
    let with = |change: fn(&mut Need)| {
        let mut need = Need::default();
        change(&mut need);
        need
    };
    let forbidden = Process {
        ring: Err(Unavailable::Forbidden),
        memlock: Some(1024),
        ..process()
    };
    let glommio = with(|need| need.scheduler = Scheduler::Glommio);
    let levels: Vec<_> = worst(&facts(), &forbidden, &glommio)
        .iter()
        .map(|one| one.level)
        .collect();
    assert_eq!(levels, [Level::Fail, Level::Fail]);
    let tokio = with(|need| need.scheduler = Scheduler::Tokio);
    assert_eq!(worst(&facts(), &forbidden, &tokio), []);

    let long = with(|need| need.backlog = 9000);
    one(
        &facts(),
        &process(),
        &long,
        "somaxconn",
        Level::Warn,
        "somaxconn=9000",
    );
    let many = with(|need| need.descriptors = Some(2_000_000));
    one(
        &facts(),
        &process(),
        &many,
        "descriptors",
        Level::Warn,
        "fs.nr_open=",
    );
    let few = with(|need| need.descriptors = Some(200));
    let small = Process {
        files: Some(1024),
        ..process()
    };
    assert_eq!(worst(&facts(), &small, &few), []);
    let each = with(|need| need.per_server = Some(40_000));
    one(
        &facts(),
        &process(),
        &each,
        "ports to servers",
        Level::Warn,
        "ip_local_port_range",
    );
    let low = with(|need| need.lowest_port = Some(80));
    one(
        &facts(),
        &process(),
        &low,
        "low ports",
        Level::Fail,
        "CAP_NET_BIND_SERVICE",
    );
    let fast = with(|need| need.fast_open = true);
    one(
        &facts(),
        &process(),
        &fast,
        "TCP fast open",
        Level::Fail,
        "tcp_fastopen=3",
    );
    let workers = with(|need| need.workers = Some(5));
    one(
        &facts(),
        &process(),
        &workers,
        "CPUs",
        Level::Warn,
        "cores = \"all\"",
    );
    let six = with(|need| need.ipv6 = true);
    let without = Process {
        ipv6: Err("no".to_owned()),
        ..process()
    };
    one(
        &facts(),
        &without,
        &six,
        "IPv6",
        Level::Fail,
        "disable_ipv6=0",
    );
    let transparent = with(|need| need.transparent = true);
    one(
        &facts(),
        &process(),
        &transparent,
        "transparent",
        Level::Fail,
        "CAP_NET_ADMIN",
    );
    let mut strict = facts();
    strict.status.capabilities = 1 << 12;
    strict.rp_filter = Some(1);
    one(
        &strict,
        &process(),
        &transparent,
        "transparent",
        Level::Warn,
        "rp_filter=2",
    );
}

#[test]
fn bbr_is_told_where_it_is_slow() {
    let mut facts = facts();
    facts.congestion = Some("bbr".to_owned());
    let loopback = |loopback| Need {
        loopback,
        ..Need::default()
    };
    one(
        &facts,
        &process(),
        &loopback(Some(true)),
        "congestion control",
        Level::Warn,
        "cubic",
    );
    assert_eq!(worst(&facts, &process(), &loopback(Some(false))), []);
    let unknown = judge(&facts, &process(), &loopback(None));
    assert!(
        unknown
            .iter()
            .any(|one| one.found.contains("slower than cubic"))
    );
}

#[test]
fn rings_count_as_locked_memory_since_linux_6_14_and_not_for_those_who_may_lock_any() {
    let process = Process {
        memlock_needed: 16 << 20,
        ..process()
    };
    let mut facts = facts();
    assert_eq!(worst(&facts, &process, &Need::default()), []);
    facts.release = "6.14.0".to_owned();
    one(
        &facts,
        &process,
        &Need::default(),
        "locked memory",
        Level::Warn,
        "LimitMEMLOCK=16384K",
    );
    facts.status.capabilities = 1 << 14;
    assert_eq!(worst(&facts, &process, &Need::default()), []);
}

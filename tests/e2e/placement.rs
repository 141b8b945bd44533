//! Which core gets a new connection under Glommio.

use std::io::{Read, Write};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use crate::harness::config::forward;
use crate::harness::limit;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;

const COUNTS: [usize; 3] = [16, 100, 1000];

/// Descriptors for everything else in this process.
const DESCRIPTORS_SPARE: u64 = 500;

/// Connections of each core, after so many were opened one after the other.
fn spread(placement: &str, connections: usize) -> Option<Vec<f64>> {
    spread_by(placement, connections, || {})
}

/// The same by a client that prepares itself once the proxy runs.
fn spread_by(placement: &str, connections: usize, prepare: impl Fn()) -> Option<Vec<f64>> {
    let _alone = limit::alone();
    if !Scheduler::Glommio.usable() || !limit::descriptors(connections as u64 + DESCRIPTORS_SPARE) {
        return None;
    }
    let proxy = Proxy::start_with(
        Scheduler::Glommio,
        // Where they are put is what is looked at, and not where they go later.
        &format!("glommio.placement = \"{placement}\"\nglommio.rebalance.enabled = false\n"),
        &forward(&["builtin:echo"]),
    );
    prepare();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let mut client = proxy.connect("main");
            client.write_all(b"!").expect("send");
            client.read_exact(&mut [0; 1]).expect("receive");
            client
        })
        .collect();
    let metrics = proxy.metrics();
    let cores = metrics.series("corelane_core_connections", &[]);
    let spread: Vec<_> = cores.map(|(_, count)| count).collect();
    assert_eq!(spread.iter().sum::<f64>(), connections as f64);
    println!("{placement}, {connections} connections: {spread:?}");
    drop(clients);
    proxy.stop();
    Some(spread)
}

fn least(spread: &[f64]) -> f64 {
    spread.iter().copied().fold(f64::MAX, f64::min)
}

#[test]
fn round_robin_is_exact() {
    for connections in COUNTS.into_iter().chain([101]) {
        if let Some(spread) = spread("round-robin", connections) {
            let even = (connections / spread.len()) as f64;
            assert_eq!(least(&spread), even, "{spread:?}");
        }
    }
}

#[test]
fn least_loaded_spreads_idle_connections_by_count() {
    for connections in COUNTS {
        if let Some(spread) = spread("least-loaded", connections) {
            // What it costs to connect is load, too, and so is what else the machine does.
            assert!(least(&spread) >= connections as f64 / 8.0, "{spread:?}");
        }
    }
}

#[test]
fn reuseport_stays_where_it_is_accepted() {
    // The kernel's hash may do anything, but is no worse than a coin: of 1,000, fewer than 300 on one of two cores are as
    // good as impossible.
    for connections in COUNTS {
        let spread = spread("reuseport", connections);
        if let Some(spread) = spread.filter(|_| connections == 1000) {
            let even = connections as f64 / spread.len() as f64;
            assert!(least(&spread) >= 0.6 * even, "{spread:?}");
        }
    }
}

/// All of one CPU's connections are on the core of that CPU. Linux 6.2.
#[test]
fn incoming_cpu_is_the_clients() {
    let Some(release) = steering() else {
        return;
    };
    println!("Linux {release}");
    // On loopback the client's CPU is the one that its packets come in on.
    for connections in COUNTS {
        let pinned = std::thread::spawn(move || spread_by("incoming-cpu", connections, pin));
        if let Some(spread) = pinned.join().expect("client") {
            assert_eq!(spread[0], connections as f64, "{spread:?}");
        }
    }
}

/// What was asked of the kernel for one scheduler ends with it: the next one's workers share the clients of a CPU.
mod steering_ends_with_its_placement {
    use super::{Scheduler, steering_ends};

    #[test]
    fn at_glommio() {
        steering_ends(Scheduler::Glommio);
    }

    #[test]
    fn at_work_stealing() {
        steering_ends(Scheduler::WorkStealing);
    }

    #[test]
    fn at_per_core() {
        steering_ends(Scheduler::PerCore);
    }
}

/// Connections of a client that stays on one CPU. With so many, a worker of two that has none is rarer than one in 10^18 runs.
const PINNED: usize = 64;

fn steering_ends(to: Scheduler) {
    if !Scheduler::Glommio.usable() {
        return;
    }
    let steered = "glommio.placement = \"incoming-cpu\"\n";
    let routes = forward(&["builtin:echo"]);
    let proxy = Proxy::start_with(Scheduler::Glommio, steered, &routes);
    let workers = proxy
        .metrics()
        .series("corelane_core_connections", &[])
        .count();
    let Some(cpus) = preferred(&proxy) else {
        return;
    };
    assert!(
        !cpus.is_empty() && cpus.iter().all(Option::is_some),
        "{cpus:?}"
    );
    proxy.reload(to, &routes);
    let labels = [("to", to.name()), ("result", "success")];
    wait::until("the switch is over", || {
        proxy.metric("corelane_runtime_switches_total", &labels) == 1.0
    });
    let cpus = preferred(&proxy).expect("it was permitted before");
    assert!(
        !cpus.is_empty() && cpus.iter().all(Option::is_none),
        "{cpus:?}"
    );
    // Where all workers accept from one socket, the kernel has no part in it.
    if to != Scheduler::WorkStealing && workers > 1 {
        let spread = std::thread::scope(|scope| {
            let spread = scope.spawn(|| {
                pin();
                let clients: Vec<_> = (0..PINNED).map(|_| established(&proxy)).collect();
                let metrics = proxy.metrics();
                let cores = metrics.series("corelane_core_connections", &[]);
                let spread: Vec<_> = cores.map(|(_, count)| count).collect();
                drop(clients);
                spread
            });
            spread.join().expect("client")
        });
        assert!(least(&spread) > 0.0, "{spread:?}");
    }
    proxy.stop();
}

fn established(proxy: &Proxy) -> std::net::TcpStream {
    let mut client = proxy.connect("main");
    client.write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    client
}

/// The CPU whose clients each of the listener's sockets is preferred for (SO_INCOMING_CPU). None, and says why, where the
/// sockets of another process can't be looked at.
fn preferred(proxy: &Proxy) -> Option<Vec<Option<usize>>> {
    let pid = Pid::from_raw(proxy.pid() as i32).expect("a pid isn't 0");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
    let mut cpus = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).expect("it runs") {
        let entry = entry.expect("it runs");
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        if !link.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let number = entry
            .file_name()
            .to_string_lossy()
            .parse()
            .expect("a number");
        let socket = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => socket,
            Err(Errno::PERM) => {
                println!("skipped: pidfd_getfd isn't permitted here");
                return None;
            }
            Err(_) => continue,
        };
        let socket = SockRef::from(&socket);
        let address = socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket());
        if address == Some(proxy.address("main")) && socket.is_listener().expect("a socket") {
            let cpu = socket.cpu_affinity().expect("an option");
            // The option is an int, and -1 is none.
            cpus.push((cpu != usize::MAX).then_some(cpu));
        }
    }
    Some(cpus)
}

/// Keeps the current thread on the first CPU that it may use, which is also the first worker's.
fn pin() {
    let mut cpus = rustix::thread::sched_getaffinity(None).expect("affinity");
    let cpu = (0..rustix::thread::CpuSet::MAX_CPU).find(|&cpu| cpus.is_set(cpu));
    cpus.clear();
    cpus.set(cpu.expect("a CPU"));
    rustix::thread::sched_setaffinity(None, &cpus).expect("affinity");
}

/// The kernel's release, if it steers.
fn steering() -> Option<String> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 2) {
        println!("skipped: Linux {release} does not steer by SO_INCOMING_CPU; 6.2 does");
        return None;
    }
    Some(release)
}

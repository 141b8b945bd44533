//! A network that a test has for itself.

use std::fs;
use std::process::Command;
use std::thread;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `test` on a thread whose network is a loopback of its own, where clients get ports of this range, such as "40000 40063".
/// What it starts is there, too. Prints why, and runs nothing, where this isn't allowed.
pub(crate) fn alone(ports: &str, test: impl FnOnce() + Send) {
    let run = || match enter(ports) {
        Ok(()) => test(),
        Err(why) => println!("skipped: a network namespace of its own: {why}"),
    };
    let end = thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = end {
        std::panic::resume_unwind(panic);
    }
}

fn enter(ports: &str) -> Result<(), String> {
    // SAFETY: descriptors stay shared; the flag for those isn't given.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| error.to_string())?;
    let mut ip = Command::new("ip");
    ip.args(["link", "set", "lo", "up"]);
    let status = ip.status().map_err(|error| format!("ip: {error}"))?;
    if !status.success() {
        return Err(format!("{ip:?}: {status}"));
    }
    // The kernel shows each thread the values of its own network.
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    fs::write(range, ports).map_err(|error| format!("{range}: {error}"))
}

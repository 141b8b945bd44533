//! The network that the load runs in: loopback alone, with a congestion control that says nothing of this machine.
//!
//! A machine whose default is BBR paces what it sends by a timer, on loopback too: here that doubled or tripled the CPU of
//! bulk in some turns and not in others, for every proxy alike. What a table compares is the proxies.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context as _, ensure};
use rustix::net::sockopt::tcp_congestion;

use crate::sys;

/// What takes the machine's network as it is.
const AS_IT_IS: &str = "as-is";

/// Moves this thread, and what it starts from now on, into a network namespace whose loopback has this congestion
/// control.
pub(crate) fn enter(congestion: &str) -> anyhow::Result<()> {
    if congestion == AS_IT_IS {
        return Ok(());
    }
    sys::leave_network().with_context(|| {
        format!("making a network namespace (root can; --congestion {AS_IT_IS} measures without)")
    })?;
    ip("link set lo up")?;
    // The routes, and not the sysctl: that one may be read only where this isn't.
    for to in ["127.0.0.0/8", "127.0.0.1"] {
        ip(&format!(
            "route replace local {to} dev lo table local proto kernel scope host src 127.0.0.1 congctl {congestion}"
        ))?;
    }
    let used = used()?;
    ensure!(
        used == congestion,
        "loopback uses {used} in place of {congestion}; is it in net.ipv4.tcp_available_congestion_control?"
    );
    Ok(())
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("running ip (apt-get install iproute2)")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip {arguments}: {}",
        error.trim_end()
    );
    Ok(())
}

/// The congestion control of a connection over loopback.
pub(crate) fn used() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let name = tcp_congestion(&client).context("asking for the congestion control")?;
    Ok(name.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// In a thread of its own, since the namespace is the thread's.
    fn entered(congestion: &'static str) -> Result<String, String> {
        let inside = move || {
            enter(congestion)
                .and_then(|()| used())
                .map_err(|error| format!("{error:#}"))
        };
        thread::spawn(inside).join().expect("no panic")
    }

    #[test]
    fn loopback_has_the_congestion_control_that_was_asked_for() {
        let outside = used().expect("loopback");
        match entered("reno") {
            Ok(inside) => assert_eq!(inside, "reno"),
            Err(reason) => eprintln!("skipped: {reason}"),
        }
        assert_eq!(entered(AS_IT_IS), Ok(outside.clone()));
        let refused = entered("no-such-control").expect_err("there is none of that name");
        assert!(
            refused.contains("ip route") || refused.contains("--congestion"),
            "{refused}"
        );
        // The others of this process stay where they are.
        assert_eq!(used().expect("loopback"), outside);
    }
}

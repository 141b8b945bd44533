//! Keeps the addresses of servers that are configured by name.
//!
//! The system's resolver does the work (its configuration, /etc/hosts, caches), on a thread of its own, since it
//! blocks. A name that can't be resolved leaves its server without an address: connects to it fail with the
//! reason "resolve", and nothing else is affected.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use proxy_core::Upstream;

/// How often names are resolved. The system's resolver does not tell how long an answer is good for.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often, while one of them can't be.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long a start waits for the first answers before it goes on without them.
const FIRST_ANSWERS_WAIT: Duration = Duration::from_secs(3);

/// Addresses that one name may have; more are left out.
const ADDRESSES_MAX: usize = 64;

/// A server that is configured by name.
pub(crate) struct Name {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) upstream: Arc<Upstream>,
    /// The server's index in its upstream.
    pub(crate) server: usize,
}

/// Resolves `names` now and from time to time. Returns when each was tried, or after a few seconds. Without names it
/// does nothing.
pub(crate) fn start(names: Vec<Name>) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let (sender, tried) = mpsc::channel();
    thread::Builder::new()
        .name("corelane-names".into())
        .spawn(move || {
            let mut failed = vec![false; names.len()];
            loop {
                for (name, failed) in names.iter().zip(&mut failed) {
                    resolve(name, failed);
                }
                // Nobody listens after the first round.
                let _ = sender.send(());
                let any = failed.contains(&true);
                pause(if any {
                    INTERVAL_AFTER_FAILURE
                } else {
                    INTERVAL
                });
            }
        })?;
    let _ = tried.recv_timeout(FIRST_ANSWERS_WAIT);
    Ok(())
}

fn resolve(name: &Name, failed: &mut bool) {
    let answer = (name.host.as_str(), name.port).to_socket_addrs();
    match answer {
        Ok(addresses) => {
            let addresses: Vec<SocketAddr> = addresses.take(ADDRESSES_MAX).collect();
            name.upstream.servers()[name.server].set_addresses(&addresses);
            if std::mem::take(failed) {
                tracing::info!(host = name.host, "the name is resolved again");
            }
        }
        Err(error) => {
            // The addresses of before stay: a resolver that is down must not take the servers down.
            if !std::mem::replace(failed, true) {
                tracing::warn!(
                    upstream = name.upstream.name,
                    host = name.host,
                    %error,
                    "the name can't be resolved; connects to this server fail until it can, or use the addresses \
                     of before"
                );
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, not a worker"
)]
fn pause(duration: Duration) {
    thread::sleep(duration);
}

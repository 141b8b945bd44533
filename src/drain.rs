//! The end of a proxy: connections finish, within bounds.

use std::pin::pin;
use std::time::{Duration, Instant};

use proxy_config::Runtime;
use proxy_core::{ListenerView, descriptors};
use tokio::time::{sleep, timeout};

use crate::closings;
use crate::handover::Offer;
use crate::proxy::Proxy;
use crate::signals::Ending;

/// How often the connections that are left are counted while draining.
const COUNT_INTERVAL: Duration = Duration::from_millis(20);

/// How soon they are counted at first: workers that have time have emptied their backlogs by then.
const FIRST_COUNT_AFTER: Duration = Duration::from_millis(1);

/// Clients that have not been served to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// Connections that a worker has.
    connections: u64,
    /// Clients that wait in a backlog of TCP, or for a descriptor.
    waiting: u64,
    /// Listeners of which a worker has not emptied every backlog.
    listeners: usize,
}

/// Stops accepting, and waits until every backlog is empty and the last connection has ended, until `drain_timeout` has
/// passed, or until the next signal.
///
/// A successor can start at once: the listeners' addresses are free as soon as their backlogs are empty, and the admin
/// server's as soon as the successor asks for it.
pub(crate) async fn drain(proxy: &mut Proxy, runtime: &Runtime, ending: &mut Ending) {
    let patience = runtime.drain_timeout;
    // While the sockets are there: nobody has taken the paths over.
    proxy.sockets.remove_files();
    let proxy = &*proxy;
    let observed = &*proxy.observed;
    // Before the workers stop, which may take time: a client that comes now must not be accepted and then reset.
    proxy.sockets.stop_taking();
    observed.start_draining();
    proxy.workers.drain();
    if let Some(closing) = closings::before_the_end(now(), patience, runtime) {
        proxy.workers.close(closing);
    }
    let left = Left::of(proxy);
    tracing::info!(
        connections = left.connections,
        waiting = left.waiting,
        timeout = ?patience,
        "draining; a second signal stops at once"
    );
    let finished = async {
        let mut interval = FIRST_COUNT_AFTER;
        loop {
            sleep(interval).await;
            if Left::of(proxy).is_nothing() {
                break;
            }
            // Servers go down, as ever.
            if proxy.downs.look(now()) {
                proxy.workers.run_all();
            }
            interval = COUNT_INTERVAL.min(2 * interval);
        }
    };
    let mut finished = pin!(timeout(patience, finished));
    let mut signal = pin!(ending.next());
    let mut handover = pin!(hand_over(proxy));
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        // It ends nothing.
        let _ = handover.as_mut().poll(cx);
        if finished.as_mut().poll(cx).is_ready() || signal.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let left = Left::of(proxy);
    if left.is_nothing() {
        tracing::info!("drained");
    } else {
        tracing::warn!(
            connections = left.connections,
            waiting = left.waiting,
            listeners = left.listeners,
            "stopped before they ended: these connections, and clients that wait at these listeners, are reset"
        );
    }
    let view = observed.view();
    for ListenerView { listener, .. } in &view.listeners {
        proxy.sockets.close(&listener.name);
    }
}

impl Left {
    /// Counts, and closes the sockets that the workers are done with.
    fn of(proxy: &Proxy) -> Self {
        let mut left = Self {
            connections: 0,
            waiting: 0,
            listeners: 0,
        };
        for ListenerView { listener, .. } in &proxy.observed.view().listeners {
            // Asked before the connections are counted: clients from a backlog are among them then.
            if listener.is_accepting() {
                left.listeners += 1;
                left.waiting += proxy.sockets.waiting(&listener.name);
            } else {
                proxy.sockets.close(&listener.name);
            }
            left.connections += listener.connections();
        }
        left.waiting += descriptors::held() as u64;
        left
    }

    fn is_nothing(self) -> bool {
        self.connections == 0 && self.listeners == 0
    }
}

/// Frees the admin server's address when a successor asks for it; at once where none could ask.
async fn hand_over(proxy: &Proxy) {
    let Some(admin) = &proxy.admin else {
        return std::future::pending().await;
    };
    let address = admin.address;
    match Offer::make(address.port()) {
        Ok(offer) => {
            offer.taken().await;
            tracing::info!(%address, "a successor has the admin address; the drain goes on");
        }
        Err(error) => {
            tracing::info!(%address, %error, "the admin address is free for a successor");
        }
    }
    proxy.sockets.release_admin();
    admin.release();
    std::future::pending().await
}

#[expect(clippy::disallowed_methods, reason = "a drain, not a worker")]
fn now() -> Instant {
    Instant::now()
}

//! The end of a proxy: connections finish, within bounds.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::signals::Ending;

/// How often the connections that are left are counted while draining.
const COUNT_INTERVAL: Duration = Duration::from_millis(20);

/// Stops accepting, and waits until the last connection has ended, `timeout` has passed or the next signal comes.
pub(crate) async fn drain(proxy: &Proxy, timeout: Duration, ending: &mut Ending) {
    let connections = || -> u64 {
        let listeners = &proxy.observed.listeners;
        listeners
            .iter()
            .map(|listener| listener.connections())
            .sum()
    };
    proxy.observed.start_draining();
    proxy.running.drain();
    tracing::info!(
        connections = connections(),
        ?timeout,
        "draining; a second signal stops at once"
    );
    let finished = async {
        // What waits in the backlogs is taken first, so the count is not asked at once.
        tokio::time::sleep(COUNT_INTERVAL).await;
        while connections() > 0 {
            tokio::time::sleep(COUNT_INTERVAL).await;
        }
    };
    let mut finished = std::pin::pin!(tokio::time::timeout(timeout, finished));
    let mut signal = std::pin::pin!(ending.next());
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if finished.as_mut().poll(cx).is_ready() || signal.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    match connections() {
        0 => tracing::info!("drained"),
        left => tracing::warn!(
            connections = left,
            "stopped before they ended: they are reset"
        ),
    }
}

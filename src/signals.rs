//! Signals: those that end the process, have it read its configuration again or upgrade, or tell of a rotated log.

use std::io;
use std::ops::ControlFlow;
use std::task::Poll;
use std::time::Duration;

use rustix::process::Signal as Raised;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// SIGTERM and SIGINT, which mean the same.
pub(crate) struct Ending {
    term: Signal,
    int: Signal,
    /// How many of each have come, where somebody passes them on to this process.
    passed_on: Option<[u32; 2]>,
}

/// As what a process passes a signal on that it got. A terminal, `kill` of a process group and systemd send a signal to all processes
/// that there are, so who hears of it twice has to know that it is one: the one that is passed on is the other one of two that mean
/// the same.
pub(crate) fn passed_on_as(signal: Raised) -> Raised {
    match signal {
        Raised::TERM => Raised::INT,
        Raised::INT => Raised::TERM,
        other => other,
    }
}

/// SIGUSR1: a file that is logged to was renamed.
pub(crate) struct Rotation(Signal);

impl Rotation {
    /// Catches it from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::user_defined1())?))
    }

    /// Calls `act` for each.
    pub(crate) async fn each(mut self, act: impl Fn()) {
        loop {
            self.next().await;
            act();
        }
    }

    /// Waits for the next one. Several at once may be one.
    pub(crate) async fn next(&mut self) {
        // None would mean that no more can come, and the runtime is still there.
        let _ = self.0.recv().await;
    }
}

impl Ending {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            passed_on: None,
        })
    }

    /// Somebody who may get the same ones [passes them on](passed_on_as): one of each kind is one signal.
    pub(crate) fn set_passed_on(&mut self) {
        self.passed_on = Some([0; 2]);
    }

    /// Waits for the next one for `duration`, and breaks off when it comes.
    pub(crate) async fn within(&mut self, duration: Duration) -> ControlFlow<()> {
        // The runtime hears of a signal when it waits: so it always does, if only for the least time of its timer.
        match timeout(duration.max(Duration::from_millis(1)), self.next()).await {
            Ok(_) => ControlFlow::Break(()),
            Err(_) => ControlFlow::Continue(()),
        }
    }

    /// Those that have come and that nobody has acted on.
    pub(crate) async fn pending(&mut self) -> Vec<Raised> {
        let mut pending = pending(&mut self.term, Raised::TERM).await;
        pending.extend(self::pending(&mut self.int, Raised::INT).await);
        pending
    }

    /// Waits for the next one, and says which one it is.
    pub(crate) async fn next(&mut self) -> Raised {
        loop {
            let raised = self.any().await;
            let Some(counts) = &mut self.passed_on else {
                return raised;
            };
            let before = counts[0].max(counts[1]);
            let own = &mut counts[usize::from(raised == Raised::INT)];
            *own = own.saturating_add(1);
            if *own > before {
                return raised;
            }
            tracing::info!("the signal to end was passed on, too; it is the same one");
        }
    }

    async fn any(&mut self) -> Raised {
        std::future::poll_fn(|cx| {
            if self.term.poll_recv(cx).is_ready() {
                Poll::Ready(Raised::TERM)
            } else if self.int.poll_recv(cx).is_ready() {
                Poll::Ready(Raised::INT)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// SIGUSR2: another process is to take over.
pub(crate) struct Upgrading(Signal);

impl Upgrading {
    /// Catches it from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        signal(SignalKind::user_defined2()).map(Self)
    }

    /// Waits for the next one. Several at once may be one.
    pub(crate) async fn next(&mut self) {
        let _ = self.0.recv().await;
    }

    /// Those that have come and that nobody has acted on.
    pub(crate) async fn pending(&mut self) -> Vec<Raised> {
        pending(&mut self.0, Raised::USR2).await
    }
}

/// One that has come, if any has.
async fn pending(signal: &mut Signal, raised: Raised) -> Vec<Raised> {
    // The runtime hears of a signal when it waits.
    let came = timeout(Duration::from_millis(1), signal.recv()).await;
    came.is_ok().then_some(raised).into_iter().collect()
}

/// SIGHUP.
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// Catches it from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one. Several at once may be one.
    pub(crate) async fn next(&mut self) {
        // None would mean that no more can come, and the runtime is still there.
        let _ = self.0.recv().await;
    }

    /// Those that have come and that nobody has acted on.
    pub(crate) async fn pending(&mut self) -> Vec<Raised> {
        pending(&mut self.0, Raised::HUP).await
    }
}

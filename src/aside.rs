//! What blocks, on threads of their own.
//!
//! Tokio's own (`spawn_blocking`) panic where the system refuses a thread, which would end the proxy.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proxy_core::backend::Backend;
use tokio::sync::oneshot;

/// Runs what may block, and waits for it.
///
/// # Errors
/// When no thread can be started.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, result) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || drop(sender.send(run())))?;
    // One that panicked has said so.
    result
        .await
        .map_err(|_| io::Error::other("its thread panicked, as the log says"))
}

/// A thread that waits for a scheduler to stop. It is there before a switch begins: when the switch is over, there may be
/// none left.
pub(crate) struct Stopper(mpsc::Sender<(Box<dyn Backend>, oneshot::Sender<()>)>);

impl Stopper {
    /// Starts it. It gives a scheduler `patience`, and ends when this is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(patience: Duration) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<(Box<dyn Backend>, oneshot::Sender<()>)>();
        thread::Builder::new()
            .name("corelane-stop".to_owned())
            .spawn(move || {
                for (backend, stopped) in receiver {
                    backend.stop(patience);
                    // Nobody may wait any more.
                    let _ = stopped.send(());
                }
            })?;
        Ok(Self(sender))
    }

    /// Ends a scheduler: what is left of its connections, and its workers.
    pub(crate) async fn stop(self, backend: Box<dyn Backend>) {
        let (sender, stopped) = oneshot::channel();
        if self.0.send((backend, sender)).is_ok() {
            // An error means that stopping it panicked, which the log says.
            let _ = stopped.await;
        }
    }
}

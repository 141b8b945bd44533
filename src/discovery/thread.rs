//! The thread that asks where servers are.
//!
//! Everything that asks is a task of its one runtime and waits for no other, so a source that hangs holds up nobody.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread, which is there as soon as something is asked for. It has ended when this is dropped.
#[derive(Default)]
pub(crate) struct Thread(Option<Running>);

struct Running {
    handle: Handle,
    /// Dropped to end it.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// Where tasks are spawned.
    ///
    /// # Errors
    /// When no thread can be started, or its runtime can't.
    pub(crate) fn handle(&mut self) -> io::Result<Handle> {
        if let Some(running) = &self.0 {
            return Ok(running.handle.clone());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("corelane-names".to_owned())
            .spawn(move || {
                // An error is the end that is waited for. The tasks end with the runtime.
                let _ = runtime.block_on(stopped);
            })?;
        self.0 = Some(Running {
            handle: handle.clone(),
            stop: Some(stop),
            thread: Some(thread),
        });
        Ok(handle)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has said so on its own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

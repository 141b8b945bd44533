//! The thread that reads.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use proxy_config::{Loaded, Machine};

use super::error::LoadError;
use super::gather::{Gathered, gather};
use super::progress::Progress;
use super::readers::{READERS, Refused};
use super::sources::{self, Sources};
use super::stdin::{STDIN, STDIN_NAME};

/// A thread that reads. When this is dropped it ends, unless the kernel holds it.
pub(super) struct Reading {
    path: PathBuf,
    progress: Arc<Progress>,
}

impl Reading {
    pub(super) fn begin(
        path: &Path,
        on_read: impl FnOnce(io::Result<Gathered>) + Send + 'static,
    ) -> Result<Self, LoadError> {
        let first = path.to_owned();
        let read = move |progress: &Progress| {
            let mut read = Sources::default();
            let result = gather(&first, progress, &mut read);
            if !progress.is_abandoned.load(Relaxed) {
                sources::note(read);
            }
            result
        };
        Self::spawn(path, read, on_read)
    }

    /// Has a thread `read` what is at `path`, and hand it to `on_read`.
    pub(super) fn spawn<T>(
        path: &Path,
        read: impl FnOnce(&Progress) -> T + Send + 'static,
        on_read: impl FnOnce(T) + Send + 'static,
    ) -> Result<Self, LoadError> {
        let path = path.to_owned();
        let progress = Arc::<Progress>::default();
        progress.begin(&path);
        let reader = READERS.take(&progress);
        let reader = reader.map_err(|refused| match refused {
            Refused::StillStuck => LoadError::StillStuck { path: shown(&path) },
            Refused::TooMany => LoadError::TooManyStuck { path: shown(&path) },
        })?;
        let reading = Self {
            path: shown(&path),
            progress: progress.clone(),
        };
        let thread = thread::Builder::new().name("corelane-config".to_owned());
        let started = thread.spawn(move || {
            let result = read(&progress);
            // First, so that who gets the result can read again.
            drop(reader);
            on_read(result);
        });
        match started {
            Ok(_) => Ok(reading),
            Err(source) => Err(LoadError::NoThread { source }),
        }
    }

    pub(super) fn loaded(self, result: io::Result<Gathered>) -> Result<Loaded, LoadError> {
        let path = self.path.clone();
        match result {
            Ok(Gathered::Files(files)) => Ok(on_this_machine(|machine| files.parse(machine))?),
            Ok(Gathered::EmptyPipe) => Err(LoadError::EmptyPipe { path }),
            Ok(Gathered::Other(kind)) => Err(LoadError::NoFile { path, kind }),
            Err(source) => Err(LoadError::Io { path, source }),
        }
    }

    pub(super) fn timed_out(self) -> LoadError {
        let path = shown(&self.progress.file());
        if self.progress.is_pipe.load(Relaxed) {
            let is_silent = !self.progress.has_begun.load(Relaxed);
            LoadError::Pipe { path, is_silent }
        } else {
            LoadError::Stuck { path }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.progress.is_abandoned.store(true, Relaxed);
    }
}

/// What messages call a file.
fn shown(path: &Path) -> PathBuf {
    let is_stdin = path == Path::new(STDIN);
    PathBuf::from(if is_stdin {
        Path::new(STDIN_NAME)
    } else {
        path
    })
}

/// What this machine is asked for.
pub(crate) fn on_this_machine<T>(ask: impl FnOnce(Machine<'_>) -> T) -> T {
    let host_name = rustix::system::uname();
    let host_name = host_name.nodename().to_string_lossy();
    ask(Machine {
        host_name: &host_name,
        is_local: &is_local,
    })
}

/// Whether an address is this machine's: then the kernel goes there from there. Nothing is sent for it.
fn is_local(ip: IpAddr) -> bool {
    /// UDP sends nothing to it: any port does (discard, RFC 863).
    const PORT: u16 = 9;
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, PORT))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_s_addresses_are_known() {
        for (address, local) in [
            ("127.0.0.1", true),
            ("127.9.9.9", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            // Loopback's other addresses are gone to from the first; the configuration knows all of them.
            assert_eq!(is_local(ip), local, "{address}");
        }
    }
}

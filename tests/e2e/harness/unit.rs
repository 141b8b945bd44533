//! What a service manager does for its services: sockets are passed on by name, and what a service says is heard.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use super::proxy;
use super::wait::{self, DEADLINE};

/// The first descriptor that is passed on.
const FIRST: RawFd = 3;

/// From where on copies wait that are not to be overwritten.
const ASIDE: RawFd = 200;

/// A command of the proxy that these sockets are passed to, each by its name.
pub(crate) fn command(sockets: &[(&str, OwnedFd)]) -> Command {
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    let copies = sockets.iter().map(|(_, socket)| socket.try_clone());
    let copies: Vec<_> = copies.collect::<Result<_, _>>().expect("dup");
    // Only the process itself knows its id.
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]);
    command.arg(proxy::command().get_program());
    command.env("LISTEN_FDS", names.len().to_string());
    command.env("LISTEN_FDNAMES", names.join(":"));
    // Which numbers are free is known after the fork: other tests open descriptors meanwhile.
    let mut aside = vec![0; copies.len()];
    // SAFETY: between fork and exec the closure makes system calls and writes to nothing but what it owns.
    unsafe {
        command.pre_exec(move || {
            for (aside, copy) in aside.iter_mut().zip(&copies) {
                *aside = libc::fcntl(copy.as_raw_fd(), libc::F_DUPFD, ASIDE);
            }
            for (place, aside) in (FIRST..).zip(&aside) {
                libc::dup2(*aside, place);
                libc::close(*aside);
            }
            Ok(())
        });
    }
    command
}

/// What hears a service, and keeps descriptors for it.
pub(crate) struct Manager {
    socket: UnixDatagram,
    kept: RefCell<Vec<OwnedFd>>,
    directory: TempDir,
}

impl Manager {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("timeout");
        Self {
            socket,
            kept: RefCell::default(),
            directory,
        }
    }

    /// The service that a command starts tells this one.
    pub(crate) fn is_told_by(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
    }

    /// The fields of the next message that is about something else than descriptors.
    pub(crate) fn hears(&self) -> Vec<(String, String)> {
        loop {
            let fields = self.receive();
            if !fields[0].0.starts_with("FDSTORE") {
                return fields;
            }
        }
    }

    /// Waits until descriptors have come that it is to keep, and returns them.
    pub(crate) fn keeps(&self) -> Vec<OwnedFd> {
        while self.receive()[0].0 != "FDSTORE" {}
        self.kept.take()
    }

    /// Waits until it is to keep none any more.
    pub(crate) fn forgets(&self) {
        while self.receive()[0].0 != "FDSTOREREMOVE" {}
    }

    /// Waits until the watchdog is fed.
    pub(crate) fn is_fed(&self) {
        while self.receive()[0].0 != "WATCHDOG" {}
    }

    /// Whether the watchdog is fed within this time, from now on.
    pub(crate) fn is_fed_within(&self, time: Duration) -> bool {
        self.socket.set_nonblocking(true).expect("a flag");
        while self.try_receive().is_some() {}
        let fed = wait::holds_within(time, || {
            let fields = self.try_receive();
            fields.is_some_and(|fields| fields[0].0 == "WATCHDOG")
        });
        self.socket.set_nonblocking(false).expect("a flag");
        fed
    }

    fn receive(&self) -> Vec<(String, String)> {
        self.try_receive().expect("a message")
    }

    fn try_receive(&self) -> Option<Vec<(String, String)>> {
        const DESCRIPTORS_MAX: usize = 253;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4096];
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(&self.socket, &mut slices, &mut control, flags).ok()?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                self.kept.borrow_mut().extend(descriptors);
            }
        }
        let text = String::from_utf8(bytes[..message.bytes].to_vec()).expect("text");
        let fields = text
            .lines()
            .map(|line| line.split_once('=').expect("a field"));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(fields.collect())
    }
}

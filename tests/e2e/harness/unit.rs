//! What a service manager does for its services: sockets are passed on by name, and what a service says is heard.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::proxy;

/// The first descriptor that is passed on.
const FIRST: RawFd = 3;

/// Where copies wait that are not to be overwritten.
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
    // SAFETY: between fork and exec the closure makes system calls and writes to nothing.
    unsafe {
        command.pre_exec(move || {
            for (place, copy) in copies.iter().enumerate() {
                libc::fcntl(copy.as_raw_fd(), libc::F_DUPFD, ASIDE + place as RawFd);
            }
            for place in 0..copies.len() as RawFd {
                libc::dup2(ASIDE + place, FIRST + place);
                libc::close(ASIDE + place);
            }
            Ok(())
        });
    }
    command
}

//! `corelane reload`: a command to a proxy that runs, and its answer.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use proxy_admin::commands::Wish;
use proxy_console::{errln, outln};
use proxy_state::client;

/// How long a command may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one may take that waits for the end of a switch: `drain_timeout` is at most a year.
const WAITING_PATIENCE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The status that says that a command would have to wait.
const CONFLICT: u16 = 409;

/// Has the proxy at `socket` read its configuration again, or say what that would change. Its answer goes to stdout; a refusal,
/// with exit code 1, and what it waits for go to stderr.
///
/// # Errors
/// When nobody answers there, with what to do.
pub(crate) fn reload(socket: &Path, wish: Wish) -> anyhow::Result<ExitCode> {
    let path = match wish {
        Wish::Reload | Wish::ReloadAtOnce => "/api/v1/reload?nowait",
        Wish::Check => "/api/v1/reload?check",
    };
    let ask = |path: &str, patience| {
        client::post(socket, path, patience).map_err(|error| explain(socket, error))
    };
    let mut answer = ask(path, PATIENCE)?;
    if answer.status == CONFLICT && wish == Wish::Reload {
        errln!("{}", answer.body.trim_end());
        answer = ask("/api/v1/reload", WAITING_PATIENCE)?;
    }
    let words = answer.body.trim_end();
    Ok(if answer.status == 200 {
        outln!("{words}");
        ExitCode::SUCCESS
    } else {
        errln!("{words}");
        ExitCode::FAILURE
    })
}

/// Why nobody can be asked at a path.
fn explain(socket: &Path, error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no proxy takes commands there; `socket` of [admin] in its configuration says where it does, \
             and --socket takes that path"
        }
        io::ErrorKind::PermissionDenied => {
            "root may, the user that the proxy runs as, and members of `socket_group` of [admin]"
        }
        io::ErrorKind::WouldBlock => "too many wait there already; try again in a few seconds",
        io::ErrorKind::TimedOut => {
            "it took the command and is still busy with it; its log says with what"
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData => {
            "it broke off, or no corelane listens there; see that a proxy runs there"
        }
        _ => "see that a proxy runs there",
    };
    let text = format!("cannot ask the proxy at {}: {advice}", socket.display());
    anyhow::Error::new(error).context(text)
}

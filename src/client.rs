//! `corelane reload` and `corelane upgrade`: a command to a proxy that runs, and its answer.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proxy_admin::commands::Wish;
use proxy_console::{errln, outln};
use proxy_state::client;
use proxy_tools::socket_advice;

/// Where a proxy takes commands, unless it is said.
pub(crate) const DEFAULT_SOCKET: &str = "/run/corelane/admin.sock";

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
pub(crate) fn reload(socket: &Path, wish: &Wish) -> anyhow::Result<ExitCode> {
    let path = match wish {
        Wish::Check => "/api/v1/reload?check",
        _ => "/api/v1/reload?nowait",
    };
    let ask = |path: &str, patience| {
        client::post(socket, path, patience).map_err(|error| explain(socket, error))
    };
    let mut answer = ask(path, PATIENCE)?;
    if answer.status == CONFLICT && *wish == Wish::Reload {
        errln!("{}", words(&answer.body));
        answer = ask("/api/v1/reload", WAITING_PATIENCE)?;
    }
    let words = words(&answer.body);
    Ok(if answer.status == 200 {
        outln!("{words}");
        ExitCode::SUCCESS
    } else {
        errln!("{words}");
        ExitCode::FAILURE
    })
}

/// What an answer says.
fn words(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let of = |key| value[key].as_str().map(ToOwned::to_owned);
    // Where somebody else answers, it is shown as it is.
    let words = of("message").or_else(|| of("error"));
    words.unwrap_or_else(|| body.trim_end().to_owned())
}

/// Has another process take over from the proxy at `socket`: that of an executable, or of what is at the path of the proxy's own.
/// Its answer goes to stdout; a refusal, with exit code 1, goes to stderr. Returns the exit code.
///
/// # Errors
/// When nobody answers there, with what to do.
pub(crate) fn upgrade(socket: &Path, binary: Option<&Path>) -> anyhow::Result<u8> {
    let mut path = "/api/v1/upgrade".to_owned();
    if let Some(binary) = binary {
        // The proxy may run in another directory.
        let binary = std::path::absolute(binary)?;
        path += "?binary=";
        path.extend(percent_encode(
            binary.as_os_str().as_bytes(),
            NON_ALPHANUMERIC,
        ));
    }
    let answer = client::post(socket, &path, WAITING_PATIENCE);
    let answer = answer.map_err(|error| explain(socket, error))?;
    let words = words(&answer.body);
    Ok(if answer.status == 200 {
        outln!("{words}");
        0
    } else {
        errln!("{words}");
        1
    })
}

/// Why nobody can be asked at a path.
fn explain(socket: &Path, error: io::Error) -> anyhow::Error {
    let advice = socket_advice(&error);
    let text = format!("cannot ask the proxy at {}: {advice}", socket.display());
    anyhow::Error::new(error).context(text)
}

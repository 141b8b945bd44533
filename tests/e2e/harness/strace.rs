//! strace beside the proxy.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use super::child::Child;
use super::proxy::Proxy;
use super::wait;

/// strace, attached to all threads of a proxy.
pub(crate) struct Strace {
    child: Child,
    file: PathBuf,
}

impl Strace {
    /// Attaches, with these arguments more.
    pub(crate) fn attach(proxy: &Proxy, arguments: &[&str]) -> Self {
        let file = proxy.directory().join("strace");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-ttt", "-p", &proxy.pid().to_string(), "-o"])
            .arg(&file)
            .args(arguments);
        let child = Child::spawn(&mut command, Signal::INT);
        wait::until("strace is attached", || child.log().contains("attached"));
        Self { child, file }
    }

    /// Detaches. What was traced, one call a line: "PID SECONDS CALL".
    pub(crate) fn finish(mut self) -> String {
        self.child.signal(Signal::INT);
        self.child.wait();
        fs::read_to_string(&self.file).expect("trace")
    }
}

/// Why strace can't be used here, if it can't.
pub(crate) fn refusal() -> Option<String> {
    let output = match Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output()
    {
        Ok(output) => output,
        Err(error) => return Some(format!("strace: {error}; `bash tests/run` installs it")),
    };
    let permitted = output.status.success();
    (!permitted).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

//! The proxy under test: the real binary, in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::Child;
use super::http::{self, Response};
use super::metrics::Metrics;
use super::peer;
use super::process;
use super::scheduler::Scheduler;
use super::wait::{self, DEADLINE};

/// Workers of every proxy: enough to be uneven, and the same on every machine.
const CORES: usize = 2;

pub(crate) struct Proxy {
    child: Child,
    /// Name and address of each bind, in the order printed.
    binds: Vec<(String, String)>,
    admin: SocketAddr,
    /// Holds the configuration.
    directory: TempDir,
}

impl Proxy {
    /// Starts the proxy with these listeners and upstreams and waits until it is ready. Binds have port 0; the
    /// real ports come from its output.
    pub(crate) fn start(scheduler: Scheduler, routes: &str) -> Self {
        Self::start_with(scheduler, "", routes)
    }

    /// As [`Proxy::start`], with more lines for `[runtime]`.
    pub(crate) fn start_with(scheduler: Scheduler, runtime: &str, routes: &str) -> Self {
        Self::start_file(&configuration(scheduler, runtime, routes))
    }

    /// Starts the proxy with this whole configuration.
    pub(crate) fn start_file(configuration: &str) -> Self {
        Self::start_command(command(), configuration)
    }

    /// As [`Proxy::start_file`], by a command of [`command`] that may have restrictions.
    pub(crate) fn start_command(command: Command, configuration: &str) -> Self {
        Self::start_by(command, configuration, |command| {
            Child::spawn_piped(command, Signal::KILL)
        })
    }

    /// As [`Proxy::start_file`], with stderr where the caller says: there is no log to look at.
    pub(crate) fn start_with_stderr(configuration: &str, stderr: Stdio) -> Self {
        Self::start_by(command(), configuration, |command| {
            Child::spawn_piped_with_stderr(command, stderr, Signal::KILL)
        })
    }

    /// Starts the proxy with these words instead of a file.
    pub(crate) fn start_words(words: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        Self::start_in(directory, command().arg("run").args(words), |command| {
            Child::spawn_piped(command, Signal::KILL)
        })
    }

    fn start_by(
        mut command: Command,
        configuration: &str,
        spawn: impl FnOnce(&mut Command) -> (Child, PipeReader),
    ) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("corelane.toml");
        fs::write(&file, configuration).expect("write the configuration");
        // It may run as another user.
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), readable).expect("permissions");
        Self::start_in(directory, command.arg("run").arg(&file), spawn)
    }

    fn start_in(
        directory: TempDir,
        command: &mut Command,
        spawn: impl FnOnce(&mut Command) -> (Child, PipeReader),
    ) -> Self {
        let (mut child, stdout) = spawn(command);
        let (lines_in, lines) = mpsc::channel();
        // Reads to the end: the proxy must never wait for a reader of its output.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines_in.send(line);
            }
        });
        let (mut binds, mut admin) = (Vec::new(), None);
        loop {
            let Ok(line) = lines.recv_timeout(DEADLINE) else {
                panic!(
                    "not ready; exit status {:?}\n{}",
                    child.exit_status(),
                    child.log()
                );
            };
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["listening", name, address] => binds.push((name.to_owned(), address.to_owned())),
                ["metrics", url] => admin = Some(admin_address(url)),
                ["ready"] => break,
                _ => {}
            }
        }
        Self {
            child,
            binds,
            admin: admin.expect("a line with the address of the metrics"),
            directory,
        }
    }

    /// The address of the listener's first bind.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.addresses(listener)[0]
            .parse()
            .expect("an address and a port")
    }

    /// The addresses of all binds of the listener, as printed.
    pub(crate) fn addresses(&self, listener: &str) -> Vec<&str> {
        let named = self.binds.iter().filter(|(name, _)| name == listener);
        named.map(|(_, address)| address.as_str()).collect()
    }

    pub(crate) fn connect(&self, listener: &str) -> TcpStream {
        peer::connect(self.address(listener))
    }

    /// The address of the admin server.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.admin, path)
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "/metrics");
        Metrics::new(String::from_utf8(response.body).expect("metrics are UTF-8"))
    }

    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().get(name, labels)
    }

    /// Waits until an event that these words are part of is told, by somebody whose name begins so: it may be a moment later than
    /// what it tells of is seen.
    pub(crate) fn tells(&self, by: &str, what: &str) {
        let is_told = || {
            let body = self.get("/api/v1/events").body;
            let shown: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let events = shown["events"].as_array().expect("events");
            events.iter().any(|event| {
                let text = |name: &str| event[name].as_str().unwrap_or_default();
                text("by").starts_with(by) && text("what").contains(what)
            })
        };
        wait::until(&format!("an event by {by}: {what}"), is_told);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.child.log()
    }

    /// Waits until it has logged these words: lines are written by a thread of their own, later than what they tell of is seen.
    pub(crate) fn logs(&self, words: &str) {
        let has_logged = wait::holds_within(DEADLINE, || self.log().contains(words));
        assert!(has_logged, "no {words:?} in {}", self.log());
    }

    /// Rewrites the configuration, with these routes, and has the proxy read it.
    pub(crate) fn reload(&self, scheduler: Scheduler, routes: &str) {
        let file = self.directory.path().join("corelane.toml");
        fs::write(file, configuration(scheduler, "", routes)).expect("write the configuration");
        self.signal(Signal::HUP);
    }

    /// SIGTERM: drain.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Has the whole process stand still, until SIGCONT.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        wait::until("all threads stand still", || {
            process::stands_still(self.pid())
        });
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait()
    }

    /// All that it logged, once it has ended.
    pub(crate) fn whole_log(self) -> String {
        self.child.whole_log()
    }

    /// Drains and exits with 0, or the test fails.
    pub(crate) fn stop(mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "{status} after SIGTERM");
    }
}

/// The binary under test; `CORELANE_BINARY` names another build of it (a release, a package).
pub(crate) fn command() -> Command {
    let binary = std::env::var_os("CORELANE_BINARY");
    Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_corelane").into()))
}

/// A whole file: scheduler, admin server, and the routes.
pub(crate) fn configuration(scheduler: Scheduler, runtime: &str, routes: &str) -> String {
    configuration_with(scheduler, runtime, "", routes)
}

/// As [`configuration`], with more lines for `[admin]`.
pub(crate) fn configuration_with(
    scheduler: Scheduler,
    runtime: &str,
    admin: &str,
    routes: &str,
) -> String {
    let cores = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(CORES);
    let chosen = scheduler.runtime_toml();
    format!(
        "[runtime]\n{chosen}cores = {cores}\n{runtime}\n[admin]\nlisten = \"127.0.0.1:0\"\n{admin}\n{routes}"
    )
}

fn admin_address(url: &str) -> SocketAddr {
    let address = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .and_then(|rest| rest.strip_suffix("/metrics"));
    address
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("address in {url}"))
}

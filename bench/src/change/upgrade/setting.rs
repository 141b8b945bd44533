//! How a contestant is started, and with which configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use peers::Service;
use rustix::process::{Signal, getpid};

use super::contestant::Contestant;
use crate::change::setting::{corelane_of, haproxy_lending, haproxy_master, nginx_in};
use crate::cli::UpgradeArgs;
use crate::system::{
    Launch, NGINX_STREAM_MODULE, Scheduler, Tuning, corelane_config, envoy_config, nginx_config,
};
use crate::venv;
use crate::visit::Lines;

/// The idle timeout of the services, which is none of the others' defaults.
const IDLE: &str = "idle_timeout = \"10m\"\n";

/// The file with the number of nginx's master.
pub(super) const NGINX_PID: &str = "nginx.pid";

/// Starts nginx in the background, and stays. One in the foreground takes its parent for the master before it, and starts no
/// other; and the next master is run by the path that the first one was run by.
const NGINX_START: &str = "nginx=$(command -v nginx) && \"$nginx\" \"$@\" && exec sleep 3600";

/// Where Envoy's processes share memory; each base has ten names.
const ENVOY_BASES: u32 = 30_000;

/// One contestant in one turn.
pub(super) struct Setting<'a> {
    pub(super) contestant: Contestant,
    pub(super) services: &'a [Service],
    pub(super) cpus: &'a [usize],
    /// The binary that upgrades are to, and the one before it, which runs at first and after a rollback.
    pub(super) corelane: Option<[&'a Path; 2]>,
    pub(super) args: &'a UpgradeArgs,
}

impl Setting<'_> {
    /// Writes the configuration into `dir`, and makes the command of the first process.
    pub(super) fn launch(&self, dir: &Path) -> anyhow::Result<Launch> {
        let path = self.write(dir, 0)?;
        Ok(match self.contestant {
            Contestant::Haproxy { .. } => haproxy_master(&path),
            Contestant::Nginx { .. } => {
                let mut command = Command::new("sh");
                command.args(["-c", NGINX_START, "sh"]);
                Launch {
                    command: nginx_in(command, dir, &path),
                    workers: 0,
                    stop: Signal::TERM,
                }
            }
            Contestant::Envoy => Launch {
                command: self.envoy(dir, 0)?,
                workers: 0,
                stop: Signal::KILL,
            },
            Contestant::Corelane(_) | Contestant::Switching { .. } => {
                let [_, before] = self.corelane.context("corelane was not built")?;
                corelane_of(before, &path)
            }
        })
    }

    /// The command of Envoy's process `epoch`.
    pub(super) fn envoy(&self, dir: &Path, epoch: u32) -> anyhow::Result<Command> {
        let mut command = Command::new(venv::ENVOY.binary()?);
        let drain = self.args.drain.to_string();
        command
            .args(["--concurrency", "1", "--log-level", "error"])
            .args(["--restart-epoch", &epoch.to_string()])
            .args(["--base-id", &envoy_base().to_string()])
            .args(["--drain-time-s", &drain, "--parent-shutdown-time-s", &drain])
            .arg("-c")
            .arg(dir.join(FILE));
        Ok(command)
    }

    /// Where corelane hears commands.
    pub(super) fn socket(dir: &Path) -> PathBuf {
        dir.join("admin.sock")
    }

    /// Writes the configuration that holds from upgrade `step` on, 0 being the start.
    pub(super) fn write(&self, dir: &Path, step: u32) -> anyhow::Result<PathBuf> {
        let args = self.args;
        let text = match self.contestant {
            Contestant::Haproxy { limit } => {
                let line = format!("    hard-stop-after {}s\n", args.drain);
                let line = if limit { &line } else { "" };
                haproxy_lending(self.services, args.connections + args.transfers, dir, line)
            }
            Contestant::Nginx { limit } => {
                let line = format!("worker_shutdown_timeout {}s;\n", args.drain);
                let line = if limit { &line } else { "" };
                let text = nginx_config(self.services, "16k", false, dir, &Lines::default());
                let text = text.replace("daemon off;", "daemon on;");
                format!("load_module {NGINX_STREAM_MODULE};\n{line}{text}")
            }
            Contestant::Envoy => envoy_config(self.services),
            Contestant::Corelane(_) | Contestant::Switching { .. } => {
                let scheduler = self.contestant.scheduler(step);
                self.corelane(dir, scheduler.context("it has a scheduler")?)
            }
        };
        let path = dir.join(FILE);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn corelane(&self, dir: &Path, scheduler: Scheduler) -> String {
        let tuning = Tuning {
            listeners: &vec![IDLE; self.services.len()],
            ..Tuning::default()
        };
        let plain = Lines::default();
        let text = corelane_config(self.services, self.cpus, scheduler, tuning, &plain);
        let socket = Self::socket(dir);
        text.replace("[admin]\n", &format!("[admin]\nsocket = {socket:?}\n"))
    }
}

/// The configuration's name.
const FILE: &str = "proxy.yaml";

/// A number that no other Envoy of this machine has, most likely.
fn envoy_base() -> u32 {
    getpid().as_raw_pid().unsigned_abs() % ENVOY_BASES + 1
}

/// Removes what Envoy's processes have shared.
pub(super) fn forget_envoy() {
    let _ = fs::remove_file(format!(
        "/dev/shm/envoy_shared_memory_{}",
        envoy_base() * 10
    ));
}

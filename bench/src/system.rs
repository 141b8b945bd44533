//! The systems compared, and how each is told to relay from one port to another.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use peers::Relay;
use rustix::process::Signal;

/// Where Debian's libnginx-mod-stream puts it.
pub(crate) const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A proxy, with the settings that make it another contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum System {
    Haproxy { splice: bool },
    Nginx { buffer: &'static str },
    Corelane(Scheduler),
    Peer(Relay),
}

/// A line of corelane's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheduler {
    Glommio,
    WorkStealing,
    PerCore,
}

/// How a system is started.
pub(crate) struct Launch {
    pub(crate) command: Command,
    /// What stops the process and those that it started.
    pub(crate) stop: Signal,
}

/// What a system is started with.
pub(crate) struct Place<'a> {
    /// Where it accepts.
    pub(crate) listen: SocketAddr,
    /// Where it connects to.
    pub(crate) upstream: SocketAddr,
    /// The one CPU it has.
    pub(crate) cpu: usize,
    /// A directory of its own.
    pub(crate) dir: &'a Path,
    /// The binary, for a corelane.
    pub(crate) corelane: Option<&'a Path>,
}

impl System {
    /// Every system there is.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Haproxy { splice: false },
            Self::Haproxy { splice: true },
            Self::Nginx { buffer: "16k" },
            Self::Nginx { buffer: "64k" },
            Self::Corelane(Scheduler::Glommio),
            Self::Corelane(Scheduler::WorkStealing),
            Self::Corelane(Scheduler::PerCore),
        ];
        all.extend(Relay::ALL.map(Self::Peer));
        all
    }

    /// Whether it is one of the proxies that the others are measured by.
    pub(crate) fn is_anchor(self) -> bool {
        matches!(self, Self::Haproxy { .. } | Self::Nginx { .. })
    }

    /// Writes the configuration and makes the command.
    pub(crate) fn launch(self, place: &Place<'_>) -> anyhow::Result<Launch> {
        let Place {
            listen,
            upstream,
            dir,
            ..
        } = *place;
        let write = |name: &str, text: String| -> anyhow::Result<PathBuf> {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        let (mut command, stop);
        match self {
            Self::Haproxy { splice } => {
                let path = write("haproxy.cfg", haproxy_config(listen, upstream, splice))?;
                command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(path);
                stop = Signal::KILL;
            }
            Self::Nginx { buffer } => {
                let path = write("nginx.conf", nginx_config(listen, upstream, buffer, dir))?;
                command = Command::new("nginx");
                command
                    .arg("-e")
                    .arg(dir.join("error.log"))
                    .arg("-c")
                    .arg(path);
                // The master ends its worker before itself.
                stop = Signal::TERM;
            }
            Self::Corelane(scheduler) => {
                let path = write(
                    "corelane.toml",
                    corelane_config(listen, upstream, place.cpu, scheduler),
                )?;
                command = Command::new(place.corelane.context("corelane was not built")?);
                command.arg("run").arg(path);
                stop = Signal::KILL;
            }
            Self::Peer(relay) => {
                command = Command::new(std::env::current_exe()?);
                command.arg("peer").arg(relay.name());
                command
                    .arg("--listen")
                    .arg(listen.to_string())
                    .arg("--upstream")
                    .arg(upstream.to_string());
                stop = Signal::KILL;
            }
        }
        Ok(Launch { command, stop })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Haproxy { splice: false } => "haproxy",
            Self::Haproxy { splice: true } => "haproxy-splice",
            Self::Nginx { buffer: "16k" } => "nginx",
            Self::Nginx { .. } => "nginx-64k",
            Self::Corelane(Scheduler::Glommio) => "corelane-glommio",
            Self::Corelane(Scheduler::WorkStealing) => "corelane-tokio",
            Self::Corelane(Scheduler::PerCore) => "corelane-tokio-per-core",
            Self::Peer(relay) => relay.name(),
        })
    }
}

impl FromStr for System {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let all = Self::all();
        match all.iter().find(|system| system.to_string() == text) {
            Some(system) => Ok(*system),
            None => {
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                bail!("no system {text:?}; there are {} and all", names.join(", "))
            }
        }
    }
}

fn haproxy_config(listen: SocketAddr, upstream: SocketAddr, splice: bool) -> String {
    let splice = if splice {
        "    option splice-auto\n"
    } else {
        ""
    };
    format!(
        "global\n    nbthread 1\n    maxconn 4000\n\
         defaults\n    mode tcp\n{splice}    \
         timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n\
         frontend bench\n    bind {listen}\n    default_backend upstream\n\
         backend upstream\n    server upstream {upstream}\n"
    )
}

fn nginx_config(listen: SocketAddr, upstream: SocketAddr, buffer: &str, dir: &Path) -> String {
    format!(
        "load_module {NGINX_STREAM_MODULE};\n\
         daemon off;\nuser root;\nworker_processes 1;\npid {}/nginx.pid;\n\
         events {{ worker_connections 18000; }}\n\
         stream {{\n    server {{\n        listen {listen};\n        proxy_pass {upstream};\n        \
         proxy_buffer_size {buffer};\n    }}\n}}\n",
        dir.display()
    )
}

fn corelane_config(
    listen: SocketAddr,
    upstream: SocketAddr,
    cpu: usize,
    scheduler: Scheduler,
) -> String {
    let (name, mode) = match scheduler {
        Scheduler::Glommio => ("glommio", ""),
        Scheduler::WorkStealing => ("tokio", "[runtime.tokio]\nmode = \"work-stealing\"\n"),
        Scheduler::PerCore => ("tokio", "[runtime.tokio]\nmode = \"per-core\"\n"),
    };
    format!(
        "[runtime]\nscheduler = \"{name}\"\ncores = \"{cpu}\"\n{mode}\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [listeners.bench]\nbind = \"{listen}\"\nupstream = \"bench\"\n\
         [upstreams.bench]\nservers = [\"{upstream}\"]\n"
    )
}

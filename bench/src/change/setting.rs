//! The configuration of a contestant before and after its change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use peers::Service;
use rustix::process::Signal;

use super::Kind;
use super::contestant::Contestant;
use crate::cli::ChangeArgs;
use crate::proxy::Proxy;
use crate::system::{
    Launch, NGINX_STREAM_MODULE, Scheduler, Tuning, corelane_config, haproxy_config, nginx_config,
};
use crate::visit::Lines;

/// How long a connection may be idle, before and after.
const IDLE: [&str; 2] = ["10m", "20m"];
/// The same as words of nginx, which had no such line before.
const NGINX_IDLE: &str = "proxy_timeout 20m;";
/// Connections of HAProxy beside those of the load.
const HAPROXY_SPARE: u32 = 200;

/// The configuration of one contestant in one turn.
pub(super) struct Setting<'a> {
    pub(super) contestant: Contestant,
    /// In the order of [`Kind`].
    pub(super) services: &'a [Service],
    pub(super) cpus: &'a [usize],
    pub(super) corelane: Option<&'a Path>,
    /// Where corelane's metrics are.
    pub(super) admin: SocketAddr,
    pub(super) args: &'a ChangeArgs,
}

impl Setting<'_> {
    /// Writes the configuration of before into `dir`, and makes the command.
    pub(super) fn launch(&self, dir: &Path) -> anyhow::Result<Launch> {
        let path = self.write(dir, false)?;
        Ok(match self.contestant {
            Contestant::Haproxy => haproxy_master(&path),
            Contestant::Nginx => Launch {
                command: nginx_in(Command::new("nginx"), dir, &path),
                workers: 1,
                stop: Signal::TERM,
            },
            Contestant::Reload(_) | Contestant::Switch { .. } => {
                corelane_of(self.corelane.context("corelane was not built")?, &path)
            }
        })
    }

    /// Writes the configuration of after, which `proxy` takes when it is told to.
    pub(super) fn change(&self, proxy: &Proxy) -> anyhow::Result<()> {
        self.write(proxy.dir(), true).map(drop)
    }

    /// As operators do: whole, under another name, and renamed.
    fn write(&self, dir: &Path, changed: bool) -> anyhow::Result<PathBuf> {
        let text = match self.contestant {
            Contestant::Haproxy => self.haproxy(dir, changed),
            Contestant::Nginx => self.nginx(dir, changed),
            Contestant::Reload(scheduler) => self.reloaded(scheduler, changed),
            Contestant::Switch { from, to } => self.runtime(if changed { to } else { from }, false),
        };
        let (path, new) = (dir.join("proxy.conf"), dir.join("proxy.conf.new"));
        std::fs::write(&new, text).with_context(|| format!("writing {}", new.display()))?;
        std::fs::rename(&new, &path).with_context(|| format!("replacing {}", path.display()))?;
        Ok(path)
    }

    /// The servers of the service for new connections: those that it has from the beginning, and the one that is added.
    fn servers(&self) -> (String, String) {
        let upstream = |kind: Kind| self.services[kind as usize].upstream.to_string();
        (upstream(Kind::Arrivals), upstream(Kind::Transfers))
    }

    fn haproxy(&self, dir: &Path, changed: bool) -> String {
        let args = self.args;
        let mut text = haproxy_lending(
            self.services,
            args.idle + args.busy + args.transfers,
            dir,
            "",
        );
        if changed {
            let (first, more) = self.servers();
            let server = format!("server upstream {first}\n");
            text = text
                .replace(&server, &format!("{server}    server more {more}\n"))
                .replace(IDLE[0], IDLE[1]);
        }
        text
    }

    fn nginx(&self, dir: &Path, changed: bool) -> String {
        let mut text = nginx_config(self.services, "16k", false, dir, &Lines::default());
        if changed {
            let (first, more) = self.servers();
            let group = format!("upstream both {{ server {first}; server {more}; }}");
            text = text
                .replacen(
                    "stream {\n",
                    &format!("stream {{\n    {NGINX_IDLE}\n    {group}\n"),
                    1,
                )
                .replace(&format!("proxy_pass {first};"), "proxy_pass both;");
        }
        format!("load_module {NGINX_STREAM_MODULE};\n{text}")
    }

    fn reloaded(&self, scheduler: Scheduler, changed: bool) -> String {
        let text = self.runtime(scheduler, changed);
        let (first, more) = self.servers();
        if changed {
            let servers = format!("servers = [\"{first}\"]");
            return text.replace(&servers, &format!("servers = [\"{first}\", \"{more}\"]"));
        }
        text
    }

    fn runtime(&self, scheduler: Scheduler, longer: bool) -> String {
        let line = format!("idle_timeout = \"{}\"\n", IDLE[usize::from(longer)]);
        let listeners = vec![line.as_str(); self.services.len()];
        let tuning = Tuning {
            workers: self.args.workers.map(|workers| workers as usize),
            listeners: &listeners,
            admin: Some(self.admin),
            ..Tuning::default()
        };
        corelane_config(
            self.services,
            self.cpus,
            scheduler,
            tuning,
            &Lines::default(),
        )
    }
}

/// HAProxy with a master, which starts the next worker by the configuration at `path`.
pub(super) fn haproxy_master(path: &Path) -> Launch {
    let mut command = Command::new("haproxy");
    command.args(["-W", "-db", "-f"]).arg(path);
    Launch {
        command,
        workers: 1,
        stop: Signal::TERM,
    }
}

/// `command`, with the arguments by which nginx runs in `dir`.
pub(super) fn nginx_in(mut command: Command, dir: &Path, path: &Path) -> Command {
    command.arg("-p").arg(dir).arg("-e");
    command.arg(dir.join("error.log")).arg("-c").arg(path);
    command
}

/// Corelane by its binary, with the configuration at `path`.
pub(super) fn corelane_of(binary: &Path, path: &Path) -> Launch {
    let mut command = Command::new(binary);
    command.arg("run").arg(path);
    Launch {
        command,
        workers: 0,
        stop: Signal::KILL,
    }
}

/// HAProxy's file for so many connections beside new ones, and listening sockets that the next process takes over; `lines` are
/// more of its global section.
pub(super) fn haproxy_lending(
    services: &[Service],
    connections: u32,
    dir: &Path,
    lines: &str,
) -> String {
    let connections = connections + super::arrivals::UNDER_WAY_MAX as u32 + HAPROXY_SPARE;
    let socket = dir.join("haproxy.sock");
    haproxy_config(services, false, &Lines::default())
        .lines()
        .filter(|line| !line.trim_start().starts_with("maxconn"))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .replacen(
            "global\n",
            &format!(
                "global\n    maxconn {connections}\n    stats socket {} mode 600 level admin expose-fd listeners\n{lines}",
                socket.display()
            ),
            1,
        )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command as Asked};

    /// The files of before and after.
    fn texts(contestant: Contestant) -> [String; 2] {
        let Asked::Change(args) = Cli::parse_from(["bench", "change"]).command else {
            unreachable!("it was asked for");
        };
        let services: Vec<Service> = (1..=4)
            .map(|at| {
                format!("127.0.0.1:100{at}=127.0.0.1:200{at}")
                    .parse()
                    .unwrap()
            })
            .collect();
        let setting = Setting {
            contestant,
            services: &services,
            cpus: &[0],
            corelane: None,
            admin: "127.0.0.1:9".parse().unwrap(),
            args: &args,
        };
        let dir = tempfile::tempdir().unwrap();
        [false, true].map(|changed| {
            let path = setting.write(dir.path(), changed).unwrap();
            std::fs::read_to_string(path).unwrap()
        })
    }

    #[test]
    fn a_reload_brings_a_server_and_a_longer_timeout() {
        let reloads = Contestant::all();
        let reloads = reloads
            .into_iter()
            .filter(|one| !matches!(one, Contestant::Switch { .. }));
        for contestant in reloads {
            let [before, after] = texts(contestant);
            // The address of the transfers' server, which the new connections' service has as well from now on.
            let counts = [&before, &after].map(|text| text.matches("127.0.0.1:2004").count());
            assert_eq!(counts, [1, 2], "{contestant}: {after}");
            let counts = [&before, &after].map(|text| text.matches("20m").count());
            assert!(counts[0] == 0 && counts[1] > 0, "{contestant}: {after}");
        }
    }

    #[test]
    fn a_switch_changes_nothing_but_the_runtime() {
        let switch = Contestant::Switch {
            from: Scheduler::WorkStealing,
            to: Scheduler::Glommio,
        };
        let [before, after] = texts(switch);
        let rest = |text: &str| text.split_once("[admin]").unwrap().1.to_owned();
        assert_eq!(rest(&before), rest(&after));
        assert!(before.contains("\"tokio\"") && after.contains("\"glommio\""));
    }
}

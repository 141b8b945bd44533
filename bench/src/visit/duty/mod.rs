//! What a proxy has to do besides relaying, and how each is told to.

mod corelane;
mod haproxy;
mod nginx;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use super::header::Version;
use super::list;

/// What a proxy has to do besides relaying. It is the first of its services that has it to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Duty<'a> {
    /// Nothing.
    #[default]
    Relay,
    /// Taking each of so many names to one of the servers, in turn.
    Route {
        names: usize,
        servers: &'a [SocketAddr],
    },
    /// Refusing clients of so many networks.
    Deny { entries: usize },
    /// Reading a header of the PROXY protocol, of whichever version.
    AcceptHeader,
    /// Writing one.
    SendHeader { version: Version },
}

/// What a duty adds to a proxy's file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// After the address of the listener.
    pub(crate) bind: &'static str,
    /// Lines of the listener's section.
    pub(crate) listener: String,
    /// What is said of the server.
    pub(crate) server: &'static str,
    /// Where connections go, where it isn't to the service's server.
    pub(crate) to: Option<&'static str>,
    /// Sections beside it.
    pub(crate) sections: String,
}

impl Duty<'_> {
    /// For HAProxy, with files in `dir`.
    pub(crate) fn haproxy(self, dir: &Path) -> anyhow::Result<Lines> {
        haproxy::lines(self, dir)
    }

    /// For nginx, where `upstream` is the service's server.
    pub(crate) fn nginx(self, upstream: SocketAddr, dir: &Path) -> anyhow::Result<Lines> {
        nginx::lines(self, upstream, dir)
    }

    /// For corelane.
    pub(crate) fn corelane(self, dir: &Path) -> anyhow::Result<Lines> {
        corelane::lines(self, dir)
    }
}

/// The name of this index that clients ask for.
pub(super) fn server_name(index: usize) -> String {
    format!("n{index}.bench.example")
}

/// The file of a list of networks, an entry a line.
fn write_list(entries: usize, dir: &Path) -> anyhow::Result<String> {
    let text = list::text(entries, |network, bits| format!("{network}/{bits}"));
    write(dir, "deny.txt", &text)
}

/// Writes a file into `dir`; returns its path.
fn write(dir: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each proxy is told, and the files beside it.
    fn told(duty: Duty<'_>) -> [(Lines, String); 3] {
        let tell: [fn(Duty<'_>, &Path) -> anyhow::Result<Lines>; 3] = [
            |duty, dir| duty.haproxy(dir),
            |duty, dir| duty.nginx("127.0.0.1:2000".parse().unwrap(), dir),
            |duty, dir| duty.corelane(dir),
        ];
        tell.map(|tell| {
            let dir = tempfile::tempdir().unwrap();
            let lines = tell(duty, dir.path()).unwrap();
            let files = std::fs::read_dir(dir.path()).unwrap();
            let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
            (lines, texts.collect())
        })
    }

    #[test]
    fn each_name_and_each_server_is_told() {
        let servers = ["127.0.0.1:2001", "127.0.0.1:2002"].map(|at| at.parse().unwrap());
        let duty = Duty::Route {
            names: 5,
            servers: &servers,
        };
        for (lines, files) in told(duty) {
            let text = format!("{}{}{files}", lines.listener, lines.sections);
            for index in 0..5 {
                assert_eq!(text.matches(&server_name(index)).count(), 1, "{text}");
            }
            for server in servers {
                assert_eq!(text.matches(&server.to_string()).count(), 1, "{text}");
            }
        }
    }

    #[test]
    fn the_same_networks_are_refused_by_all() {
        let networks = told(Duty::Deny { entries: 500 }).map(|(_, files)| {
            let networks = files
                .lines()
                .map(|line| line.split(' ').next().unwrap().to_owned());
            networks.collect::<Vec<_>>()
        });
        assert_eq!(networks[0].len(), 500);
        assert_eq!(networks[0], networks[1]);
        assert_eq!(networks[0], networks[2]);
    }

    #[test]
    fn who_only_relays_is_told_nothing() {
        for (lines, files) in told(Duty::Relay) {
            let Lines {
                bind,
                listener,
                server,
                to,
                sections,
            } = lines;
            assert_eq!([bind, &listener, server, &sections, &files], [""; 5]);
            assert_eq!(to, None);
        }
    }
}

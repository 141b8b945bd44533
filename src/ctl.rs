//! The command line of `corelane ctl`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proxy_tools::Target;
use proxy_tools::ctl::{self, Order, Show};
use serde_json::{Map, Value};

use crate::client::DEFAULT_SOCKET;
use crate::config_file;

/// Ask a running proxy for what it does, and change it. Over the unix socket, unless a URL is given.
#[derive(Debug, Args)]
pub(crate) struct Ctl {
    #[command(subcommand)]
    command: Command,
    /// Where the proxy takes commands: `socket` of its `[admin]`.
    #[arg(long, global = true, default_value = DEFAULT_SOCKET, env = "CORELANE_SOCKET")]
    socket: PathBuf,
    /// The same, from the proxy's configuration file.
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["url"])]
    config: Option<PathBuf>,
    /// The admin server instead, which only reads without a token: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, global = true)]
    url: Option<String>,
    /// With --url: a file with the token, as `token_file` of the proxy's `[admin]`.
    #[arg(long, global = true, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// With an https:// URL: certificates in PEM, of which one must have signed the server's. It may be the server's own.
    #[arg(long, global = true, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The proxy as a whole.
    Status,
    /// Servers: all, those of an upstream, or one.
    Servers {
        upstream: Option<String>,
        server: Option<String>,
    },
    /// Change a server: whether it gets connections, or its weight.
    SetServer {
        upstream: String,
        server: String,
        /// ready, drain (no new connections), or maintenance (out of service).
        #[arg(long, value_parser = ["ready", "drain", "maintenance"])]
        state: Option<String>,
        /// 0 to 256; "auto" is what is configured.
        #[arg(long)]
        weight: Option<String>,
        /// Write it into the configuration's file, too.
        #[arg(long)]
        write: bool,
    },
    /// Give an upstream another server.
    AddServer {
        upstream: String,
        address: String,
        #[arg(long)]
        weight: Option<u16>,
        #[arg(long)]
        backup: bool,
        #[arg(long)]
        max_connections: Option<u64>,
        /// Write it into the configuration's file, too.
        #[arg(long)]
        write: bool,
    },
    /// Take a server from an upstream; its connections go on, or end, as `on_removed` says.
    RemoveServer {
        upstream: String,
        server: String,
        /// Write it into the configuration's file, too.
        #[arg(long)]
        write: bool,
    },
    /// Upstreams.
    Upstreams,
    /// Listeners: all, or one.
    Listeners { listener: Option<String> },
    /// Change a listener: whether it takes clients, its shares and limits.
    SetListener {
        listener: String,
        /// open, paused (clients wait), or drained (clients are refused).
        #[arg(long, value_parser = ["open", "paused", "drained"])]
        state: Option<String>,
        /// As in the configuration: shares=100, max_connections=5000, bandwidth=1MiB; max_rate= takes a limit away.
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// Write them into the configuration's file, too.
        #[arg(long)]
        write: bool,
    },
    /// Connections, the oldest first.
    Connections(Connections),
    /// End a connection as soon as it is quiet.
    Close { id: u64 },
    /// Reset a connection.
    Reset { id: u64 },
    /// Move a connection to another core (glommio).
    Move { id: u64, core: u64 },
    /// The scheduler that runs, and its cores.
    Schedulers,
    /// Switch to another scheduler, or to other cores, while connections run.
    Switch {
        #[arg(value_parser = ["glommio", "work-stealing", "per-core", "auto"])]
        scheduler: Option<String>,
        /// How many, or which, as "0-3,8" or "all".
        #[arg(long)]
        cores: Option<String>,
        /// Write it into the configuration's file, too.
        #[arg(long)]
        write: bool,
    },
    /// What is logged; with LEVEL or MODULE=LEVEL, what is to be.
    Log {
        /// off, error, warn, info, debug or trace, of all or of a module: info corelane::reload=debug backend_glommio=.
        #[arg(value_name = "[MODULE=]LEVEL")]
        levels: Vec<String>,
    },
    /// The configuration in force.
    Config {
        /// Only what a reload would change of it.
        #[arg(long)]
        diff: bool,
    },
    /// What has changed lately, and by whose wish.
    Events {
        /// Only those with higher numbers.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many, the newest.
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// Have the proxy read its configuration again.
    Reload {
        /// Only say what would change.
        #[arg(long)]
        check: bool,
    },
    /// The description of the API (OpenAPI 3.1).
    Openapi,
}

/// Which connections.
#[derive(Debug, Args)]
struct Connections {
    /// Of clients at an address, in a network (10.0.0.0/8), or "unix".
    #[arg(long)]
    client: Option<String>,
    /// Of a server, as `ctl servers` names it.
    #[arg(long)]
    server: Option<String>,
    /// Of a listener.
    #[arg(long)]
    listener: Option<String>,
    /// On a core.
    #[arg(long)]
    core: Option<u64>,
    /// age, bytes or idle: the greatest come first.
    #[arg(long, default_value = "age")]
    sort: String,
    /// The least come first.
    #[arg(long)]
    ascending: bool,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// Beginning after so many.
    #[arg(long, default_value_t = 0)]
    offset: u64,
}

/// What may stand in a part of a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b':');

/// The admin server at a URL; `ca` is the file of certificates that are trusted under https://.
///
/// # Errors
/// When the file can't be read, or they don't fit.
pub(crate) fn at(url: &str, token: Option<&str>, ca: Option<&Path>) -> anyhow::Result<Target> {
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("--ca {}", path.display()));
    Target::url(url, token.map(ToOwned::to_owned), ca.map(read).transpose()?)
}

impl Ctl {
    /// Asks, and prints the answer. Returns whether it was done.
    ///
    /// # Errors
    /// When nobody answers, with what to do.
    pub(crate) fn run(&self) -> anyhow::Result<bool> {
        ctl::run(&self.target()?, &self.command.order()?, self.json)
    }

    fn target(&self) -> anyhow::Result<Target> {
        if let Some(url) = &self.url {
            let token = self.token_file.as_ref().map(|path| {
                let read = std::fs::read_to_string(path);
                read.with_context(|| format!("--token-file {}", path.display()))
            });
            let token = token.transpose()?.map(|token| token.trim().to_owned());
            return at(url, token.as_deref(), self.ca.as_deref());
        }
        let Some(file) = &self.config else {
            return Ok(Target::Socket(self.socket.clone()));
        };
        let loaded = config_file::load(file)?;
        let socket = loaded.config.admin.socket.with_context(|| {
            let file = file.display();
            format!("{file} has no `socket` in [admin]; write one, or ask with --url")
        })?;
        Ok(Target::Socket(socket.path))
    }
}

/// Names of a kind that a proxy has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names<'w> {
    Upstreams,
    /// Of an upstream.
    Servers(&'w str),
    Listeners,
    Connections,
}

/// What a proxy's names of a kind are now, where the words of a command line say which proxy; none where nobody answers.
pub(crate) fn names(words: &[String], names: Names<'_>) -> Vec<String> {
    let after = |option: &str| {
        let place = words.iter().position(|word| word == option)?;
        words.get(place + 1).cloned()
    };
    let socket = after("--socket").or_else(|| std::env::var("CORELANE_SOCKET").ok());
    let target = match after("--url") {
        Some(url) => Target::url(&url, None, None).ok(),
        None => Some(Target::Socket(
            socket.unwrap_or_else(|| DEFAULT_SOCKET.to_owned()).into(),
        )),
    };
    let (path, list, key) = match names {
        Names::Upstreams => ("upstreams".to_owned(), "upstreams", "upstream"),
        Names::Servers(upstream) => (format!("servers/{}", part(upstream)), "servers", "server"),
        Names::Listeners => ("listeners".to_owned(), "listeners", "listener"),
        Names::Connections => ("connections?limit=50".to_owned(), "connections", "id"),
    };
    target.map_or_else(Vec::new, |target| ctl::names(&target, &path, list, key))
}

impl Command {
    fn order(&self) -> anyhow::Result<Order> {
        Ok(match self {
            Self::Status => Order::get("status", Show::Object),
            Self::Servers { upstream: None, .. } => Order::get("servers", Show::Rows("servers")),
            Self::Servers {
                upstream: Some(upstream),
                server: None,
            } => Order::get(format!("servers/{}", part(upstream)), Show::Rows("servers")),
            Self::Servers {
                upstream: Some(upstream),
                server: Some(server),
            } => {
                let path = format!("servers/{}/{}", part(upstream), part(server));
                Order::get(path, Show::Object)
            }
            Self::Upstreams => Order::get("upstreams", Show::Rows("upstreams")),
            Self::Listeners { listener: None } => Order::get("listeners", Show::Rows("listeners")),
            Self::Listeners {
                listener: Some(listener),
            } => Order::get(format!("listeners/{}", part(listener)), Show::Object),
            Self::Connections(connections) => {
                Order::get(connections.path(), Show::Rows("connections"))
            }
            Self::Schedulers => Order::get("schedulers", Show::Object),
            Self::Config { diff: false } => Order::get("config", Show::Text("toml")),
            Self::Config { diff: true } => {
                let none = "what is in force is what the files say";
                Order::get("config/difference", Show::Lines("lines", none))
            }
            Self::Events { after, limit } => {
                let path = format!("events?after={after}&limit={limit}");
                Order::get(path, Show::Rows("events"))
            }
            Self::Reload { check } => Order {
                method: "POST",
                path: format!("reload?check={check}"),
                body: None,
                show: Show::Message,
            },
            Self::Openapi => Order::get("openapi.json", Show::Whole),
            Self::SetServer {
                upstream,
                server,
                state,
                weight,
                write,
            } => {
                let mut body = Map::new();
                add(&mut body, "state", state.as_deref().map(Into::into));
                let weight = weight.as_ref().map(|weight| match &weight[..] {
                    "auto" => Ok(Value::Null),
                    weight => weight.parse::<u16>().map(Value::from),
                });
                let weight = weight.transpose();
                add(
                    &mut body,
                    "weight",
                    weight.context("--weight is a number, or auto")?,
                );
                add(&mut body, "write", Some((*write).into()));
                let path = format!("servers/{}/{}", part(upstream), part(server));
                change("PATCH", path, Some(body))
            }
            Self::AddServer {
                upstream,
                address,
                weight,
                backup,
                max_connections,
                write,
            } => {
                let mut body = Map::new();
                add(&mut body, "address", Some(address.as_str().into()));
                add(&mut body, "weight", weight.map(Into::into));
                add(&mut body, "backup", backup.then(|| true.into()));
                add(
                    &mut body,
                    "max_connections",
                    max_connections.map(Into::into),
                );
                add(&mut body, "write", Some((*write).into()));
                change("POST", format!("servers/{}", part(upstream)), Some(body))
            }
            Self::RemoveServer {
                upstream,
                server,
                write,
            } => {
                let (upstream, server) = (part(upstream), part(server));
                let path = format!("servers/{upstream}/{server}?write={write}");
                change("DELETE", path, None)
            }
            Self::SetListener {
                listener,
                state,
                settings,
                write,
            } => {
                let mut body = Map::new();
                add(&mut body, "state", state.as_deref().map(Into::into));
                let settings: Map<_, _> = settings
                    .iter()
                    .map(|one| pair(one))
                    .collect::<Result<_, _>>()?;
                add(&mut body, "settings", Some(settings.into()));
                add(&mut body, "write", Some((*write).into()));
                change("PATCH", format!("listeners/{}", part(listener)), Some(body))
            }
            Self::Close { id } => change("DELETE", format!("connections/{id}"), None),
            Self::Reset { id } => change("DELETE", format!("connections/{id}?reset=true"), None),
            Self::Move { id, core } => {
                let mut body = Map::new();
                add(&mut body, "core", Some((*core).into()));
                change("PATCH", format!("connections/{id}"), Some(body))
            }
            Self::Switch {
                scheduler,
                cores,
                write,
            } => {
                let mut body = Map::new();
                add(&mut body, "scheduler", scheduler.as_deref().map(Into::into));
                add(&mut body, "cores", cores.as_ref().map(|cores| typed(cores)));
                add(&mut body, "write", Some((*write).into()));
                change("PATCH", "schedulers".to_owned(), Some(body))
            }
            Self::Log { levels } if levels.is_empty() => Order::get("log", Show::Object),
            Self::Log { levels } => {
                let (mut body, mut modules) = (Map::new(), Map::new());
                for level in levels {
                    match level.split_once('=') {
                        None => add(&mut body, "level", Some(level.as_str().into())),
                        Some((module, "")) => drop(modules.insert(module.to_owned(), Value::Null)),
                        Some((module, level)) => {
                            drop(modules.insert(module.to_owned(), level.into()))
                        }
                    }
                }
                add(&mut body, "modules", Some(modules.into()));
                change("PATCH", "log".to_owned(), Some(body))
            }
        })
    }
}

/// A change, whose answer is in words.
fn change(method: &'static str, path: String, body: Option<Map<String, Value>>) -> Order {
    Order {
        method,
        path,
        body: body.map(Value::Object),
        show: Show::Message,
    }
}

fn add(body: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    body.extend(value.map(|value| (key.to_owned(), value)));
}

/// KEY=VALUE, where no value takes the key away.
fn pair(written: &str) -> anyhow::Result<(String, Value)> {
    let pair = written.split_once('=');
    let (key, value) = pair.with_context(|| format!("{written}: write KEY=VALUE"))?;
    let value = match value {
        "" => Value::Null,
        value => typed(value),
    };
    Ok((key.to_owned(), value))
}

/// A number, or else a string.
fn typed(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| text.into(), Value::from)
}

impl Connections {
    fn path(&self) -> String {
        let core = self.core.map(|core| core.to_string());
        let order = self.ascending.then(|| "ascending".to_owned());
        let mut path = format!(
            "connections?sort={}&limit={}&offset={}",
            part(&self.sort),
            self.limit,
            self.offset
        );
        for (name, value) in [
            ("client", &self.client),
            ("server", &self.server),
            ("listener", &self.listener),
            ("core", &core),
            ("order", &order),
        ] {
            if let Some(value) = value {
                path += &format!("&{name}={}", part(value));
            }
        }
        path
    }
}

/// A name as a part of a path or a query.
fn part(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

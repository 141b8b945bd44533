//! The command line of `corelane ctl`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proxy_tools::ctl::{self, Order, Show, Target};

use crate::cli::DEFAULT_SOCKET;
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
    /// The admin server instead, which only reads: http://HOST:PORT.
    #[arg(long, global = true)]
    url: Option<String>,
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
    /// Upstreams.
    Upstreams,
    /// Listeners: all, or one.
    Listeners { listener: Option<String> },
    /// Connections, the oldest first.
    Connections(Connections),
    /// The scheduler that runs, and its cores.
    Schedulers,
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
    /// age, bytes or idle.
    #[arg(long, default_value = "age")]
    sort: String,
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

impl Ctl {
    /// Asks, and prints the answer. Returns whether it was done.
    ///
    /// # Errors
    /// When nobody answers, with what to do.
    pub(crate) fn run(&self) -> anyhow::Result<bool> {
        ctl::run(&self.target()?, &self.command.order(), self.json)
    }

    fn target(&self) -> anyhow::Result<Target> {
        if let Some(url) = &self.url {
            return Target::url(url);
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

impl Command {
    fn order(&self) -> Order {
        match self {
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
        }
    }
}

impl Connections {
    fn path(&self) -> String {
        let core = self.core.map(|core| core.to_string());
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

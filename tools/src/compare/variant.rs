//! The schedulers that are compared, and a configuration made safe to load.

use std::net::{Ipv4Addr, SocketAddr};

use proxy_config::{BindAddress, Config, Scheduler, ServerAddress, TokioMode};

/// A scheduler with what matters of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Glommio,
    GlommioStill,
    WorkStealing,
    PerCore,
}

impl Kind {
    /// In the order of preference among equals.
    pub(crate) const ALL: [Self; 4] = [
        Self::Glommio,
        Self::WorkStealing,
        Self::PerCore,
        Self::GlommioStill,
    ];

    /// What a configuration runs under here.
    pub(crate) fn of(config: &Config, glommio_works: bool) -> Self {
        let runtime = &config.runtime;
        match (runtime.scheduler, runtime.tokio.mode) {
            (Scheduler::Glommio | Scheduler::Auto, _) if glommio_works => {
                if runtime.glommio.rebalance.enabled {
                    Self::Glommio
                } else {
                    Self::GlommioStill
                }
            }
            (_, TokioMode::WorkStealing) => Self::WorkStealing,
            (_, TokioMode::PerCore) => Self::PerCore,
        }
    }

    /// For people, and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glommio => "glommio",
            Self::GlommioStill => "glommio without rebalancing",
            Self::WorkStealing => "tokio work-stealing",
            Self::PerCore => "tokio per-core",
        }
    }

    /// The lines that choose it.
    pub(crate) fn toml(self) -> &'static str {
        match self {
            Self::Glommio => {
                "[runtime]\nscheduler = \"glommio\"\n[runtime.glommio.rebalance]\nenabled = true"
            }
            Self::GlommioStill => {
                "[runtime]\nscheduler = \"glommio\"\n[runtime.glommio.rebalance]\nenabled = false"
            }
            Self::WorkStealing => {
                "[runtime]\nscheduler = \"tokio\"\n[runtime.tokio]\nmode = \"work-stealing\""
            }
            Self::PerCore => {
                "[runtime]\nscheduler = \"tokio\"\n[runtime.tokio]\nmode = \"per-core\""
            }
        }
    }

    pub(crate) fn is_glommio(self) -> bool {
        matches!(self, Self::Glommio | Self::GlommioStill)
    }

    /// Whether it does something about cores that are unevenly busy.
    pub(crate) fn evens(self) -> bool {
        matches!(self, Self::Glommio | Self::WorkStealing)
    }

    /// Puts it into a configuration.
    pub(super) fn choose_in(self, config: &mut Config) {
        let runtime = &mut config.runtime;
        runtime.scheduler = if self.is_glommio() {
            Scheduler::Glommio
        } else {
            Scheduler::Tokio
        };
        runtime.glommio.rebalance.enabled = self == Self::Glommio;
        runtime.tokio.mode = match self {
            Self::PerCore => TokioMode::PerCore,
            _ => TokioMode::WorkStealing,
        };
    }
}

/// The same configuration, with nothing in it that anyone else uses: each listener is on a free port of loopback, and
/// each server is one of the embedded `echoes`. Limits of connections are lifted, nobody checks servers, and there is no
/// access log: the load alone is compared.
pub(super) fn isolate(config: &Config, echoes: &[SocketAddr]) -> Config {
    let mut config = config.clone();
    config.access_log = None;
    for listener in &mut config.listeners {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.binds = vec![BindAddress::Tcp(anywhere)];
        listener.max_connections = None;
    }
    let mut echoes = echoes.iter().cycle();
    for upstream in &mut config.upstreams {
        upstream.health = None;
        for server in &mut upstream.servers {
            if let Some(&echo) = echoes.next() {
                server.address = ServerAddress::Socket(echo);
            }
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [runtime]
        cores = 1
        [access_log]
        path = "stdout"
        [listeners.a]
        bind = ["0.0.0.0:80", "unix:/run/a.sock"]
        upstream = "u"
        shares = 7
        max_connections = 3
        [upstreams.u]
        servers = ["10.0.0.1:80", { address = "db.example:5432", weight = 2 }, "unix:/run/b.sock", "builtin:echo"]
        [upstreams.u.health]
    "#;

    fn config(text: &str) -> Config {
        proxy_config::parse(text, "test").expect("valid").config
    }

    #[test]
    fn nothing_of_production_is_left() {
        let config = config(TEXT);
        let echoes = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let isolated = isolate(&config, &echoes);
        let [listener] = &isolated.listeners[..] else {
            panic!("one listener");
        };
        assert_eq!(listener.binds.len(), 1);
        assert_eq!(listener.binds[0].to_string(), "127.0.0.1:0");
        assert_eq!(listener.max_connections, None);
        assert_eq!(listener.shares.get(), 7);
        let servers = &isolated.upstreams[0].servers;
        let addresses: Vec<_> = servers
            .iter()
            .map(|server| server.address.to_string())
            .collect();
        let wanted = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:1", "127.0.0.1:2"];
        assert_eq!(addresses, wanted);
        assert_eq!(servers[1].weight.get(), 2);
        assert_eq!(isolated.upstreams[0].health, None);
        assert!(config.access_log.is_some());
        assert_eq!(isolated.access_log, None);
        assert_eq!(isolated.runtime, config.runtime);
    }

    #[test]
    fn what_a_kind_s_lines_say_is_what_it_is() {
        for kind in Kind::ALL {
            let (_, rest) = TEXT.split_once("cores = 1").expect("a place for it");
            let written = config(&format!("{}\n{rest}", kind.toml()));
            assert_eq!(Kind::of(&written, true), kind);
            let mut chosen = config(TEXT);
            kind.choose_in(&mut chosen);
            assert_eq!(Kind::of(&chosen, true), kind);
        }
        assert_eq!(Kind::of(&config(TEXT), true), Kind::Glommio);
        assert_eq!(Kind::of(&config(TEXT), false), Kind::WorkStealing);
    }
}

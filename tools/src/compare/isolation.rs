//! A configuration made safe to load.

use std::net::{Ipv4Addr, SocketAddr};

use proxy_config::{Admission, BindAddress, Config, ServerAddress};

/// The same configuration, with nothing in it that anyone else uses: each listener is on a free port of loopback, and
/// each server is one of the embedded `echoes`. Limits of connections are lifted, nobody checks servers, and there is no
/// access log: the load alone is compared.
pub(super) fn isolate(config: &Config, echoes: &[SocketAddr]) -> Config {
    let mut config = config.clone();
    config.access_log = None;
    config.runtime.max_connections = None;
    for listener in &mut config.listeners {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.binds = vec![BindAddress::Tcp(anywhere)];
        listener.max_connections = None;
        listener.admission = Admission::default();
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
        assert_eq!(servers[1].weight, 2);
        assert_eq!(isolated.upstreams[0].health, None);
        assert!(config.access_log.is_some());
        assert_eq!(isolated.access_log, None);
        assert_eq!(isolated.runtime, config.runtime);
    }
}

//! How each system is told to relay from one port to another.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use peers::Service;

use super::{Scheduler, Tuning};
use crate::visit::Lines;

/// Connections that HAProxy is told to be ready for. It wants two descriptors for each, with splice also those of a
/// pipe for every fourth, and takes fewer where the limit on descriptors is lower.
const HAPROXY_CONNECTIONS_MAX: usize = 7_000;
/// What Envoy's documentation puts for a limit that isn't there.
const ENVOY_UNLIMITED: u32 = 1_000_000_000;
/// Where metrics are that nobody asks for.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The accept queue's length where the system's default is shorter than the others'.
const BACKLOG: usize = 4096;

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
    half_close: bool,
    dir: &Path,
    lines: &Lines,
) -> String {
    let half_close = if half_close {
        "    proxy_half_close on;\n"
    } else {
        ""
    };
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {}/nginx.pid;\n\
         events {{ worker_connections 18000; }}\n\
         stream {{\n    proxy_buffer_size {buffer};\n{half_close}{}",
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
pub(crate) fn envoy_config(services: &[Service]) -> String {
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
    use crate::visit::Duty;

    fn services() -> Vec<Service> {
        ["127.0.0.1:1001=127.0.0.1:2001", "[::1]:1002=[::1]:2002"]
            .map(|text| text.parse().unwrap())
            .to_vec()
    }

    #[test]
    fn each_service_is_in_the_configuration() {
        let dir = Path::new("dir");
        let (services, plain) = (services(), Lines::default());
        let texts = [
            haproxy_config(&services, false, &plain),
            nginx_config(&services, "16k", false, dir, &plain),
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
        let text = nginx_config(&services, "64k", false, dir, &plain);
        assert!(text.contains("proxy_buffer_size 64k;\n"), "{text}");
        assert!(!text.contains("half_close"), "{text}");
        let text = nginx_config(&services, "16k", true, dir, &plain);
        assert!(text.contains("proxy_half_close on;\n"), "{text}");
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
            nginx_config(
                &services,
                "16k",
                false,
                dir,
                &accept.nginx(upstream, dir).unwrap(),
            ),
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

//! The addresses of names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use proxy_config::{Config, DiscoverySource, ServerAddress};

use crate::discovery::Lookup;

/// How long all names may take together.
const PATIENCE: Duration = Duration::from_secs(15);

/// Names that are asked for, at most.
const NAMES_MAX: usize = 256;

/// What each name means now, as the proxy asks for it, and where servers are found.
pub(super) fn explain(config: &Config) -> String {
    let mut text = found(config);
    let servers = config
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.servers);
    let hosts: BTreeSet<_> = servers
        .filter_map(|server| match &server.address {
            ServerAddress::Name { host, .. } => Some(host.clone()),
            _ => None,
        })
        .collect();
    if hosts.is_empty() {
        return text;
    }
    text += "# Names, asked for again when their time is over:\n";
    let left = hosts.len().saturating_sub(NAMES_MAX);
    for (host, answer) in asked(hosts.into_iter().take(NAMES_MAX).collect()) {
        let _ = writeln!(text, "# {host} {answer}");
    }
    if left > 0 {
        let _ = writeln!(text, "# … and {left} more");
    }
    text.push('\n');
    text
}

/// Upstreams whose servers are not in the file alone.
fn found(config: &Config) -> String {
    let mut text = String::new();
    for upstream in &config.upstreams {
        let Some(discovery) = &upstream.discovery else {
            continue;
        };
        let from = match &discovery.source {
            DiscoverySource::Dns(name) => format!("DNS, {name}"),
            DiscoverySource::File(path) => format!("the file {}", path.display()),
            DiscoverySource::Http(url) => format!("the page {url}"),
            DiscoverySource::Kubernetes(service) => {
                format!("Kubernetes, the service {}", service.service)
            }
        };
        let _ = writeln!(
            text,
            "# [upstreams.{}] finds servers by {from}, while it runs\n",
            upstream.name
        );
    }
    text
}

fn asked(hosts: Vec<String>) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    runtime.block_on(async {
        let lookup = Lookup::of_system();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut answers = Vec::with_capacity(hosts.len());
        for host in hosts {
            let asked = tokio::time::timeout_at(deadline, lookup.addresses(&host, &[]));
            let answer = match asked.await {
                Ok(Ok(answer)) => {
                    let addresses: Vec<_> = answer.found.iter().map(ToString::to_string).collect();
                    format!("is {} for {:?}", addresses.join(", "), answer.valid_for)
                }
                Ok(Err(failure)) => format!("can't be resolved: {failure}"),
                Err(_) => format!("was not resolved within {PATIENCE:?}"),
            };
            answers.push((host, answer));
        }
        answers
    })
}

//! Corelane's lines.

use std::fmt::Write as _;
use std::path::Path;

use super::{Duty, Lines, server_name, write_list};
use crate::visit::Version;

pub(super) fn lines(duty: Duty<'_>, dir: &Path) -> anyhow::Result<Lines> {
    let mut lines = Lines::default();
    match duty {
        Duty::Relay => {}
        Duty::Route { names, servers } => {
            for (at, server) in servers.iter().enumerate() {
                let names: Vec<String> = (at..names)
                    .step_by(servers.len())
                    .map(|index| format!("\"{}\"", server_name(index)))
                    .collect();
                if !names.is_empty() {
                    let _ = write!(
                        lines.sections,
                        "[[listeners.service0.routes]]\nsni = [{}]\nupstream = \"routed{at}\"\n",
                        names.join(", ")
                    );
                }
                let _ = write!(
                    lines.sections,
                    "[upstreams.routed{at}]\nservers = [\"{server}\"]\n"
                );
            }
        }
        Duty::Deny { entries } => {
            let list = write_list(entries, dir)?;
            lines.listener = format!("deny = [\"file:{list}\"]\n");
        }
        Duty::AcceptHeader => lines.listener = "accept_proxy_protocol = true\n".to_owned(),
        Duty::SendHeader { version } => {
            lines.server = match version {
                Version::V1 => "send_proxy_protocol = \"v1\"\n",
                Version::V2 => "send_proxy_protocol = \"v2\"\n",
            }
        }
    }
    Ok(lines)
}

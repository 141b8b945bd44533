//! HAProxy's lines.

use std::fmt::Write as _;
use std::path::Path;

use super::{Duty, Lines, server_name, write, write_list};
use crate::visit::Version;

pub(super) fn lines(duty: Duty<'_>, dir: &Path) -> anyhow::Result<Lines> {
    let mut lines = Lines::default();
    match duty {
        Duty::Relay => {}
        // Its documentation has a map for many names: one look-up, however many there are.
        Duty::Route { names, servers } => {
            let mut map = String::new();
            for index in 0..names {
                let _ = writeln!(
                    map,
                    "{} routed{}",
                    server_name(index),
                    index % servers.len()
                );
            }
            let map = write(dir, "names.map", &map)?;
            lines.listener = format!(
                "    tcp-request inspect-delay 5s\n    \
                 tcp-request content accept if {{ req.ssl_hello_type 1 }}\n    \
                 use_backend %[req.ssl_sni,lower,map_str({map},routed0)]\n"
            );
            for (index, server) in servers.iter().enumerate() {
                let _ = write!(
                    lines.sections,
                    "backend routed{index}\n    server upstream {server}\n"
                );
            }
        }
        Duty::Deny { entries } => {
            let list = write_list(entries, dir)?;
            lines.listener = format!("    tcp-request connection reject if {{ src -f {list} }}\n");
        }
        Duty::AcceptHeader => lines.bind = " accept-proxy",
        Duty::SendHeader { version } => {
            lines.server = match version {
                Version::V1 => " send-proxy",
                Version::V2 => " send-proxy-v2",
            }
        }
    }
    Ok(lines)
}

//! nginx's lines.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{Duty, Lines, server_name, write};
use crate::visit::list;

/// The variable that says where a connection goes.
const TO: &str = "$to";

pub(super) fn lines(duty: Duty<'_>, upstream: SocketAddr, dir: &Path) -> anyhow::Result<Lines> {
    let mut lines = Lines::default();
    match duty {
        Duty::Relay => {}
        Duty::Route { names, servers } => {
            let mut map = String::new();
            for index in 0..names {
                let _ = writeln!(
                    map,
                    "{} routed{};",
                    server_name(index),
                    index % servers.len()
                );
            }
            let map = write(dir, "names.map", &map)?;
            // As large as the names need: it refuses to start otherwise.
            lines.sections = format!(
                "    map_hash_max_size 65536;\n    map_hash_bucket_size 128;\n    \
                 map $ssl_preread_server_name {TO} {{ default routed0; include {map}; }}\n"
            );
            for (index, server) in servers.iter().enumerate() {
                let _ = writeln!(
                    lines.sections,
                    "    upstream routed{index} {{ server {server}; }}"
                );
            }
            lines.listener = "        ssl_preread on;\n".to_owned();
            lines.to = Some(TO);
        }
        // Of many networks its documentation says to use this in place of `deny`, which goes through all of them one by one and
        // takes nine times the CPU here. A connection that has nowhere to go is closed.
        Duty::Deny { entries } => {
            let text = list::text(entries, |network, bits| format!("{network}/{bits} \"\";"));
            let list = write(dir, "deny.geo", &text)?;
            lines.sections = format!(
                "    geo {TO} {{ default relayed; include {list}; }}\n    \
                 upstream relayed {{ server {upstream}; }}\n"
            );
            // It would have a line for each that is closed, which the others have not.
            lines.listener = "        error_log stderr crit;\n".to_owned();
            lines.to = Some(TO);
        }
        Duty::AcceptHeader => lines.bind = " proxy_protocol",
        // There is version 1 alone.
        Duty::SendHeader { .. } => lines.listener = "        proxy_protocol on;\n".to_owned(),
    }
    Ok(lines)
}

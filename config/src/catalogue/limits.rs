//! What the reference says beside the tables: every limit that no key's type shows, and every key by its full name.

use std::fmt::Write;

use super::key::Table;
use super::keys::ROOT;
use super::shown::{default, heading_anchor, kind};
use crate::config::{LISTENERS_MAX, UPSTREAMS_MAX};
use crate::files::include::{INCLUDE_DEPTH_MAX, INCLUDES_MAX};
use crate::files::variables::EXPANDED_BYTES_MAX;
use crate::files::{FILE_BYTES_MAX, FILES_BYTES_MAX, FILES_MAX};
use crate::problems::path::NAME_BYTES_MAX;
use crate::problems::problem::PROBLEMS_MAX;
use crate::sections::balance::FALLBACKS_MAX;
use crate::sections::discovery::URL_BYTES_MAX;
use crate::sections::listener::BINDS_MAX;
use crate::sections::route::{LABEL_BYTES_MAX, PROTOCOL_BYTES_MAX, ROUTES_MAX};
use crate::sections::socket::SOCKET_NAME_BYTES_MAX;
use crate::sections::upstream::SERVERS_MAX;
use crate::values::access::{LIST_BYTES_MAX, LIST_ENTRIES_MAX};
use crate::values::account::ACCOUNT_BYTES_MAX;
use crate::values::address::bind::{BIND_PORTS_MAX, FD_NAME_BYTES_MAX};
use crate::values::address::{HOST_BYTES_MAX, UNIX_PATH_BYTES_MAX};
use crate::values::expected::{BYTES_MAX, REGEX_MEMORY_MAX};
use crate::values::size;
use crate::values::template::TEMPLATE_BYTES_MAX;

/// What bounds a configuration as a whole, and values whose type says only what they are.
pub(super) fn limits() -> String {
    let bytes = |count: usize| size::written(count as u64);
    let rows = [
        ("listeners", LISTENERS_MAX.to_string()),
        ("upstreams", UPSTREAMS_MAX.to_string()),
        ("servers of an upstream", SERVERS_MAX.to_string()),
        ("addresses of a listener", BINDS_MAX.to_string()),
        ("ports of a range in `bind`", BIND_PORTS_MAX.to_string()),
        ("routes of a listener", ROUTES_MAX.to_string()),
        ("fallbacks in a row", FALLBACKS_MAX.to_string()),
        (
            "networks in a file that `allow` or `deny` names",
            format!("{LIST_ENTRIES_MAX}, in {}", bytes(LIST_BYTES_MAX)),
        ),
        (
            "files of a configuration",
            format!(
                "{FILES_MAX}, of {} each and {} together",
                bytes(FILE_BYTES_MAX),
                bytes(FILES_BYTES_MAX)
            ),
        ),
        (
            "entries of an `include`, and files that include each other",
            format!("{INCLUDES_MAX}, {INCLUDE_DEPTH_MAX} deep"),
        ),
        (
            "what variables of the environment put in, together",
            bytes(EXPANDED_BYTES_MAX),
        ),
        (
            "name of a listener or an upstream",
            format!("{NAME_BYTES_MAX} bytes"),
        ),
        ("`name` of a route", format!("{LABEL_BYTES_MAX} bytes")),
        ("host's name", format!("{HOST_BYTES_MAX} bytes")),
        (
            "path of a unix socket",
            format!("{UNIX_PATH_BYTES_MAX} bytes"),
        ),
        (
            "name of a socket of systemd's",
            format!("{FD_NAME_BYTES_MAX} bytes"),
        ),
        ("protocol in `alpn`", format!("{PROTOCOL_BYTES_MAX} bytes")),
        (
            "`interface` and `congestion`",
            format!("{SOCKET_NAME_BYTES_MAX} bytes"),
        ),
        ("`user` and `group`", format!("{ACCOUNT_BYTES_MAX} bytes")),
        (
            "`template` of the access log",
            format!("{TEMPLATE_BYTES_MAX} bytes"),
        ),
        (
            "text that a check sends or expects",
            format!("{BYTES_MAX} bytes"),
        ),
        (
            "regular expression of a check, compiled",
            bytes(REGEX_MEMORY_MAX),
        ),
        (
            "URL of a source of servers",
            format!("{URL_BYTES_MAX} bytes"),
        ),
        (
            "problems that `corelane check` shows",
            PROBLEMS_MAX.to_string(),
        ),
    ];
    let mut text = "\n## Limits\n\nWhat there is at most, beside the limits in the types of the keys.\n\n| what | at most |\n|---|---|\n".to_owned();
    for (what, at_most) in rows {
        let _ = writeln!(text, "| {what} | {at_most} |");
    }
    text
}

/// Every key, by its name in the whole file.
pub(super) fn full_names() -> String {
    let mut text = "\n## Every key by its full name\n\n`NAME` is a name that you choose, `[]` each table of an array.\n\n\
                    | key | type | default |\n|---|---|---|\n"
        .to_owned();
    for table in ROOT.all() {
        for key in table.keys {
            let (name, kind, default) = (full_name(table, key.name), kind(&key.kind), default(key));
            let anchor = heading_anchor(table);
            let _ = writeln!(text, "| [`{name}`](#{anchor}) | {kind} | {default} |");
        }
    }
    text
}

fn full_name(table: &Table, key: &str) -> String {
    match table.path {
        "" => key.to_owned(),
        path => format!("{}.{key}", path.replace("[0]", "[]")),
    }
}

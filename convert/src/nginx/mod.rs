//! nginx.conf: what forwards TCP in `stream {}`. `http {}` and `mail {}` are named, and not carried over.

mod access;
mod address;
mod around;
mod balance;
mod branch;
mod cases;
mod choice;
mod directive;
mod ejection;
mod limits;
mod listen;
mod log;
mod manner;
mod member;
mod scope;
mod server;
mod target;
mod token;
mod units;
mod upstream;

use std::path::Path;
use std::rc::Rc;

use self::around::Around;
use self::balance::RESOLVER;
use self::directive::{Broken, Directive};
use self::log::Logs;
use self::upstream::Upstreams;
use super::input::{Input, Surroundings};
use super::names::Names;
use super::origin::Origin;
use super::plan::{Keys, Plan};

/// Directives of `stream {}` and `server {}` that are read where they are needed.
const READ: [&str; 41] = [
    "access_log",
    "allow",
    "deny",
    "geo",
    "js_access",
    "js_filter",
    "js_preread",
    "limit_conn",
    "limit_conn_dry_run",
    "limit_conn_zone",
    "listen",
    "log_format",
    "map",
    "pass",
    "preread_timeout",
    "proxy_bind",
    "proxy_connect_timeout",
    "proxy_download_rate",
    "proxy_half_close",
    "proxy_next_upstream",
    "proxy_next_upstream_timeout",
    "proxy_next_upstream_tries",
    "proxy_pass",
    "proxy_protocol",
    "proxy_protocol_timeout",
    "proxy_protocol_version",
    "proxy_timeout",
    "proxy_upload_rate",
    "return",
    "server",
    "set",
    "set_real_ip_from",
    "split_clients",
    "ssl_preread",
    "upstream",
    // They have no effect that would be missed.
    "map_hash_bucket_size",
    "map_hash_max_size",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
];

/// The plan of nginx's files: of a whole nginx.conf, or of what stands in its `stream {}`.
pub(super) fn read(
    texts: &[(&str, &str)],
    surroundings: &dyn Surroundings,
) -> Result<Plan, String> {
    let main = texts.first().map_or("nginx.conf", |(name, _)| name);
    // All paths are relative to the first file, in whichever file they stand.
    let mut find = |pattern: &str| included(pattern, Path::new(main), surroundings);
    let mut top = Vec::new();
    for (name, text) in texts {
        let name: Rc<str> = Rc::from(*name);
        let mut found = directive::directives(&name, text, &mut find).map_err(
            |Broken { file, line, what }| {
                format!("{file}:{line} is no configuration of nginx: {what}")
            },
        )?;
        top.append(&mut found);
    }
    let mut plan = Plan::default();
    let mut stream = Vec::new();
    for directive in top {
        match (directive.name.as_str(), directive.block.is_some()) {
            ("stream", true) => stream.extend(directive.block.unwrap_or_default()),
            // A file that `stream {}` includes.
            ("upstream" | "server" | "map" | "geo" | "split_clients", true) => {
                stream.push(directive)
            }
            (name, false) if is_of_stream(name) => stream.push(directive),
            _ => top_level(&directive, &mut plan),
        }
    }
    if !stream.iter().any(|directive| directive.name == "server") {
        return Err(format!(
            "{main} has no `stream {{}}` with a `server` in it; corelane forwards TCP, not HTTP"
        ));
    }
    read_stream(&stream, &mut plan);
    Ok(plan)
}

/// The files that an `include` finds, with their texts.
fn included(
    pattern: &str,
    main: &Path,
    surroundings: &dyn Surroundings,
) -> Result<Vec<(Rc<str>, String)>, String> {
    let is_pattern = pattern.contains(['*', '?', '[']);
    let paths = match is_pattern {
        true => surroundings.matches(pattern, main)?,
        false => vec![pattern.into()],
    };
    let read = |path: &std::path::PathBuf| {
        let input: Input = surroundings.read(path, main)?;
        let text = input.text()?.to_owned();
        Ok((Rc::from(input.name), text))
    };
    paths.iter().map(read).collect()
}

/// Whether a directive that stands alone is one of `stream {}`.
fn is_of_stream(name: &str) -> bool {
    READ.contains(&name)
        || ["proxy_", "ssl_", "js_", "limit_"]
            .iter()
            .any(|part| name.starts_with(part))
}

/// What stands beside `stream {}`.
fn top_level(directive: &Directive, plan: &mut Plan) {
    let from = &directive.from;
    let notes = &mut plan.notes;
    match directive.name.as_str() {
        "worker_processes" if directive.value() == "auto" => {}
        "worker_processes" => match directive.value().parse::<u64>() {
            Ok(count) => plan.runtime.set("cores", count, from),
            Err(_) => notes.lose(from, "this is no number"),
        },
        "worker_shutdown_timeout" => match units::time(directive.value()) {
            Some(time) => plan.runtime.set("drain_timeout", time, from),
            None => notes.lose(from, "this is no time"),
        },
        "user" => notes.remark(from, "the unit of systemd says who runs it, or `[runtime] user` where root starts it"),
        "error_log" => notes.remark(from, "the log goes to stderr, to the journal under systemd"),
        "events" => notes.remark(from, "corelane takes as many connections as there are descriptors for; `[runtime] max_connections` limits them"),
        "worker_cpu_affinity" => notes.remark(from, "each worker stays on its core (`pin`)"),
        "pid" | "daemon" | "master_process" | "worker_rlimit_nofile" | "worker_priority" | "lock_file" | "timer_resolution" | "thread_pool" | "pcre_jit" | "worker_rlimit_core" | "working_directory" => {
            notes.remark(from, "this is for the unit of systemd, or there is no need of it");
        }
        "load_module" => notes.remark(from, "corelane has no modules; what one would do is named where it is used"),
        "http" | "mail" => notes.lose(from, "corelane forwards TCP; keep nginx for this, behind it or at other ports"),
        _ => notes.lose(from, "corelane has nothing like it"),
    }
}

/// Reads the directives of `stream {}`.
fn read_stream(stream: &[Directive], plan: &mut Plan) {
    let mut around = Around {
        stream,
        upstreams: Upstreams::default(),
        names: Names::default(),
    };
    let mut logs = Logs::default();
    let servers = stream
        .iter()
        .filter(|directive| directive.name == "server")
        .count();
    for directive in stream {
        match directive.name.as_str() {
            "upstream" => around.upstreams.add(directive),
            "resolver" => {
                around.upstreams.resolver = Some(directive);
                unknown(directive, plan);
            }
            "log_format" => logs.formats.push(directive),
            "access_log" => logs.logs.push(directive),
            _ => unknown(directive, plan),
        }
    }
    for block in stream.iter().filter(|directive| directive.name == "server") {
        for directive in block.inner() {
            match directive.name.as_str() {
                "access_log" => {
                    logs.logs.push(directive);
                    logs.is_of_some = servers > 1;
                }
                _ => unknown(directive, plan),
            }
        }
        if let Some(listener) = server::read(block, &mut around, &mut plan.notes) {
            plan.listeners.push(listener);
        }
    }
    logs.set(&mut plan.access_log, &mut plan.notes);
    if plan.access_log.get("path").is_none() {
        plan.access_log = Keys::default();
    }
    for block in around.upstreams.unused() {
        plan.notes
            .remark(&block.from, "nothing leads to it, so it is left out");
    }
    plan.upstreams = around.upstreams.upstreams;
}

/// Says why a directive is not carried over, if it is none that is read.
fn unknown(directive: &Directive, plan: &mut Plan) {
    let Directive { name, from, .. } = directive;
    let from: &Origin = from;
    if READ.contains(&name.as_str()) {
        return;
    }
    let notes = &mut plan.notes;
    let value = directive.value();
    match name.as_str() {
        "resolver" | "resolver_timeout" => notes.remark(from, RESOLVER),
        "error_log" => notes.remark(from, "the log goes to stderr, to the journal under systemd"),
        "proxy_buffer_size" | "preread_buffer_size" | "proxy_upload_buffer" => {
            notes.remark(from, "buffers grow as they are needed")
        }
        "proxy_socket_keepalive" if value == "on" => {
            notes.remark(from, "it is on, by the system's times")
        }
        "proxy_socket_keepalive" => notes.lose(
            from,
            "it is on, by the system's times (`keepalive` of an upstream)",
        ),
        "tcp_nodelay" if value == "on" => {}
        "tcp_nodelay" => notes.lose(from, "bytes are sent at once, always"),
        "proxy_requests" | "proxy_responses" => notes.lose(from, "it is for UDP"),
        "open_log_file_cache" => notes.remark(from, "the log's file stays open"),
        "server_name" => notes.lose(
            from,
            "names choose a server by a route of the listener (`sni`), as TLS is not ended here",
        ),
        // Where `proxy_ssl` is on, the listener is left out.
        _ if name.starts_with("proxy_ssl") => {}
        _ if name.starts_with("ssl") => notes.lose(
            from,
            "TLS is not ended here; let the servers end it, and route by its name (`sni`)",
        ),
        _ if name.starts_with("js_") || name.contains("lua") || name.starts_with("perl") => {
            notes.lose(from, "no programs run in the proxy");
        }
        _ if name.starts_with("geoip") => notes.lose(
            from,
            "countries are not known here; put their networks into a file for `allow` or `deny`",
        ),
        _ if name.starts_with("health_check") || name == "match" => {
            notes.lose(from, "write it as `[upstreams.NAME.health]`")
        }
        _ => notes.lose(from, "corelane has nothing like it"),
    }
}

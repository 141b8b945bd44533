//! `corelane init`: a configuration to begin with.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use proxy_console::{errln, outln};

use crate::config_file;
use crate::pairs::{Pair, Pairs, list, quoted};
use crate::start_error::cannot_write;

/// How standard output is written in place of a file.
const STDOUT: &str = "-";

/// Writes a file with these listeners, or with one that answers by itself.
pub(crate) fn init(pairs: Pairs, file: &Path, force: bool) -> ExitCode {
    let pairs = pairs.or(Pair {
        name: "echo".to_owned(),
        listen: vec!["127.0.0.1:7000".to_owned()],
        to: vec!["builtin:echo".to_owned()],
    });
    let text = text(&pairs);
    let warnings = match config_file::parse(&text) {
        Ok(loaded) => loaded.warnings,
        Err(error) => {
            errln!("corelane: nothing is written: {error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        errln!("warning: {}", warning.message);
    }
    if file == Path::new(STDOUT) {
        outln!("{}", text.trim_end());
        return ExitCode::SUCCESS;
    }
    match write(file, &text, force) {
        Ok(()) => {
            let shown = file.display();
            outln!(
                "{shown} is written; next: corelane check --explain {shown}; corelane run {shown}"
            );
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let shown = file.display();
            errln!(
                "corelane: {shown} exists, and is left as it is; name another file, or add --force to replace it"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            let what = cannot_write("corelane init", "the path", file, &error);
            errln!("corelane: {what}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A file that exists is replaced only by `force`.
fn write(file: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut options = File::options();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    options.open(file)?.write_all(text.as_bytes())
}

/// The commented file. A key that is off stands behind a # without a space, and is valid as it stands.
fn text(pairs: &Pairs) -> String {
    let scheduler = match &pairs.scheduler_toml()[..] {
        "" => "scheduler = \"auto\"\n".to_owned(),
        scheduler => scheduler.to_owned(),
    };
    let mut text = format!(
        r##"# A configuration of corelane: where it listens, and where connections go.
#
#     corelane check FILE              every mistake, by line and column
#     corelane check --explain FILE    what the file means on this machine, and what is dangerous
#     corelane run FILE
#
# SIGHUP (systemctl reload corelane) applies a change while connections run. A line that begins with # and a key is off:
# remove the # to use it. All keys, their defaults and limits: docs/configuration.md. An editor completes and checks keys
# after `corelane schema > corelane.schema.json` and with this as the first line: #:schema ./corelane.schema.json

[runtime]
# Who runs the connections: "glommio" (one io_uring executor a core), "tokio", or "auto": glommio where io_uring works.
{scheduler}# One worker a core: "all", a number, or CPUs such as "0-3,8".
cores = "all"
# How long connections may go on after SIGTERM.
#drain_timeout = "30s"
# Reload when the file is replaced, without a signal.
#watch = true

[admin]
# The live page, metrics and health. It only reads; who can reach it sees addresses of clients and servers.
listen = {admin}
# `corelane ctl`, `corelane reload` and `corelane upgrade` ask here. The folder must exist (systemd: RuntimeDirectory=corelane).
#socket = "/run/corelane/admin.sock"

# A line for each connection at its end. `kill -USR1` reopens the file.
#[access_log]
#path = "/var/log/corelane/access.log"
#format = "json"
"##,
        admin = quoted(pairs.admin()),
    );
    for pair in &pairs.pairs {
        text += &pair_text(pair);
    }
    text
}

fn pair_text(pair: &Pair) -> String {
    let Pair { name, listen, to } = pair;
    let mut text = format!(
        r##"
[listeners.{name}]
# Addresses and ports, ranges such as "[::]:8000-8010", or "unix:/PATH".
bind = {bind}
upstream = "{name}"
# More connections than this are refused, so that a flood ends here and not at the servers.
#max_connections = 10000
#max_connections_per_source = 100
# Who may come; a file of addresses is "file:/PATH".
#allow = ["10.0.0.0/8", "127.0.0.0/8"]
# A connection without a byte in either direction ends after this.
#idle_timeout = "1h"
# Behind a balancer that announces clients by the PROXY protocol, and only from there.
#accept_proxy_protocol = "required"
#trusted = ["10.0.0.0/8"]

[upstreams.{name}]
# "10.0.0.1:6379", "redis:6379", "unix:/run/redis.sock", or a table: {{ address = "10.0.0.2:6379", weight = 2, backup = true }}
servers = {servers}
# "round-robin", "least-connections", "random-two", "source-hash" or "first".
#balance = "least-connections"
# How long a connect may take until the next server is tried.
#connect_timeout = "3s"
# Tell the servers who the client is.
#send_proxy_protocol = "v2"
"##,
        bind = list(listen),
        servers = list(to),
    );
    if to.iter().all(|server| server.starts_with("builtin:")) {
        return text;
    }
    text += &format!(
        r##"# What happens to the connections of a server that a check finds down: "keep", "reset" or "close".
#on_down = "reset"

# Servers that don't answer get no connections. Types: "tcp", "http", "tls", "expect", "postgres", "mysql" and "redis".
#[upstreams.{name}.health]
#type = "tcp"
#interval = "2s"
"##
    );
    text
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn written(line: &str) -> String {
        let command = Pairs::augment_args(Command::new("test"));
        let matches = command.get_matches_from(format!("test {line}").split_whitespace());
        text(&Pairs::from_arg_matches(&matches).expect("pairs"))
    }

    /// With all keys that are off.
    fn with_all(text: &str) -> String {
        let is_off = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
        let lines = text.lines().map(|line| match is_off(line) {
            true => &line[1..],
            false => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_key_that_is_off_is_valid_where_it_stands() {
        for line in [
            "--listen 0.0.0.0:6379 --to 10.0.0.1:6379",
            "--listen 127.0.0.1:0 --to redis:6379 --to unix:/run/redis.sock --scheduler per-core",
            "--listen *:80 --to 10.0.0.1:80 --listen *:81 --to 10.0.0.2:80 --admin 127.0.0.1:0",
            "--listen unix:/run/${x}.sock --to unix:/run/y.sock",
            "--listen 127.0.0.1:0 --to builtin:echo",
        ] {
            let text = written(line);
            for text in [&text, &with_all(&text)] {
                let loaded = proxy_config::parse(text, "test");
                let loaded = loaded.unwrap_or_else(|error| panic!("{line}\n{text}\n{error}"));
                assert_eq!(loaded.warnings, [], "{line}");
            }
            assert_ne!(text, with_all(&text));
        }
    }

    #[test]
    fn a_file_that_exists_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("corelane.toml");
        write(&file, "one, which is longer", false).expect("it is new");
        let refused = write(&file, "two", false).expect_err("it exists");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        let read = || std::fs::read_to_string(&file).expect("read");
        assert_eq!(read(), "one, which is longer");
        write(&file, "two", true).expect("by force");
        assert_eq!(read(), "two");
    }
}

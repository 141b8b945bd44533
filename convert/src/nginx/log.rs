//! `log_format` and `access_log`: one log for the whole proxy here, with fields of its own.

use super::super::note::Notes;
use super::super::plan::Keys;
use super::directive::Directive;

/// Variables of nginx and the fields that say the same.
const FIELDS: [(&str, &str); 22] = [
    ("remote_addr", "{client}"),
    ("binary_remote_addr", "{client}"),
    ("proxy_protocol_addr", "{client}"),
    ("realip_remote_addr", "{peer}"),
    ("time_local", "{time}"),
    ("time_iso8601", "{time}"),
    ("msec", "{time}"),
    ("protocol", "TCP"),
    ("status", "{end}"),
    ("bytes_sent", "{bytes_out}"),
    ("bytes_received", "{bytes_in}"),
    ("session_time", "{total}"),
    ("upstream_addr", "{server}"),
    ("upstream_bytes_sent", "{bytes_in}"),
    ("upstream_bytes_received", "{bytes_out}"),
    ("upstream_connect_time", "{connect}"),
    ("upstream_session_time", "{total}"),
    ("ssl_preread_server_name", "{sni}"),
    ("ssl_preread_alpn_protocols", "{alpn}"),
    ("connection", "{id}"),
    ("server_port", "{listener}"),
    ("server_addr", "{listener}"),
];

/// The logs of a configuration.
#[derive(Debug, Default)]
pub(super) struct Logs<'d> {
    pub(super) formats: Vec<&'d Directive>,
    pub(super) logs: Vec<&'d Directive>,
    /// One of several `server` blocks has a log of its own.
    pub(super) is_of_some: bool,
}

impl Logs<'_> {
    /// Sets `[access_log]` by the first log that there is.
    pub(super) fn set(&self, keys: &mut Keys, notes: &mut Notes) {
        let is_on = |log: &&&Directive| log.value() != "off";
        for log in self.logs.iter().filter(is_on) {
            let from = &log.from;
            let path = log.value();
            if keys
                .get("path")
                .is_some_and(|first| first.inline() != format!("{path:?}"))
            {
                notes.lose(from, "there is one access log for all; `{listener}` in its template tells them apart");
                continue;
            }
            if !path.starts_with('/') || path.contains('$') {
                notes.lose(from, "the log has an absolute path without variables; write one as [access_log] path");
                continue;
            }
            if self.is_of_some {
                notes.remark(from, "the log is of all listeners");
            }
            keys.set(
                "path",
                if path == "/dev/stdout" {
                    "stdout"
                } else {
                    path
                },
                from,
            );
            let named = |format: &&&Directive| Some(format.value()) == log.argument(1);
            if let Some(format) = self.formats.iter().find(named) {
                self::template(format, keys, notes);
            }
            if log.arguments.len() > 2 {
                notes.remark(
                    from,
                    "lines are buffered by the proxy, and every connection is logged",
                );
            }
        }
    }
}

/// Sets the template that says what a `log_format` does.
fn template(format: &Directive, keys: &mut Keys, notes: &mut Notes) {
    let mut texts: Vec<_> = format.texts().skip(1).collect();
    if let Some(escape) = texts.first().and_then(|text| text.strip_prefix("escape=")) {
        if escape == "json" {
            return keys.set("format", "json", &format.from);
        }
        texts.remove(0);
    }
    let whole = texts.concat();
    if whole.trim_start().starts_with('{') {
        notes.remark(
            &format.from,
            "lines of JSON have every field, by corelane's names",
        );
        return keys.set("format", "json", &format.from);
    }
    let mut template = String::new();
    let mut rest = &whole[..];
    let mut unknown = Vec::new();
    while let Some((before, after)) = rest.split_once('$') {
        template += &before.replace('{', "{{").replace('}', "}}");
        let after = after.strip_prefix('{').unwrap_or(after);
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let (name, after) = after.split_at(after.bytes().take_while(is_part).count());
        rest = after.strip_prefix('}').unwrap_or(after);
        match FIELDS.iter().find(|(known, _)| *known == name) {
            Some((_, field)) => template += field,
            None => {
                template.push('-');
                unknown.push(format!("${name}"));
            }
        }
    }
    template += &rest.replace('{', "{{").replace('}', "}}");
    if !unknown.is_empty() {
        notes.lose(
            &format.from,
            format!("no field says what {} do", unknown.join(", ")),
        );
    }
    notes.remark(&format.from, "`{client}` has the port, too, `{time}` is RFC 3339, and `{end}` says how it ended by two letters");
    keys.set("template", template, &format.from);
}

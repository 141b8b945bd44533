//! A configuration, written as one file.

mod health;
mod listener;
mod route;
mod runtime;
mod socket;
#[cfg(test)]
mod tests;
mod text;
mod upstream;

use sha2::{Digest, Sha256};

use self::text::{quoted, table};
use crate::config::Config;
use crate::sections::access_log::{AccessLog, Format};
use crate::sections::admin::Admin;
use crate::sections::listener::Listener;
use crate::sections::upstream::Upstream;
use crate::values::template::{Piece, Template};

/// Bytes of the digest that are shown: enough to tell configurations apart at a glance.
const HASH_BYTES: usize = 8;

impl Config {
    /// The text of one file that means the same: every value as it was understood, the defaults too. The same
    /// configuration is always the same text.
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# What runs: every value as it was understood, defaults included.\n\n");
        runtime::write(&mut text, &self.runtime);
        admin(&mut text, &self.admin);
        if let Some(log) = &self.access_log {
            access_log(&mut text, log);
        }
        for listener in &self.listeners {
            text += &self.listener_toml(listener);
        }
        for upstream in &self.upstreams {
            text += &self.upstream_toml(upstream);
        }
        text
    }

    /// The part of [`Config::to_toml`] that is one of its listeners.
    pub fn listener_toml(&self, listener: &Listener) -> String {
        let mut text = String::new();
        let name = |index| &self.upstream(index).name[..];
        listener::write(&mut text, listener, listener.upstream.map(name));
        for route in &listener.routes {
            route::write(&mut text, &listener.name, route, name);
        }
        text
    }

    /// The part of [`Config::to_toml`] that is one of its upstreams.
    pub fn upstream_toml(&self, upstream: &Upstream) -> String {
        let mut text = String::new();
        let fallback = upstream.balancing.fallback;
        let fallback = fallback.map(|index| &self.upstream(index).name[..]);
        upstream::write(&mut text, upstream, fallback);
        text
    }

    /// A fingerprint of what it means, wherever that was written: the same for the same configuration under the same
    /// version of the program. 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.to_toml());
        let digits = digest.iter().take(HASH_BYTES);
        digits.map(|byte| format!("{byte:02x}")).collect()
    }
}

fn admin(text: &mut String, admin: &Admin) {
    let mut values = vec![("listen", quoted(admin.listen))];
    if !admin.hosts.is_empty() {
        let hosts: Vec<_> = admin.hosts.iter().map(quoted).collect();
        values.push(("hosts", format!("[{}]", hosts.join(", "))));
    }
    if let Some(socket) = &admin.socket {
        values.push(("socket", quoted(socket.path.display())));
        values.push(("socket_mode", quoted(format_args!("{:04o}", socket.mode))));
        let group = socket.group.as_ref();
        values.extend(group.map(|group| ("socket_group", quoted(group))));
    }
    let path = |path: &std::path::Path| quoted(path.display());
    values.extend(
        admin
            .token_file
            .iter()
            .map(|file| ("token_file", path(file))),
    );
    if let Some(tls) = &admin.tls {
        values.push(("tls_certificate", path(&tls.certificate)));
        values.push(("tls_key", path(&tls.key)));
    }
    table(text, "[admin]", &values);
}

fn access_log(text: &mut String, log: &AccessLog) {
    let mut values = vec![("path", quoted(&log.destination))];
    match &log.format {
        Format::Json => values.push(("format", quoted("json"))),
        Format::Text(template) => values.extend([
            ("format", quoted("text")),
            ("template", quoted(written_template(template))),
        ]),
    }
    values.push(("queue", log.queue.to_string()));
    table(text, "[access_log]", &values);
}

fn written_template(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        Piece::Field(field) => format!("{{{field}}}"),
    };
    template.pieces().iter().map(piece).collect()
}

//! `[upstreams.NAME.health]`: asking servers whether they still work.

use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::choice::choices;
use crate::raw::node::Node;
use crate::raw::section::Section;
use crate::values::expected;
use crate::values::percent::Percent;
use crate::values::statuses::statuses;

/// The most steps of `expect`.
pub const EXPECT_STEPS_MAX: usize = 32;
/// The most lines of `headers`.
pub const HEADERS_MAX: usize = 16;
/// The most entries of `status`.
pub const STATUSES_MAX: usize = 32;

/// Statuses that pass unless `status` is written.
const STATUS_DEFAULT: RangeInclusive<u16> = 200..=399;

/// The options of an upstream's health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `type`, with what belongs to it: what a check is.
    pub check: Check,
    /// `interval`: how often each server is checked.
    pub interval: Duration,
    /// `fast_interval`: how long after a check the next one begins while a verdict may be about to change.
    pub fast_interval: Duration,
    /// `jitter`: the part of the interval by which checks are late at most.
    pub jitter: Percent,
    /// `timeout`: how long a server's address may take from the connect to the answer.
    pub timeout: Duration,
    /// `rise`: checks in a row that must pass until a server that is down is up.
    pub rise: NonZeroU32,
    /// `fall`: checks in a row that must fail until a server that is up is down.
    pub fall: NonZeroU32,
    /// `port`: another port at which servers are checked.
    pub port: Option<NonZeroU16>,
}

/// What a check is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A connect.
    Tcp,
    /// A request of HTTP.
    Http(HttpCheck),
    /// A handshake of TLS.
    Tls(TlsCheck),
    /// `expect`: steps of sending and expecting.
    Expect(Vec<ExpectStep>),
    /// The start of a session of PostgreSQL.
    Postgres {
        /// `user`.
        user: String,
    },
    /// The start of a session of MySQL or MariaDB.
    Mysql {
        /// `user`.
        user: String,
    },
    /// Redis' PING.
    Redis,
}

choices! {
    /// The type of a check; displayed as it is written.
    pub enum CheckType {
        /// [`Check::Tcp`].
        Tcp = "tcp",
        /// [`Check::Http`].
        Http = "http",
        /// [`Check::Tls`].
        Tls = "tls",
        /// [`Check::Expect`].
        Expect = "expect",
        /// [`Check::Postgres`].
        Postgres = "postgres",
        /// [`Check::Mysql`].
        Mysql = "mysql",
        /// [`Check::Redis`].
        Redis = "redis",
    }
}

/// `http`: a request, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// `method`.
    pub method: String,
    /// `path`.
    pub path: String,
    /// `host`: absent: the server's address.
    pub host: Option<String>,
    /// `headers`: lines without their ends.
    pub headers: Vec<String>,
    /// `status`: statuses that pass.
    pub status: Vec<RangeInclusive<u16>>,
    /// `body` or `body_regex`: what must be in the body.
    pub body: Option<Expected>,
}

/// `tls`: how a certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsCheck {
    /// `verify`: whether it must be valid.
    pub verify: bool,
    /// `ca`: who is trusted, a file in PEM; absent: whoever the system trusts.
    pub ca: Option<PathBuf>,
    /// `server_name`: absent: the server's address.
    pub server_name: Option<String>,
}

/// A step of `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectStep {
    /// `send`, `send_hex`: bytes that are sent.
    Send(Vec<u8>),
    /// `expect`, `expect_hex`, `expect_regex`: what is waited for.
    Expect(Expected),
}

/// What is looked for in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What a regular expression matches, one that compiles within
    /// [`REGEX_MEMORY_MAX`](crate::REGEX_MEMORY_MAX).
    Regex(String),
}

impl Check {
    /// Its type.
    pub fn kind(&self) -> CheckType {
        match self {
            Self::Tcp => CheckType::Tcp,
            Self::Http(_) => CheckType::Http,
            Self::Tls(_) => CheckType::Tls,
            Self::Expect(_) => CheckType::Expect,
            Self::Postgres { .. } => CheckType::Postgres,
            Self::Mysql { .. } => CheckType::Mysql,
            Self::Redis => CheckType::Redis,
        }
    }

    /// Whether it can tell what a server is, not only that somebody is there: a server that fails it must get no connection.
    pub fn knows_role(&self) -> bool {
        !matches!(self, Self::Tcp | Self::Tls(_))
    }
}

/// Reads the section of an upstream, if it is written.
pub(crate) fn read(upstream: &mut Section<'_>) -> Option<Health> {
    upstream.optional_section("health", read_section)
}

pub(crate) fn read_section(section: &mut Section<'_>) -> Health {
    let interval = section.value("interval");
    Health {
        interval,
        fast_interval: section.optional("fast_interval").unwrap_or(interval),
        jitter: section.value("jitter"),
        timeout: section.value("timeout"),
        rise: section.value("rise"),
        fall: section.value("fall"),
        port: section.optional("port"),
        check: read_check(section),
    }
}

fn read_check(section: &mut Section<'_>) -> Check {
    let kind = section.value("type");
    for (key, owners) in [
        ("http", &[CheckType::Http][..]),
        ("expect", &[CheckType::Expect]),
        ("tls", &[CheckType::Tls]),
        ("user", &[CheckType::Postgres, CheckType::Mysql]),
    ] {
        if !owners.contains(&kind)
            && let Some(node) = section.node(key)
        {
            let owners: Vec<_> = owners.iter().map(|owner| format!("\"{owner}\"")).collect();
            let (path, owners) = (node.path().to_owned(), owners.join(" or "));
            node.report(format!(
                "`{path}` needs type = {owners}, and this is \"{kind}\""
            ));
        }
    }
    let is = |wanted| kind == wanted;
    let http = is(CheckType::Http).then(|| section.section("http", read_http));
    let tls = is(CheckType::Tls).then(|| section.section("tls", read_tls));
    let steps = is(CheckType::Expect).then(|| {
        if section.node("expect").is_none() {
            section.miss("expect");
        }
        let nodes = section.elements("expect");
        nodes.into_iter().filter_map(read_step).collect()
    });
    let written = section
        .node("user")
        .and_then(|node| node.read(expected::user));
    let user = || written.unwrap_or_else(|| section.text_default("user"));
    match kind {
        CheckType::Tcp => Check::Tcp,
        CheckType::Http => http.map_or(Check::Tcp, Check::Http),
        CheckType::Tls => tls.map_or(Check::Tcp, Check::Tls),
        CheckType::Expect => Check::Expect(steps.unwrap_or_default()),
        CheckType::Postgres => Check::Postgres { user: user() },
        CheckType::Mysql => Check::Mysql { user: user() },
        CheckType::Redis => Check::Redis,
    }
}

fn read_http(section: &mut Section<'_>) -> HttpCheck {
    let method = text(section, "method", expected::method);
    let path = text(section, "path", expected::path);
    let headers = section.elements("headers");
    let headers = headers
        .iter()
        .filter_map(|node| node.read(expected::header));
    let headers = headers.collect();
    let written = section.elements("status");
    let mut status: Vec<_> = written
        .iter()
        .filter_map(|node| node.read(statuses))
        .collect();
    if status.is_empty() {
        status.push(STATUS_DEFAULT);
    }
    let regex = section.node("body_regex");
    if let Some(body) = section.node("body").filter(|_| regex.is_some()) {
        let path = body.path().to_owned();
        body.report(format!(
            "`{path}` and `body_regex` say the same: write one of them"
        ));
    }
    let host = section
        .node("host")
        .and_then(|node| node.read(expected::host));
    let body = section
        .node("body")
        .and_then(|node| node.read(expected::text));
    let regex = regex.and_then(|node| node.read(expected::regex));
    HttpCheck {
        method: method.unwrap_or_else(|| section.text_default("method")),
        path: path.unwrap_or_else(|| section.text_default("path")),
        host,
        headers,
        status,
        body: body.map(Expected::Bytes).or(regex.map(Expected::Regex)),
    }
}

fn read_tls(section: &mut Section<'_>) -> TlsCheck {
    TlsCheck {
        verify: section.value("verify"),
        ca: text(section, "ca", expected::absolute_path),
        server_name: text(section, "server_name", expected::server_name),
    }
}

/// None if it says nothing, or several things.
fn read_step(node: Node<'_>) -> Option<ExpectStep> {
    let (path, place, findings) = (
        node.path().to_owned(),
        node.place().at,
        node.context.findings,
    );
    let (written, step) = node.section(|section| {
        let mut written = 0;
        let mut node = |name| {
            let node = section.node(name);
            written += usize::from(node.is_some());
            node
        };
        let [send, send_hex, expect, expect_hex, expect_regex] =
            ["send", "send_hex", "expect", "expect_hex", "expect_regex"].map(&mut node);
        let bytes = |text: Option<Node<'_>>, hex: Option<Node<'_>>| {
            let text = text.and_then(|node| node.read(expected::text));
            text.or_else(|| hex.and_then(|node| node.read(expected::hex)))
        };
        let sent = bytes(send, send_hex).map(ExpectStep::Send);
        let bytes = bytes(expect, expect_hex).map(Expected::Bytes);
        let regex = expect_regex.and_then(|node| node.read(expected::regex));
        let awaited = bytes.or(regex.map(Expected::Regex));
        (written, sent.or(awaited.map(ExpectStep::Expect)))
    });
    if written != 1 {
        findings.add(
            place,
            Some(path.clone()),
            format!(
                "`{path}` must say one thing: send, send_hex, expect, expect_hex or expect_regex"
            ),
        );
        return None;
    }
    step
}

fn text<T>(
    section: &mut Section<'_>,
    name: &'static str,
    read: impl FnOnce(&DeValue<'_>) -> Result<T, Refusal>,
) -> Option<T> {
    section.node(name).and_then(|node| node.read(read))
}

//! Which requests may see clients' addresses.
//!
//! A web page that a browser has open can point its own name at the admin server's address (DNS rebinding), and then
//! read here as if this were its own server. So the name that a request asks for must be one that no stranger
//! controls: an IP address, `localhost`, a name without a dot (public DNS has none), this machine's own, or one of
//! `[admin] hosts`. Nor may another site's page ask ([`CROSS_SITE`]), though browsers don't show it the answer anyway.
//!
//! `/healthz` and `/readyz` reveal nothing about clients, so they answer to every name. `/metrics` is too, unless the server listens
//! on loopback: Prometheus often scrapes by a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Request, Version};

/// What browsers say of the page that asks, which no page can change (Fetch Metadata Request Headers, W3C).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A following of a link is no asking by another site: its user sees the answer, and the site doesn't.
const NAVIGATION: &str = "navigate";

const CROSS_SITE: &str = "another site's page asks for this; open it by itself\n";
const NO_HOST: &str = "a request of HTTP/1.1 has one header `Host`\n";

/// The longest name that is repeated in an answer and in the log, in characters.
const SHOWN_MAX: usize = 100;

/// The names that the admin server answers to.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// In lower case.
    names: Vec<String>,
    /// Every name is one of ours.
    any: bool,
    /// It listens on loopback.
    is_local: bool,
    /// A name was refused, which the log says once.
    refused: AtomicBool,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It isn't as HTTP wants it.
    Malformed(&'static str),
    /// The asker may not see it.
    Forbidden(String),
}

impl Hosts {
    /// Those of the configuration, where `*` is every name, and this machine's own; the server listens on `listen`.
    pub(crate) fn new(configured: &[String], listen: IpAddr) -> Self {
        let own = rustix::system::uname();
        let own = own.nodename().to_string_lossy().into_owned();
        let names = configured.iter().cloned().chain([own]);
        Self {
            names: names.map(|name| canonical(&name)).collect(),
            any: configured.iter().any(|name| name == "*"),
            is_local: listen.to_canonical().is_loopback(),
            refused: AtomicBool::new(false),
        }
    }

    /// Whether a request may have its answer.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let host = host_of(request)?;
        let path = request.uri().path();
        let is_open = match path {
            "/healthz" | "/readyz" => true,
            "/metrics" => !self.is_local,
            _ => false,
        };
        if is_open {
            return Ok(());
        }
        if let Some(host) = host
            && !self.knows(name_of(host))
        {
            let host: String = host.chars().take(SHOWN_MAX).collect();
            if !self.refused.swap(true, Relaxed) {
                tracing::warn!(
                    host,
                    path,
                    "refused a request for a name that is not this server's; if it is, write it into [admin] hosts. It is \
                     said once"
                );
            }
            return Err(Refusal::Forbidden(format!(
                "{path} is not for the name {host:?}, which a stranger may have given this address; ask by the IP address, \
                 or write hosts = [{:?}] into [admin]\n",
                name_of(&host)
            )));
        }
        if is_cross_site(request.headers(), host) {
            return Err(Refusal::Forbidden(CROSS_SITE.to_owned()));
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        let name = canonical(name);
        let address = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        self.any
            || name.parse::<Ipv4Addr>().is_ok()
            || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || name.ends_with(".localhost")
            || !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            || self.names.contains(&name)
    }
}

/// The name and port that a request is for; none by HTTP/1.0, where it may be left out: no browser does.
fn host_of<B>(request: &Request<B>) -> Result<Option<&str>, Refusal> {
    let mut headers = request.headers().get_all(HOST).iter();
    let (first, second) = (headers.next(), headers.next());
    if second.is_some() {
        return Err(Refusal::Malformed(NO_HOST));
    }
    // What stands in the request's line comes before the header (RFC 9112, 3.2.2).
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    match first {
        Some(host) => host
            .to_str()
            .map(Some)
            .map_err(|_| Refusal::Malformed(NO_HOST)),
        None if request.version() < Version::HTTP_11 => Ok(None),
        None => Err(Refusal::Malformed(NO_HOST)),
    }
}

/// The name without the port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_suffix('.') {
        Some(rest) => rest.to_owned(),
        None => name,
    }
}

/// Whether a browser asks for another site's page.
fn is_cross_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let navigates = text(&SEC_FETCH_MODE) == Some(NAVIGATION);
    let elsewhere = matches!(text(&SEC_FETCH_SITE), Some("cross-site" | "same-site"));
    let foreign = text(&ORIGIN).is_some_and(|origin| {
        let (_, authority) = origin.split_once("://").unwrap_or_default();
        host.is_none_or(|host| !authority.eq_ignore_ascii_case(host))
    });
    foreign || elsewhere && !navigates
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const EVERY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    fn passes(hosts: &Hosts, path: &str, headers: &[(&str, &str)]) -> bool {
        hosts.check(&request(path, headers)).is_ok()
    }

    #[test]
    fn names_that_no_stranger_has_are_known() {
        let hosts = Hosts::new(&["Corelane.example".to_owned()], LOOPBACK);
        for name in [
            "127.0.0.1:9600",
            "10.0.0.1",
            "[::1]:9600",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:9600",
            "a.localhost",
            "localhost.",
            "corelane",
            "corelane_1:9600",
            "corelane.example:9600",
            "CORELANE.example.",
        ] {
            assert!(passes(&hosts, "/connections", &[("host", name)]), "{name}");
        }
        for name in [
            "evil.example",
            "evil.example:9600",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notcorelane.example",
            "a.corelane.example",
            "corelane.example.evil",
            "",
            ":9600",
            "[::1",
            "127.0.0.1@evil.example",
        ] {
            assert!(!passes(&hosts, "/connections", &[("host", name)]), "{name}");
        }
        let any = Hosts::new(&["*".to_owned()], LOOPBACK);
        assert!(passes(&any, "/connections", &[("host", "evil.example")]));
    }

    #[test]
    fn who_scrapes_by_name_is_served_unless_it_is_on_loopback() {
        let name = [("host", "corelane.example:9600")];
        for (listen, metrics) in [(LOOPBACK, false), (EVERY, true)] {
            let hosts = Hosts::new(&[], listen);
            assert_eq!(passes(&hosts, "/metrics", &name), metrics, "{listen}");
            assert!(passes(&hosts, "/healthz", &name) && passes(&hosts, "/readyz", &name));
            for path in ["/", "/state", "/events", "/config", "/connections"] {
                assert!(!passes(&hosts, path, &name), "{path}");
            }
        }
    }

    #[test]
    fn a_host_is_there_once_unless_it_is_http_1_0() {
        let hosts = Hosts::new(&[], LOOPBACK);
        assert!(!passes(&hosts, "/healthz", &[]));
        let mut old = request("/connections", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(hosts.check(&old), Ok(()));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert!(!passes(&hosts, "/connections", &twice));
        let absolute = "http://evil.example/connections";
        assert!(!passes(&hosts, absolute, &[("host", "localhost")]));
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_links_from_them_are_not() {
        let hosts = Hosts::new(&[], LOOPBACK);
        let asks = |more: &[(&str, &str)]| {
            let mut headers = vec![("host", "localhost:9600")];
            headers.extend(more);
            passes(&hosts, "/connections", &headers)
        };
        assert!(asks(&[("sec-fetch-site", "same-origin")]));
        assert!(asks(&[
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate")
        ]));
        assert!(asks(&[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate")
        ]));
        assert!(!asks(&[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors")
        ]));
        assert!(!asks(&[
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "cors")
        ]));
        assert!(asks(&[("origin", "http://localhost:9600")]));
        assert!(!asks(&[("origin", "http://localhost:3000")]));
        assert!(!asks(&[("origin", "https://evil.example")]));
        assert!(!asks(&[("origin", "null")]));
    }
}

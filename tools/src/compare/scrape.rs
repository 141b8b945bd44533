//! Reading a live proxy's /metrics.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proxy_state::client::{self, Question};

/// How long each step to a live proxy's answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One page of metrics.
pub(super) struct Page(String);

impl Page {
    /// Asks `admin`, the address of a configuration's admin server; by TLS where its certificate is given, in PEM.
    ///
    /// # Errors
    /// When nobody answers, or something else than metrics.
    pub(super) fn fetch(admin: SocketAddr, certificate: Option<&[u8]>) -> io::Result<Self> {
        let question = Question {
            method: "GET".to_owned(),
            path: "/metrics".to_owned(),
            ..Question::default()
        };
        let authority = reachable(admin).to_string();
        let answer = client::ask_tcp(&authority, certificate, &question, PATIENCE)?;
        if answer.status != 200 || !answer.body.contains("\ncorelane_") {
            return Err(io::Error::other("what answers there is no corelane"));
        }
        Ok(Self(answer.body))
    }

    #[cfg(test)]
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The sum of the series of `name` that have this label's value, or of all.
    pub(super) fn sum(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        let wanted = label.map(|(label, value)| format!("{label}=\"{value}\""));
        let has = |labels: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| labels.split(',').any(|pair| pair == wanted))
        };
        self.series(name)
            .filter(|(labels, _)| has(labels))
            .map(|(_, value)| value)
            .sum()
    }

    /// The values of a label among the series of `name`, in their order.
    pub(super) fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let mut values: Vec<&str> = Vec::new();
        for (labels, _) in self.series(name) {
            let value = labels.split(',').find_map(|pair| {
                let (found, value) = pair.split_once('=')?;
                (found == label).then(|| value.trim_matches('"'))
            });
            values.extend(value.filter(|value| !values.contains(value)));
        }
        values
    }

    /// Labels, as they are written, and value. Names of listeners have neither commas nor quotes.
    fn series(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.parse().ok()?))
        })
    }
}

/// An address that listens everywhere is asked on loopback.
fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_label() {
        let page = Page::new(
            "# HELP a Things.\na{core=\"0\",direction=\"in\"} 3\na{core=\"1\",direction=\"in\"} 4\nab 9\nc 1e3\n",
        );
        assert_eq!(page.sum("a", None), 7.0);
        assert_eq!(page.sum("a", Some(("core", "1"))), 4.0);
        assert_eq!(page.sum("c", None), 1000.0);
        assert_eq!(page.sum("d", None), 0.0);
        assert_eq!(page.values("a", "core"), ["0", "1"]);
        assert_eq!(page.values("a", "direction"), ["in"]);
    }
}

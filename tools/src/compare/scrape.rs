//! Reading a live proxy's /metrics.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a live proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest page that is read: 16 MiB, some ten times what the largest configuration makes.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// One page of metrics.
pub(super) struct Page(String);

impl Page {
    /// Asks `admin`, the address of a configuration's admin server.
    ///
    /// # Errors
    /// When nobody answers, or something else than metrics.
    pub(super) fn fetch(admin: SocketAddr) -> io::Result<Self> {
        let address = reachable(admin);
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer)?;
        let is_ours = answer.starts_with("HTTP/1.1 200 ") && answer.contains("\ncorelane_");
        if !is_ours {
            return Err(io::Error::other("what answers there is no corelane"));
        }
        Ok(Self(answer))
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

//! Where an admin server is.

/// The port of an address that names none.
const PORT_DEFAULT: u16 = 9600;

/// An admin server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// With the port.
    authority: String,
}

impl Authority {
    /// Of `http://HOST:PORT`; scheme and port may be left out.
    ///
    /// # Errors
    /// When it is another scheme, or no host.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        anyhow::ensure!(
            !rest.contains("://"),
            "{url}: the admin server speaks plain http://; write http://HOST:PORT"
        );
        let authority = rest.split('/').next().unwrap_or_default();
        // The port follows the last colon, unless that is one of an IPv6 address in brackets.
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        let host = if has_port {
            authority.rsplit_once(':').map_or("", |(host, _)| host)
        } else {
            authority
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        anyhow::ensure!(
            !bare.is_empty() && !bare.contains(odd) && (host != bare || !bare.contains(':')),
            "{url}: no address of an admin server; write http://HOST:PORT, with an IPv6 address in brackets"
        );
        Ok(Self {
            authority: if has_port {
                authority.to_owned()
            } else {
                format!("{authority}:{PORT_DEFAULT}")
            },
        })
    }

    /// Written in full.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Whether it is an address of loopback, or that one's name.
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let ip: Option<std::net::IpAddr> = bare.parse().ok();
        bare == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
    }

    /// As a request names it: HOST:PORT.
    pub fn as_str(&self) -> &str {
        &self.authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        // What is written, and what is asked.
        let table = [
            ("http://127.0.0.1:9600", "127.0.0.1:9600"),
            ("http://proxy.example/", "proxy.example:9600"),
            ("proxy.example:80/metrics", "proxy.example:80"),
            ("http://[::1]:9700", "[::1]:9700"),
            ("[::1]", "[::1]:9600"),
            ("localhost", "localhost:9600"),
        ];
        for (written, authority) in table {
            let target = Authority::parse(written).expect(written);
            assert_eq!(target.authority, authority, "{written}");
        }
        for written in [
            "https://a:1",
            "",
            "http://",
            "http://:80",
            "::1",
            "a b:1",
            "user@host:1",
            "a:1\r\nx",
        ] {
            assert!(Authority::parse(written).is_err(), "{written:?}");
        }
    }
}

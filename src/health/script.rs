//! From the configuration of checks to what they say.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use proxy_checks::{ExpectStep, HttpScript, Pattern, Script, TlsScript, TlsTrust};
use proxy_config::{self as config, Check};

/// The most bytes of a file of certificates.
const CA_BYTES_MAX: u64 = 4 << 20;

/// What is said to the servers of an upstream.
pub(super) enum Saying {
    /// Nothing: a connect is all.
    Nothing,
    /// The same to each.
    Same(Script),
    /// A request that names the server, where no host is configured.
    Http(Box<HttpScript>),
    /// A handshake, of this name or that of the server.
    Tls {
        trust: TlsTrust,
        /// The file of those who are trusted.
        pem: Option<Vec<u8>>,
        name: Option<String>,
    },
}

/// What is said to one server.
#[derive(Clone)]
pub(super) enum Said {
    Nothing,
    Script(Script),
    /// Why it can't be asked.
    Never(String),
}

impl Saying {
    /// What a check of this configuration says.
    ///
    /// # Errors
    /// What is wrong with it that the configuration can't know.
    pub(super) fn new(check: &Check) -> io::Result<Self> {
        Ok(match check {
            Check::Tcp => Self::Nothing,
            Check::Tls(check) => {
                let (trust, pem) = trust(check)?;
                Self::Tls {
                    trust,
                    pem,
                    name: check.server_name.clone(),
                }
            }
            Check::Http(check) => Self::http(check)?,
            Check::Expect(steps) => {
                let steps: io::Result<Arc<[_]>> = steps.iter().map(step).collect();
                Self::Same(Script::Expect(steps?))
            }
            Check::Postgres { user } => Self::Same(Script::Postgres {
                user: user.as_str().into(),
            }),
            Check::Mysql { user } => Self::Same(Script::Mysql {
                user: user.as_str().into(),
            }),
            Check::Redis => Self::Same(Script::Redis),
        })
    }

    /// Whether it says the same as another one of the same configuration: files may have changed.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tls { pem, .. }, Self::Tls { pem: others, .. }) => pem == others,
            _ => true,
        }
    }

    fn http(check: &config::HttpCheck) -> io::Result<Self> {
        let script = HttpScript {
            method: check.method.clone(),
            path: check.path.clone(),
            host: check.host.clone().unwrap_or_default(),
            headers: check.headers.clone(),
            status: check.status.clone(),
            body: check.body.as_ref().map(pattern).transpose()?,
        };
        Ok(match check.host {
            Some(_) => Self::Same(Script::Http(script.into())),
            None => Self::Http(script.into()),
        })
    }

    /// What is said to a server of this address, at this port if it is another one.
    pub(super) fn to(&self, address: &config::ServerAddress, port: Option<u16>) -> Said {
        match self {
            Self::Nothing => Said::Nothing,
            Self::Same(script) => Said::Script(script.clone()),
            Self::Http(script) => {
                let script = HttpScript {
                    host: host(address, port),
                    ..(**script).clone()
                };
                Said::Script(Script::Http(script.into()))
            }
            Self::Tls { trust, name, .. } => {
                let name = name.clone().unwrap_or_else(|| name_of(address));
                match TlsScript::new(trust, &name) {
                    Ok(script) => Said::Script(Script::Tls(script)),
                    Err(error) => Said::Never(error.to_string()),
                }
            }
        }
    }
}

/// Whose certificates pass, and the file that says it.
fn trust(check: &config::TlsCheck) -> io::Result<(TlsTrust, Option<Vec<u8>>)> {
    if !check.verify {
        return Ok((TlsTrust::anybody(), None));
    }
    let Some(path) = &check.ca else {
        let system = TlsTrust::of_system().map_err(io::Error::other)?;
        return Ok((system, None));
    };
    let named = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("the file of `ca`, {}: {error}", path.display()))
    };
    let pem = read(path).map_err(|error| named(&error))?;
    let trust = TlsTrust::of(&pem).map_err(|error| named(&error))?;
    Ok((trust, Some(pem)))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    let file = File::open(path)?;
    file.take(CA_BYTES_MAX + 1).read_to_end(&mut pem)?;
    if pem.len() as u64 > CA_BYTES_MAX {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(pem)
}

/// The name that the certificate of a server must have.
fn name_of(address: &config::ServerAddress) -> String {
    match address {
        config::ServerAddress::Socket(address) => address.ip().to_string(),
        config::ServerAddress::Name { host, .. } => host.clone(),
        _ => "localhost".to_owned(),
    }
}

/// The value of `Host` for a server.
fn host(address: &config::ServerAddress, port: Option<u16>) -> String {
    match (address, port) {
        (config::ServerAddress::Socket(address), Some(port)) => {
            let mut address = *address;
            address.set_port(port);
            address.to_string()
        }
        (config::ServerAddress::Name { host, .. }, Some(port)) => format!("{host}:{port}"),
        (config::ServerAddress::Socket(_) | config::ServerAddress::Name { .. }, None) => {
            address.to_string()
        }
        _ => "localhost".to_owned(),
    }
}

fn step(step: &config::ExpectStep) -> io::Result<ExpectStep> {
    Ok(match step {
        config::ExpectStep::Send(bytes) => ExpectStep::Send(bytes.as_slice().into()),
        config::ExpectStep::Expect(expected) => ExpectStep::Expect(pattern(expected)?),
    })
}

fn pattern(expected: &config::ExpectedAnswer) -> io::Result<Pattern> {
    match expected {
        config::ExpectedAnswer::Bytes(bytes) => Ok(Pattern::bytes(bytes.as_slice())),
        config::ExpectedAnswer::Regex(text) => Pattern::regex(text).map_err(io::Error::other),
    }
}

//! What each path of the API is, and what can be done there.

use std::borrow::Cow;

use hyper::Method;

use super::query::{BadRequest, decoded};
use super::rows::connections;

/// Where all paths begin.
pub(crate) const PREFIX: &str = "/api/v1/";

/// A path that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// `status`
    Status,
    /// `openapi.json`
    OpenApi,
    /// `upstreams`
    Upstreams,
    /// `servers`
    Servers,
    /// `listeners`
    Listeners,
    /// `connections`
    Connections,
    /// `schedulers`
    Schedulers,
    /// `config`
    Config,
    /// `config/difference`
    Difference,
    /// `events`
    Events,
    /// `reload`
    Reload,
    /// `upgrade`
    Upgrade,
    /// `servers/{upstream}`
    ServersOf(Cow<'p, str>),
    /// `servers/{upstream}/{server}`
    Server(Cow<'p, str>, Cow<'p, str>),
    /// `listeners/{listener}`
    Listener(Cow<'p, str>),
    /// `connections/{id}`
    Connection(u64),
    /// `log`
    Log,
}

impl<'p> Route<'p> {
    /// The one of a path; none: there is no such path.
    ///
    /// # Errors
    /// When its escapes are not UTF-8.
    pub(crate) fn of(path: &'p str) -> Result<Option<Self>, BadRequest> {
        let Some(rest) = path.strip_prefix(PREFIX) else {
            return Ok(None);
        };
        let parts: Vec<_> = rest.split('/').collect();
        Ok(Some(match parts[..] {
            ["status"] => Self::Status,
            ["openapi.json"] => Self::OpenApi,
            ["upstreams"] => Self::Upstreams,
            ["servers"] => Self::Servers,
            ["servers", upstream] => Self::ServersOf(decoded(upstream)?),
            ["servers", upstream, server] => Self::Server(decoded(upstream)?, decoded(server)?),
            ["listeners"] => Self::Listeners,
            ["listeners", listener] => Self::Listener(decoded(listener)?),
            ["connections"] => Self::Connections,
            ["connections", id] => match number(id) {
                Some(id) => Self::Connection(id),
                None => return Ok(None),
            },
            ["log"] => Self::Log,
            ["schedulers"] => Self::Schedulers,
            ["config"] => Self::Config,
            ["config", "difference"] => Self::Difference,
            ["events"] => Self::Events,
            ["reload"] => Self::Reload,
            ["upgrade"] => Self::Upgrade,
            _ => return Ok(None),
        }))
    }

    /// What can be done there.
    pub(crate) fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        const DO: &[Method] = &[Method::POST];
        const READ_OR_ADD: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
        const READ_OR_CHANGE: &[Method] = &[Method::GET, Method::HEAD, Method::PATCH];
        const ANY: &[Method] = &[Method::GET, Method::HEAD, Method::PATCH, Method::DELETE];
        match self {
            Self::Reload | Self::Upgrade => DO,
            Self::ServersOf(_) => READ_OR_ADD,
            Self::Server(..) | Self::Connection(_) => ANY,
            Self::Listener(_) | Self::Schedulers | Self::Log => READ_OR_CHANGE,
            _ => READ,
        }
    }

    /// The parameters that a request of a method may have.
    pub(crate) fn parameters(&self, method: &Method) -> &'static [&'static str] {
        let deletes = *method == Method::DELETE;
        match self {
            Self::Connections => connections::PARAMETERS,
            Self::Servers => &["upstream"],
            Self::Events => &["after", "limit"],
            Self::Reload => &["check", "nowait"],
            Self::Upgrade => &["binary"],
            Self::Server(..) if deletes => &["write"],
            Self::Connection(_) if deletes => &["reset"],
            _ => &[],
        }
    }
}

/// Digits, and nothing else.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_their_escapes() {
        let server = Route::Server("web".into(), "unix:/run/a.sock".into());
        for (path, route) in [
            ("/api/v1/servers", Some(Route::Servers)),
            ("/api/v1/servers/web", Some(Route::ServersOf("web".into()))),
            ("/api/v1/servers/web/unix:%2Frun%2Fa.sock", Some(server)),
            ("/api/v1/servers/web/unix:/run/a.sock", None),
            ("/api/v1/connections/7", Some(Route::Connection(7))),
            ("/api/v1/connections/+7", None),
            ("/api/v1/connections/x", None),
            ("/api/v1/", None),
            ("/api/v1/servers/", Some(Route::ServersOf("".into()))),
            ("/api/v2/servers", None),
        ] {
            assert_eq!(Route::of(path), Ok(route), "{path}");
        }
        assert!(Route::of("/api/v1/servers/%ff").is_err());
    }
}

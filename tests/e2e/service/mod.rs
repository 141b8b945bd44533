//! The real services. Each test starts its own, as a child process on a free port, so that tests run in
//! parallel, in one process or in many, and leave nothing behind.

#[allow(dead_code, reason = "the tests of the resolver say more with it")]
pub(crate) mod dns;
pub(crate) mod haproxy;
pub(crate) mod iperf;
#[allow(dead_code, reason = "the tests of the source say more with it")]
pub(crate) mod kubernetes;
pub(crate) mod mariadb;
pub(crate) mod nginx;
pub(crate) mod post_quantum;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod redis;
pub(crate) mod scripted_http;
pub(crate) mod tls;

//! What health checks say to servers, and what they expect to hear: machines without sockets and without a clock.
//!
//! A [`Script`] is what is configured. A [`Dialogue`] is one check by it: the caller sends its output, gives it what it
//! receives in whatever pieces, and hears whether the server has passed.

pub mod agent;
mod dialogue;
mod expect;
mod http;
mod mysql;
mod pattern;
mod postgres;
mod progress;
mod redis;
mod reply;
mod tls;

pub use dialogue::{ANSWER_BYTES_MAX, Dialogue, Script};
pub use expect::ExpectStep;
pub use http::HttpScript;
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use progress::Progress;
pub use tls::{TlsError, TlsScript, TlsTrust};

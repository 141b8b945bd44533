//! Reference relays: each is one idea of how a proxy could move bytes, with nothing around it. No timeouts, no
//! limits, no metrics; a relay stops when its process is killed. They say what an idea costs, not how to build.

mod compio;
mod copy;
mod echo;
mod epoll;
mod glommio;
mod monoio;
mod poll_ring;
mod pool;
mod readiness;
mod recv_ring;
mod service;
mod socket;
mod sys;

use std::io;
use std::str::FromStr;

pub use self::echo::{Echo, run as echo};
pub use self::service::Service;
use crate::service::Post;

/// A relay, by its idea.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relay {
    /// `tokio::io::copy_bidirectional` on a current-thread runtime.
    Tokio,
    /// The same on a work-stealing runtime of one worker.
    TokioMulti,
    /// Glommio's own `TcpStream`.
    Glommio,
    /// Monoio on epoll.
    MonoioEpoll,
    /// Monoio on an `io_uring`.
    MonoioUring,
    /// Compio, on an `io_uring`.
    Compio,
    /// Edge-triggered epoll, recv and send (candidate a).
    Epoll,
    /// Multishot `POLL_ADD` in an `io_uring`, recv and send (candidate b).
    PollRing,
    /// Multishot recv into provided buffers, sends by the ring (candidate c).
    RecvRing,
    /// The same with incrementally consumed buffers: small messages lie side by side.
    RecvRingInc,
    /// The same, but sends are system calls; the ring gets what a socket has no room for.
    RecvRingCall,
}

impl Relay {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Tokio,
        Self::TokioMulti,
        Self::Glommio,
        Self::MonoioEpoll,
        Self::MonoioUring,
        Self::Compio,
        Self::Epoll,
        Self::PollRing,
        Self::RecvRing,
        Self::RecvRingInc,
        Self::RecvRingCall,
    ];

    /// The name by which the harness and its tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::TokioMulti => "tokio-multi",
            Self::Glommio => "glommio",
            Self::MonoioEpoll => "monoio-epoll",
            Self::MonoioUring => "monoio-uring",
            Self::Compio => "compio",
            Self::Epoll => "epoll",
            Self::PollRing => "poll-ring",
            Self::RecvRing => "recv-ring",
            Self::RecvRingInc => "recv-ring-inc",
            Self::RecvRingCall => "recv-ring-call",
        }
    }

    /// The library that does the relaying, where it isn't this one.
    pub fn library(self) -> Option<&'static str> {
        match self {
            Self::Tokio | Self::TokioMulti => Some("tokio"),
            Self::Glommio => Some("glommio-ng"),
            Self::MonoioEpoll | Self::MonoioUring => Some("monoio"),
            Self::Compio => Some("compio"),
            Self::Epoll
            | Self::PollRing
            | Self::RecvRing
            | Self::RecvRingInc
            | Self::RecvRingCall => None,
        }
    }
}

impl FromStr for Relay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|relay| relay.name() == text)
            .ok_or_else(|| format!("no relay {text:?}"))
    }
}

/// Runs `relay` for `services`, on the calling thread, until the process is killed.
///
/// # Errors
/// Those of setting up, more services than the relay can among them; a connection's own errors end that
/// connection alone.
pub fn run(relay: Relay, services: &[Service]) -> io::Result<()> {
    let settings = recv_ring::Settings {
        incremental: true,
        ring_sends: true,
    };
    let posts: Vec<Post> = services.iter().copied().map(Post::from).collect();
    match relay {
        Relay::Tokio => copy::run_current_thread(&posts),
        Relay::TokioMulti => copy::run_stealing(1, &posts),
        Relay::Glommio => glommio::run(&posts),
        Relay::MonoioEpoll => monoio::run_epoll(&posts),
        Relay::MonoioUring => monoio::run_uring(&posts),
        Relay::Compio => compio::run(&posts),
        Relay::Epoll => epoll::run(only(relay, services)?),
        Relay::PollRing => poll_ring::run(only(relay, services)?),
        Relay::RecvRing => recv_ring::run(
            only(relay, services)?,
            recv_ring::Settings {
                incremental: false,
                ..settings
            },
        ),
        Relay::RecvRingInc => recv_ring::run(only(relay, services)?, settings),
        Relay::RecvRingCall => recv_ring::run(
            only(relay, services)?,
            recv_ring::Settings {
                ring_sends: false,
                ..settings
            },
        ),
    }
}

/// The one service of a relay that has one listener: the candidates are about sockets, not about listeners.
fn only(relay: Relay, services: &[Service]) -> io::Result<Service> {
    match *services {
        [service] => Ok(service),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} relays one service, not {}",
                relay.name(),
                services.len()
            ),
        )),
    }
}

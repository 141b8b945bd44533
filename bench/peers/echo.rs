//! Echo servers on the libraries' streams: the same as their relays, without a second socket.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::service::Post;
use crate::{compio, copy, glommio, monoio};

/// An echo server, by its runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Echo {
    /// Tokio's work stealing, with one listener.
    Tokio,
    /// The same with a listener a worker, at one address.
    TokioReusePort,
    /// A current-thread runtime of Tokio's a worker.
    TokioPerCore,
    /// Monoio on epoll.
    MonoioEpoll,
    /// Monoio on an `io_uring`.
    MonoioUring,
    /// Glommio's own streams.
    Glommio,
    /// Compio, on an `io_uring`.
    Compio,
}

impl Echo {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Tokio,
        Self::TokioReusePort,
        Self::TokioPerCore,
        Self::MonoioEpoll,
        Self::MonoioUring,
        Self::Glommio,
        Self::Compio,
    ];

    /// The name by which the harness and its tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "echo-tokio",
            Self::TokioReusePort => "echo-tokio-reuseport",
            Self::TokioPerCore => "echo-tokio-per-core",
            Self::MonoioEpoll => "echo-monoio-epoll",
            Self::MonoioUring => "echo-monoio-uring",
            Self::Glommio => "echo-glommio",
            Self::Compio => "echo-compio",
        }
    }

    /// The library of the runtime.
    pub fn library(self) -> &'static str {
        match self {
            Self::Tokio | Self::TokioReusePort | Self::TokioPerCore => "tokio",
            Self::MonoioEpoll | Self::MonoioUring => "monoio",
            Self::Glommio => "glommio-ng",
            Self::Compio => "compio",
        }
    }
}

impl FromStr for Echo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|echo| echo.name() == text)
            .ok_or_else(|| format!("no echo server {text:?}"))
    }
}

/// Echoes at `listen` with as many workers as there are CPUs that the calling thread may use, until the process is
/// killed.
///
/// # Errors
/// Those of setting up; a connection's own errors end that connection alone.
pub fn run(echo: Echo, listen: SocketAddr) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect();
    let post = move |shared| Post {
        listen,
        upstream: None,
        shared,
    };
    let one: fn(&[Post]) -> io::Result<()> = match echo {
        Echo::Tokio => return copy::run_stealing(cpus.len(), &[post(false)]),
        Echo::TokioReusePort => {
            return copy::run_stealing(cpus.len(), &vec![post(true); cpus.len()]);
        }
        Echo::TokioPerCore => copy::run_current_thread,
        Echo::MonoioEpoll => monoio::run_epoll,
        Echo::MonoioUring => monoio::run_uring,
        Echo::Glommio => glommio::run,
        Echo::Compio => compio::run,
    };
    let workers: Vec<_> = cpus
        .into_iter()
        .map(|cpu| {
            thread::spawn(move || {
                let mut own = CpuSet::new();
                own.set(cpu);
                sched_setaffinity(None, &own)?;
                one(&[post(true)])
            })
        })
        .collect();
    workers.into_iter().try_for_each(|worker| {
        let ended = worker.join();
        ended.map_err(|_| io::Error::other("a worker panicked"))?
    })
}

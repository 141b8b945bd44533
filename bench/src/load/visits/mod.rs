//! Short connections that ask something of the proxy, and the servers that answer them and say which one they are.

mod client;
mod server;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use proxy_load::{Clients, Poller, Stage, Tally};
use rustix::event::epoll::EventFlags;

use self::client::{Client, Heard};
use self::server::Servers;
use super::{Gauges, Timing, closed};
use crate::sample::Window;
use crate::visit::{CONCURRENCY, First, Visit, sources};

/// How long the first visit may take.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// Visits the servers through the proxy for as long as `timing` says.
pub(super) fn run(
    visit: Visit,
    proxy: SocketAddr,
    upstreams: &[TcpListener],
    timing: Timing,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    let visits = Visits::new(visit, proxy, upstreams);
    let mut stage = Stage::without_server(proxy, Box::new(visits))?;
    // A proxy may accept before it has workers that serve.
    let deadline = Instant::now() + FIRST_MAX;
    while stage.tally.units() == 0 {
        ensure!(Instant::now() < deadline, "no visit ended in {FIRST_MAX:?}");
        stage.turn()?;
    }
    closed(&mut stage, timing, gauges)
}

/// Both ends: first come the clients' indices in the poller, then those of the servers.
struct Visits<'a> {
    visit: Visit,
    proxy: SocketAddr,
    /// What clients say, and where they come from, in turn.
    firsts: Vec<First>,
    sources: Vec<Ipv4Addr>,
    begun: usize,
    clients: Vec<Client>,
    servers: Servers<'a>,
}

impl<'a> Visits<'a> {
    fn new(visit: Visit, proxy: SocketAddr, upstreams: &'a [TcpListener]) -> Self {
        let sources = match visit {
            Visit::Denied { entries } => sources(entries),
            _ => vec![Ipv4Addr::LOCALHOST],
        };
        Self {
            visit,
            proxy,
            firsts: visit.firsts(),
            sources,
            begun: 0,
            clients: Vec::new(),
            servers: Servers::new(visit, upstreams, CONCURRENCY),
        }
    }

    /// The next client.
    fn begin(&mut self, index: usize, poller: &Poller) -> anyhow::Result<Client> {
        let first = &self.firsts[self.begun % self.firsts.len()];
        let source = self.sources[self.begun % self.sources.len()];
        self.begun += 1;
        let client = Client::begin(source, self.proxy, first)?;
        poller.watch(client.socket(), index, EventFlags::IN)?;
        Ok(client)
    }
}

impl Clients for Visits<'_> {
    fn start(&mut self, _: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        self.servers.start(poller)?;
        for index in 0..CONCURRENCY {
            let client = self.begin(index, poller)?;
            self.clients.push(client);
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let Some(client) = self.clients.get_mut(index) else {
            return self.servers.on_event(index, poller).context("a server");
        };
        let is_denied = matches!(self.visit, Visit::Denied { .. });
        let heard = if is_denied {
            client.await_refusal()?
        } else {
            client.await_answer()?
        };
        if let Heard::End { took } = heard {
            tally.add_timed(took);
            self.clients[index] = self.begin(index, poller)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::upstreams;

    /// What comes of visits that reach `proxy`, behind which are `upstreams`.
    fn visits(visit: Visit, proxy: SocketAddr, upstreams: &[TcpListener]) -> Result<u64, String> {
        let visits = Visits::new(visit, proxy, upstreams);
        let run = || {
            let mut stage = Stage::without_server(proxy, Box::new(visits))?;
            stage.run_for(Duration::from_millis(100))?;
            anyhow::Ok(stage.tally.units())
        };
        run().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_answer_of_another_server_is_an_error() {
        let (listeners, addresses) = upstreams(2).unwrap();
        let plain = Visit::Plain { bytes: 64 };
        assert!(visits(plain, addresses[0], &listeners).unwrap() > 0);
        let error = visits(plain, addresses[1], &listeners).unwrap_err();
        assert!(error.contains("server 1 answered"), "{error}");
    }

    #[test]
    fn who_is_let_in_and_should_not_be_is_an_error() {
        let (listeners, addresses) = upstreams(1).unwrap();
        let denied = Visit::Denied { entries: 3 };
        let error = visits(denied, addresses[0], &listeners).unwrap_err();
        assert!(error.contains("was let in"), "{error}");
    }

    #[test]
    fn a_header_that_nobody_sends_or_takes_off_is_an_error() {
        let (listeners, addresses) = upstreams(1).unwrap();
        for (name, reason) in [
            ("proxy-out", "no header of the PROXY protocol"),
            ("proxy-in", "other bytes than the client's"),
        ] {
            let visit = Visit::named(name, &[]).unwrap().unwrap();
            let error = visits(visit, addresses[0], &listeners).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}

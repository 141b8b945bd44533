//! What the tools need: proxies in this process.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_config::Config;
use proxy_core::listen::BindAddress;
use proxy_tools::{Candidate, Host, NoStart, Proxy};
use tokio::sync::mpsc;

use crate::proxy::Origin;
use crate::sockets::{self, AdminAddress};
use crate::start_error::{Asker, Explain, cannot_start};
use crate::{cpus, deaths, echo, proxy, scheduler};

/// Starts them. A worker that dies ends the process at once.
pub(crate) struct InProcess;

impl Host for InProcess {
    fn start(&self, config: &Config, admin: Option<SocketAddr>) -> Result<Proxy, NoStart> {
        let admin = admin.map(|listen| AdminAddress {
            listen: BindAddress::Tcp(listen),
            asker: Asker {
                name: "the admin server",
                key: "--listen",
            },
        });
        // Nobody takes commands.
        let (commands, _) = mpsc::channel(1);
        let started = proxy::start(
            config,
            admin,
            deaths::fatal(),
            commands,
            Origin::default(),
            &sockets::sleep,
        );
        let proxy = started.map_err(|error| match scheduler::is_unavailable(&error) {
            true => NoStart::Unavailable(error),
            false => NoStart::Failed(error),
        })?;
        let running = proxy.observed.running();
        let addresses = proxy.addresses.iter();
        Ok(Proxy {
            addresses: addresses
                .filter_map(|(_, address)| address.local())
                .collect(),
            admin: proxy.admin.as_ref().map(|admin| admin.address),
            threads: running.threads.iter().map(|thread| thread.tid).collect(),
            has_places: !running.profile.steals(),
            begun_on_first: Box::new(move || running.generation.cells(0).started.get()),
            stop: Box::new(move |patience| {
                // The next one may be at the same address.
                proxy.sockets.release_admin();
                drop(proxy.admin);
                proxy.workers.stop(patience);
            }),
        })
    }

    fn start_echo(&self) -> anyhow::Result<SocketAddr> {
        echo::start().explain(|error| cannot_start("the embedded echo server", error))
    }

    fn workers(&self, config: &Config) -> anyhow::Result<usize> {
        Ok(cpus::assign(&config.runtime)?.len())
    }

    fn candidates(&self) -> Vec<Candidate> {
        scheduler::CANDIDATES.to_vec()
    }

    fn candidate(&self, config: &Config) -> anyhow::Result<Candidate> {
        let workers = self.workers(config)?;
        Ok(scheduler::candidate(workers, &config.runtime))
    }

    fn moves_every(&self, config: &Config) -> Duration {
        scheduler::moves_every(&config.runtime)
    }

    fn cannot_run(&self, config: &Config) -> anyhow::Result<Option<String>> {
        let workers = self.workers(config)?;
        Ok(scheduler::cannot_run(workers, &config.runtime))
    }
}

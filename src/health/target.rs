//! A server that is checked, and what the results of its checks change.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::metrics::{CheckResult, ConnectFailure};
use proxy_core::{ConnectOptions, Dial, Fault, Health, SendProxy, Server};

/// A server that is checked.
pub(super) struct Target {
    server: Arc<Server>,
    interval: Duration,
    timeout: Duration,
    rise_and_fall: (NonZeroU32, NonZeroU32),
    /// What a server is told as soon as it is connected to; may be empty.
    greeting: Vec<u8>,
    connect_options: Option<ConnectOptions>,
    health: Health,
}

impl Target {
    /// A server, how it is checked, the headers that it gets, and how it is connected to. Its state is what is known of it.
    pub(super) fn new(
        server: Arc<Server>,
        configured: &proxy_config::Health,
        send_proxy: Option<SendProxy>,
        connect_options: Option<ConnectOptions>,
    ) -> Self {
        let mut greeting = Vec::new();
        if let Some(send_proxy) = send_proxy {
            send_proxy.write_own(&mut greeting);
        }
        let health = Health::resume(configured.rise, configured.fall, server.is_up());
        Self {
            server,
            interval: configured.interval,
            timeout: configured.timeout,
            rise_and_fall: (configured.rise, configured.fall),
            greeting,
            connect_options,
            health,
        }
    }

    /// Whether it is the same server, checked in the same way.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.server.id == other.server.id
            && (self.interval, self.timeout) == (other.interval, other.timeout)
            && self.rise_and_fall == other.rise_and_fall
            && self.greeting == other.greeting
            && self.connect_options == other.connect_options
    }

    /// How often it is checked.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long a check may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What a server is told as soon as it is connected to; may be empty.
    pub(super) fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    /// How it is connected to, besides its address.
    pub(super) fn dial(&self) -> Dial<'_> {
        Dial {
            options: self.connect_options.as_ref(),
            client: None,
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Counts a result, and tells workers and the log what it changes.
    pub(super) fn on_check(&mut self, checked: Result<(), Fault>, now: Instant) {
        let result = match checked {
            Ok(()) => CheckResult::Passed,
            Err(fault) => CheckResult::Failed(fault.reason),
        };
        self.server.checks.of(result).increment();
        // This machine has no descriptor or port to spare: that says nothing of the server.
        if result == CheckResult::Failed(ConnectFailure::Local) {
            return;
        }
        if result.passed() {
            self.server.on_check_passed(now);
        }
        let has_changed = self.health.on_check(result.passed());
        match checked {
            Err(fault) => self.server().outage.on_failure(fault, now),
            Ok(()) if self.health.is_up() => self.server().outage.on_success(),
            // It takes more of them to be up again.
            Ok(()) => {}
        }
        if !has_changed {
            return;
        }
        self.server().set_up(self.health.is_up());
        let (upstream, server) = (&self.server.upstream, &self.server.label);
        match checked {
            Ok(()) => tracing::info!(upstream, server, "the server is up again"),
            Err(Fault { reason, errno }) => {
                let reason = reason.label();
                let error = errno.map(io::Error::from).map(tracing::field::display);
                tracing::warn!(
                    upstream,
                    server,
                    reason,
                    error,
                    "the server is down: its checks fail"
                );
            }
        }
    }
}

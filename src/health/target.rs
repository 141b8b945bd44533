//! A server that is checked, and what the results of its checks change.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_checks::{Dialogue, Progress, Script};
use proxy_core::metrics::{CheckResult, ConnectFailure};
use proxy_core::{
    ConnectOptions, Dial, Fault, Health, Hold, Judge, SendProxy, Server, ServerAddress,
};

use super::schedule::Pace;
use super::script::{Said, Saying};

/// A server that is checked.
#[derive(Clone)]
pub(super) struct Target {
    server: Arc<Server>,
    /// What is configured. Where it stays the same, checks go on.
    configured: Configured,
    /// What is said once it is connected to, and where that is from.
    said: Said,
    saying: Arc<Saying>,
    health: Health,
    /// Nothing is known yet of what it is: the first result counts at once. Whoever waits for that holds the same.
    first: Option<Arc<()>>,
    /// Connections go by this configuration.
    is_in_force: bool,
    /// When the check that is under way, or was last, began.
    asked_at: Option<Instant>,
}

#[derive(Clone, PartialEq)]
struct Configured {
    health: proxy_config::Health,
    /// Another port than that of connections.
    port: Option<u16>,
    /// See [`Upstream::holds`].
    holds: bool,
    /// What a server is told as soon as it is connected to; may be empty.
    preface: Vec<u8>,
    connect_options: Option<ConnectOptions>,
}

/// How a server of an upstream is checked and connected to.
pub(super) struct Upstream<'a> {
    pub(super) health: &'a proxy_config::Health,
    pub(super) saying: &'a Arc<Saying>,
    /// Whether servers that fail get no connection, even where no other is up.
    pub(super) holds: bool,
    pub(super) send_proxy: Option<SendProxy>,
    pub(super) connect_options: Option<&'a ConnectOptions>,
    /// Held by those of which nothing is known yet.
    pub(super) first: &'a Arc<()>,
}

/// What begins once a server is connected to, or why nothing can.
pub(super) type Begun = Result<(Dialogue, Progress), Failed>;

/// Why a check failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) fault: Fault,
    /// What the server did, for people.
    pub(super) detail: Option<String>,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            detail: None,
        }
    }
}

impl From<ConnectFailure> for Failed {
    fn from(reason: ConnectFailure) -> Self {
        Fault::from(reason).into()
    }
}

impl Failed {
    /// For people.
    fn words(&self) -> String {
        let Fault { reason, errno } = self.fault;
        let error = errno.map(|errno| format!(" ({})", io::Error::from(errno)));
        let detail = self.detail.as_ref().map(|detail| format!(" ({detail})"));
        let error = error.or(detail).unwrap_or_default();
        format!("{}{error}", reason.label())
    }

    /// The server answered otherwise than it should.
    pub(super) fn answer(detail: String) -> Self {
        Self {
            fault: ConnectFailure::Answer.into(),
            detail: Some(detail),
        }
    }
}

impl Target {
    /// A server of an upstream, with its own `check_port`. Its state is what is known of it.
    pub(super) fn new(
        server: Arc<Server>,
        check_port: Option<u16>,
        said: Said,
        upstream: &Upstream<'_>,
    ) -> Self {
        let Upstream {
            health, send_proxy, ..
        } = upstream;
        let port = check_port.or(health.port.map(Into::into));
        let mut preface = Vec::new();
        if let Some(send_proxy) = send_proxy.filter(|_| port.is_none()) {
            send_proxy.write_own(&mut preface);
        }
        let is_unknown = health.check.knows_role() && !server.checks.say_anything();
        if is_unknown {
            server.set_down();
        }
        // One that is new gets no connection before its first check, from the first moment on.
        let is_new = is_unknown && server.cells.sum(|cells| cells.opened.get()) == 0;
        Self {
            health: Health::resume(health.rise, health.fall, !server.holds().has(Hold::Down)),
            first: is_unknown.then(|| upstream.first.clone()),
            is_in_force: is_new,
            asked_at: None,
            said,
            saying: upstream.saying.clone(),
            configured: Configured {
                health: (*health).clone(),
                port,
                holds: upstream.holds,
                preface,
                connect_options: upstream.connect_options.cloned(),
            },
            server,
        }
    }

    /// Whether it is the same server, checked in the same way.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.server.id == other.server.id
            && self.configured == other.configured
            && Arc::ptr_eq(&self.saying, &other.saying)
    }

    /// Whether it is the same server, asked the same at the same port, however often.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        let (own, others) = (&self.configured, &other.configured);
        self.server.id == other.server.id
            && own.health.check == others.health.check
            && own.port == others.port
    }

    /// It is asked from now on what it was not asked before. Where checks know what a server is, the next result
    /// counts at once.
    pub(super) fn on_begin(&mut self) {
        if self.configured.health.check.knows_role() && self.first.is_none() {
            self.first = Some(Arc::default());
        }
    }

    /// Connections go by this configuration from now on.
    pub(super) fn put_in_force(&mut self, now: Instant) {
        self.is_in_force = true;
        self.hold(now);
    }

    /// A check of it begins.
    pub(super) fn on_ask(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// Keeps connections from a server that is not what checks look for, even where no other is.
    pub(super) fn hold(&self, now: Instant) {
        if self.is_in_force && self.configured.holds {
            self.server.set_hold(Hold::Unfit, !self.health.is_up(), now);
        }
    }

    /// How often it is checked.
    pub(super) fn pace(&self) -> Pace {
        let health = &self.configured.health;
        Pace {
            interval: health.interval,
            jitter: health.interval * u32::from(health.jitter.get()) / 100,
            is_urgent: self.first.is_some(),
        }
    }

    /// How soon the next check comes, if it is sooner than at its turn.
    pub(super) fn soon(&self) -> Option<Duration> {
        self.health
            .is_in_doubt()
            .then_some(self.configured.health.fast_interval)
    }

    /// How long a check may take.
    pub(super) fn timeout(&self) -> Duration {
        self.configured.health.timeout
    }

    /// Where it is checked: at an address of its connections, or at another port there.
    pub(super) fn address(&self, address: ServerAddress) -> ServerAddress {
        match (address, self.configured.port) {
            (ServerAddress::Tcp(mut address), Some(port)) => {
                address.set_port(port);
                ServerAddress::Tcp(address)
            }
            (address, _) => address,
        }
    }

    /// Whether it is checked where its connections go, so that a check tells whether an address works.
    pub(super) fn is_checked_where_it_serves(&self) -> bool {
        self.configured.port.is_none()
    }

    /// How it is connected to, besides its address.
    pub(super) fn dial(&self) -> Dial<'_> {
        Dial {
            options: self.configured.connect_options.as_ref(),
            client: None,
        }
    }

    /// The preface of a PROXY header; may be empty.
    pub(super) fn preface(&self) -> &[u8] {
        &self.configured.preface
    }

    /// What is said to it, once it is connected to; none: a connect is all.
    pub(super) fn begin_dialogue(&self) -> Option<Begun> {
        match &self.said {
            Said::Nothing => None,
            Said::Script(script) => Some(Ok(Dialogue::begin(script, self.preface()))),
            Said::Never(why) => Some(Err(Failed::answer(why.clone()))),
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Counts a result, and tells workers and the log what it changes.
    pub(super) fn on_check(&mut self, checked: Result<(), Failed>, now: Instant) {
        let result = match &checked {
            Ok(()) => CheckResult::Passed,
            Err(failed) => CheckResult::Failed(failed.fault.reason),
        };
        self.server.checks.of(result).increment();
        if let Said::Script(Script::Tls(script)) = &self.said {
            self.server
                .checks
                .set_certificate_expiry(script.expires_at());
        }
        // This machine has no descriptor or port to spare: that says nothing of the server.
        if result == CheckResult::Failed(ConnectFailure::Local) {
            return;
        }
        if let Some(asked_at) = self.asked_at {
            let took = now.saturating_duration_since(asked_at);
            self.server.checks.set_took(took);
        }
        if result.passed() {
            self.server.on_check_passed(now);
        }
        let is_first = self.first.is_some();
        let has_changed = if is_first {
            self.health.settle(result.passed())
        } else {
            self.health.on_check(result.passed())
        };
        match &checked {
            Err(failed) => {
                if failed.fault.reason == ConnectFailure::Answer {
                    let words = failed.detail.as_deref().unwrap_or_default();
                    self.server().set_wrong_answer(words);
                }
                self.server().outage.on_failure(failed.fault, now);
            }
            Ok(()) if self.health.is_up() => self.server().outage.on_success(),
            // It takes more of them to be up again.
            Ok(()) => {}
        }
        self.server().set_up(self.health.is_up(), now);
        self.hold(now);
        // Who waits for it may go on now.
        drop(self.first.take());
        if has_changed || is_first && !result.passed() {
            self.log(checked, is_first);
        }
    }

    fn log(&self, checked: Result<(), Failed>, is_first: bool) {
        let (upstream, server) = (&self.server.upstream, &self.server.label);
        let words = match &checked {
            Ok(()) if is_first => "is up".to_owned(),
            Ok(()) => "is up again".to_owned(),
            Err(failed) => format!("is down: its checks fail: {}", failed.words()),
        };
        self.server.tell(Judge::Check, &words);
        match checked {
            Ok(()) if is_first => tracing::info!(upstream, server, "the server is up"),
            Ok(()) => tracing::info!(upstream, server, "the server is up again"),
            Err(Failed { fault, detail }) => {
                let Fault { reason, errno } = fault;
                let reason = reason.label();
                let error = errno.map(io::Error::from).map(tracing::field::display);
                tracing::warn!(
                    upstream,
                    server,
                    reason,
                    error,
                    detail,
                    "the server is down: its checks fail"
                );
            }
        }
    }
}

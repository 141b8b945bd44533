//! What the outcomes of connections change: a pool ejects its servers, and takes them back.

use std::time::{Duration, Instant};

use crate::metrics::ConnectFailure;
use crate::upstream::ejection::slow::outliers;
use crate::upstream::ejection::{EjectionCause, EjectionSettings};
use crate::upstream::outage::Fault;
use crate::upstream::pool::Pool;
use crate::upstream::state::{Hold, Holds};
use crate::upstream::witness::Judge;

impl Pool {
    /// What is held against a server now: an ejection is over when its time is, and holds only where servers are ejected.
    pub(crate) fn holds(&self, place: usize, now: Instant) -> Holds {
        let server = self.server(place);
        let holds = server.holds();
        if !holds.has(Hold::Ejected) {
            return holds;
        }
        if self.ejection().is_none() {
            return holds.without(Hold::Ejected);
        }
        if server.conduct.is_over(now) {
            let _deciding = self.upstream().jury.decide();
            // Somebody else may have ended it meanwhile, and ejected it again.
            if server.conduct.is_over(now) && server.end_ejection(now) {
                let (upstream, label) = (&server.upstream, &server.label);
                tracing::info!(
                    upstream,
                    server = label,
                    "the server is no longer ejected: its time is over"
                );
                server.tell(Judge::Ejection, "is no longer ejected: its time is over");
            }
        }
        server.holds()
    }

    /// Whether a server is passed over as long as others can be tried, for being ejected: not where too few are available.
    pub(crate) fn is_passed_over(&self, holds: Holds, now: Instant) -> bool {
        holds.has(Hold::Ejected) && !self.is_panic(now)
    }

    /// Whether so few servers are available that who is ejected is tried like the others.
    pub fn is_panic(&self, now: Instant) -> bool {
        let Some(settings) = self.ejection() else {
            return false;
        };
        self.upstream().jury.is_panic(now, || {
            let all = (0..self.members().len()).map(|place| self.holds(place, now));
            let open = all.filter(|holds| !holds.is_closed());
            let (available, servers) = open.fold((0, 0), |(available, servers), holds| {
                (available + usize::from(holds.is_clear()), servers + 1)
            });
            settings.is_panic(available, servers)
        })
    }

    /// A connect of traffic worked after so long, or failed at all addresses of a server.
    pub(crate) fn judge_connect(
        &self,
        place: usize,
        outcome: Result<Duration, Fault>,
        now: Instant,
    ) {
        let Some(settings) = self.ejection() else {
            return;
        };
        let conduct = &self.server(place).conduct;
        match outcome {
            Ok(took) => {
                conduct.on_success(EjectionCause::ConnectFailures);
                conduct.on_connect_time(took);
                if self
                    .upstream()
                    .jury
                    .claim_comparison(settings.interval, now)
                {
                    self.compare(settings, now);
                }
            }
            // This machine lacks something: that says nothing of the server.
            Err(fault) if fault.reason == ConnectFailure::Local => {}
            // It had accepted the connection.
            Err(fault) if fault.reason == ConnectFailure::Reset && settings.early.is_some() => {
                self.on_failure(place, EjectionCause::EarlyEnds, settings, now);
            }
            Err(fault) if fault.reason == ConnectFailure::Closed => {
                if settings.early.is_some() {
                    self.on_failure(place, EjectionCause::EarlyEnds, settings, now);
                }
            }
            Err(_) => self.on_failure(place, EjectionCause::ConnectFailures, settings, now),
        }
    }

    /// How soon an end of a connection by its server counts as a failure; none: no end does.
    pub(crate) fn early(&self) -> Option<Duration> {
        self.ejection().and_then(|settings| settings.early)
    }

    /// A server ended a connection early and had sent nothing; or it did send something, or kept it for long enough.
    pub(crate) fn judge_first_word(&self, place: usize, came: bool, now: Instant) {
        let Some(settings) = self.ejection() else {
            return;
        };
        if came {
            let conduct = &self.server(place).conduct;
            conduct.on_success(EjectionCause::EarlyEnds);
        } else {
            self.on_failure(place, EjectionCause::EarlyEnds, settings, now);
        }
    }

    fn on_failure(
        &self,
        place: usize,
        cause: EjectionCause,
        settings: &EjectionSettings,
        now: Instant,
    ) {
        let conduct = &self.server(place).conduct;
        if conduct.on_failure(cause, settings.consecutive_failures) {
            self.eject(place, cause, settings, now);
        }
    }

    /// Ejects servers whose connects take much longer than those of the others.
    fn compare(&self, settings: &EjectionSettings, now: Instant) {
        let servers = self.servers();
        let means: Vec<_> = servers.map(|server| server.conduct.take_mean()).collect();
        for place in outliers(&means, settings.slow_factor) {
            self.eject(place, EjectionCause::SlowConnects, settings, now);
        }
    }

    fn eject(&self, place: usize, cause: EjectionCause, settings: &EjectionSettings, now: Instant) {
        let jury = &self.upstream().jury;
        let _deciding = jury.decide();
        let is_ejected = |place: usize| {
            let server = self.server(place);
            server.holds().has(Hold::Ejected) && !server.conduct.is_over(now)
        };
        if is_ejected(place) {
            return;
        }
        let server = self.server(place);
        let (upstream, name, why) = (&server.upstream, &server.label, cause.label());
        let servers = self.members().len();
        let ejected = (0..servers).filter(|&place| is_ejected(place)).count();
        if ejected >= settings.most(servers) {
            server.conduct.on_spared(cause);
            tracing::warn!(
                upstream,
                server = name,
                cause = why,
                ejected,
                "the server is not ejected: as many are as the largest share allows"
            );
            return;
        }
        // That of before may be over without anybody having noticed.
        server.end_ejection(now);
        let length = server.conduct.on_ejected(cause, settings, now);
        server.set_hold(Hold::Ejected, true, now);
        jury.count_again();
        tracing::warn!(
            upstream,
            server = name,
            cause = why,
            ?length,
            "the server is ejected"
        );
        server.tell(
            Judge::Ejection,
            &format!("is ejected for {length:?}: {why}"),
        );
    }
}

//! What a server does of what its agent says.

use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Instant;

use super::Server;
use crate::metrics::CheckCells;
use crate::upstream::agent::{Admission, AgentReport, CONFIGURED};
use crate::upstream::state::Hold;

impl Server {
    /// Does what its agent says. Returns whether that changes anything.
    pub fn on_agent(&self, said: &AgentReport, now: Instant) -> bool {
        if said.is_up.is_some() || said.admission.is_some() {
            self.agent.set_line(&said.line);
        }
        let mut is_change = false;
        if let Some(is_up) = said.is_up {
            is_change |= self.set_hold(Hold::AgentDown, !is_up, now);
        }
        if let Some(admission) = said.admission {
            for (hold, of) in [
                (Hold::AgentDraining, Admission::Drain),
                (Hold::AgentMaintenance, Admission::Maintenance),
            ] {
                is_change |= self.set_hold(hold, admission == of, now);
            }
        }
        let mut is_other = false;
        if let Some(percent) = said.percent {
            is_other |= self.set_percent(percent.into());
        }
        if said.max_connections.is_some() {
            is_other |= self.agent.set_max_connections(said.max_connections);
        }
        if is_other {
            self.on_change();
        }
        is_change || is_other
    }

    /// Whether something that an agent said of it is in force.
    pub fn heeds_agent(&self) -> bool {
        let holds = [Hold::AgentDown, Hold::AgentDraining, Hold::AgentMaintenance];
        holds.into_iter().any(|hold| self.holds().has(hold))
            || self.agent.percent() != CONFIGURED
            || self.agent.max_connections(Some(0)) != Some(0)
    }

    /// There is no agent any more: what it said holds no longer.
    pub fn forget_agent(&self, now: Instant) {
        let forgotten = AgentReport {
            percent: Some(CONFIGURED as u16),
            max_connections: None,
            is_up: Some(true),
            admission: Some(Admission::Ready),
            line: String::new(),
        };
        let is_other = self.agent.set_max_connections(None);
        if !self.on_agent(&forgotten, now) && is_other {
            self.on_change();
        }
    }

    pub(super) fn set_percent(&self, percent: u32) -> bool {
        let is_other = self.agent.set_percent(percent);
        if is_other {
            // Who sees the number finds the share.
            self.common.share_changes.fetch_add(1, Release);
        }
        is_other
    }

    /// What its agent said last of its state, in words; may be empty.
    pub fn agent_line(&self) -> Arc<str> {
        self.agent.line()
    }

    /// What is counted of asking its agent.
    pub fn agent_checks(&self) -> &CheckCells {
        &self.agent.checks
    }
}

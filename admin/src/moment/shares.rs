//! How the connections of an upstream are to be shared out, and how they are.

use std::time::Instant;

use proxy_core::{Member, ServerState, UpstreamView};

use super::round::thousandths;

/// By the place of a member.
pub(super) struct Shares {
    members: Vec<Share>,
    weights: f64,
    connections: u64,
}

struct Share {
    /// The one in force.
    weight: f64,
    configured: f64,
    /// Whether new connections are to go there.
    takes: bool,
    connections: u64,
}

impl Shares {
    /// Those of an upstream that is configured; of another one there are none.
    pub(super) fn of(view: &UpstreamView, now: Instant) -> Self {
        let members = view.pool.as_ref().map_or(&[][..], |pool| pool.members());
        let state = |place| view.pool.as_ref().map(|pool| pool.state(place, now));
        let weight = |place| {
            let pool = view.pool.as_ref();
            pool.map_or(0.0, |pool| pool.weight_in_force(place, now))
        };
        let is_up =
            |place: usize| matches!(state(place), Some(ServerState::Up | ServerState::Full));
        let is_closed = |member: &Member| member.server.holds().is_closed();
        // Backups serve while no other server is up; where none is, all are tried.
        let any_up = (0..members.len()).any(is_up);
        let of_first_rank = |place: usize| !members[place].backup && weight(place) > 0.0;
        let any_first = (0..members.len()).any(|place| is_up(place) && of_first_rank(place));
        let share = |(place, member): (usize, &Member)| Share {
            weight: weight(place),
            configured: f64::from(member.weight),
            takes: (is_up(place) || !any_up && !is_closed(member))
                && (!any_first || of_first_rank(place)),
            connections: member.server.connections(),
        };
        let members: Vec<_> = members.iter().enumerate().map(share).collect();
        let takes = members.iter().filter(|member| member.takes);
        Self {
            weights: takes.map(|member| member.weight).sum(),
            connections: members.iter().map(|member| member.connections).sum(),
            members,
        }
    }

    /// The weight of a member that is in force.
    pub(super) fn weight(&self, place: usize) -> Option<f64> {
        self.members
            .get(place)
            .map(|member| thousandths(member.weight))
    }

    /// The one that is configured, where it is another one.
    pub(super) fn configured(&self, place: usize) -> Option<f64> {
        let member = self.members.get(place)?;
        (member.configured != member.weight).then_some(member.configured)
    }

    /// The part that a member is to have.
    pub(super) fn wanted(&self, place: usize) -> Option<f64> {
        let member = self.members.get(place)?;
        let weight = if member.takes { member.weight } else { 0.0 };
        (self.weights > 0.0).then(|| thousandths(weight / self.weights))
    }

    /// The part that it has.
    pub(super) fn had(&self, place: usize) -> Option<f64> {
        let member = self.members.get(place)?;
        let part = member.connections as f64 / self.connections as f64;
        (self.connections > 0).then(|| thousandths(part))
    }
}

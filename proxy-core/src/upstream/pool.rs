//! What is configured of an upstream: its servers with their weights, and how one is chosen.

mod view;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use crate::id::Id;
use crate::metrics::Slot;
use crate::socket_options::ConnectOptions;
use crate::upstream::Upstream;
use crate::upstream::agent::{CONFIGURED, Highest};
use crate::upstream::board::{Asked, Ranked};
use crate::upstream::ejection::EjectionSettings;
use crate::upstream::outage::Fault;
use crate::upstream::policy::group::{Candidate, Group};
use crate::upstream::policy::{Balance, CompareBy, HashOn, Places, Try};
pub(crate) use crate::upstream::pool::view::Ask;
use crate::upstream::pool::view::View;
use crate::upstream::queue::settings::QueueSettings;
use crate::upstream::send_proxy::SendProxy;
use crate::upstream::server::Server;
use crate::upstream::state::{Hold, ServerState};
use crate::upstream::taken::Taken;
use crate::upstream::warmth::WHOLE;

/// The highest weight of a server, configured or by what its agent makes of it.
pub const WEIGHT_MAX: u32 = 256;

/// The servers of an upstream that connections go to, as one reading of the configuration has it. It never changes.
#[derive(Debug)]
pub struct Pool {
    /// Later ones are newer.
    id: Id,
    upstream: Arc<Upstream>,
    members: Box<[Member]>,
    primaries: Group,
    backups: Group,
    settings: PoolSettings,
    connect_options: Option<ConnectOptions>,
    ejection: Option<EjectionSettings>,
    /// By what agents said.
    highest_share: Highest,
    fallback: Option<Arc<Pool>>,
}

/// A server among those of its pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server.
    pub server: Arc<Server>,
    /// Its share of connections, relative to the other servers; zero: it gets no new ones.
    pub weight: u16,
    /// It gets connections only while no other server can have them.
    pub backup: bool,
    /// Connections that it has at a time, connects under way included; none: as many as come.
    pub max_connections: Option<u64>,
}

/// What is configured of a pool, besides its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How a server is chosen.
    pub balance: Balance,
    /// What the same server is chosen for, where it is chosen by a hash.
    pub hash_on: HashOn,
    /// What tells the better one of two, where two are drawn.
    pub compare_by: CompareBy,
    /// How long one connect may take, a server's address each.
    pub connect_timeout: Duration,
    /// How long a server may take from there to take TLS, where it is asked for that (`starttls`).
    pub starttls_timeout: Duration,
    /// How many percent of the connections there may be connects beyond the first one; none: as many as there are servers.
    pub retry_budget: Option<u8>,
    /// Whether there are health checks, which are then what says whether a server is up.
    pub checked: bool,
    /// The headers of the PROXY protocol that servers get; none: they get none.
    pub send_proxy: Option<SendProxy>,
    /// Connections that its servers have at a time, all together; none: as many as come.
    pub max_connections: Option<u64>,
    /// How long a server that came has less than its weight; none: it has all of it at once.
    pub slow_start: Option<Duration>,
    /// What becomes of connections while all servers are down.
    pub when_all_down: WhenAllDown,
    /// How many connections wait while all servers are full, and how long; none: they are refused.
    pub queue: Option<QueueSettings>,
}

/// What becomes of connections while all servers are down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllDown {
    /// Servers are tried all the same: the checks may be wrong, as when it is this machine's network that fails.
    #[default]
    Try,
    /// They are refused.
    Refuse,
}

/// Why a pool has no server for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// Those that could serve have as many connections as they may: one may end soon.
    Full,
    /// None is up that was not tried.
    Down,
}

impl Default for PoolSettings {
    /// Turns, by servers that are not checked, without limits, and a second for each connect.
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            hash_on: HashOn::default(),
            compare_by: CompareBy::default(),
            connect_timeout: Duration::from_secs(1),
            starttls_timeout: Duration::from_secs(1),
            retry_budget: None,
            checked: false,
            send_proxy: None,
            max_connections: None,
            slow_start: None,
            when_all_down: WhenAllDown::default(),
            queue: None,
        }
    }
}

impl Member {
    /// A server that gets as many connections as come.
    pub fn new(server: Arc<Server>, weight: u16) -> Self {
        Self {
            server,
            weight,
            backup: false,
            max_connections: None,
        }
    }

    /// Whether it has as many connections as it may.
    pub fn is_full(&self) -> bool {
        self.server.is_full(self.most_connections())
    }

    /// Connections that it has at a time: those that its agent allows, or else those that are configured.
    pub fn most_connections(&self) -> Option<u64> {
        self.server.agent.max_connections(self.max_connections)
    }

    /// The share of its weight that its agent gives it, in percent, so that it stays within [`WEIGHT_MAX`].
    fn percent(&self) -> u32 {
        let most = WEIGHT_MAX * CONFIGURED / u32::from(self.weight).max(1);
        self.server.agent.percent().min(most)
    }

    /// Its weight with what its agent makes of it, in 256ths; zero only where it gets no new connections.
    fn whole_weight(&self) -> u64 {
        let (percent, configured) = (u64::from(self.percent()), u64::from(CONFIGURED));
        if percent == configured {
            return u64::from(self.weight) * u64::from(WHOLE);
        }
        let weight = u64::from(self.weight) * u64::from(WHOLE) * percent;
        ((weight + configured / 2) / configured).max(u64::from(weight > 0))
    }
}

impl Pool {
    /// A pool of at least one server.
    pub fn new(upstream: Arc<Upstream>, members: Vec<Member>, settings: PoolSettings) -> Self {
        let group = |backup: bool| {
            let members = (0..).zip(&members);
            let of = members.filter(|(_, member)| member.backup == backup);
            let of = of.map(|(place, member)| Candidate {
                place,
                name: &member.server.label,
                weight: member.weight,
            });
            Group::new(settings.balance, settings.compare_by, of)
        };
        Self {
            id: Id::next(),
            upstream,
            primaries: group(false),
            backups: group(true),
            members: members.into(),
            settings,
            connect_options: None,
            ejection: None,
            highest_share: Highest::default(),
            fallback: None,
        }
    }

    /// The same, with options for sockets to its servers.
    #[must_use]
    pub fn with_connect_options(self, options: ConnectOptions) -> Self {
        let is_set = options != ConnectOptions::default();
        Self {
            connect_options: is_set.then_some(options),
            ..self
        }
    }

    /// The same, with servers that may be ejected; none: nobody is.
    #[must_use]
    pub fn with_ejection(self, ejection: Option<EjectionSettings>) -> Self {
        Self { ejection, ..self }
    }

    /// When its servers are ejected; none: never.
    pub fn ejection(&self) -> Option<&EjectionSettings> {
        self.ejection.as_ref()
    }

    /// The same, with another pool that serves while this one can't.
    #[must_use]
    pub fn with_fallback(self, fallback: Arc<Pool>) -> Self {
        Self {
            fallback: Some(fallback),
            ..self
        }
    }

    /// Options of sockets to its servers; none: the system's.
    pub fn connect_options(&self) -> Option<&ConnectOptions> {
        self.connect_options.as_ref()
    }

    /// The pool that serves while this one can't.
    pub fn fallback(&self) -> Option<&Arc<Pool>> {
        self.fallback.as_ref()
    }

    /// Whether it matters which server name a client says, here or at a pool that stands in.
    pub(crate) fn goes_by_names(&self) -> bool {
        let is_hashed = self.settings.balance == Balance::SourceHash;
        (is_hashed && self.settings.hash_on == HashOn::Sni)
            || (self.fallback.as_ref()).is_some_and(|fallback| fallback.goes_by_names())
    }

    /// Whose servers they are.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Its members, in the order of the configuration.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Its servers, in the order of the configuration.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Arc<Server>> + Clone {
        self.members.iter().map(|member| &member.server)
    }

    /// The server in a place of the order of the configuration.
    pub fn server(&self, place: usize) -> &Arc<Server> {
        &self.members[place].server
    }

    /// The place of the server with this label.
    pub(crate) fn place_of(&self, label: &str) -> Option<usize> {
        self.servers().position(|server| server.label == label)
    }

    /// The state of a server, as people are shown it.
    pub fn state(&self, place: usize, now: Instant) -> ServerState {
        let is_full = self.members[place].is_full();
        ServerState::of(self.holds(place, now), self.settings.checked, is_full)
    }

    /// What else is configured of it.
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// A connect of traffic to a server worked after so long, or failed at all of its addresses. Health checks, where there are
    /// any, know better whether it is up: a server that resets one connect in a thousand is not down.
    pub(crate) fn note_attempt(
        &self,
        place: usize,
        outcome: Result<Duration, Fault>,
        now: Instant,
    ) {
        let server = self.server(place);
        match (outcome, self.settings.checked) {
            (Err(fault), true) => server.outage.note(fault),
            (Err(fault), false) => server.outage.on_failure(fault, now),
            (Ok(_), true) => {}
            (Ok(_), false) => server.outage.on_success(),
        }
        if !self.settings.checked {
            server.on_connect(outcome.is_ok(), now);
        }
        if let (Ok(took), CompareBy::ConnectTime) = (outcome, self.settings.compare_by) {
            server.connect_time.note(took, now);
        }
        self.judge_connect(place, outcome, now);
    }

    /// Takes a retry from the budget of its upstream. False, and counted, if there is none left.
    pub(crate) fn take_retry(&self, slot: Slot, now: Instant) -> bool {
        let Some(percent) = self.settings.retry_budget else {
            return true;
        };
        let Upstream {
            cells,
            retry_budget,
            ..
        } = &*self.upstream;
        let connections = || cells.sum(|cells| cells.connections.get());
        let is_taken = retry_budget.take(percent, connections, now);
        if !is_taken {
            cells.of(slot).retries_refused.increment();
        }
        is_taken
    }

    /// Whether a connection would find a server now, here or at a pool that stands in.
    pub(crate) fn can_serve(&self, now: Instant) -> bool {
        self.has_able(now)
            || (self.fallback.as_ref()).is_some_and(|fallback| fallback.can_serve(now))
    }

    fn has_able(&self, now: Instant) -> bool {
        let view = self.view(&[], Ask::Able, now);
        let is_full = self
            .upstream
            .common
            .load
            .is_full(self.settings.max_connections);
        !is_full
            && !self.has_waiting()
            && (0..self.members.len()).any(|place| view.can_serve(place))
    }

    /// Takes a place for a connection at a server that is not in `tried`, where `hash` is that of what the pool goes by.
    ///
    /// Without a check that says more, a server that failed a moment ago counts as down.
    pub(crate) fn take(
        &self,
        tried: &[usize],
        ask: Ask,
        hash: u64,
        now: Instant,
    ) -> Result<(usize, Taken), Unserved> {
        let taken = self.try_take(tried, ask, hash, now);
        if taken.is_err() {
            // Somebody else may have found it full meanwhile.
            self.upstream.common.on_free();
        }
        taken
    }

    fn try_take(
        &self,
        tried: &[usize],
        ask: Ask,
        hash: u64,
        now: Instant,
    ) -> Result<(usize, Taken), Unserved> {
        let common = &self.upstream.common;
        if !common.load.take(self.settings.max_connections) {
            return Err(Unserved::Full);
        }
        match self.take_server(tried, ask, hash, now) {
            Some(place) => Ok((place, Taken::of(self.server(place).clone()))),
            None => {
                common.load.release();
                Err(self.why_not(tried, ask, now))
            }
        }
    }

    fn take_server(&self, tried: &[usize], ask: Ask, hash: u64, now: Instant) -> Option<usize> {
        let board = &self.upstream.common.board;
        let is_ranked = matches!(
            self.settings.balance,
            Balance::LeastConnections | Balance::First
        );
        if !is_ranked {
            board.leave(self.id);
        } else if tried.is_empty() && ask == Ask::Able {
            match board.take(self, now) {
                Asked::Taken(place) => return Some(place),
                Asked::NoneLeft => return None,
                Asked::Newer => {}
            }
        }
        let view = self.view(tried, ask, now);
        let upstream = &self.upstream;
        let groups = [
            (&self.primaries, &upstream.turns),
            (&self.backups, &upstream.backup_turns),
        ];
        let try_number = match ask {
            Ask::Able if tried.is_empty() => Try::First,
            // Turns were passed over already.
            Ask::Able | Ask::Any => Try::Another,
        };
        // Each time that others take the last place of a server, or its try, one more can't serve.
        for _ in 0..=self.members.len() {
            let mut picks = groups
                .iter()
                .map(|(group, turns)| group.pick(&view, turns, hash, try_number));
            let place = picks.find_map(|picked| picked)?;
            let is_taken = Ranked::take(self, place, now);
            // One that was given back at once may have been seen, too.
            self.server(place).on_taken();
            if is_taken {
                return Some(place);
            }
        }
        None
    }

    /// Why none could be taken. One that is up was full, though it may have room by now.
    fn why_not(&self, tried: &[usize], ask: Ask, now: Instant) -> Unserved {
        let view = self.view(tried, ask, now);
        if (0..self.members.len()).any(|place| view.is_wanted(place)) {
            Unserved::Full
        } else {
            Unserved::Down
        }
    }

    fn view<'a>(&'a self, tried: &'a [usize], ask: Ask, now: Instant) -> View<'a> {
        View {
            pool: self,
            tried,
            ask,
            now,
        }
    }

    fn is_down(&self, place: usize, now: Instant) -> bool {
        let server = self.server(place);
        let holds = self.holds(place, now);
        let fails = if self.settings.checked {
            holds.has(Hold::Down)
        } else {
            server.rest.is_resting(now)
        };
        fails || self.is_passed_over(holds, now)
    }

    /// Whether a server is to get no new connection, whatever becomes of the others.
    fn is_closed(&self, place: usize) -> bool {
        let Member { server, weight, .. } = &self.members[place];
        *weight == 0 || server.agent.percent() == 0 || server.holds().is_closed()
    }

    /// The part of its turns that a server takes, in 256ths, where those with the largest share take all of theirs.
    fn part_of_turns(&self, place: usize) -> u32 {
        let changes = self.upstream.common.share_changes.load(Acquire);
        let highest = self.highest_share.get(changes, || {
            let members = self.members.iter().filter(|member| member.weight > 0);
            members.map(Member::percent).max().unwrap_or(CONFIGURED)
        });
        let percent = self.members[place].percent().min(highest);
        if percent == highest {
            return WHOLE;
        }
        (percent * WHOLE / highest).max(1)
    }

    /// In 256ths.
    fn weight(&self, place: usize, now: Instant) -> u64 {
        let member = &self.members[place];
        let warmth = &member.server.warmth;
        if self.settings.slow_start.is_none() {
            warmth.skip();
        }
        let part = warmth.part(self.settings.slow_start, now);
        warmed(member.whole_weight(), part)
    }

    /// The weight that a server has now, by what is configured, by its agent, and by how new it is.
    pub fn weight_in_force(&self, place: usize, now: Instant) -> f64 {
        let member = &self.members[place];
        let part = member.server.warmth.look(self.settings.slow_start, now);
        // What counts is this in 256ths, at least one.
        let weight = f64::from(member.weight) * f64::from(member.percent());
        weight / f64::from(CONFIGURED) * f64::from(part) / f64::from(WHOLE)
    }
}

/// A weight of which so many 256ths count; zero only where all of it is.
fn warmed(weight: u64, part: u32) -> u64 {
    let warmed = weight * u64::from(part) / u64::from(WHOLE);
    warmed.max(u64::from(weight > 0))
}

#[cfg(test)]
mod tests;

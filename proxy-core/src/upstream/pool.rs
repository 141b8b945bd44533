//! What is configured of an upstream: its servers with their weights, and how one is chosen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::socket_options::ConnectOptions;
use crate::upstream::Upstream;
use crate::upstream::balance::{Balance, Load, Picker, Try};
use crate::upstream::ejection::EjectionSettings;
use crate::upstream::outage::Fault;
use crate::upstream::send_proxy::SendProxy;
use crate::upstream::server::Server;
use crate::upstream::state::{Hold, ServerState};

/// The servers of an upstream that connections go to, as one reading of the configuration has it. It never changes.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    members: Box<[Member]>,
    picker: Picker,
    settings: PoolSettings,
    connect_options: Option<ConnectOptions>,
    ejection: Option<EjectionSettings>,
}

/// A server among those of its pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server.
    pub server: Arc<Server>,
    /// Its share of connections, relative to the other servers.
    pub weight: u16,
}

/// What is configured of a pool, besides its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How a server is chosen.
    pub balance: Balance,
    /// How long one connect may take, a server's address each.
    pub connect_timeout: Duration,
    /// Whether there are health checks, which are then what says whether a server is up.
    pub checked: bool,
    /// The headers of the PROXY protocol that servers get; none: they get none.
    pub send_proxy: Option<SendProxy>,
}

impl Pool {
    /// A pool of at least one server.
    pub fn new(upstream: Arc<Upstream>, members: Vec<Member>, settings: PoolSettings) -> Self {
        let weights: Vec<_> = members.iter().map(|member| member.weight).collect();
        Self {
            upstream,
            picker: Picker::new(settings.balance, &weights),
            members: members.into(),
            settings,
            connect_options: None,
            ejection: None,
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

    /// Options of sockets to its servers; none: the system's.
    pub fn connect_options(&self) -> Option<&ConnectOptions> {
        self.connect_options.as_ref()
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

    /// The state of a server, as people are shown it.
    pub fn state(&self, place: usize, now: Instant) -> ServerState {
        ServerState::of(self.holds(place, now), self.settings.checked, false)
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
        self.on_connect(place, outcome.is_ok(), now);
        self.judge_connect(place, outcome, now);
    }

    fn on_connect(&self, place: usize, worked: bool, now: Instant) {
        if self.settings.checked {
            return;
        }
        let server = self.server(place);
        server.set_up(worked);
        if worked {
            server.rest.on_success();
        } else {
            server.rest.on_failure(now);
        }
    }

    /// The place of the server to try next, or none when all are in `tried`. Those that checks say are down come last; without
    /// checks, those that failed a moment ago do.
    pub(crate) fn pick(&self, tried: &[usize], now: Instant) -> Option<usize> {
        // Each time that another connection takes a server's try first, one more rests.
        for _ in 0..self.members.len() {
            let picked = self.pick_in_turn(tried, now)?;
            if self.settings.checked || self.server(picked).rest.claim(now) {
                return Some(picked);
            }
        }
        self.pick_in_turn(tried, now)
    }

    fn pick_in_turn(&self, tried: &[usize], now: Instant) -> Option<usize> {
        // Those that are to get no connection are as good as tried.
        let is_closed = |place: usize| self.server(place).holds().is_closed();
        let is_down = |place: usize| {
            let holds = self.holds(place, now);
            let fails = if self.settings.checked {
                holds.has(Hold::Down)
            } else {
                self.server(place).rest.is_resting(now)
            };
            fails || self.is_passed_over(holds, now)
        };
        let load = |place: usize| Load {
            connections: self.server(place).connections(),
            weight: self.members[place].weight,
        };
        let try_number = if tried.is_empty() {
            Try::First
        } else {
            Try::Another
        };
        let tried = |place| tried.contains(&place) || is_closed(place);
        self.picker
            .pick(&self.upstream.turns, load, tried, is_down, try_number)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::upstream::address::ServerAddress;
    use crate::upstream::rest::REST;

    fn server(port: u16) -> Arc<Server> {
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        let upstream = Upstream::new("u".to_owned());
        Arc::new(Server::fixed(
            &upstream,
            address.to_string(),
            ServerAddress::Tcp(address),
        ))
    }

    fn settings(balance: Balance, checked: bool) -> PoolSettings {
        PoolSettings {
            balance,
            connect_timeout: Duration::from_secs(1),
            checked,
            send_proxy: None,
        }
    }

    fn pool_of(servers: [Arc<Server>; 2], settings: PoolSettings) -> Pool {
        let members = servers.map(|server| Member { server, weight: 1 });
        Pool::new(
            Arc::new(Upstream::new("u".to_owned())),
            members.into(),
            settings,
        )
    }

    fn pool() -> Pool {
        pool_of([server(1), server(2)], settings(Balance::RoundRobin, false))
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn without_checks_the_last_connect_says_whether_a_server_is_up() {
        let (pool, now) = (pool(), origin());
        pool.on_connect(0, false, now);
        assert!(!pool.server(0).is_up());
        pool.on_connect(0, true, now);
        assert!(pool.server(0).is_up());
    }

    #[test]
    fn without_checks_one_that_failed_gets_one_try_after_each_rest() {
        let (pool, now) = (pool(), origin());
        pool.on_connect(0, false, now);
        let tries = |now| {
            let picks = (0..20).map(|_| pool.pick(&[], now));
            picks.filter(|&picked| picked == Some(0)).count()
        };
        assert_eq!(tries(now), 0);
        assert_eq!(tries(now + REST), 1);
        // What came of it is not known yet.
        assert_eq!(tries(now + REST), 0);
        pool.on_connect(0, false, now + REST);
        assert_eq!(tries(now + REST), 0);
        assert_eq!(pool.pick(&[1], now + REST), Some(0), "nothing else is left");
        pool.on_connect(0, true, now + REST);
        assert_eq!(tries(now + REST), 10);
    }

    #[test]
    fn without_checks_all_that_failed_are_tried_in_turn() {
        let (pool, now) = (pool(), origin());
        for server in [0, 1] {
            pool.on_connect(server, false, now);
        }
        let picks: [_; 4] = std::array::from_fn(|_| pool.pick(&[], now));
        assert_eq!(picks, [Some(0), Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn a_retry_leaves_the_turns_alone() {
        for balance in [Balance::RoundRobin, Balance::LeastConnections] {
            let pool = pool_of([server(1), server(2)], settings(balance, false));
            let now = origin();
            let first: [_; 6] = std::array::from_fn(|_| {
                let first = pool.pick(&[], now);
                let failed = first.expect("there is one");
                assert_eq!(pool.pick(&[failed], now), Some(1 - failed));
                assert_eq!(pool.pick(&[0, 1], now), None);
                failed
            });
            assert_eq!(first, [0, 1, 0, 1, 0, 1]);
        }
    }

    #[test]
    fn new_addresses_end_the_rest_of_a_name() {
        let named = Arc::new(Server::named(
            &Upstream::new("u".to_owned()),
            "a:1".to_owned(),
        ));
        let pool = pool_of([named, server(2)], settings(Balance::RoundRobin, false));
        let now = origin();
        pool.on_connect(0, false, now);
        let later = now + Duration::from_millis(1);
        let picks = || [pool.pick(&[], later), pool.pick(&[], later)];
        assert_eq!(picks(), [Some(1), Some(1)]);
        let addresses = [([192, 0, 2, 1], 1).into()];
        pool.server(0).set_addresses(&addresses);
        assert!(picks().contains(&Some(0)));
        assert_eq!(picks(), [Some(1), Some(1)], "one try, as after any rest");
        pool.server(0).set_addresses(&addresses);
        assert_eq!(picks(), [Some(1), Some(1)], "nothing is new");
    }

    #[test]
    fn with_checks_they_alone_say_it_and_who_is_down_is_passed_over() {
        let pool = pool_of([server(1), server(2)], settings(Balance::RoundRobin, true));
        let now = origin();
        pool.on_connect(0, false, now);
        assert!(pool.server(0).is_up());
        pool.server(0).set_up(false);
        pool.on_connect(0, true, now);
        assert!(!pool.server(0).is_up());
        let picks = [pool.pick(&[], now), pool.pick(&[], now)];
        assert_eq!(picks, [Some(1), Some(1)]);
        assert_eq!(pool.pick(&[1], now), Some(0));
    }

    #[test]
    fn one_that_drains_gets_none_whatever_becomes_of_the_others() {
        for balance in [Balance::RoundRobin, Balance::LeastConnections] {
            for checked in [false, true] {
                let pool = pool_of([server(1), server(2)], settings(balance, checked));
                let now = origin();
                for hold in [Hold::Draining, Hold::Maintenance] {
                    pool.server(0).set_hold(hold, true, now);
                    let picks: [_; 4] = std::array::from_fn(|_| pool.pick(&[], now));
                    assert_eq!(picks, [Some(1); 4]);
                    assert_eq!(pool.pick(&[1], now), None);
                    pool.server(1).set_up(false);
                    assert_eq!(pool.pick(&[], now), Some(1), "down, and not closed");
                    pool.server(1).set_up(true);
                    pool.server(0).set_hold(hold, false, now);
                }
                assert!((0..4).any(|_| pool.pick(&[], now) == Some(0)));
            }
        }
    }

    #[test]
    fn turns_and_rests_outlive_a_change_of_the_settings() {
        let (first, now) = (pool(), origin());
        assert_eq!(first.pick(&[], now), Some(0));
        let members = [0, 1].map(|place| Member {
            server: first.server(place).clone(),
            weight: 1,
        });
        let upstream = first.upstream().clone();
        let second = Pool::new(
            upstream,
            members.into(),
            settings(Balance::RoundRobin, false),
        );
        assert_eq!(second.pick(&[], now), Some(1), "the next turn");
        first.on_connect(1, false, now);
        let picks: [_; 4] = std::array::from_fn(|_| second.pick(&[], now));
        assert_eq!(picks, [Some(0); 4], "it rests in both");
    }
}

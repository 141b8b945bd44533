//! Verdicts and limits of one process, in another one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::admission::bandwidth::{BandwidthSettings, Grant};
use crate::admission::limits::Limits;
use crate::connection::origin::ClientAddress;
use crate::epoch::origin;
use crate::listener::settings::ListenerSettings;
use crate::metrics::{ConnectFailure, Slots};
use crate::upstream::address::ServerAddress;
use crate::upstream::agent::{Admission, AgentReport};
use crate::upstream::ejection::{EjectionCause, EjectionSettings};
use crate::upstream::outage::Fault;
use crate::upstream::policy::Balance;
use crate::upstream::pool::{Member, Pool, PoolSettings};
use crate::upstream::server::Server;
use crate::upstream::state::Hold;
use crate::upstream::taken::Taken;

const SECOND: Duration = Duration::from_secs(1);

/// A process with one listener, one upstream and two servers.
struct Process {
    inventory: Inventory,
    table: Table,
    settings: Arc<ListenerSettings>,
}

impl Process {
    fn new(servers: &[&str], now: Instant) -> Self {
        let inventory = Inventory::default();
        let upstream = inventory.upstream("u");
        let members = servers.iter().map(|label| {
            let make = || Server::named(&upstream, (*label).to_owned());
            Member {
                max_connections: Some(3),
                ..Member::new(inventory.server(&upstream, label, make), 1)
            }
        });
        let members = members.collect();
        let settings = PoolSettings {
            balance: Balance::RoundRobin,
            retry_budget: Some(20),
            slow_start: Some(256 * SECOND),
            ..PoolSettings::default()
        };
        let ejection = EjectionSettings {
            consecutive_failures: NonZeroU32::new(5).expect("not zero"),
            early: None,
            slow_factor: NonZeroU32::MIN,
            interval: SECOND,
            base: 30 * SECOND,
            max: 300 * SECOND,
            largest_share: 50,
            panic_threshold: 0,
        };
        let pool = Pool::new(upstream, members, settings).with_ejection(Some(ejection));
        let pool = Arc::new(pool);
        let listener = inventory.listener("l");
        let limits = Limits {
            rate: Some(listener.counted.meter(Rate::of_connections(1, 5))),
            source_rate: Some(listener.counted.source_rates(Rate::of_connections(1, 5))),
            source_connections: Some(2),
            ..Limits::default()
        };
        drop(listener.routes.of(["a", "default"]));
        let settings = Arc::new(ListenerSettings {
            limits,
            max_connections: Some(4),
            bandwidth: BandwidthSettings {
                listener: Some(1000),
                connection: None,
            },
            ..ListenerSettings::new(listener, pool.clone())
        });
        let table = Table::new(vec![settings.clone()], vec![pool]);
        table.apply_bandwidth();
        inventory.settle(&table, now);
        Self {
            inventory,
            table,
            settings,
        }
    }

    fn server(&self, place: usize) -> &Arc<Server> {
        self.settings.pool.server(place)
    }

    fn encode(&self, now: Instant) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_verdicts(&self.inventory, &self.table, anchor(now), now, &mut bytes);
        bytes
    }

    fn apply(&self, bytes: &[u8], moment: Moment, now: Instant) -> Result<Elsewhere, Error> {
        let adoption = Adoption::new(&self.inventory, &self.table, anchor(now), now);
        apply_verdicts(bytes, moment, &adoption)
    }
}

/// The kernel's clock of these tests.
fn anchor(now: Instant) -> Anchor {
    use std::sync::OnceLock;
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = *FIRST.get_or_init(|| now - 1000 * SECOND);
    Anchor::new(now, now.saturating_duration_since(first))
}

fn source(last: u8) -> Source {
    let address = std::net::SocketAddr::from(([10, 0, 0, last], 7));
    Source::of(ClientAddress::Tcp(address), 64).expect("it has an address")
}

/// One in which much has happened by `now`.
fn eventful(now: Instant) -> Process {
    let process = Process::new(&["x:1", "y:1"], now - 100 * SECOND);
    let (x, y) = (process.server(0), process.server(1));
    let fault = Fault::from(ConnectFailure::Timeout);
    x.outage.on_failure(fault, now - 50 * SECOND);
    x.set_up(false, now - 50 * SECOND);
    x.set_hold(Hold::Maintenance, true, now - 40 * SECOND);
    x.on_agent(
        &AgentReport {
            percent: Some(50),
            max_connections: Some(7),
            is_up: Some(false),
            admission: Some(Admission::Drain),
            line: "drain 50%".to_owned(),
        },
        now - 30 * SECOND,
    );
    y.on_come();
    process.settings.pool.state(1, now);
    y.warmth.part(Some(256 * SECOND), now - 64 * SECOND);
    for _ in 0..5 {
        let failed = Err(ConnectFailure::Refused.into());
        process.settings.pool.judge_connect(1, failed, now - SECOND);
    }
    y.rest.on_failure(now - SECOND);
    y.connect_time.note(Duration::from_millis(7), now - SECOND);
    let upstream = process.settings.pool.upstream();
    for _ in 0..41 {
        upstream.turns.first.next();
    }
    assert!(upstream.retry_budget.take(20, || 0, now - SECOND));
    let counted = &process.settings.listener.counted;
    let meter = counted.kept_meter().expect("there is a rate");
    (0..5).for_each(|_| meter.take(now, 1).expect("it is full"));
    let rates = counted.kept_source_rates().expect("there is a rate");
    (0..3).for_each(|_| assert!(rates.take(now, source(1))));
    let slot = Slots::default().lend(1).expect("there is room").slot(0);
    let (_, shared) = process.settings.listener.bandwidth.current();
    let shared = shared.expect("it is limited");
    for _ in 0..5 {
        shared.ask(Way::Up, slot, now, 1 << 18);
    }
    let known = process.settings.listener.routes.all();
    known[0].go_on(17);
    x.set_weight_by_hand(Some(9));
    process.settings.listener.set_state(ListenerState::Paused);
    process
}

#[test]
fn a_name_has_its_addresses_in_another_process_until_it_is_resolved() {
    let now = origin() + 2000 * SECOND;
    let one = Process::new(&["x:1", "y:1"], now);
    let address = |last| std::net::SocketAddr::from(([10, 0, 0, last], 7));
    one.server(0).set_addresses(&[address(1), address(2)]);
    let other = Process::new(&["x:1", "y:1"], now);
    let _ = other.apply(&one.encode(now), Moment::Start, now);
    let first = |server: usize| other.server(server).walk_aside().next(now);
    assert_eq!(first(0), Some(ServerAddress::Tcp(address(1))));
    assert_eq!(first(1), None);
    // It has the last word.
    other.server(0).set_addresses(&[address(3)]);
    let _ = other.apply(&one.encode(now), Moment::Takeover, now);
    assert_eq!(first(0), Some(ServerAddress::Tcp(address(3))));
}

#[test]
fn a_server_is_up_since_the_same_moment_in_another_process() {
    let now = origin() + 2000 * SECOND;
    let one = Process::new(&["x:1", "y:1"], now - 100 * SECOND);
    one.server(1).set_up(false, now - 90 * SECOND);
    one.server(1).set_up(true, now - 80 * SECOND);
    let other = Process::new(&["x:1", "y:1"], now);
    assert_eq!(other.server(0).clear_since(), Some(now));
    let _ = other.apply(&one.encode(now), Moment::Start, now);
    for (server, since) in [(0, 100), (1, 80)] {
        let clear_since = other.server(server).clear_since();
        assert_eq!(clear_since, Some(now - since * SECOND), "server {server}");
    }
}

#[test]
fn verdicts_hold_in_another_process() {
    let now = origin() + 2000 * SECOND;
    let one = eventful(now);
    let later = now + SECOND / 2;
    let other = Process::new(&["x:1", "y:1"], later);
    let _ = other.apply(&one.encode(now), Moment::Start, later);
    let (x, y) = (other.server(0), other.server(1));
    for (hold, since) in [
        (Hold::Down, 50),
        (Hold::Maintenance, 40),
        (Hold::AgentDown, 30),
        (Hold::AgentDraining, 30),
    ] {
        assert_eq!(x.since(hold), Some(now - since * SECOND), "{hold:?}");
    }
    assert_eq!(x.clear_since(), None);
    let fault = Fault::from(ConnectFailure::Timeout);
    assert_eq!(x.outage.fault(), Some(fault));
    assert_eq!(&*x.agent_line(), "drain 50%");
    assert_eq!(x.agent.percent(), 50);
    assert_eq!(x.agent.max_connections(None), Some(7));
    assert!(x.checks.say_anything() == one.server(0).checks.say_anything());
    assert!(y.holds().has(Hold::Ejected));
    let ended = (EjectionCause::ConnectFailures, now + 29 * SECOND);
    assert_eq!(y.ejection(), Some(ended));
    assert!(!y.conduct.is_over(now + 28 * SECOND));
    assert!(y.conduct.is_over(now + 29 * SECOND));
    assert!(y.rest.is_resting(later) && !y.rest.is_resting(now + 2 * SECOND));
    assert_eq!(y.warmth.part(Some(256 * SECOND), now), 64);
    let upstream = other.settings.pool.upstream();
    assert_eq!(upstream.turns.first.next(), 41);
    let retries = (0..).take_while(|_| upstream.retry_budget.take(20, || 0, now));
    assert_eq!(retries.count(), 10, "one was taken, and has come back");
    let counted = &other.settings.listener.counted;
    let meter = counted.kept_meter().expect("there is a rate");
    assert_eq!(meter.take(later, 1), Err(now + SECOND));
    let rates = counted.kept_source_rates().expect("there is a rate");
    let taken = (0..5).filter(|_| rates.take(now, source(1)));
    assert_eq!(taken.count(), 2);
    let slot = Slots::default().lend(1).expect("there is room").slot(0);
    let (_, shared) = other.settings.listener.bandwidth.current();
    let shared = shared.expect("it is limited");
    let next = shared.ask(Way::Up, slot, later, 1 << 18);
    assert!(
        matches!(next, Grant::Later(_, due) if due > now + 3 * SECOND),
        "{next:?}"
    );
    assert_eq!(other.settings.listener.routes.all()[0].turns(), 17);
    assert_eq!(x.weight_by_hand(), Some(9));
    assert_eq!(other.settings.listener.state(), ListenerState::Paused);
}

#[test]
fn what_has_crossed_is_what_it_was() {
    let now = origin() + 2000 * SECOND;
    let one = eventful(now);
    let taken = Taken::beside(one.server(0));
    let bytes = one.encode(now);
    let other = Process::new(&["x:1", "y:1"], now);
    let elsewhere = other.apply(&bytes, Moment::Start, now).expect("a record");
    assert_eq!(other.encode(now), bytes);
    drop((elsewhere, taken));
    assert_eq!(other.server(0).connections(), 0);
}

#[test]
fn checks_and_agents_of_a_process_that_runs_have_the_last_word() {
    let now = origin() + 2000 * SECOND;
    let one = eventful(now);
    let other = Process::new(&["x:1", "y:1"], now);
    let (x, y) = (other.server(0), other.server(1));
    x.set_hold(Hold::AgentMaintenance, true, now);
    y.set_hold(Hold::Draining, true, now);
    let _ = other.apply(&one.encode(now), Moment::Takeover, now);
    assert!(x.is_up() && x.holds().has(Hold::AgentMaintenance));
    assert!(x.holds().has(Hold::Maintenance));
    assert!(y.holds().has(Hold::Ejected) && !y.holds().has(Hold::Draining));
}

#[test]
fn other_rates_begin_anew_and_names_that_are_gone_are_left_out() {
    let now = origin() + 2000 * SECOND;
    let one = eventful(now);
    let other = Process::new(&["y:1"], now);
    let counted = &other.settings.listener.counted;
    let meter = counted.meter(Rate::of_connections(1, 3));
    let _ = other.apply(&one.encode(now), Moment::Start, now);
    assert!((0..3).all(|_| meter.take(now, 1).is_ok()));
    assert!(other.server(0).holds().has(Hold::Ejected));
}

#[test]
fn connections_of_another_process_count_until_they_come_or_it_is_over() {
    let now = origin() + 2000 * SECOND;
    let one = Process::new(&["x:1", "y:1"], now);
    let _taken: Vec<_> = (0..3).map(|_| Taken::beside(one.server(0))).collect();
    let slot = Slots::default().lend(1).expect("there is room").slot(0);
    one.settings.listener.cells.of(slot).accepted.add(3);
    assert!(one.settings.listener.counted.sources.take(source(1), 9));
    assert!(one.settings.listener.counted.sources.take(source(1), 9));
    let other = Process::new(&["x:1", "y:1"], now);
    let elsewhere = other.apply(&one.encode(now), Moment::Takeover, now);
    let elsewhere = elsewhere.expect("a record");
    let is_full = || {
        let (server, settings) = (other.server(0), &other.settings);
        let sources = &settings.listener.counted.sources;
        let takes_source = sources.take(source(1), 2);
        if takes_source {
            sources.release(source(1));
        }
        (
            server.is_full(Some(3)),
            settings.listener.is_full(Some(3)),
            !takes_source,
        )
    };
    assert_eq!((elsewhere.count(), is_full()), (3, (true, true, true)));
    elsewhere.on_come(Some(other.server(0)), &other.settings, Some(source(1)));
    assert_eq!((elsewhere.count(), is_full()), (2, (false, false, false)));
    // One that it has not told of is no one's place.
    elsewhere.on_come(Some(other.server(1)), &other.settings, Some(source(9)));
    assert_eq!(elsewhere.count(), 2);
    drop(elsewhere);
    assert_eq!(other.server(0).connections(), 0);
    assert!(!other.settings.listener.is_full(Some(1)));
    assert_eq!(other.settings.listener.counted.sources(), 0);
}

#[test]
fn a_part_of_a_record_is_refused() {
    let now = origin() + 2000 * SECOND;
    let bytes = eventful(now).encode(now);
    let other = Process::new(&["x:1", "y:1"], now);
    for end in 0..bytes.len() {
        assert!(
            other.apply(&bytes[..end], Moment::Start, now).is_err(),
            "{end}"
        );
    }
}

proptest! {
    /// Whatever byte is another one: it is refused, or it is a record as good as any.
    #[test]
    fn no_byte_makes_it_panic(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let now = origin() + 2000 * SECOND;
        let mut bytes = eventful(now).encode(now);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let other = Process::new(&["x:1", "y:1"], now);
        if other.apply(&bytes, Moment::Start, now).is_ok() {
            let again = other.encode(now);
            let third = Process::new(&["x:1", "y:1"], now);
            prop_assert!(third.apply(&again, Moment::Start, now).is_ok());
        }
    }
}

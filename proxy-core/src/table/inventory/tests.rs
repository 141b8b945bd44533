//! Names that come, go and come back.

use super::*;
use crate::epoch::origin;
use crate::listener::settings::ListenerSettings;
use crate::metrics::Slots;
use crate::upstream::policy::Balance;
use crate::upstream::pool::{Member, Pool, PoolSettings};
use crate::upstream::warmth::WHOLE;

/// A table with one upstream of these servers, and these listeners before it.
fn table(inventory: &Inventory, listeners: &[&str], servers: &[&str]) -> Table {
    let upstream = inventory.upstream("u");
    let members = servers.iter().map(|label| {
        let make = || Server::named(&upstream, (*label).to_owned());
        Member::new(inventory.server(&upstream, label, make), 1)
    });
    let members = members.collect();
    let settings = PoolSettings {
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        checked: false,
        ..PoolSettings::default()
    };
    let pool = Arc::new(Pool::new(upstream, members, settings));
    let listeners = listeners.iter().map(|name| {
        Arc::new(ListenerSettings::new(
            inventory.listener(name),
            pool.clone(),
        ))
    });
    Table::new(listeners.collect(), vec![pool])
}

fn names(view: &View) -> (Vec<&str>, Vec<&str>) {
    let listeners = view.listeners.iter();
    let servers = view.upstreams.iter().flat_map(|view| &view.servers);
    (
        listeners.map(|view| &view.listener.name[..]).collect(),
        servers.map(|server| &server.label[..]).collect(),
    )
}

#[test]
fn what_comes_back_is_what_it_was() {
    let (inventory, now) = (Inventory::default(), origin());
    let first = table(&inventory, &["a", "b"], &["x:1", "y:1"]);
    inventory.settle(&first, now);
    let (a, y) = (&first.listeners[0].listener, first.pools[0].server(1));
    let second = table(&inventory, &["b"], &["x:1"]);
    inventory.settle(&second, now);
    let third = table(&inventory, &["a", "b"], &["y:1"]);
    inventory.settle(&third, now + RETIRED_KEPT / 2);
    assert!(Arc::ptr_eq(&third.listeners[0].listener, a));
    assert!(Arc::ptr_eq(third.pools[0].server(0), y));
    let view = inventory.view(&third, now + RETIRED_KEPT);
    assert_eq!(names(&view).0, ["a", "b"]);
}

#[test]
fn what_was_removed_is_shown_while_it_is_used_and_ten_minutes_after() {
    let (inventory, now) = (Inventory::default(), origin());
    let slot = Slots::default().lend(1).expect("there is room").slot(0);
    let first = table(&inventory, &["a", "b"], &["x:1", "y:1"]);
    inventory.settle(&first, now);
    let second = table(&inventory, &["b"], &["x:1"]);
    let cells = first.listeners[0].listener.cells.of(slot);
    cells.accepted.add(2);
    cells.ended[0].add(1);
    inventory.settle(&second, now);
    let shown = |now| {
        let view = inventory.view(&second, now);
        let (listeners, servers) = names(&view);
        (listeners.join(" "), servers.join(" "))
    };
    let all = ("b a".to_owned(), "x:1 y:1".to_owned());
    assert_eq!(shown(now + RETIRED_KEPT - Duration::from_nanos(1)), all);
    let later = now + 2 * RETIRED_KEPT;
    assert_eq!(shown(later), ("b a".to_owned(), "x:1".to_owned()));
    cells.ended[0].add(1);
    assert_eq!(shown(later).0, "b a");
    assert_eq!(shown(later + RETIRED_KEPT).0, "b");
    let forgotten = inventory.view(&second, later).forgotten;
    assert_eq!(
        forgotten[0].accepted, 2,
        "what it counted stays in the sums"
    );
}

#[test]
fn what_was_made_in_vain_is_never_shown() {
    let (inventory, now) = (Inventory::default(), origin());
    let first = table(&inventory, &["a"], &["x:1"]);
    inventory.settle(&first, now);
    drop(table(&inventory, &["c"], &["z:1"]));
    assert_eq!(
        names(&inventory.view(&first, now)),
        (vec!["a"], vec!["x:1"])
    );
    inventory.settle(&first, now);
    assert_eq!(
        names(&inventory.view(&first, now)),
        (vec!["a"], vec!["x:1"])
    );
}

#[test]
fn whatever_is_looked_at_between_two_steps_is_shown_once() {
    let (inventory, now) = (Inventory::default(), origin());
    let first = table(&inventory, &["a", "b"], &["x:1", "y:1"]);
    inventory.settle(&first, now);
    let second = table(&inventory, &["b"], &["x:1"]);
    let all = (vec!["b", "a"], vec!["x:1", "y:1"]);
    assert_eq!(names(&inventory.view(&second, now)), all, "not settled yet");
    inventory.settle(&second, now);
    let third = table(&inventory, &["a"], &["y:1"]);
    let all = (vec!["a", "b"], vec!["y:1", "x:1"]);
    assert_eq!(names(&inventory.view(&third, now)), all, "not settled yet");
    inventory.settle(&third, now);
    assert_eq!(names(&inventory.view(&third, now)), all);
}

#[test]
fn servers_begin_slowly_that_an_upstream_gets_later() {
    let (inventory, now) = (Inventory::default(), origin());
    let slow_start = Some(Duration::from_secs(256));
    let part = |table: &Table, place: usize| {
        let server = table.pools[0].server(place);
        server.warmth.part(slow_start, now)
    };
    let first = table(&inventory, &["a"], &["x:1", "y:1"]);
    inventory.settle(&first, now);
    assert_eq!((part(&first, 0), part(&first, 1)), (WHOLE, WHOLE));
    let second = table(&inventory, &["a"], &["x:1", "z:1"]);
    inventory.settle(&second, now);
    assert_eq!((part(&second, 0), part(&second, 1)), (WHOLE, 1));
    let third = table(&inventory, &["a"], &["x:1", "y:1"]);
    inventory.settle(&third, now);
    assert_eq!(
        (part(&third, 0), part(&third, 1)),
        (WHOLE, 1),
        "it comes back"
    );
}

#[test]
fn names_that_are_idle_are_bounded() {
    let (inventory, now) = (Inventory::default(), origin());
    for turn in 0..RETIRED_MAX as u32 + 50 {
        let name = format!("l{turn:03}");
        let table = table(&inventory, &[&name], &[&format!("{turn}:1")]);
        inventory.settle(&table, now + Duration::from_millis(turn.into()));
    }
    let last = table(&inventory, &["l305"], &["305:1"]);
    let later = now + Duration::from_secs(1);
    inventory.settle(&last, later);
    let view = inventory.view(&last, later);
    let (listeners, servers) = names(&view);
    assert_eq!(
        (listeners.len(), servers.len()),
        (RETIRED_MAX + 1, RETIRED_MAX + 1)
    );
    assert_eq!((listeners[1], listeners[RETIRED_MAX]), ("l049", "l304"));
}

#[test]
fn a_server_is_up_or_removed_since_it_came_or_went() {
    let (inventory, now) = (Inventory::default(), origin());
    let at = |seconds| Some(now + Duration::from_secs(seconds));
    let settle = |servers: &[&str], seconds| {
        let table = table(&inventory, &["a"], servers);
        inventory.settle(&table, now + Duration::from_secs(seconds));
        table
    };
    let first = settle(&["x:1", "y:1"], 1);
    let (x, y) = (first.pools[0].server(0), first.pools[0].server(1));
    assert_eq!((x.clear_since(), y.clear_since()), (at(1), at(1)));
    // A reload that leaves it alone changes nothing.
    settle(&["x:1", "y:1"], 2);
    settle(&["x:1"], 3);
    settle(&["x:1"], 4);
    assert_eq!((x.clear_since(), x.removed_since()), (at(1), None));
    assert_eq!(y.removed_since(), at(3));
    settle(&["x:1", "y:1"], 5);
    assert_eq!((x.clear_since(), y.clear_since()), (at(1), at(5)));
}

//! A fleet simulated: what connections notice when a proxy or a server comes or goes. `just fleet` prints docs/fleet.md's table.

use super::hash::{hash, mix};
use super::maglev::Maglev;

/// Connections, each of a client of its own. The table in docs/fleet.md is of a million.
const CONNECTIONS: u64 = 50_000;
const MANY: u64 = 1_000_000;
const SERVERS: usize = 20;

/// Who sends a connection's packets to a proxy, by addresses and ports.
#[derive(Clone, Copy, PartialEq)]
enum Router {
    /// The remainder of the hash by how many there are: plain ECMP.
    Remainder,
    /// A table of which few entries change: IPVS' `mh`, Cilium, Katran.
    Maglev,
}

/// Which proxies or servers there are, by number.
type Group = Vec<usize>;

/// Parts of all connections.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    /// The router sends what is open to another proxy than before, which resets it: those of a proxy that goes are in it.
    cut: f64,
    /// A client that comes again gets another server, with `balance = "source-hash"`.
    hashed: f64,
    /// The same with `balance = "round-robin"`.
    in_turn: f64,
}

fn names(what: &str, group: &Group) -> Vec<String> {
    group.iter().map(|one| format!("{what}{one}:80")).collect()
}

fn table(names: &[String]) -> Maglev {
    let servers: Vec<_> = names.iter().map(|name| (&name[..], 1)).collect();
    Maglev::new(&servers)
}

/// Who has a connection of each of these hashes.
fn routed(router: Router, proxies: &Group) -> impl Fn(u64) -> usize {
    let table = table(&names("proxy", proxies));
    move |flow| match router {
        Router::Remainder => proxies[(flow % proxies.len() as u64) as usize],
        Router::Maglev => proxies[table.server(flow, 0)],
    }
}

fn changed(
    router: Router,
    proxies: (&Group, &Group),
    servers: (&Group, &Group),
    connections: u64,
) -> Noticed {
    let (before, after) = (routed(router, proxies.0), routed(router, proxies.1));
    // Each proxy has a table of its own, made from the same names.
    let tables = |group: &Group| (names("server", group), table(&names("server", group)));
    let ((old_names, old), (new_names, new)) = (tables(servers.0), tables(servers.1));
    let (mut cut, mut hashed, mut in_turn) = (0, 0, 0);
    for client in 0..connections {
        let source = hash(&client.to_le_bytes());
        let flow = mix(source ^ 1);
        cut += u64::from(before(flow) != after(flow));
        let (was, is) = (old.server(source, 0), new.server(source, 0));
        hashed += u64::from(old_names[was] != new_names[is]);
        // Whose turn it is has nothing to do with the client.
        let (was, is) = (mix(flow ^ 2), mix(flow ^ 3));
        let turn = |number: u64, group: &Group| group[(number % group.len() as u64) as usize];
        in_turn += u64::from(turn(was, servers.0) != turn(is, servers.1));
    }
    let part = |count: u64| count as f64 / connections as f64;
    Noticed {
        cut: part(cut),
        hashed: part(hashed),
        in_turn: part(in_turn),
    }
}

/// What happens, and the figures of it with each router.
fn simulate(proxies: usize, connections: u64) -> Vec<(&'static str, Noticed, Noticed)> {
    let (fleet, servers): (Group, Group) = ((0..proxies).collect(), (0..SERVERS).collect());
    let more = |group: &Group| (0..=group.len()).collect::<Group>();
    // Not the last one: after that all others keep their place in a list.
    let fewer = |group: &Group| {
        let middle = group.len() / 2;
        let others = group.iter().filter(|&&one| one != middle);
        others.copied().collect::<Group>()
    };
    let both = |proxies: &Group, others: &Group| {
        let of = |router| changed(router, (&fleet, proxies), (&servers, others), connections);
        (of(Router::Remainder), of(Router::Maglev))
    };
    let mut all = Vec::new();
    let mut add = |what, proxies: &Group, others: &Group| {
        let (remainder, maglev) = both(proxies, others);
        all.push((what, remainder, maglev));
    };
    add("a proxy comes", &more(&fleet), &servers);
    if proxies > 1 {
        add("a proxy goes", &fewer(&fleet), &servers);
    }
    add("a server comes", &fleet, &more(&servers));
    add("a server goes", &fleet, &fewer(&servers));
    all
}

#[test]
fn proxies_agree_and_few_clients_move() {
    for proxies in [1, 10, 100] {
        for (what, remainder, maglev) in simulate(proxies, CONNECTIONS) {
            let share = 1.0 / (proxies as f64);
            if what.contains("proxy") {
                // Which proxy a client meets has no part in which server it gets.
                assert_eq!((remainder.hashed, maglev.hashed), (0.0, 0.0), "{what}");
                assert!(maglev.cut <= remainder.cut + 0.01, "{what} of {proxies}");
                // Its own part, and little of the others'.
                assert!(maglev.cut < 1.1 * share + 0.02, "{what}: {maglev:?}");
            } else {
                assert_eq!((remainder.cut, maglev.cut), (0.0, 0.0), "{what}");
                assert!(maglev.hashed < 1.2 / SERVERS as f64, "{what}: {maglev:?}");
            }
            assert!(maglev.in_turn > 0.9, "{what}: {maglev:?}");
        }
    }
}

#[test]
#[ignore = "prints a table, of which it takes a minute to compute the figures"]
fn print() {
    println!(
        "| proxies | what happens | cut: plain ECMP | cut: Maglev in front | other server: source-hash | other server: in turn |"
    );
    println!("|--:|---|--:|--:|--:|--:|");
    for proxies in [1, 10, 100] {
        for (what, remainder, maglev) in simulate(proxies, MANY) {
            let [plain, table, hashed, in_turn] =
                [remainder.cut, maglev.cut, maglev.hashed, maglev.in_turn]
                    .map(|part| format!("{:.1} %", 100.0 * part));
            println!("| {proxies} | {what} | {plain} | {table} | {hashed} | {in_turn} |");
        }
    }
}

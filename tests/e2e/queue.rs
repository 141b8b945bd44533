//! Clients that wait for a place, as all servers are full.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::harness::change;
use crate::harness::heirs::Heirs;
use crate::harness::limit;
use crate::harness::peer::{Server, assert_closed_unanswered};
use crate::harness::proxy::{Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade::upgrade;

each_scheduler!(
    thousands_are_served_in_the_order_in_which_they_came,
    who_waits_keeps_its_turn_over_a_reload_and_a_switch,
    who_waits_goes_over_by_an_upgrade_and_a_full_server_stays_full,
    a_limit_that_is_raised_lets_in_those_who_wait,
    the_fallback_comes_before_the_wait,
    who_waits_too_long_or_comes_too_late_is_refused,
    who_waits_is_served_while_the_proxy_drains,
    servers_that_go_down_are_not_waited_for,
);

/// Clients that wait at a time.
const MANY: usize = 5000;

/// How many come before it is looked whether they wait: those of one batch may come in any order, as two workers accept them.
const BATCH: usize = 100;

/// A server that reads the number of each client, in the order in which the proxy connects.
struct Counting {
    address: String,
    /// Connections, each with its number, in order.
    served: Receiver<(TcpStream, usize)>,
}

impl Counting {
    fn start() -> Self {
        let server = Server::bind();
        let address = server.address().to_string();
        let (sender, served) = mpsc::channel();
        thread::spawn(move || accept(&server, &sender));
        Self { address, served }
    }

    fn next(&self) -> (TcpStream, usize) {
        let served = self.served.recv_timeout(wait::DEADLINE);
        served.expect("the next one is served")
    }

    /// Serves so many, one at a time, and returns their numbers.
    fn serve(&self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.next().1).collect()
    }
}

fn accept(server: &Server, sender: &Sender<(TcpStream, usize)>) {
    loop {
        let mut stream = server.accept();
        let mut number = [0; 4];
        if stream.read_exact(&mut number).is_err()
            || sender
                .send((stream, u32::from_be_bytes(number) as usize))
                .is_err()
        {
            return;
        }
    }
}

/// A client that says its number, and no more.
fn client(proxy: &Proxy, number: usize) -> TcpStream {
    let mut client = proxy.connect("main");
    let number = (number as u32).to_be_bytes();
    client.write_all(&number).expect("it is small");
    client.shutdown(Shutdown::Write).expect("half-close");
    client
}

fn waiting(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_upstream_slot_queue", &[])
}

/// Clients that wait, behind those that do already.
fn queue(proxy: &Proxy, numbers: std::ops::Range<usize>) -> Vec<TcpStream> {
    let before = waiting(proxy);
    let count = numbers.len();
    let clients = numbers.map(|number| client(proxy, number)).collect();
    wait::until("they wait", || waiting(proxy) == before + count as f64);
    clients
}

fn rejected(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric("corelane_listener_rejected_total", &[("reason", reason)])
}

/// One server, with so many connections at a time.
fn routes(server: &Counting, max: usize, rest: &str) -> String {
    format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n[upstreams.main]\n\
         servers = [{{ address = \"{}\", max_connections = {max} }}]\n{rest}\n",
        server.address
    )
}

fn reload(proxy: &Proxy, scheduler: Scheduler, routes: &str) {
    change::reload(proxy, &configuration(scheduler, "", routes));
}

const PATIENT: &str = "queue = 6000\nqueue_timeout = \"5m\"";

fn thousands_are_served_in_the_order_in_which_they_came(scheduler: Scheduler) {
    let _alone = limit::alone();
    if !limit::descriptors(3 * MANY as u64) {
        return;
    }
    let server = Counting::start();
    let proxy = Proxy::start(scheduler, &routes(&server, 1, PATIENT));
    let first = client(&proxy, MANY);
    let held = server.next();
    let clients: Vec<_> = (0..MANY / BATCH)
        .flat_map(|batch| queue(&proxy, batch * BATCH..(batch + 1) * BATCH))
        .collect();
    drop((first, held));
    let order = server.serve(MANY);
    let batches: Vec<_> = order.iter().map(|number| number / BATCH).collect();
    assert!(batches.is_sorted(), "{order:?}");
    let mut all = order;
    all.sort_unstable();
    assert!(all.into_iter().eq(0..MANY), "each is served once");
    drop(clients);
    wait::until("all have ended", || {
        proxy.metric("corelane_upstream_connections", &[]) == 0.0
    });
    let count = proxy.metric("corelane_upstream_slot_queue_seconds_count", &[]);
    assert_eq!((count, waiting(&proxy)), (MANY as f64, 0.0));
    proxy.stop();
}

fn who_waits_keeps_its_turn_over_a_reload_and_a_switch(scheduler: Scheduler) {
    for to in Scheduler::ALL {
        if !to.usable() {
            continue;
        }
        let server = Counting::start();
        let text =
            |scheduler, cores| change::text(scheduler, cores, "", &routes(&server, 1, PATIENT));
        let proxy = Proxy::start_file(&text(scheduler, 2));
        let first = client(&proxy, 100);
        let held = server.next();
        let mut clients = queue(&proxy, 0..20);
        // Other cores, where it is the same scheduler.
        change::reload(&proxy, &text(to, 3));
        wait::until("the new scheduler is shown", || {
            change::shown(&proxy.metrics()) == (to, 3)
        });
        clients.extend(queue(&proxy, 20..40));
        drop((first, held));
        let order = server.serve(40);
        assert!(order[..20].iter().all(|&number| number < 20), "{order:?}");
        wait::until("the switch is over", || {
            change::switched(&proxy.metrics()) == 1.0
        });
        drop(clients);
        proxy.stop();
    }
}

/// The connections that have the places go to another process: their places are not free by that.
fn who_waits_goes_over_by_an_upgrade_and_a_full_server_stays_full(scheduler: Scheduler) {
    let server = Counting::start();
    let text = configuration(scheduler, "", &routes(&server, 1, PATIENT));
    let proxy = Proxy::start_file(&text);
    let heirs = Heirs::of(&proxy);
    let first = client(&proxy, 100);
    let held = server.next();
    let mut clients = queue(&proxy, 0..20);
    let leaves = proxy.connect("main");
    wait::until("it waits, too", || waiting(&proxy) == 21.0);
    upgrade(&proxy, &heirs);
    assert_eq!(waiting(&proxy), 21.0);
    assert_eq!(proxy.metric("corelane_upstream_connections", &[]), 1.0);
    drop(leaves);
    wait::until("one has left", || waiting(&proxy) == 20.0);
    // Once more, with those that came in between.
    clients.extend(queue(&proxy, 20..40));
    upgrade(&proxy, &heirs);
    clients.extend(queue(&proxy, 40..60));
    assert!(server.served.try_recv().is_err(), "it is full");
    drop((first, held));
    let order = server.serve(60);
    for (batch, numbers) in order.chunks(20).enumerate() {
        assert!(
            numbers.iter().all(|number| number / 20 == batch),
            "{order:?}"
        );
    }
    drop(clients);
    wait::until("all have ended", || {
        proxy.metric("corelane_upstream_connections", &[]) == 0.0
    });
    let over = proxy.metric("corelane_upstream_slot_queue_seconds_count", &[]);
    assert_eq!((over, waiting(&proxy)), (61.0, 0.0));
    proxy.stop();
}

fn a_limit_that_is_raised_lets_in_those_who_wait(scheduler: Scheduler) {
    let server = Counting::start();
    let proxy = Proxy::start(scheduler, &routes(&server, 1, PATIENT));
    let mut clients = vec![client(&proxy, 100)];
    let mut held = vec![server.next()];
    for number in 0..6 {
        clients.extend(queue(&proxy, number..number + 1));
    }
    reload(&proxy, scheduler, &routes(&server, 3, PATIENT));
    held.extend([server.next(), server.next()]);
    let mut numbers = [held[1].1, held[2].1];
    numbers.sort_unstable();
    assert_eq!((numbers, waiting(&proxy)), ([0, 1], 4.0));
    // Nobody may wait any more: those who do are served.
    reload(&proxy, scheduler, &routes(&server, 1, ""));
    assert_closed_unanswered(proxy.connect("main"));
    assert_eq!(rejected(&proxy, "servers_full"), 1.0);
    held.truncate(1);
    assert_eq!(waiting(&proxy), 4.0);
    drop(held);
    assert_eq!(server.serve(4), [2, 3, 4, 5]);
    drop(clients);
    proxy.stop();
}

fn the_fallback_comes_before_the_wait(scheduler: Scheduler) {
    let (server, other) = (Counting::start(), Counting::start());
    let main = routes(&server, 1, &format!("fallback = \"other\"\n{PATIENT}"));
    let stands_in = format!(
        "[upstreams.other]\nservers = [{{ address = \"{}\", max_connections = 1 }}]\n",
        other.address
    );
    let proxy = Proxy::start(scheduler, &(main + &stands_in));
    let first = client(&proxy, 0);
    let held = server.next();
    let second = client(&proxy, 1);
    let held_there = other.next();
    assert_eq!((held.1, held_there.1), (0, 1));
    let main = [("upstream", "main")];
    let waits = [2, 3].map(|number| {
        let waits = client(&proxy, number);
        wait::until("it waits", || {
            proxy.metric("corelane_upstream_slot_queue", &main) == f64::from(number as u32) - 1.0
        });
        waits
    });
    // A place becomes free where it stands in.
    drop((second, held_there));
    let third = other.next();
    assert_eq!(third.1, 2);
    drop((first, held));
    assert_eq!(server.serve(1), [3]);
    drop((third, waits));
    wait::until("nobody is left", || {
        let queues = proxy.metrics();
        let waiting = queues.series("corelane_upstream_queue", &[]);
        waiting.map(|(_, value)| value).sum::<f64>() == 0.0
            && proxy.metric("corelane_listener_connections", &[]) == 0.0
    });
    proxy.stop();
}

fn who_waits_too_long_or_comes_too_late_is_refused(scheduler: Scheduler) {
    let server = Counting::start();
    let limits = "queue = 2\nqueue_timeout = \"500ms\"";
    let proxy = Proxy::start(scheduler, &routes(&server, 1, limits));
    let first = client(&proxy, 0);
    let held = server.next();
    let waits = [(); 2].map(|()| proxy.connect("main"));
    // It is the third one, whenever the first two have come by then.
    wait::until("they wait, or have waited", || {
        waiting(&proxy) + rejected(&proxy, "queue_timeout") == 2.0
    });
    waits.into_iter().for_each(assert_closed_unanswered);
    assert_eq!(rejected(&proxy, "queue_timeout"), 2.0);
    // One that leaves makes room for another one.
    let one = "queue = 1\nqueue_timeout = \"5m\"";
    reload(&proxy, scheduler, &routes(&server, 1, one));
    let leaves = proxy.connect("main");
    wait::until("it waits", || waiting(&proxy) == 1.0);
    assert_closed_unanswered(proxy.connect("main"));
    assert_eq!(rejected(&proxy, "servers_full"), 1.0);
    drop(leaves);
    wait::until("it has left", || waiting(&proxy) == 0.0);
    let ended = [("cause", "client_reset")];
    assert_eq!(proxy.metric("corelane_listener_ended_total", &ended), 1.0);
    let clients = queue(&proxy, 7..8);
    drop((first, held));
    assert_eq!(server.serve(1), [7]);
    drop(clients);
    proxy.stop();
}

fn who_waits_is_served_while_the_proxy_drains(scheduler: Scheduler) {
    let server = Counting::start();
    let mut proxy = Proxy::start(scheduler, &routes(&server, 1, PATIENT));
    let first = client(&proxy, 100);
    let held = server.next();
    let clients = queue(&proxy, 0..10);
    proxy.terminate();
    wait::until("it drains", || {
        TcpStream::connect(proxy.address("main")).is_err()
    });
    drop((first, held));
    let mut order = server.serve(10);
    order.sort_unstable();
    assert!(order.into_iter().eq(0..10));
    drop(clients);
    assert!(proxy.wait().success());
}

fn servers_that_go_down_are_not_waited_for(scheduler: Scheduler) {
    let other = Server::bind();
    let address = other.address().to_string();
    let checks = "queue = 10\nqueue_timeout = \"5m\"\nwhen_all_down = \"refuse\"\n\
                  [upstreams.main.health]\ntype = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"10s\"\nrise = 1\nfall = 1\n";
    let server = format!("servers = [{{ address = \"{address}\", max_connections = 1 }}]");
    let routes = format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n[upstreams.main]\n{server}\n{checks}"
    );
    let proxy = Proxy::start(scheduler, &routes);
    let up = |is_up: f64| {
        wait::until("the checks say so", || {
            proxy.metric("corelane_upstream_up", &[]) == is_up
        });
    };
    up(1.0);
    let first = client(&proxy, 0);
    // Checks connect, too, and say nothing.
    let mut held = other.accept();
    while held.read_exact(&mut [0; 4]).is_err() {
        held = other.accept();
    }
    let waits = [(); 3].map(|()| proxy.connect("main"));
    wait::until("they wait", || waiting(&proxy) == 3.0);
    drop(other);
    up(0.0);
    waits.into_iter().for_each(assert_closed_unanswered);
    assert_eq!(waiting(&proxy), 0.0);
    assert_eq!(rejected(&proxy, "servers_down"), 3.0);
    drop((first, held));
    proxy.stop();
}

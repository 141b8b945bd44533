//! Connections that are open when another process takes over go on there: not a byte is lost, doubled or changed.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::harness::bytes::{self, MIB};
use crate::harness::change::text;
use crate::harness::config::forward;
use crate::harness::echoed;
use crate::harness::heirs::Heirs;
use crate::harness::metrics::Totals;
use crate::harness::peer;
use crate::harness::program;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};
use crate::upgrade::{ask, come, upgrade};

each_scheduler!(nobody_notices, half_closed_connections_go_on);

/// How much there is of everything.
#[derive(Clone, Copy)]
struct Size {
    /// Connections that wait.
    idle: usize,
    /// Transfers at a time, and their bytes.
    transfers: usize,
    transfer_bytes: u64,
    /// Threads that connections come from, some 200 a second each.
    coming: usize,
    /// Every third one is to a copy of the program, as a rollback is.
    upgrades: usize,
}

const SHORT: Size = Size {
    idle: 100,
    transfers: 4,
    transfer_bytes: 4 * MIB,
    coming: 1,
    upgrades: 3,
};

/// `CORELANE_SOAK=full` (`just soak`).
const FULL: Size = Size {
    idle: 8000,
    transfers: 100,
    transfer_bytes: 32 * MIB,
    coming: 3,
    upgrades: 7,
};

fn echoes(client: &TcpStream, seed: u64) {
    let message = bytes::pattern(seed, 100);
    (&*client).write_all(&message).expect("send");
    let mut answer = vec![0; message.len()];
    (&*client).read_exact(&mut answer).expect("receive");
    assert!(
        answer == message,
        "connection {seed} was told something else"
    );
}

/// Transfers one after the other, until it is over; each is what was sent.
fn transfer(proxy: &Proxy, (seed, length): (u64, u64), over: &AtomicBool, counts: &Counts) {
    while !over.load(Relaxed) {
        counts.begun.fetch_add(1, Relaxed);
        let client = proxy.connect("main");
        echoed::transfer(&client, seed, length);
        counts.done.fetch_add(1, Relaxed);
    }
}

/// What clients have done.
#[derive(Default)]
struct Counts {
    came: AtomicU64,
    /// Transfers.
    begun: AtomicU64,
    done: AtomicU64,
}

/// Upgrades to another scheduler and other cores, and back.
fn nobody_notices(first: Scheduler) {
    let size = match std::env::var("CORELANE_SOAK").as_deref() {
        Ok("full") => FULL,
        _ => SHORT,
    };
    let service = peer::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let routes = forward(&[&service.address().to_string()]);
    let file = |scheduler: Scheduler, cores: usize| {
        let text = text(scheduler, cores, "", &routes);
        text.replace("[admin]\n", &format!("[admin]\nsocket = {socket:?}\n"))
    };
    let before = folder.path().join("corelane-before");
    program::copy(proxy::command().get_program().as_ref(), &before);
    let proxy = Proxy::start_file(&file(first, 2));
    let heirs = Heirs::of(&proxy);
    let idle: Vec<_> = (0..size.idle).map(|_| proxy.connect("main")).collect();
    let all = || {
        (0..)
            .zip(&idle)
            .for_each(|(seed, client)| echoes(client, seed))
    };
    all();
    let (over, counts) = (AtomicBool::new(false), Counts::default());
    thread::scope(|scope| {
        let _end = End(&over);
        let (proxy, over, counts) = (&proxy, &over, &counts);
        let address = proxy.address("main");
        let mut clients: Vec<_> = (0..size.coming)
            .map(|_| scope.spawn(move || come(address, over, &counts.came)))
            .collect();
        clients.push(scope.spawn(|| {
            let mut totals = Totals::default();
            while !over.load(Relaxed) {
                totals.grow_over_processes(&proxy.metrics());
            }
        }));
        for seed in 0..size.transfers as u64 {
            let length = size.transfer_bytes;
            clients.push(scope.spawn(move || transfer(proxy, (seed, length), over, counts)));
        }
        let mut usable = Scheduler::ALL
            .into_iter()
            .filter(|one| one.usable() && *one != first);
        let other = usable.next().unwrap_or(first);
        for step in 1..=size.upgrades {
            let enough = (counts.came.load(Relaxed) + 5, counts.done.load(Relaxed) + 2);
            wait::until("clients come and transfer", || {
                assert!(
                    clients.iter().all(|client| !client.is_finished()),
                    "{}",
                    proxy.log()
                );
                counts.came.load(Relaxed) >= enough.0 && counts.done.load(Relaxed) >= enough.1
            });
            let (scheduler, cores) = if step % 2 == 1 {
                (other, 1)
            } else {
                (first, 2)
            };
            fs::write(
                proxy.directory().join("corelane.toml"),
                file(scheduler, cores),
            )
            .expect("write");
            if step % 3 == 0 {
                let asked = ask(&socket, Some(&before));
                assert!(asked.status.success(), "{asked:?}\n{}", proxy.log());
                let runs = fs::read_link(format!("/proc/{}/exe", heirs.only()));
                assert_eq!(runs.expect("it runs"), before);
            } else {
                upgrade(proxy, &heirs);
            }
            all();
        }
        over.store(true, Relaxed);
        let ended = clients.into_iter().map(thread::ScopedJoinHandle::join);
        ended.for_each(|ended| ended.expect("it saw nothing"));
    });
    let open = || proxy.metric("corelane_listener_connections", &[("listener", "main")]);
    wait::until("the idle ones are left", || open() == size.idle as f64);
    drop(idle);
    wait::until("nobody is left", || open() == 0.0);
    // Not one is forgotten.
    let count = |family: &str| {
        let name = format!("corelane_listener_{family}_total");
        proxy.metric(&name, &[("listener", "main")])
    };
    let began = size.idle as u64 + counts.came.into_inner() + counts.begun.into_inner();
    assert_eq!(count("connections"), began as f64);
    assert_eq!(count("ended"), began as f64);
    proxy.stop();
}

/// A side that has said all is still answered.
fn half_closed_connections_go_on(scheduler: Scheduler) {
    let server = peer::Server::bind();
    let routes = forward(&[&server.address().to_string()]);
    let proxy = Proxy::start(scheduler, &routes);
    let heirs = Heirs::of(&proxy);
    let mut client = proxy.connect("main");
    client.write_all(b"question").expect("send");
    client.shutdown(Shutdown::Write).expect("half-close");
    let mut accepted = server.accept();
    let mut question = Vec::new();
    accepted.read_to_end(&mut question).expect("receive");
    assert_eq!(question, b"question");
    // The other way round.
    let mut other = proxy.connect("main");
    other.write_all(b"hello").expect("send");
    let mut its = server.accept();
    its.write_all(b"all I say").expect("send");
    its.shutdown(Shutdown::Write).expect("half-close");
    upgrade(&proxy, &heirs);
    accepted.write_all(b"answer").expect("send");
    drop(accepted);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("receive");
    assert_eq!(answer, b"answer");
    other.read_to_end(&mut answer).expect("receive");
    assert_eq!(answer, b"answerall I say");
    other.write_all(b", and more").expect("send");
    drop(other);
    let mut heard = Vec::new();
    its.read_to_end(&mut heard).expect("receive");
    assert_eq!(heard, b"hello, and more");
    proxy.stop();
}

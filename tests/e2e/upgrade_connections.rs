//! Connections that are open when another process takes over go on there: not a byte is lost, doubled or changed.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::harness::bytes::{self, MIB};
use crate::harness::change::text;
use crate::harness::config::forward;
use crate::harness::heirs::Heirs;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};
use crate::upgrade::{come, upgrade};

each_scheduler!(nobody_notices, half_closed_connections_go_on);

/// Connections that wait, and those that transfer.
const IDLE: usize = 100;
const TRANSFERS: usize = 4;
const TRANSFER_BYTES: u64 = 8 * MIB;

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
pub(crate) fn transfer(proxy: &Proxy, seed: u64, over: &AtomicBool, done: &AtomicU64) {
    while !over.load(Relaxed) {
        let client = proxy.connect("main");
        let sent = thread::scope(|scope| {
            let sent = scope.spawn(|| {
                let sent = bytes::send(&mut &client, seed, TRANSFER_BYTES);
                client.shutdown(Shutdown::Write).expect("half-close");
                sent
            });
            let received = bytes::receive(&mut &client);
            (sent.join().expect("it is sent"), received)
        });
        assert_eq!(sent.0, sent.1, "transfer {seed}");
        done.fetch_add(1, Relaxed);
    }
}

/// Each upgrade goes to another scheduler, and other cores.
fn nobody_notices(first: Scheduler) {
    let service = peer::echo();
    let routes = forward(&[&service.address().to_string()]);
    let proxy = Proxy::start_file(&text(first, 2, "", &routes));
    let heirs = Heirs::of(&proxy);
    let idle: Vec<_> = (0..IDLE).map(|_| proxy.connect("main")).collect();
    let all = || {
        (0..)
            .zip(&idle)
            .for_each(|(seed, client)| echoes(client, seed))
    };
    all();
    let (over, came, done) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _end = End(&over);
        let coming = scope.spawn(|| come(proxy.address("main"), &over, &came));
        let transfers: Vec<_> = (0..TRANSFERS)
            .map(|seed| {
                let (proxy, over, done) = (&proxy, &over, &done);
                scope.spawn(move || transfer(proxy, seed as u64, over, done))
            })
            .collect();
        let mut usable = Scheduler::ALL
            .into_iter()
            .filter(|one| one.usable() && *one != first);
        let other = usable.next().unwrap_or(first);
        for (scheduler, cores) in [(other, 1), (first, 2)] {
            let enough = (came.load(Relaxed) + 5, done.load(Relaxed) + 2);
            wait::until("clients come and transfer", || {
                assert!(!coming.is_finished() && !transfers.iter().any(|one| one.is_finished()));
                came.load(Relaxed) >= enough.0 && done.load(Relaxed) >= enough.1
            });
            let file = proxy.directory().join("corelane.toml");
            fs::write(file, text(scheduler, cores, "", &routes)).expect("write");
            upgrade(&proxy, &heirs);
            all();
        }
        over.store(true, Relaxed);
        coming.join().expect("it saw nothing");
        transfers
            .into_iter()
            .for_each(|one| one.join().expect("it saw nothing"));
    });
    let open = || proxy.metric("corelane_listener_connections", &[("listener", "main")]);
    wait::until("the idle ones are left", || open() == IDLE as f64);
    drop(idle);
    wait::until("nobody is left", || open() == 0.0);
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

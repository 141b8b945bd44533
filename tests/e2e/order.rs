//! The first bytes of a new connection are not overtaken by those that an older one sends after them. TCP promises
//! nothing of the kind, but clients count on it (Redis's own tests do).

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

use crate::harness::config::forward;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(a_new_connection_is_not_overtaken_by_an_older_one);

/// One worker has both, and learns of both at once: it stands still meanwhile.
fn a_new_connection_is_not_overtaken_by_an_older_one(scheduler: Scheduler) {
    match scheduler {
        Scheduler::PerCore => {}
        // What came while it stood still. One after the other they are in order, as Redis's own tests see.
        Scheduler::Glommio => {
            return println!("skipped: the ring tells of what came at once in no order");
        }
        Scheduler::WorkStealing => {
            return println!("skipped: of tasks woken at once Tokio's worker runs the last first");
        }
    }
    let server = Server::bind();
    let routes = forward(&[&server.address().to_string()]);
    let runtime = scheduler.runtime_toml();
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let proxy = Proxy::start_file(&format!("[runtime]\n{runtime}cores = 1\n{admin}{routes}"));
    let mut old = proxy.connect("main");
    old.write_all(b"?").expect("send");
    let mut old_upstream = server.accept();
    old_upstream.read_exact(&mut [0; 1]).expect("receive");
    for round in 0..20 {
        proxy.pause();
        let mut new = proxy.connect("main");
        new.write_all(b"new").expect("send");
        // A busy machine's loopback takes a while.
        thread::sleep(Duration::from_millis(10));
        old.write_all(b"old").expect("send");
        thread::sleep(Duration::from_millis(10));
        proxy.signal(Signal::CONT);
        let mut upstream = server.accept();
        // The new one's bytes are first, so the older one's are not there until they are.
        let mut fds = [
            PollFd::new(&upstream, PollFlags::IN),
            PollFd::from_borrowed_fd(old_upstream.as_fd(), PollFlags::IN),
        ];
        poll(&mut fds, None).expect("poll");
        let ready = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::IN);
        assert!(ready(&fds[0]), "round {round}: overtaken");
        let mut bytes = [0; 3];
        upstream.read_exact(&mut bytes).expect("receive");
        assert_eq!(&bytes, b"new");
        old_upstream.read_exact(&mut bytes).expect("receive");
        assert_eq!(&bytes, b"old");
    }
}

//! The first bytes of a new connection go on in the turn that accepts it, if they and a server on this machine are there:
//! those that an older connection sends after them come after them, too. TCP promises nothing of the kind, but clients
//! count on it (Redis's own tests do).

use std::io::{Read, Write};

use rustix::process::Signal;

use crate::harness::config::forward;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::strace::{self, Strace};

each_scheduler!(the_first_bytes_go_on_in_the_turn_that_accepts);

/// A busy machine may take its time over a connect now and then.
const ROUNDS: usize = 10;

fn the_first_bytes_go_on_in_the_turn_that_accepts(scheduler: Scheduler) {
    if let Some(why) = strace::refusal() {
        return println!("skipped: {why}");
    }
    let echo = peer::echo();
    let routes = forward(&[&echo.address().to_string()]);
    let runtime = scheduler.runtime_toml();
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let proxy = Proxy::start_file(&format!("[runtime]\n{runtime}cores = 1\n{admin}{routes}"));
    let waits = "--trace=accept4,sendto,epoll_wait,epoll_pwait,epoll_pwait2,io_uring_enter";
    let strace = Strace::attach(&proxy, &[waits]);
    for _ in 0..ROUNDS {
        // The client's bytes are there when it is accepted.
        proxy.pause();
        let mut client = proxy.connect("main");
        client.write_all(b"the first bytes").expect("send");
        proxy.signal(Signal::CONT);
        client.read_exact(&mut [0; 15]).expect("receive");
    }
    let trace = strace.finish();
    let at_once = trace
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("sendto(") && line.contains("the first bytes"))
        .filter(|&(at, line)| {
            let thread = line.split_whitespace().next();
            let earlier: Vec<_> = trace.lines().take(at).collect();
            let before = earlier.iter().rev();
            let mut own = before.filter(|line| line.split_whitespace().next() == thread);
            own.find(|line| {
                line.contains("accept4(") || line.contains("_wait") || line.contains("enter")
            })
            .is_some_and(|line| line.contains("accept4("))
        })
        .count();
    // Each round has two sends of these bytes: to the server, and back. Only the first can be the accepting turn's.
    assert!(
        at_once > 0,
        "the first bytes wait for the reactor:\n{trace}"
    );
}

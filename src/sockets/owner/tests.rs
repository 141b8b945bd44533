//! Who waits at a socket, who is dropped, and sockets that join.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;

fn listening(backlog: u16, count: usize) -> (Sockets, SocketAddr) {
    let any = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
    let reserved = listen::reserve(&any, count).unwrap();
    let BindAddress::Tcp(address) = *reserved.address() else {
        unreachable!("it was asked for TCP");
    };
    let sockets = Sockets::default();
    let bound = reserved.listen(backlog).unwrap();
    let text = format!(
        "[listeners.web]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\nbacklog = {backlog}\n\
         [upstreams.u]\nservers = [\"builtin:echo\"]\n"
    );
    let config = proxy_config::parse(&text, "test").unwrap().config;
    sockets.own(&config.listeners[0], vec![bound]);
    (sockets, address)
}

#[test]
fn who_is_not_accepted_waits() {
    let (sockets, address) = listening(8, 1);
    assert_eq!(sockets.waiting("web"), 0);
    let _clients = [TcpStream::connect(address), TcpStream::connect(address)];
    assert_eq!(sockets.waiting("web"), 2);
    sockets.stop_taking();
    assert_eq!(sockets.waiting("web"), 2);
    let timeout = Duration::from_millis(50);
    TcpStream::connect_timeout(&address, timeout).expect_err("nobody is taken");
    sockets.close("web");
    assert_eq!(sockets.waiting("web"), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn who_finds_the_queue_full_is_dropped() {
    // Linux takes one more than the backlog.
    let (sockets, address) = listening(1, 1);
    let _clients = [TcpStream::connect(address), TcpStream::connect(address)];
    assert_eq!(sockets.drops("web"), 0);
    let timeout = Duration::from_millis(50);
    TcpStream::connect_timeout(&address, timeout).expect_err("no answer");
    let drops = sockets.drops("web");
    assert!(drops >= 1);
    sockets.close("web");
    assert_eq!(sockets.drops("web"), drops);
    assert_eq!(sockets.drops("wbe"), 0);
}

/// Who waits at any of the sockets, however many workers there are, is accepted by one of those that are lent.
#[test]
fn sockets_join_and_none_goes() {
    // With so many, one of four sockets that the kernel's hash gives none is rarer than one in 10^11 runs.
    const CLIENTS: usize = 96;
    let (sockets, address) = listening(64, 2);
    let count = |workers| {
        let lent = sockets.lend("web", workers).unwrap();
        lent.iter().map(Vec::len).sum::<usize>()
    };
    assert_eq!((count(1), count(4), count(2)), (2, 4, 4));
    let _clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let lent = sockets.lend("web", 1).unwrap();
    let accepted = lent[0]
        .iter()
        .map(|socket| std::iter::from_fn(|| rustix::net::accept(socket).ok()).count());
    let accepted: Vec<_> = accepted.collect();
    assert_eq!(accepted.iter().sum::<usize>(), CLIENTS);
    assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
    drop(lent);
    TcpStream::connect(address).expect("it is only lent");
    // Two joined for workers that may never accept from them.
    let unserved = sockets.lend_unserved().unwrap();
    assert_eq!(
        unserved["web"].iter().map(Vec::len).collect::<Vec<_>>(),
        [2]
    );
    drop(unserved);
    sockets.set_served();
    assert!(sockets.lend_unserved().unwrap().is_empty());
    sockets.close("web");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn who_is_paused_takes_clients_again() {
    let (sockets, address) = listening(8, 1);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(50));
    sockets.set_shared(|_, _| true);
    sockets.pause_taking();
    connect().expect("another process has it as well");
    sockets.set_shared(|_, _| false);
    sockets.pause_taking();
    connect().expect_err("nobody is taken");
    sockets.take_again();
    connect().expect("it takes clients again");
    sockets.take_again();
    connect().expect("twice is as good");
}

//! What a client says before it has a server, when another process takes over: it is heard where it came, and its connection follows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::change;
use crate::harness::config::forward_with;
use crate::harness::heirs::Heirs;
use crate::harness::hello::{client_hello, padded_hello};
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};
use crate::upgrade::upgrade;

each_scheduler!(
    clients_that_are_still_heard_follow,
    clients_that_are_still_heard_follow_again_and_again,
    what_a_server_gets_first_is_held_over_a_switch_and_an_upgrade,
);

/// Upgrades in a row.
const ROUNDS: usize = 3;

/// Clients that are heard in each of them: in the middle of a header and of a hello, on each core.
const CLIENTS: usize = 8;

/// Clients that have a server and say nothing: more than may be on their way at a time.
const IDLE: usize = 150;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";

fn rows(proxy: &Proxy) -> Vec<Value> {
    let list: Value = serde_json::from_slice(&proxy.get("/connections").body).expect("JSON");
    list["connections"].as_array().expect("an array").clone()
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"?").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
}

/// A proxy whose clients are heard for as long as they like.
fn start(scheduler: Scheduler, server: &str) -> Proxy {
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"1h\"\n\
                    [[listeners.main.routes]]\nname = \"named\"\nsni = \"*.example\"\nupstream = \"main\"";
    let routes = forward_with(&[server], listener, "");
    let text = change::text(scheduler, 2, "drain_timeout = \"1h\"", &routes);
    Proxy::start_file(&text)
}

/// Clients whose prologue isn't over.
fn heard(proxy: &Proxy) -> usize {
    let rows = rows(proxy);
    rows.iter().filter(|row| row["state"] == "prologue").count()
}

/// In the middle of a header, and in the middle of a hello.
fn clients_that_are_still_heard_follow(scheduler: Scheduler) {
    let server = peer::echo();
    let proxy = start(scheduler, &server.address().to_string());
    let heirs = Heirs::of(&proxy);
    let hello = client_hello("a.example", b"h2");
    let said = [HEADER, &hello].concat();
    let open = [20, HEADER.len() + 30].map(|cut| {
        let mut client = proxy.connect("main");
        client.write_all(&said[..cut]).expect("send");
        (client, &said[cut..])
    });
    wait::until("both are heard", || heard(&proxy) == 2);
    let first = heirs.only();
    proxy.signal(Signal::USR2);
    wait::until("another process accepts", || {
        proxy.log().contains("the new process accepts")
    });
    for (client, rest) in &open {
        assert_eq!(heirs.pids().len(), 2, "the old one waits for them");
        (&*client).write_all(rest).expect("send");
        let mut answer = vec![0; hello.len()];
        (&*client).read_exact(&mut answer).expect("receive");
        assert!(answer == hello, "another hello");
    }
    assert_ne!(heirs.only(), first);
    wait::until("both are listed by the new one", || rows(&proxy).len() == 2);
    for row in rows(&proxy) {
        assert_eq!(
            [&row["client"], &row["sni"], &row["route"], &row["state"]],
            ["192.0.2.7:56324", "a.example", "named", "relaying"]
        );
    }
    open.iter().for_each(|(client, _)| exchange(client));
    drop(open);
    proxy.stop();
}

/// Nothing but their own bytes wakes them: all timeouts are far away. So one that isn't woken by those is found here.
fn clients_that_are_still_heard_follow_again_and_again(scheduler: Scheduler) {
    let server = peer::echo();
    let proxy = start(scheduler, &server.address().to_string());
    let heirs = Heirs::of(&proxy);
    let hello = client_hello("a.example", b"h2");
    let said = [HEADER, &hello].concat();
    // They leave at a pace, beside those that are heard.
    let idle = (0..IDLE).map(|_| {
        let mut client = proxy.connect("main");
        client.write_all(&said).expect("send");
        let mut answer = vec![0; hello.len()];
        client.read_exact(&mut answer).expect("receive");
        client
    });
    let mut relayed: Vec<_> = idle.collect();
    for round in 1..=ROUNDS {
        let before = heirs.only();
        let cuts = (1..=CLIENTS).map(|place| place * (said.len() - 1) / CLIENTS);
        let open: Vec<_> = cuts
            .map(|cut| {
                let mut client = proxy.connect("main");
                client.write_all(&said[..cut]).expect("send");
                (client, &said[cut..])
            })
            .collect();
        wait::until("all are heard", || heard(&proxy) == CLIENTS);
        proxy.signal(Signal::USR2);
        // Some speak before the new process accepts, and some after it.
        for (place, (client, rest)) in open.iter().enumerate() {
            if place == CLIENTS / 2 {
                wait::until("another process accepts", || {
                    let log = proxy.log();
                    log.matches("the new process accepts").count() == round
                });
            }
            (&*client).write_all(rest).expect("send");
        }
        for (client, _) in &open {
            let mut answer = vec![0; hello.len()];
            (&*client).read_exact(&mut answer).expect("receive");
            assert!(answer == hello, "another hello");
        }
        assert_ne!(heirs.only(), before);
        relayed.extend(open.into_iter().map(|(client, _)| client));
        relayed.iter().for_each(exchange);
    }
    drop(relayed);
    proxy.stop();
}

/// A header of the proxy's own, and a hello that its server takes only a part of.
fn what_a_server_gets_first_is_held_over_a_switch_and_an_upgrade(scheduler: Scheduler) {
    let server = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    server.set_recv_buffer_size(4096).expect("a small window");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    server.bind(&any.into()).expect("bind");
    server.listen(1).expect("listen");
    server.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let address = server.local_addr().expect("an address").as_socket();
    let address = address.expect("of TCP").to_string();
    let listener = "[[listeners.main.routes]]\nsni = \"*.example\"\nupstream = \"main\"";
    let upstream = "send_proxy_protocol = \"v1\"\nsend_buffer = \"4KiB\"";
    let routes = forward_with(&[&address], listener, upstream);
    let text = |scheduler| change::text(scheduler, 2, "", &routes);
    let proxy = Proxy::start_file(&text(scheduler));
    let heirs = Heirs::of(&proxy);
    let padding: Vec<u8> = (0..60_000_u32).map(|place| place as u8).collect();
    let hello = padded_hello("a.example", b"h2", &padding);
    let mut client = proxy.connect("main");
    client.write_all(&hello).expect("send");
    let (accepted, _) = server.accept().expect("the proxy connects");
    accepted
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout");
    let mut accepted = TcpStream::from(accepted);
    let taken = || proxy.metric("corelane_listener_bytes_total", &[("direction", "in")]);
    wait::until("the server has a part of it", || taken() > 0.0);
    let mut others = Scheduler::ALL.into_iter();
    let to = others.find(|to| *to != scheduler && to.usable());
    change::switch(&proxy, &text(to.expect("Tokio has two modes")));
    upgrade(&proxy, &heirs);
    assert!((1.0..hello.len() as f64).contains(&taken()), "{}", taken());
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        client.local_addr().expect("an address").port(),
        proxy.address("main").port()
    );
    let mut got = vec![0; line.len() + hello.len()];
    accepted.read_exact(&mut got).expect("receive");
    assert!(got == [line.as_bytes(), &hello].concat(), "other bytes");
    accepted.write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    assert_eq!(taken(), hello.len() as f64);
    drop((client, accepted));
    proxy.stop();
}

//! Options of sockets that need a network to show what they do: each test has one for itself.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::harness::config::{forward_with, route};
use crate::harness::network;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};

each_scheduler!(
    a_server_that_vanishes_is_noticed_after_the_user_timeout,
    a_mark_has_the_rules_for_it_in_force,
    listeners_share_an_address_by_their_interfaces,
    a_transparent_listener_and_the_clients_address,
);

const PORTS: &str = "40000 40063";

/// Runs `ip` here. False, and says why, where it can't.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("`bash tests/run` installs ip");
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        println!("skipped: ip {arguments}: {why}");
    }
    output.status.success()
}

fn echoes(mut client: &TcpStream) -> bool {
    let asked = client.write_all(b"?");
    asked.is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1)
}

/// Without it, TCP would go on for a quarter of an hour.
fn a_server_that_vanishes_is_noticed_after_the_user_timeout(scheduler: Scheduler) {
    network::alone(PORTS, || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let server = Server::bind();
        let routes = route(
            "main",
            &format!("unix:{}", path.display()),
            &[&server.address().to_string()],
            "",
            "user_timeout = \"1s\"",
        );
        let _proxy = Proxy::start(scheduler, &routes);
        // A client that the network is not between.
        let mut client = UnixStream::connect(&path).expect("it listens");
        client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        client.write_all(b"?").expect("send");
        let mut served = server.accept();
        served.read_exact(&mut [0; 1]).expect("receive");
        served.write_all(b"!").expect("send");
        client.read_exact(&mut [0; 1]).expect("receive");
        if !ip("link set lo down") {
            return;
        }
        client.write_all(b"?").expect("send");
        let ended = client.read(&mut [0; 1]);
        assert!(
            !matches!(&ended, Ok(1..)) && !is_timeout(&ended),
            "{ended:?}"
        );
        assert!(ip("link set lo up"));
    });
}

fn is_timeout(read: &std::io::Result<usize>) -> bool {
    read.as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn a_mark_has_the_rules_for_it_in_force(scheduler: Scheduler) {
    network::alone(PORTS, || {
        // It comes before what is local is looked up.
        if !(ip("rule add pref 5 fwmark 7 prohibit")
            && ip("rule add pref 10 lookup local")
            && ip("rule del pref 0"))
        {
            return;
        }
        let echo = peer::echo();
        let address = echo.address().to_string();
        let with = |mark: u32| forward_with(&[&address], "", &format!("mark = {mark}"));
        let proxy = Proxy::start(scheduler, &with(8));
        assert!(echoes(&proxy.connect("main")));
        proxy.reload(scheduler, &with(7));
        wait::until("packets to the server are prohibited", || {
            !echoes(&proxy.connect("main"))
        });
        let accepted = echo.accepted();
        proxy.reload(scheduler, &with(8));
        wait::until("they are not", || echoes(&proxy.connect("main")));
        assert!(echo.accepted() > accepted);
    });
}

/// Connects from a network of its own, at the other end of `v1`; the address that it has there is 10.9.0.2.
fn from_beyond<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    let (tell, told) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<bool>();
    std::thread::scope(|scope| {
        let beyond = scope.spawn(move || {
            let (give, given) = std::sync::mpsc::channel();
            network::alone(PORTS, move || {
                // Threads are found by their ids, too.
                let id = rustix::thread::gettid().as_raw_nonzero();
                tell.send(id).expect("somebody waits");
                if gone.recv().expect("an answer")
                    && ip("addr add 10.9.0.2/24 dev v1")
                    && ip("link set v1 up")
                    && ip("route add default via 10.9.0.1")
                {
                    give.send(run()).expect("somebody waits");
                }
            });
            given.try_recv().ok()
        });
        if let Ok(id) = told.recv() {
            let moved = ip(&format!("link set v1 netns {id}"));
            go.send(moved).expect("it waits");
        }
        beyond.join().expect("it ends")
    })
}

/// `v0`, with the address 10.9.0.1, and `v1` at its other end.
fn wire() -> bool {
    ip("link add v0 type veth peer name v1")
        && ip("addr add 10.9.0.1/24 dev v0")
        && ip("link set v0 up")
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&address, DEADLINE).expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    client
}

/// What the server that this leads to says.
fn greeting(address: SocketAddr) -> u8 {
    let mut greeting = [0];
    connect(address).read_exact(&mut greeting).expect("receive");
    greeting[0]
}

fn listeners_share_an_address_by_their_interfaces(scheduler: Scheduler) {
    network::alone(PORTS, || {
        if !wire() {
            return;
        }
        let greets = |greeting: u8| {
            Server::bind().serve(move |mut client| {
                let _ = client.write_all(&[greeting]);
            })
        };
        let servers = [greets(b'a'), greets(b'b')];
        let [one, other] = servers
            .each_ref()
            .map(|server| server.address().to_string());
        let by = |first: &str, second: &str| {
            let listener = |name, interface: &str, server: &str| {
                let interface = format!("interface = \"{interface}\"");
                route(name, "0.0.0.0:7000", &[server], &interface, "")
            };
            listener("a", first, &one) + &listener("b", second, &other)
        };
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 7000));
        let there = SocketAddr::from(([10, 9, 0, 1], 7000));
        let proxy = Proxy::start(scheduler, &by("lo", "v0"));
        assert_eq!(greeting(here), b'a');
        let ran = from_beyond(|| {
            assert_eq!(greeting(there), b'b');
            // They change places, and nobody is refused meanwhile.
            proxy.reload(scheduler, &by("v0", "lo"));
            wait::until("they have changed places", || greeting(there) == b'a');
        });
        if ran.is_some() {
            assert_eq!(greeting(here), b'b');
        }
        proxy.stop();
    });
}

/// The proxy takes connections to an address that isn't this machine's, and the server sees the client's own.
fn a_transparent_listener_and_the_clients_address(scheduler: Scheduler) {
    network::alone(PORTS, || {
        // What comes for the foreign address ends here, as a rule for TPROXY would have it; and so do the server's answers to
        // the client.
        if !(wire()
            && ip("addr add 10.8.0.1/32 dev lo")
            && ip("route add local 10.99.0.0/24 dev lo table 100")
            && ip("route add local default dev lo table 101")
            && ip("rule add pref 1 iif v0 lookup 100")
            && ip("rule add pref 2 from 10.8.0.1 lookup 101"))
        {
            return;
        }
        let server = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let patience = Some(DEADLINE);
        server.set_read_timeout(patience).expect("a timeout");
        let any = SocketAddr::from(([10, 8, 0, 1], 0));
        server.bind(&any.into()).expect("bind");
        server.listen(16).expect("listen");
        let address = server.local_addr().expect("an address").as_socket();
        let address = address.expect("of TCP").to_string();
        let foreign = "10.99.0.7:7000";
        let routes = |transparent: &str| {
            let client = "source_address = \"client\"";
            route("main", foreign, &[&address], transparent, client)
        };
        let _proxy = Proxy::start(scheduler, &routes("transparent = true"));
        let foreign = foreign.parse().expect("an address");
        let accept = std::thread::spawn(move || {
            let (client, from) = server.accept().expect("the proxy connects");
            TcpStream::from(client).write_all(b"!").expect("send");
            from.as_socket().expect("of TCP").ip()
        });
        let ran = from_beyond(|| {
            assert_eq!(greeting(foreign), b'!');
        });
        if ran.is_some() {
            let client = IpAddr::from([10, 9, 0, 2]);
            assert_eq!(accept.join().expect("it ends"), client);
        }
    });
}

//! A server that is gone, on a port that the kernel gives to clients: a connect to it may get that very port, and is then
//! connected to itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::config::route;
use crate::harness::network;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};

each_scheduler!(
    no_client_gets_its_own_bytes_back,
    a_check_does_not_pass_by_meeting_itself
);

/// The kernel goes through them one after the other, so as many connects meet themselves for sure.
const PORTS: &str = "40000 40015";
const CONNECTS: u16 = 60;

const LISTENER: &str = "127.0.0.1:41000";
const SERVER: &str = "127.0.0.1:40002";

/// A client's connection from a port of its own, none of [`PORTS`].
fn connect(from_port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let from: SocketAddr = ([127, 0, 0, 1], from_port).into();
    let to: SocketAddr = LISTENER.parse().expect("an address");
    socket.bind(&from.into()).expect("bind");
    socket.connect(&to.into()).expect("connect");
    socket.set_read_timeout(Some(DEADLINE)).expect("timeout");
    socket.into()
}

fn no_client_gets_its_own_bytes_back(scheduler: Scheduler) {
    network::alone(PORTS, || {
        let proxy = Proxy::start(scheduler, &route("main", LISTENER, &[SERVER], "", ""));
        for client in 0..CONNECTS {
            let mut client = connect(42_000 + client);
            // It may be closed already.
            let _ = client.write_all(b"secret");
            match client.read(&mut [0; 16]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("{other:?} from a server that is gone"),
            }
        }
        wait::until("all are counted as refused", || {
            std::thread::sleep(Duration::from_millis(200));
            let refused = [("server", SERVER), ("reason", "refused")];
            let name = "corelane_upstream_connect_failures_total";
            proxy.metric(name, &refused) == f64::from(CONNECTS)
        });
    });
}

fn a_check_does_not_pass_by_meeting_itself(scheduler: Scheduler) {
    network::alone(PORTS, || {
        let health = "[upstreams.main.health]\ninterval = \"100ms\"\nrise = 1\nfall = 3\n";
        let proxy = Proxy::start(scheduler, &route("main", LISTENER, &[SERVER], "", health));
        let name = "corelane_upstream_health_checks_total";
        wait::until("it was checked often", || {
            // Each look needs a port, too.
            std::thread::sleep(Duration::from_secs(1));
            let metrics = proxy.metrics();
            assert_eq!(metrics.get(name, &[("result", "passed")]), 0.0);
            metrics.get(name, &[("result", "refused")]) >= f64::from(CONNECTS)
        });
        assert_eq!(proxy.metric("corelane_upstream_up", &[]), 0.0);
    });
}

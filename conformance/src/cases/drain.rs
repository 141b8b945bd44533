//! Draining: no new connection, and the old ones to their end. Only stages with listening sockets have it.

use proxy_core::metrics::Cause;

use super::Counts;
use crate::flow::{Flow, pump};
use crate::real::RealStage;
use crate::stage::{Peer, Setup};
use crate::wait::{settle, wait};

/// Who connected before the drain is served, even if nobody had looked at the backlog yet.
pub fn drain_serves_the_backlog<S: RealStage>() {
    for _ in 0..20 {
        let stage = S::start(Setup::default());
        let clients: Vec<_> = (0..8).map(|_| stage.connect()).collect();
        stage.drain();
        let servers: Vec<_> = clients
            .iter()
            .map(|_| {
                wait(&stage, "everyone in the backlog is served", || {
                    stage.accept(0)
                })
            })
            .collect();
        // Which server's end belongs to which client is not known: the clients all say the same.
        for client in &clients {
            assert_eq!(client.send(b"hello").unwrap(), 5);
            client.shutdown_write();
        }
        for server in &servers {
            let mut text = [0; 16];
            let count = wait(&stage, "the greeting", || match server.receive(&mut text) {
                crate::Received::Nothing => None,
                crate::Received::Bytes(count) => Some(count),
                other => panic!("{other:?} instead of the greeting"),
            });
            assert_eq!(&text[..count], b"hello");
        }
        drop(servers);
        Counts(&stage).expect_ended(Cause::Finished, 8);
        settle(&stage);
    }
}

/// The port is closed soon, and a connection that exists goes on to its end.
pub fn drain_lets_connections_finish<S: RealStage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    let mut up = Flow::new(&client, &server, 1, 100_000).with_end();
    up.send();
    stage.drain();
    wait(&stage, "the port is closed", || match stage.try_connect() {
        // Who gets in until then goes away, and is let go by the server too.
        Ok(early) => {
            early.reset();
            None
        }
        Err(_) => Some(()),
    });
    pump(&stage, &mut [up]);
    pump(
        &stage,
        &mut [Flow::new(&server, &client, 2, 3_000_000).with_end()],
    );
    settle(&stage);
    assert_eq!(Counts(&stage).ended(Cause::Finished), 1);
}

/// Once a stop has returned, the port can be bound again, as a restart does.
pub fn restart_on_the_same_port<S: RealStage>() {
    let mut stage = S::start(Setup::default());
    for _ in 0..10 {
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
        stage.stop();
        let address = stage.address().clone();
        drop(stage);
        stage = S::start_on(&address, Setup::default());
    }
}

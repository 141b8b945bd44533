//! What other threads see of connections: those that are open, and each one's end.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use conformance::{
    Flow, Peer, Scripted, ScriptedPeer, ServerKind, Setup, Stage, elapse, pump, push_until_stuck,
    run, settle, wait,
};
use proxy_core::metrics::{Cause, Counter, ServerCells};
use proxy_core::{ClientAddress, Closing, End, Ends, LiveConnection, SAMPLED_MAX};

fn live(stage: &Scripted) -> Vec<LiveConnection> {
    let mut live = Vec::new();
    stage
        .listener()
        .live
        .each(|connection| live.push(connection));
    live
}

fn ends() -> (Option<Arc<Ends>>, Receiver<Option<End>>) {
    let (ends, told) = Ends::new(64);
    (Some(Arc::new(ends)), told)
}

/// The only end that was told.
fn only(told: &Receiver<Option<End>>) -> End {
    let end = told.try_recv().expect("an end was told");
    assert!(told.try_recv().is_err(), "one connection has one end");
    end.expect("nobody nudges")
}

/// A pair over which a byte has gone, so that no connect is under way any more.
fn established(stage: &Scripted) -> (ScriptedPeer, ScriptedPeer) {
    let (client, server) = stage.pair();
    pump(stage, &mut [Flow::new(&client, &server, 1, 1)]);
    (client, server)
}

#[test]
fn live_connections_are_listed_with_what_they_did() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            workers: 3,
            ..Setup::default()
        });
        let pairs: Vec<_> = (0..5).map(|_| stage.pair()).collect();
        for (client, server) in &pairs {
            pump(&stage, &mut [Flow::new(client, server, 1, 1000)]);
            pump(&stage, &mut [Flow::new(server, client, 1, 70_000)]);
        }
        let accepted_by = stage.now();
        elapse(&stage, Duration::from_secs(5));
        let listed = live(&stage);
        assert_eq!(listed.len(), 5);
        for connection in &listed {
            assert_eq!(connection.client, ClientAddress::Unix);
            let server = connection.server.as_ref().expect("it relays");
            assert_eq!(server.id, stage.pool().server(0).id);
            assert_eq!((connection.bytes_in, connection.bytes_out), (1000, 70_000));
            assert!(connection.core < 3);
            assert!(connection.accepted_at <= connection.last_byte_at);
            assert!(connection.last_byte_at <= accepted_by);
            let same = listed.iter().filter(|other| other.id == connection.id);
            assert_eq!(same.count(), 1);
        }
        drop(pairs);
        settle(&stage);
    });
}

/// The scripted scheduler runs a connection now here, now there, and detaches and attaches it.
#[test]
fn a_connection_that_moved_is_listed_where_it_is() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            workers: 3,
            ..Setup::default()
        });
        let pairs: Vec<_> = (0..10).map(|_| established(&stage)).collect();
        let listed = live(&stage);
        let generation = stage.generation();
        for index in 0..generation.workers() {
            let present = generation.cores.connections(generation.slot(index));
            let here = listed.iter().filter(|connection| connection.core == index);
            assert_eq!(here.count() as u64, present, "core {index}");
        }
        drop(pairs);
        settle(&stage);
    });
}

#[test]
fn a_connection_has_no_server_until_one_answers() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Silent],
            ..Setup::default()
        });
        let client = stage.connect();
        elapse(&stage, Duration::from_secs(1));
        let listed = live(&stage);
        assert_eq!(listed.len(), 1);
        assert!(listed[0].server.is_none());
        assert_eq!(listed[0].last_byte_at, listed[0].accepted_at);
        drop(client);
        elapse(&stage, Duration::from_secs(60));
        settle(&stage);
    });
}

/// The list is read in pieces; none is missing and none comes twice.
#[test]
fn a_long_list_is_complete() {
    let stage = Scripted::start_with(
        Setup {
            workers: 1,
            ..Setup::default()
        },
        0,
        1000,
    );
    let pairs: Vec<_> = (0..3 * SAMPLED_MAX + 1).map(|_| stage.pair()).collect();
    let mut ids: Vec<_> = live(&stage)
        .iter()
        .map(|connection| connection.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), pairs.len());
    drop(pairs);
    settle(&stage);
}

#[test]
fn an_end_is_told_once_with_all_that_there_was() {
    run::<Scripted>(|| {
        let (ends, told) = ends();
        let stage = Scripted::start(Setup {
            ends,
            workers: 3,
            ..Setup::default()
        });
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
        elapse(&stage, Duration::from_secs(5));
        pump(&stage, &mut [Flow::new(&server, &client, 2, 300)]);
        assert!(told.try_recv().is_err(), "it is open");
        let id = live(&stage)[0].id;
        drop((client, server));
        settle(&stage);
        let end = only(&told);
        assert_eq!(end.id, id);
        assert_eq!((end.bytes_in, end.bytes_out), (1000, 300));
        assert_eq!(
            end.server.expect("it had one").id,
            stage.pool().server(0).id
        );
        assert_eq!(end.retries, 0);
        assert_eq!(end.at, stage.now());
        assert!(end.wait + end.connect.expect("it connected") <= end.total);
        assert!(end.total >= Duration::from_secs(5));
    });
}

#[test]
fn a_failed_connect_is_told_with_its_attempts() {
    run::<Scripted>(|| {
        let (ends, told) = ends();
        let stage = Scripted::start(Setup {
            ends,
            servers: vec![ServerKind::Refusing, ServerKind::Silent],
            connect_timeout: Duration::from_secs(3),
            ..Setup::default()
        });
        let client = stage.connect();
        elapse(&stage, Duration::from_secs(10));
        settle(&stage);
        drop(client);
        let end = only(&told);
        assert_eq!(end.cause, Cause::ConnectFailed);
        assert_eq!(end.connect, None);
        assert_eq!(end.retries, 1);
        assert!(end.total >= Duration::from_secs(3));
        // Whichever was tried last.
        let last = end.server.expect("some were tried");
        let refuses = last.id == stage.pool().server(0).id;
        let wanted = if refuses { "SC" } else { "sC" };
        assert_eq!(end.termination.to_string(), wanted);
    });
}

/// Each failure of a client that is served led to another attempt, be it at another server or at another address of one.
#[test]
fn another_address_is_another_attempt() {
    run::<Scripted>(|| {
        let (ends, told) = ends();
        let stage = Scripted::start(Setup {
            ends,
            servers: vec![
                ServerKind::Unresolved,
                ServerKind::Refusing,
                ServerKind::Listening,
            ],
            ..Setup::default()
        });
        // The name turns out to be both of the others.
        let both = [1, 2].map(|port| ([192, 0, 2, 1], port).into());
        stage.pool().server(0).set_addresses(&both);
        for _ in 0..3 {
            let client = stage.connect();
            let server = wait(&stage, "a server that answers", || stage.accept(2));
            pump(&stage, &mut [Flow::new(&client, &server, 1, 1)]);
        }
        settle(&stage);
        let failures = stage.pool().servers().map(|server| {
            let all = |cells: &ServerCells| cells.failures.iter().map(Counter::get).sum();
            server.cells.sum(all)
        });
        let failures = failures.sum::<u64>();
        assert!(failures > 0);
        let cells = &stage.pool().upstream().cells;
        assert_eq!(cells.sum(|cells| cells.retries.get()), failures);
        let ends = told.try_iter().flatten();
        assert_eq!(
            ends.map(|end| u64::from(end.retries)).sum::<u64>(),
            failures
        );
    });
}

#[test]
fn a_name_without_address_is_told_as_the_servers_fault() {
    run::<Scripted>(|| {
        let (ends, told) = ends();
        let stage = Scripted::start(Setup {
            ends,
            servers: vec![ServerKind::Unresolved],
            ..Setup::default()
        });
        let client = stage.connect();
        elapse(&stage, Duration::from_secs(1));
        settle(&stage);
        drop(client);
        let end = only(&told);
        assert_eq!(end.termination.to_string(), "SC");
        assert!(end.server.is_some(), "which name it is, is told");
        assert_eq!(end.retries, 0);
        assert_eq!(end.wait, end.total);
    });
}

#[test]
fn letters_tell_who_and_when() {
    run::<Scripted>(|| {
        let told_of = |idle: bool, act: fn(&Scripted)| {
            let (ends, told) = ends();
            let stage = Scripted::start(Setup {
                ends,
                idle_timeout: idle.then_some(Duration::from_secs(10)),
                ..Setup::default()
            });
            act(&stage);
            elapse(&stage, Duration::from_secs(20));
            stage.stop();
            settle(&stage);
            only(&told).termination.to_string()
        };
        let client_resets = |stage: &Scripted| {
            let (client, _server) = established(stage);
            client.reset();
            elapse(stage, Duration::from_secs(2));
        };
        assert_eq!(told_of(false, client_resets), "CD");
        let server_resets = |stage: &Scripted| {
            let (_client, server) = established(stage);
            server.reset();
            elapse(stage, Duration::from_secs(2));
        };
        assert_eq!(told_of(false, server_resets), "SD");
        let both_silent = |stage: &Scripted| {
            let pair = established(stage);
            elapse(stage, Duration::from_secs(20));
            drop(pair);
        };
        assert_eq!(told_of(true, both_silent), "cD");
        let server_takes_nothing = |stage: &Scripted| {
            let (client, server) = established(stage);
            push_until_stuck(stage, &mut Flow::new(&client, &server, 1, 1_000_000));
            elapse(stage, Duration::from_secs(20));
        };
        assert_eq!(told_of(true, server_takes_nothing), "sD");
        let server_ended_first = |stage: &Scripted| {
            let (client, server) = established(stage);
            server.shutdown_write();
            wait(stage, "the end", || {
                matches!(client.receive(&mut [0; 1]), conformance::Received::End).then_some(())
            });
            client.reset();
            elapse(stage, Duration::from_secs(2));
        };
        assert_eq!(told_of(false, server_ended_first), "CL");
        let still_open = |stage: &Scripted| {
            let pair = established(stage);
            stage.stop();
            drop(pair);
        };
        assert_eq!(told_of(false, still_open), "KD");
    });
}

#[test]
fn a_full_queue_drops_and_counts() {
    run::<Scripted>(|| {
        let (ends, told) = Ends::new(2);
        let ends = Arc::new(ends);
        let stage = Scripted::start(Setup {
            ends: Some(ends.clone()),
            ..Setup::default()
        });
        for _ in 0..5 {
            drop(stage.pair());
            settle(&stage);
        }
        assert_eq!(ends.dropped(), 3);
        assert_eq!(told.try_iter().count(), 2);
    });
}

/// Who is idle is reset, too, and nobody else.
#[test]
fn connections_of_what_is_cut_are_reset() {
    run::<Scripted>(|| {
        let (ends, told) = ends();
        let stage = Scripted::start(Setup {
            ends,
            servers: vec![ServerKind::Listening, ServerKind::Listening],
            ..Setup::default()
        });
        let clients = [stage.connect(), stage.connect()];
        let servers = [0, 1].map(|server| {
            wait(&stage, "the proxy connects to the server", || {
                stage.accept(server)
            })
        });
        elapse(&stage, Duration::from_secs(5));
        let listed = live(&stage);
        assert_eq!(listed.len(), 2);
        let cut = |cause| Some(Closing::cut(cause, stage.now()));
        let removed = &stage.pool().server(0).on_removed;
        removed.set(cut(Cause::ServerRemoved));
        stage.run_all();
        wait(&stage, "the server's end is reset", || {
            servers[0].is_reset().then_some(())
        });
        elapse(&stage, Duration::from_secs(5));
        assert!(!servers[1].is_reset());
        assert_eq!(clients.iter().filter(|client| client.is_reset()).count(), 1);
        let end = only(&told);
        assert_eq!(
            (end.cause, end.termination.to_string()),
            (Cause::ServerRemoved, "KD".to_owned())
        );
        assert_eq!(
            end.server.expect("it had one").id,
            stage.pool().server(0).id
        );
        stage.listener().closing.set(cut(Cause::Drain));
        stage.run_all();
        wait(&stage, "the other one is reset, too", || {
            servers[1].is_reset().then_some(())
        });
        settle(&stage);
        assert!(clients.iter().all(Peer::is_reset));
    });
}

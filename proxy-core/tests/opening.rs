//! What the first bytes of a connection cost in system calls: none that finds nothing, and one send for all that is there.

use std::time::Duration;

use conformance::{Peer, Received, Scripted, Setup, Stage, wait};
use proxy_core::prologue::proxy_protocol::Version;
use proxy_core::prologue::{AcceptProxy, Expected, PrologueSettings, Untrusted};
use proxy_core::{SendProxy, SendTlvs};

/// A client of the PROXY protocol's, which is a local one.
const HEADER: &[u8] = b"PROXY UNKNOWN\r\n";
const EARLY: &[u8] = b"early";
/// No mischief.
const SEED: u64 = 0;
const ROOM: usize = 64 * 1024;

/// What the server hears when the client says this as soon as it has connected.
fn heard(setup: Setup, says: &[u8]) -> (Scripted, Vec<u8>) {
    let stage = Scripted::start_with(setup, SEED, ROOM);
    let client = stage.connect();
    assert_eq!(client.send(says).expect("it is open"), says.len());
    let server = wait(&stage, "a connection to the server", || stage.accept(0));
    let mut heard = Vec::new();
    wait(&stage, "all that it said", || {
        let mut buffer = [0; 256];
        if let Received::Bytes(count) = server.receive(&mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
        }
        heard.ends_with(EARLY).then_some(())
    });
    (stage, heard)
}

#[test]
fn what_follows_a_header_is_sent_at_once_and_nothing_is_received_in_vain() {
    let setup = Setup {
        prologue: Some(PrologueSettings {
            timeout: Duration::from_secs(5),
            hello: None,
            accept_proxy: Some(AcceptProxy {
                expected: Expected::Required,
                trusted: None,
                untrusted: Untrusted::Refuse,
            }),
        }),
        ..Setup::default()
    };
    let (stage, heard) = heard(setup, &[HEADER, EARLY].concat());
    assert_eq!(heard, EARLY);
    assert_eq!((stage.receives_in_vain(), stage.sends()), (0, 1));
}

#[test]
fn a_header_and_the_first_bytes_are_one_send() {
    let setup = Setup {
        send_proxy: Some(SendProxy {
            version: Version::V1,
            tlvs: SendTlvs::default(),
            instance: 0,
        }),
        ..Setup::default()
    };
    let (stage, heard) = heard(setup, EARLY);
    assert!(heard.starts_with(b"PROXY ") && heard.ends_with(b"\r\nearly"));
    assert_eq!((stage.receives_in_vain(), stage.sends()), (0, 1));
}

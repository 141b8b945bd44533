//! What is heard of a client doesn't depend on how its bytes arrive, and nothing is heard that doesn't matter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proxy_core::metrics::PrologueResult;
use proxy_core::prologue::proxy_protocol::Version;
use proxy_core::prologue::starttls::Protocol;
use proxy_core::prologue::{
    AcceptProxy, Expected, Heard, HelloSettings, Machine, NotTls, PrologueSettings, Step, Untrusted,
};
use proxy_core::{
    Balance, ClientAddress, NamePattern, Origin, Pool, PoolSettings, Rest, RouteNames,
    RouteSettings, Routes, SendProxy, SendTlvs, Upstream,
};

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn origin(client: &str) -> Origin {
    let client: SocketAddr = client.parse().expect("an address");
    Origin {
        peer: ClientAddress::Tcp(client),
        accepted_at: Instant::now(),
    }
}

fn settings(
    expected: Option<Expected>,
    hello: Option<(Option<Protocol>, NotTls)>,
) -> Arc<PrologueSettings> {
    Arc::new(PrologueSettings {
        timeout: Duration::from_secs(5),
        accept_proxy: expected.map(|expected| AcceptProxy {
            expected,
            trusted: None,
            untrusted: Untrusted::Refuse,
        }),
        hello: hello.map(|(starttls, not_tls)| HelloSettings { starttls, not_tls }),
    })
}

/// A ClientHello with this name, in records of this size.
fn hello(name: &str, record: usize) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let entry = [&[0][..], &vector(name.as_bytes())].concat();
    let sni = [&[0, 0][..], &vector(&vector(&entry))].concat();
    let alpn = [&[0, 16][..], &vector(&vector(b"\x02h2"))].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &vector(&[sni, alpn].concat()),
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    let records = message.chunks(record);
    records
        .flat_map(|part| [&[22, 3, 1][..], &vector(part)].concat())
        .collect()
}

/// What comes of a client: what it is told, and how it ends.
#[derive(Debug, PartialEq)]
struct Outcome {
    replies: Vec<u8>,
    end: Result<Heard, PrologueResult>,
}

/// Feeds what a client says, in turns (it awaits an answer after each), each of which arrives in pieces. `cut` says where: it
/// gets how many bytes are left of the turn, and has no more of them arrive.
fn outcome(
    settings: &Arc<PrologueSettings>,
    turns: &[Vec<u8>],
    mut cut: impl FnMut(usize) -> usize,
) -> Outcome {
    let mut machine = Machine::new(settings.clone(), origin("10.0.0.1:1"), None, None);
    let mut replies = machine.greeting().to_vec();
    let mut received = Vec::new();
    for turn in turns {
        let mut rest = &turn[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
            rest = left;
            received.extend_from_slice(piece);
            loop {
                match machine.on_bytes(&received) {
                    Step::More => break,
                    Step::Reply(reply) => replies.extend_from_slice(&reply),
                    Step::Done => {
                        let end = Ok(machine.take_heard());
                        return Outcome { replies, end };
                    }
                    Step::Refuse(result) => {
                        let end = Err(result);
                        return Outcome { replies, end };
                    }
                }
            }
            assert!(
                received.len() < machine.bytes_max(),
                "it is decided by then"
            );
        }
    }
    let end = match machine.on_end(&received) {
        Step::Refuse(result) => Err(result),
        Step::Done => Ok(machine.take_heard()),
        step @ (Step::More | Step::Reply(_)) => panic!("{step:?} at the end"),
    };
    Outcome { replies, end }
}

/// What clients say in turn: what is valid, and what has a byte changed.
fn turns(starttls: Option<Protocol>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let header = prop::sample::select(vec![
        Vec::new(),
        b"PROXY TCP4 10.1.1.1 10.2.2.2 1234 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x50\x01\xbb".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x04\x04\0\x01\x07".to_vec(),
    ]);
    let said = prop::sample::select(vec![
        hello("a.example", 16_384),
        hello("b.example", 9),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"EHLO client\r\n".to_vec(),
        Vec::new(),
    ]);
    let flip = prop::option::weighted(0.3, (any::<prop::sample::Index>(), 1_u8..));
    (header, said, flip).prop_map(move |(header, said, flip)| {
        let mut turns: Vec<Vec<u8>> = match starttls {
            None => vec![[header, said].concat()],
            Some(Protocol::Postgres) => vec![[&header, SSL_REQUEST].concat(), said],
            Some(Protocol::Smtp) => vec![
                [&header[..], b"EHLO client\r\n"].concat(),
                b"STARTTLS\r\n".to_vec(),
                said,
            ],
            Some(Protocol::Imap) => vec![
                [&header[..], b"a CAPABILITY\r\n"].concat(),
                b"b STARTTLS\r\n".to_vec(),
                said,
            ],
        };
        if let Some((place, bits)) = flip {
            let mut bytes: Vec<_> = turns.iter_mut().flatten().collect();
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                *bytes[place] ^= bits;
            }
        }
        turns
    })
}

fn starttls() -> impl Strategy<Value = Option<Protocol>> {
    prop::sample::select(vec![
        None,
        Some(Protocol::Postgres),
        Some(Protocol::Smtp),
        Some(Protocol::Imap),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// However the bytes of a turn are cut up, the client is told the same and goes the same way.
    #[test]
    fn any_split_of_what_a_client_says_gives_the_same(
        (starttls, turns) in starttls().prop_flat_map(|starttls| (Just(starttls), turns(starttls))),
        expected in prop::sample::select(vec![None, Some(Expected::Required), Some(Expected::Optional)]),
        refuses in any::<bool>(),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let not_tls = if refuses { NotTls::Refuse } else { NotTls::Route };
        let settings = settings(expected, Some((starttls, not_tls)));
        let whole = outcome(&settings, &turns, |left| left);
        let single = outcome(&settings, &turns, |_| 1);
        prop_assert_eq!(&whole, &single);
        let mut cuts = cuts.iter().cycle();
        let split = outcome(&settings, &turns, |_| *cuts.next().expect("it goes on"));
        prop_assert_eq!(&whole, &split);
    }
}

fn pool(name: &str, send_proxy: Option<SendProxy>) -> Arc<Pool> {
    let settings = PoolSettings {
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        checked: false,
        send_proxy,
        ..PoolSettings::default()
    };
    let upstream = Arc::new(Upstream::new(name.to_owned()));
    Arc::new(Pool::new(upstream, Vec::new(), settings))
}

/// A route by source to `pool`, one by port, one by name, and one by another source.
fn routes(pool: Arc<Pool>) -> Arc<Routes> {
    let known = RouteNames::default();
    let names = ["source", "port", "name", "late"];
    let route = |place: usize| known.of(names).swap_remove(place);
    let plain = |place: usize| RouteSettings {
        route: route(place),
        names: Vec::new(),
        alpn: Vec::new(),
        source: Vec::new(),
        peer: Vec::new(),
        ports: Vec::new(),
        pools: vec![(pool.clone(), 1)],
    };
    let networks = |text: &str| vec![text.parse().expect("a network")];
    let all = vec![
        RouteSettings {
            source: networks("10.1.0.0/16"),
            ..plain(0)
        },
        RouteSettings {
            ports: vec![8000..=8001],
            ..plain(1)
        },
        RouteSettings {
            names: vec![NamePattern::new("a.example")],
            ..plain(2)
        },
        RouteSettings {
            source: networks("10.2.0.0/16"),
            ..plain(3)
        },
    ];
    Arc::new(Routes::new(all, Rest::Refuse))
}

fn first_step(
    settings: &Arc<PrologueSettings>,
    routes: &Arc<Routes>,
    client: &str,
    port: u16,
    received: &[u8],
) -> Step {
    let routes = Some(routes.clone());
    Machine::new(settings.clone(), origin(client), routes, Some(port)).on_bytes(received)
}

#[test]
fn who_is_taken_by_an_earlier_route_is_not_waited_for() {
    let routes = routes(pool("web", None));
    let tls = settings(None, Some((None, NotTls::Route)));
    let step = |client, port| first_step(&tls, &routes, client, port, b"");
    assert_eq!(step("10.1.0.1:1", 443), Step::Done);
    assert_eq!(step("192.0.2.1:1", 8001), Step::Done);
    assert_eq!(step("192.0.2.1:1", 443), Step::More);
    assert_eq!(step("10.2.0.1:1", 443), Step::More, "a name comes before");
    let postgres = settings(None, Some((Some(Protocol::Postgres), NotTls::Route)));
    let step = |client| first_step(&postgres, &routes, client, 443, b"");
    assert_eq!(step("10.1.0.1:1"), Step::Done);
    assert_eq!(step("192.0.2.1:1"), Step::More);
}

#[test]
fn who_is_announced_counts() {
    let routes = routes(pool("web", None));
    let settings = settings(Some(Expected::Required), Some((None, NotTls::Route)));
    let step = |received: &[u8]| first_step(&settings, &routes, "10.1.0.1:1", 443, received);
    assert_eq!(step(b""), Step::More);
    let other = b"PROXY TCP4 192.0.2.1 10.2.2.2 1234 443\r\n";
    assert_eq!(step(other), Step::More);
    let taken = b"PROXY TCP4 10.1.1.1 10.2.2.2 1234 443\r\n";
    assert_eq!(step(taken), Step::Done);
}

#[test]
fn a_hello_that_matters_is_waited_for() {
    // Who speaks no TLS is refused.
    let refuses = settings(None, Some((None, NotTls::Refuse)));
    let plain = routes(pool("web", None));
    let step = first_step(&refuses, &plain, "10.1.0.1:1", 443, b"");
    assert_eq!(step, Step::More);
    let mail = settings(None, Some((Some(Protocol::Imap), NotTls::Route)));
    let step = first_step(&mail, &plain, "10.1.0.1:1", 443, b"");
    assert_eq!(step, Step::More);
    // The server is told the name.
    let tells = routes(pool(
        "web",
        Some(SendProxy {
            version: Version::V2,
            tlvs: SendTlvs {
                authority: true,
                ..SendTlvs::default()
            },
            instance: 1,
        }),
    ));
    let accepts = settings(None, Some((None, NotTls::Route)));
    let step = first_step(&accepts, &tells, "10.1.0.1:1", 443, b"");
    assert_eq!(step, Step::More);
}

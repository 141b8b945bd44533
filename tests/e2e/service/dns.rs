//! A name server with a script: what it says to each question is decided by the test.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Types of records.
pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const CNAME: u16 = 5;

/// Codes of answers.
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// What is said to a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The time to live, and the data of each record.
    Records(u32, Vec<Vec<u8>>),
    /// Nothing but that it is too long for UDP; the records come over TCP.
    Truncated(u32, Vec<Vec<u8>>),
    /// Said of a CNAME, the time to live and another name: what is said of that one stands behind it.
    Alias(u32, &'static str),
    Code(u8),
    Silence,
    Garbage,
}

/// The server. It ends when this is dropped.
pub(crate) struct ScriptedDns {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<HashMap<(String, u16), Reply>>,
    stopped: AtomicBool,
}

impl Reply {
    /// Records of type A or AAAA.
    pub(crate) fn addresses(addresses: &[&str], ttl: u32) -> Self {
        let record = |text: &&str| match text.parse().expect("an address") {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Self::Records(ttl, addresses.iter().map(record).collect())
    }

    /// Records of type SRV: priority, weight, port and target.
    pub(crate) fn services(services: &[(u16, u16, u16, &str)], ttl: u32) -> Self {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let mut data = Vec::new();
            for number in [priority, weight, port] {
                data.extend(number.to_be_bytes());
            }
            data.extend(encoded(target));
            data
        };
        Self::Records(ttl, services.iter().map(record).collect())
    }
}

impl ScriptedDns {
    pub(crate) fn start() -> Self {
        // The same port for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let address = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(address) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        udp.set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        tcp.set_nonblocking(true).expect("non-blocking");
        let (its, also) = (shared.clone(), shared.clone());
        let threads = vec![
            thread::spawn(move || {
                let mut query = [0; 4096];
                while !its.stopped.load(SeqCst) {
                    let Ok((count, peer)) = udp.recv_from(&mut query) else {
                        continue;
                    };
                    if let Some(answer) = its.answer(&query[..count], false) {
                        let _ = udp.send_to(&answer, peer);
                    }
                }
            }),
            thread::spawn(move || {
                while !also.stopped.load(SeqCst) {
                    let Ok((mut stream, _)) = tcp.accept() else {
                        thread::park_timeout(Duration::from_millis(10));
                        continue;
                    };
                    let of = also.clone();
                    thread::spawn(move || {
                        let _ = stream.set_nonblocking(false);
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                        let mut length = [0; 2];
                        while stream.read_exact(&mut length).is_ok() {
                            let mut query = vec![0; u16::from_be_bytes(length).into()];
                            if stream.read_exact(&mut query).is_err() {
                                return;
                            }
                            if let Some(answer) = of.answer(&query, true) {
                                let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
                                framed.extend(answer);
                                let _ = stream.write_all(&framed);
                            }
                        }
                    });
                }
            }),
        ];
        Self {
            address,
            shared,
            threads,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is said to a question; what nobody said anything of does not exist.
    pub(crate) fn say(&self, name: &str, kind: u16, reply: Reply) {
        let mut script = self.shared.script.lock().expect("no panic");
        script.insert((name.to_owned(), kind), reply);
    }
}

impl Drop for ScriptedDns {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, query: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let (mut name, mut at) = (Vec::new(), 12);
        while let Some(&length) = query.get(at) {
            let label = query.get(at + 1..at + 1 + usize::from(length))?;
            at += 1 + label.len();
            if label.is_empty() {
                break;
            }
            name.push(String::from_utf8_lossy(label).to_lowercase());
        }
        let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
        let question = query.get(12..at + 4)?;
        let script = self.script.lock().expect("no panic");
        let (mut name, mut owner, mut aliases) = (name.join("."), vec![0xc0, 12], Vec::new());
        if let Some(&Reply::Alias(ttl, target)) = script.get(&(name.clone(), CNAME)) {
            aliases = record(&owner, CNAME, ttl, &encoded(target));
            (name, owner) = (target.to_owned(), encoded(target));
        }
        let reply = script.get(&(name.clone(), kind)).cloned();
        // A name that has other records has none of this kind.
        let exists = script.keys().any(|(known, _)| *known == name);
        let reply = reply.unwrap_or(Reply::Code(if exists { 0 } else { NXDOMAIN }));
        drop(script);
        let (flags, code, ttl, records) = match reply {
            Reply::Silence => return None,
            Reply::Garbage => return Some(vec![query[0], query[1], 0xff, 0xff, 7, 7, 7]),
            Reply::Code(code) => (0, code, 0, Vec::new()),
            Reply::Alias(..) => (0, 0, 0, Vec::new()),
            Reply::Truncated(..) if !is_tcp => (2, 0, 0, Vec::new()),
            Reply::Records(ttl, records) | Reply::Truncated(ttl, records) => (0, 0, ttl, records),
        };
        let mut answer = vec![query[0], query[1], 0x85 | flags, 0x80 | code, 0, 1];
        let count = records.len() + usize::from(!aliases.is_empty());
        answer.extend((count as u16).to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question);
        answer.extend(aliases);
        for data in records {
            answer.extend(record(&owner, kind, ttl, &data));
        }
        Some(answer)
    }
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend([0, 1]);
    record.extend(ttl.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

//! Redis: redis-benchmark, large values, publish and subscribe.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::bytes::{digest, pattern};
use crate::harness::child::{self, Child};
use crate::harness::config::forward_with;
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(plain, pipelined, large_values, publish_subscribe);

/// A server that keeps nothing on disk.
struct Redis {
    address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

impl Redis {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let port = port::free();
        let mut command = Command::new(child::program("redis-server"));
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path());
        let child = Child::spawn(&mut command, Signal::KILL);
        wait::until("redis-server is ready", || {
            child.log().contains("Ready to accept connections")
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }
}

fn start(scheduler: Scheduler) -> (Redis, Proxy) {
    let redis = Redis::start();
    let config = forward_with(&[&redis.address.to_string()], "latency = \"1ms\"", "");
    let proxy = Proxy::start(scheduler, &config);
    (redis, proxy)
}

fn plain(scheduler: Scheduler) {
    benchmark(
        scheduler,
        &[
            "-c",
            "50",
            "-n",
            "10000",
            "-t",
            "ping,set,get,lpush,lrange_100",
        ],
    );
}

fn pipelined(scheduler: Scheduler) {
    benchmark(
        scheduler,
        &[
            "-c",
            "50",
            "-n",
            "100000",
            "-P",
            "16",
            "-d",
            "512",
            "-t",
            "set,get,incr",
        ],
    );
}

fn benchmark(scheduler: Scheduler, arguments: &[&str]) {
    let (_redis, proxy) = start(scheduler);
    let address = proxy.address("main");
    let mut command = Command::new(child::program("redis-benchmark"));
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
        "--csv",
        "-e",
    ]);
    let report = child::run(command.args(arguments));
    let tests = report.lines().filter(|line| line.starts_with('"')).count();
    assert!(tests > 2 && !report.contains("Error"), "{report}");
    let requests = arguments[3].parse::<f64>().expect("-n");
    let received = [("listener", "main"), ("direction", "in")];
    assert!(
        proxy.metric("corelane_listener_bytes_total", &received) > requests * 14.0,
        "it went elsewhere"
    );
    proxy.stop();
}

fn large_values(scheduler: Scheduler) {
    let (_redis, proxy) = start(scheduler);
    thread::scope(|scope| {
        for (seed, size) in [(1, 3_000_001), (2, 8_388_608), (3, 5), (4, 65_536)] {
            let proxy = &proxy;
            scope.spawn(move || {
                let (key, value) = (format!("key-{seed}"), pattern(seed, size));
                let mut client = Client::connect(proxy);
                client.request(&[b"SET", key.as_bytes(), &value]);
                assert_eq!(client.line(), "+OK");
                client.request(&[b"GET", key.as_bytes()]);
                assert_eq!(digest(&client.bulk()), digest(&value));
            });
        }
    });
}

/// The server speaks first here, for as long as the subscription lasts.
fn publish_subscribe(scheduler: Scheduler) {
    const MESSAGES: u64 = 2_000;
    let (_redis, proxy) = start(scheduler);
    let (mut publisher, mut subscriber) = (Client::connect(&proxy), Client::connect(&proxy));
    subscriber.request(&[b"SUBSCRIBE", b"news"]);
    assert_eq!(
        ["*3", "$9", "subscribe", "$4", "news", ":1"].map(|_| subscriber.line())[2],
        "subscribe"
    );
    let reader = thread::spawn(move || {
        for index in 0..MESSAGES {
            assert_eq!(subscriber.line(), "*3");
            assert_eq!(subscriber.bulk(), b"message");
            assert_eq!(subscriber.bulk(), b"news");
            let message = pattern(index, index as usize % 3000);
            assert_eq!(
                digest(&subscriber.bulk()),
                digest(&message),
                "message {index}"
            );
        }
    });
    for index in 0..MESSAGES {
        publisher.request(&[b"PUBLISH", b"news", &pattern(index, index as usize % 3000)]);
        assert_eq!(publisher.line(), ":1", "subscribers");
    }
    reader.join().expect("subscriber");
}

/// As much of RESP as the tests speak.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(proxy: &Proxy) -> Self {
        Self(BufReader::new(proxy.connect("main")))
    }

    fn request(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&request).expect("request");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("answer");
        line.trim_end().to_owned()
    }

    fn bulk(&mut self) -> Vec<u8> {
        let header = self.line();
        let size = header.strip_prefix('$').and_then(|size| size.parse().ok());
        let mut bytes = vec![0; size.unwrap_or_else(|| panic!("a bulk string, not {header}"))];
        self.0.read_exact(&mut bytes).expect("value");
        assert_eq!(self.line(), "");
        bytes
    }
}

//! Redis: redis-benchmark, large values, publish and subscribe.

use std::process::Command;
use std::thread;

use crate::harness::bytes::{digest, pattern};
use crate::harness::child;
use crate::harness::config::forward_with;
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::redis::{Client, Redis};

each_scheduler!(plain, pipelined, large_values, publish_subscribe);

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
    let mut command = Command::new(program::path("redis-benchmark"));
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
                let mut client = Client::connect(proxy, "main");
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
    let (mut publisher, mut subscriber) = (
        Client::connect(&proxy, "main"),
        Client::connect(&proxy, "main"),
    );
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

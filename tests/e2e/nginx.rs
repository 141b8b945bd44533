//! nginx: a large download, and many requests at once.

use std::thread;

use crate::harness::bytes::{Digest, MIB, digest};
use crate::harness::config::forward;
use crate::harness::http;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::nginx::Nginx;

each_scheduler!(download, parallel_requests, over_unix_socket);

/// Requests at once, over 20 files from 1 KB to 1 MB.
const REQUESTS: usize = 200;
const FILES: usize = 20;

fn get(proxy: &Proxy, path: &str) -> Digest {
    let response = http::get_on(proxy.connect("main"), path);
    assert_eq!(response.status, 200, "{path}");
    digest(&response.body)
}

fn download(scheduler: Scheduler) {
    let nginx = Nginx::start();
    let proxy = Proxy::start(scheduler, &forward(&[&nginx.address.to_string()]));
    let written = nginx.write_file("large", 50 * MIB);
    assert_eq!(get(&proxy, "/large"), written);
    proxy.stop();
}

fn parallel_requests(scheduler: Scheduler) {
    let nginx = Nginx::start();
    requests_at_once(scheduler, &nginx, &nginx.address.to_string());
}

fn over_unix_socket(scheduler: Scheduler) {
    let nginx = Nginx::start();
    requests_at_once(scheduler, &nginx, &nginx.unix_address());
}

fn requests_at_once(scheduler: Scheduler, nginx: &Nginx, server: &str) {
    let proxy = Proxy::start(scheduler, &forward(&[server]));
    let sizes = (0..FILES).map(|index| 1000 + index as u64 * 52_579);
    let files: Vec<Digest> = sizes
        .enumerate()
        .map(|(index, len)| nginx.write_file(&format!("file-{index}"), len))
        .collect();
    // All connections stand before the first request is made.
    let clients: Vec<_> = (0..REQUESTS).map(|_| proxy.connect("main")).collect();
    thread::scope(|scope| {
        for (index, client) in clients.into_iter().enumerate() {
            let files = &files;
            scope.spawn(move || {
                let response = http::get_on(client, &format!("/file-{}", index % FILES));
                assert_eq!(
                    digest(&response.body),
                    files[index % FILES],
                    "request {index}"
                );
            });
        }
    });
    proxy.stop();
}

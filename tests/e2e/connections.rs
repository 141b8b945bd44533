//! `/connections`: who is connected now.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::config::{forward, forward_with, route};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upstream_failure::Blackhole;

each_scheduler!(
    listed,
    sorted,
    by_listener,
    connecting,
    unix_clients,
    while_they_come_and_go
);

fn list(proxy: &Proxy, query: &str) -> Value {
    let response = proxy.get(&format!("/connections{query}"));
    assert_eq!(response.status, 200, "{query}");
    serde_json::from_slice(&response.body).expect("JSON")
}

fn rows(list: &Value) -> &[Value] {
    list["connections"].as_array().expect("an array")
}

fn clients(list: &Value) -> Vec<&str> {
    rows(list)
        .iter()
        .map(|row| row["client"].as_str().expect("a string"))
        .collect()
}

fn own(stream: &TcpStream) -> String {
    stream.local_addr().expect("address").to_string()
}

/// Sends bytes to an echo and reads them back.
fn exchange(mut stream: &TcpStream, count: usize) {
    stream.write_all(&vec![1; count]).expect("send");
    stream.read_exact(&mut vec![0; count]).expect("receive");
}

/// Waits until the sum of all bytes in is this: what the client has read may not be counted yet.
fn wait_for_bytes(proxy: &Proxy, bytes: u64) {
    wait::until("the bytes are counted", || {
        let list = list(proxy, "");
        let counted = |name| move |row: &Value| row[name].as_u64().expect("a number");
        let sum = |name| rows(&list).iter().map(counted(name)).sum::<u64>();
        sum("bytes_in") == bytes && sum("bytes_out") == bytes
    });
}

fn wait_for_total(proxy: &Proxy, total: u64) {
    wait::until(&format!("{total} connections"), || {
        list(proxy, "")["total"] == total
    });
}

fn listed(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    assert_eq!(
        list(&proxy, ""),
        serde_json::json!({"total": 0, "shown": 0, "connections": []})
    );
    let streams: Vec<_> = (0..3).map(|_| proxy.connect("main")).collect();
    streams.iter().for_each(|stream| exchange(stream, 1000));
    wait_for_bytes(&proxy, 3000);
    let list = list(&proxy, "");
    assert_eq!((&list["total"], &list["shown"]), (&3.into(), &3.into()));
    for row in rows(&list) {
        assert_eq!(row["listener"], "main");
        assert_eq!(row["server"], "builtin:echo");
        assert_eq!(row["state"], "relaying");
        assert_eq!(
            (&row["bytes_in"], &row["bytes_out"]),
            (&1000.into(), &1000.into())
        );
        assert!(row["core"].as_u64().is_some_and(|core| core < 2), "{row}");
        let [age, idle] =
            ["age_seconds", "idle_seconds"].map(|name| row[name].as_f64().expect("a time"));
        assert!(0.0 <= idle && idle <= age, "{row}");
    }
    let wanted: BTreeSet<_> = streams.iter().map(own).collect();
    let shown: BTreeSet<_> = clients(&list).into_iter().map(str::to_owned).collect();
    assert_eq!(shown, wanted);
    let ids: BTreeSet<_> = rows(&list).iter().map(|row| row["id"].as_u64()).collect();
    assert_eq!(ids.len(), 3);
    drop(streams);
    wait_for_total(&proxy, 0);
    for bad in [
        "?limit=many",
        "?sort=name",
        "?order=up",
        "?listener=other",
        "?what",
    ] {
        assert_eq!(
            proxy.get(&format!("/connections{bad}")).status,
            400,
            "{bad}"
        );
    }
}

fn sorted(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let mut streams = Vec::new();
    for bytes in [200, 300, 100] {
        let stream = proxy.connect("main");
        exchange(&stream, bytes);
        streams.push(stream);
        wait_for_total(&proxy, streams.len() as u64);
    }
    wait_for_bytes(&proxy, 600);
    let [first, second, third] = [0, 1, 2].map(|index| own(&streams[index]));
    assert_eq!(clients(&list(&proxy, "")), [&first, &second, &third]);
    assert_eq!(
        clients(&list(&proxy, "?sort=bytes")),
        [&second, &first, &third]
    );
    assert_eq!(
        clients(&list(&proxy, "?sort=bytes&order=ascending&limit=2")),
        [&third, &first]
    );
    assert_eq!(
        clients(&list(&proxy, "?order=ascending")),
        [&third, &second, &first]
    );
    exchange(&streams[0], 1);
    wait_for_bytes(&proxy, 601);
    assert_eq!(
        clients(&list(&proxy, "?sort=idle")),
        [&second, &third, &first]
    );
    let one = list(&proxy, "?limit=1&sort=bytes");
    assert_eq!((&one["total"], &one["shown"]), (&3.into(), &1.into()));
    assert_eq!(clients(&one), [&second]);
    assert_eq!(list(&proxy, "?limit=0")["total"], 3);
}

fn by_listener(scheduler: Scheduler) {
    let routes =
        forward(&["builtin:echo"]) + &route("other", "127.0.0.1:0", &["builtin:echo"], "", "");
    let proxy = Proxy::start(scheduler, &routes);
    let main = proxy.connect("main");
    let others = [proxy.connect("other"), proxy.connect("other")];
    wait_for_total(&proxy, 3);
    assert_eq!(clients(&list(&proxy, "?listener=main")), [own(&main)]);
    let list = list(&proxy, "?listener=other");
    assert_eq!(list["total"], 2);
    assert!(
        others
            .iter()
            .all(|other| clients(&list).contains(&&*own(other)))
    );
}

fn connecting(scheduler: Scheduler) {
    let silent = Blackhole::open();
    let config = forward_with(&[&silent.address], "", "connect_timeout = \"1m\"");
    let proxy = Proxy::start(scheduler, &config);
    let client = proxy.connect("main");
    wait_for_total(&proxy, 1);
    let list = list(&proxy, "");
    assert_eq!(clients(&list), [own(&client)]);
    assert_eq!(rows(&list)[0]["state"], "connecting");
    assert_eq!(rows(&list)[0]["server"], Value::Null);
}

fn unix_clients(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("socket");
    let bind = format!("unix:{}", path.display());
    let proxy = Proxy::start(scheduler, &route("main", &bind, &["builtin:echo"], "", ""));
    let _client = UnixStream::connect(&path).expect("it listens");
    wait_for_total(&proxy, 1);
    assert_eq!(clients(&list(&proxy, "")), ["unix"]);
}

/// Connections that stay are in every list, whatever comes and goes beside them, and forwarding goes on.
fn while_they_come_and_go(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let staying: Vec<_> = (0..300).map(|_| proxy.connect("main")).collect();
    staying.iter().for_each(|stream| exchange(stream, 10));
    let wanted: BTreeSet<_> = staying.iter().map(own).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = wait::End(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let stream = proxy.connect("main");
                    exchange(&stream, 100);
                    stream.shutdown(Shutdown::Both).expect("shutdown");
                }
            });
        }
        for _ in 0..50 {
            let list = list(&proxy, "?limit=10000");
            let shown: Vec<_> = clients(&list).into_iter().map(str::to_owned).collect();
            assert!(wanted.iter().all(|client| {
                let same = shown.iter().filter(|shown| *shown == client);
                same.count() == 1
            }));
            assert_eq!(list["shown"], shown.len());
        }
    });
    drop(staying);
    wait_for_total(&proxy, 0);
}

//! A server that hangs: connects to it work, and nobody answers.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::config::route;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(a_server_that_hangs_is_found);

/// Clients that say something.
fn clients(proxy: &Proxy, listener: &str, count: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut client = proxy.connect(listener);
        client.write_all(b"anyone?").expect("send");
        client
    };
    (0..count).map(ask).collect()
}

fn what_is_found(proxy: &Proxy) -> Vec<(String, String)> {
    let state: Value = serde_json::from_slice(&proxy.get("/state").body).expect("JSON");
    let findings = state["findings"].as_array().expect("findings").iter();
    let text = |finding: &Value, field: &str| finding[field].as_str().expect("text").to_owned();
    findings
        .map(|finding| (text(finding, "level"), text(finding, "what")))
        .collect()
}

fn a_server_that_hangs_is_found(scheduler: Scheduler) {
    // It accepts nobody, as a stopped process: the kernel does, up to its backlog.
    let (hung, echo) = (Server::bind(), peer::echo());
    let address = hung.address().to_string();
    let routes = route("hung", "127.0.0.1:0", &[&address], "", "")
        + &route(
            "idle",
            "127.0.0.1:0",
            &[&echo.address().to_string()],
            "",
            "",
        );
    let proxy = Proxy::start(scheduler, &routes);
    let hung_clients = clients(&proxy, "hung", 20);
    // Who has had an answer is idle, and so is who has not asked.
    let answered = clients(&proxy, "idle", 5);
    for mut client in &answered {
        client.read_exact(&mut [0; 7]).expect("an answer");
    }
    let silent: Vec<_> = (0..5).map(|_| proxy.connect("hung")).collect();
    let wanted = format!(
        "20 connections wait for a first byte for over 5 s: server {address} of upstream hung doesn't answer"
    );
    let is_found = || what_is_found(&proxy).contains(&("warning".to_owned(), wanted.clone()));
    wait::until("the server is found", is_found);
    let up = [("upstream", "hung")];
    assert_eq!(proxy.metric("corelane_upstream_up", &up), 1.0);

    // One answer is enough for a connection to be no case of it.
    let mut server = hung.accept();
    server.write_all(b"yes").expect("send");
    let fewer = format!("19 connections wait for a first byte for over 5 s: server {address}");
    wait::until("it is one less", || {
        let found = what_is_found(&proxy);
        found.iter().any(|(_, what)| what.starts_with(&fewer))
    });
    // A client that ends its stream still waits; the server's end is the end of it.
    drop((hung_clients, answered, silent));
    drop((hung, server));
    wait::until("nothing is left of it", || {
        let found = what_is_found(&proxy);
        found.iter().all(|(_, what)| !what.contains("first byte"))
    });
}

//! Agents beside servers, in HAProxy's agent-check protocol: what they say moves connections, over reloads and switches.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use crate::harness::change;
use crate::harness::config::route;
use crate::harness::peer::{Server, Service, assert_closed_unanswered, end_of};
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_share_of_the_weight_moves_connections_and_outlives_a_reload_and_a_switch,
    a_state_holds_until_the_agent_takes_it_back,
    a_server_is_up_where_its_check_and_its_agent_say_so,
    connections_end_where_the_agent_says_that_their_server_is_down,
);

const SECTION: &str = "[upstreams.main.agent]\ninterval = \"100ms\"\ntimeout = \"10s\"\n";

/// Hosts of loopback, each with a server that says its place, and an agent that says what it is told to.
struct Hosts {
    servers: Vec<Service>,
    agents: Vec<Option<Service>>,
    lines: Vec<Arc<Mutex<String>>>,
    port: u16,
}

impl Hosts {
    fn start(count: u8) -> Self {
        // Of this process alone, as others have agents at the same time.
        let port = port::free();
        let host = |place: u8| Ipv4Addr::new(127, 0, 7, 1 + place);
        let server = |place: u8| {
            Server::bind_at((host(place), 0).into()).serve(move |mut stream| {
                let _ = stream.write_all(&[place]);
                let mut byte = [0; 1];
                while let Ok(1) = stream.read(&mut byte) {
                    let _ = stream.write_all(&byte);
                }
            })
        };
        let lines = (0..count).map(|_| Arc::new(Mutex::new("up ready 100%".to_owned())));
        let mut hosts = Self {
            servers: (0..count).map(server).collect(),
            agents: (0..count).map(|_| None).collect(),
            lines: lines.collect(),
            port,
        };
        (0..usize::from(count)).for_each(|place| hosts.start_agent(place));
        hosts
    }

    fn address(&self, place: usize) -> SocketAddr {
        self.servers[place].address()
    }

    fn start_agent(&mut self, place: usize) {
        let mut address = self.address(place);
        address.set_port(self.port);
        let line = self.lines[place].clone();
        let agent = Server::bind_at(address).serve(move |mut stream| {
            // It is told which service is meant.
            let mut asked = [0; 5];
            let is_asked = stream.read_exact(&mut asked).is_ok() && &asked == b"main\n";
            let line = line.lock().expect("no panic").clone();
            let _ = stream.write_all(if is_asked { line.as_bytes() } else { b"down" });
        });
        self.agents[place] = Some(agent);
    }

    fn stop_agent(&mut self, place: usize) {
        self.agents[place] = None;
    }

    fn say(&self, place: usize, line: &str) {
        *self.lines[place].lock().expect("no panic") = line.to_owned();
    }

    fn routes(&self, upstream: &str) -> String {
        let servers = (0..self.servers.len()).map(|place| self.address(place).to_string());
        let servers: Vec<_> = servers.collect();
        let servers: Vec<_> = servers.iter().map(String::as_str).collect();
        route("main", "127.0.0.1:0", &servers, "", upstream)
    }

    fn with_agents(&self, upstream: &str) -> String {
        let agent = format!("{SECTION}port = {}\nsend = \"main\\n\"\n", self.port);
        self.routes(&format!("{agent}{upstream}"))
    }

    fn of(&self, place: usize, proxy: &Proxy, metric: &str, more: &[(&str, &str)]) -> f64 {
        let server = self.address(place).to_string();
        let labels = [&[("upstream", "main"), ("server", &server)], more].concat();
        proxy.metric(metric, &labels)
    }

    fn weighs(&self, place: usize, proxy: &Proxy, weight: f64) {
        wait::until(&format!("server {place} weighs {weight}"), || {
            self.of(place, proxy, "corelane_upstream_server_weight", &[]) == weight
        });
    }

    fn becomes(&self, place: usize, proxy: &Proxy, state: &str) {
        wait::until(&format!("server {place} is {state}"), || {
            let state = [("state", state)];
            self.of(place, proxy, "corelane_upstream_server_state", &state) == 1.0
        });
    }
}

fn ask(proxy: &Proxy) -> (TcpStream, u8) {
    let mut client = proxy.connect("main");
    let mut name = [0; 1];
    client.read_exact(&mut name).expect("a server");
    (client, name[0])
}

/// How many of so many connections, one after the other, each server gets.
fn counts(proxy: &Proxy, count: usize) -> [usize; 2] {
    let mut counts = BTreeMap::new();
    for _ in 0..count {
        *counts.entry(ask(proxy).1).or_default() += 1;
    }
    [0, 1].map(|place| counts.get(&place).copied().unwrap_or(0))
}

/// Of 60 connections the first server gets so many.
fn shares(proxy: &Proxy, first: usize) {
    let counts = counts(proxy, 60);
    assert!(
        counts[0].abs_diff(first) <= 5 && counts[0] + counts[1] == 60,
        "{counts:?}"
    );
}

fn goes_on(mut client: &TcpStream) {
    client.write_all(b"x").expect("it goes on");
    let mut byte = [0; 1];
    client.read_exact(&mut byte).expect("it goes on");
    assert_eq!(&byte, b"x");
}

fn other(scheduler: Scheduler) -> Scheduler {
    match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    }
}

fn a_share_of_the_weight_moves_connections_and_outlives_a_reload_and_a_switch(
    scheduler: Scheduler,
) {
    let mut hosts = Hosts::start(2);
    let text =
        |scheduler, upstream: &str| change::text(scheduler, 2, "", &hosts.with_agents(upstream));
    let (before, after) = (text(scheduler, ""), text(other(scheduler), ""));
    let otherwise = text(scheduler, "[upstreams.main.ejection]\n");
    let without = change::text(other(scheduler), 2, "", &hosts.routes(""));
    let proxy = Proxy::start_file(&before);
    shares(&proxy, 30);
    hosts.say(1, "50%\n");
    hosts.weighs(1, &proxy, 0.5);
    shares(&proxy, 40);
    let state = String::from_utf8_lossy(&proxy.get("/state").body).into_owned();
    assert!(
        state.contains("\"weight\":0.5,\"configured_weight\":1.0"),
        "{state}"
    );
    hosts.say(1, "300%\n");
    hosts.weighs(1, &proxy, 3.0);
    shares(&proxy, 15);
    hosts.say(1, "0%\n");
    hosts.weighs(1, &proxy, 0.0);
    assert_eq!(counts(&proxy, 10), [10, 0]);
    hosts.say(1, "25%\n");
    hosts.weighs(1, &proxy, 0.25);
    // Nobody says anything any more: what was said stays.
    hosts.stop_agent(1);
    change::reload(&proxy, &otherwise);
    hosts.weighs(1, &proxy, 0.25);
    shares(&proxy, 48);
    change::switch(&proxy, &after);
    hosts.weighs(1, &proxy, 0.25);
    shares(&proxy, 48);
    let refused = [("result", "refused")];
    wait::until("that it is not there is counted", || {
        hosts.of(1, &proxy, "corelane_upstream_agent_checks_total", &refused) > 0.0
    });
    change::reload(&proxy, &without);
    hosts.weighs(1, &proxy, 1.0);
    shares(&proxy, 30);
    proxy.stop();
}

fn a_state_holds_until_the_agent_takes_it_back(scheduler: Scheduler) {
    let mut hosts = Hosts::start(2);
    let text = |scheduler| change::text(scheduler, 2, "", &hosts.with_agents(""));
    let (before, after) = (text(scheduler), text(other(scheduler)));
    let proxy = Proxy::start_file(&before);
    let mut clients = [ask(&proxy), ask(&proxy)];
    clients.sort_by_key(|(_, place)| *place);
    let [_, (client, 1)] = &clients else {
        panic!("one each")
    };
    hosts.say(1, "drain # an update\n");
    hosts.becomes(1, &proxy, "draining");
    assert_eq!(counts(&proxy, 10), [10, 0]);
    goes_on(client);
    let state = String::from_utf8_lossy(&proxy.get("/state").body).into_owned();
    assert!(
        state.contains("its agent says: drain # an update"),
        "{state}"
    );
    // It says nothing of that, so that stays.
    hosts.say(1, "100% up\n");
    hosts.say(0, "75%\n");
    hosts.weighs(0, &proxy, 0.75);
    assert_eq!(counts(&proxy, 10), [10, 0]);
    hosts.say(1, "maint\n");
    hosts.becomes(1, &proxy, "maintenance");
    hosts.say(1, "ready down # no disk\n");
    hosts.becomes(1, &proxy, "down");
    proxy.tells("agent", "by its agent: ready down # no disk");
    assert_eq!(hosts.of(1, &proxy, "corelane_upstream_up", &[]), 0.0);
    hosts.stop_agent(1);
    change::switch(&proxy, &after);
    hosts.becomes(1, &proxy, "down");
    assert_eq!(counts(&proxy, 10), [10, 0]);
    goes_on(client);
    // What an agent says holds where nobody else is left, too.
    hosts.say(0, "stopped\n");
    hosts.becomes(0, &proxy, "down");
    assert_closed_unanswered(proxy.connect("main"));
    hosts.say(1, "up\n");
    hosts.start_agent(1);
    hosts.becomes(1, &proxy, "up");
    assert_eq!(counts(&proxy, 10), [0, 10]);
    drop(clients);
    proxy.stop();
}

/// By `on_down`, without a health check; a server that drains keeps them.
fn connections_end_where_the_agent_says_that_their_server_is_down(scheduler: Scheduler) {
    let hosts = Hosts::start(2);
    let text = |scheduler| {
        let fate = hosts.with_agents("").replace(
            "[upstreams.main.agent]",
            "on_down = \"close\"\nclose_over = \"100ms\"\n[upstreams.main.agent]",
        );
        change::text(scheduler, 2, "", &fate)
    };
    let proxy = Proxy::start_file(&text(scheduler));
    let mut clients = [ask(&proxy), ask(&proxy)];
    clients.sort_by_key(|(_, place)| *place);
    let [(stays, 0), (ends, 1)] = &mut clients else {
        panic!("one each")
    };
    hosts.say(1, "drain\n");
    hosts.becomes(1, &proxy, "draining");
    goes_on(ends);
    let ended = || {
        let labels = [("cause", "server_down")];
        proxy.metric("corelane_listener_ended_total", &labels)
    };
    assert_eq!(ended(), 0.0);
    hosts.say(1, "down ready\n");
    assert_eq!(end_of(ends), None);
    wait::until("the end is counted", || ended() == 1.0);
    // Over a switch, too.
    change::switch(&proxy, &text(other(scheduler)));
    goes_on(stays);
    hosts.say(0, "failed\n");
    assert_eq!(end_of(stays), None);
    wait::until("the end is counted", || ended() == 2.0);
    drop(clients);
    proxy.stop();
}

fn a_server_is_up_where_its_check_and_its_agent_say_so(scheduler: Scheduler) {
    let hosts = Hosts::start(2);
    let health = |place: usize| {
        let rest = format!(
            "balance = \"first\"\n[upstreams.main.health]\ninterval = \"100ms\"\ntimeout = \"10s\"\nport = {}\nfall = 1\nrise = 1\n",
            hosts.address(place).port()
        );
        let agent = format!("{SECTION}port = {}\nsend = \"main\\n\"\n", hosts.port);
        change::text(scheduler, 2, "", &hosts.routes(&format!("{rest}{agent}")))
    };
    // Where the second one is checked, nobody listens.
    let proxy = Proxy::start_file(&health(0));
    hosts.becomes(1, &proxy, "down");
    hosts.say(1, "up 20%\n");
    hosts.weighs(1, &proxy, 0.2);
    assert_eq!(hosts.of(1, &proxy, "corelane_upstream_up", &[]), 0.0);
    hosts.say(1, "down\n");
    hosts.say(0, "down\n");
    hosts.becomes(0, &proxy, "down");
    // Now its check passes, and that of the first one fails.
    change::reload(&proxy, &health(1));
    let passed = [("result", "passed")];
    wait::until("its check passes", || {
        hosts.of(1, &proxy, "corelane_upstream_health_checks_total", &passed) > 1.0
    });
    assert_eq!(hosts.of(1, &proxy, "corelane_upstream_up", &[]), 0.0);
    hosts.say(1, "up\n");
    hosts.becomes(1, &proxy, "up");
    assert_eq!(counts(&proxy, 4), [0, 4]);
    proxy.stop();
}

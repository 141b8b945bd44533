//! The harnesses of changes and of upgrades run, with a small load, and find nothing lost of what a proxy keeps.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small load, of a second a turn, in the network as it is, on two CPUs.
const SMALL: &str = "change --congestion as-is --rounds 1 --window 0.3 --idle 20 --busy 4 --every 20 --arrivals 50 --transfers 2 \
                     --pace 1 --contestants";

/// The same for three upgrades.
const SMALL_UPGRADE: &str = "upgrade --congestion as-is --steps 3 --drain 1 --window 0.2 --connections 20 --arrivals 50 --transfers 2 \
                             --pace 100 --contestants";

/// Where Debian's stream module is, without which there is no nginx to compare with.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The rows of the table that `bench` prints, each as its cells; none where the machine has one CPU.
fn rows(asked: &str, contestants: &str, corelane: Option<&Path>) -> Option<Vec<Vec<String>>> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("skipped: proxy and load need a CPU each");
        return None;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(asked.split_whitespace()).arg(contestants);
    if let Some(corelane) = corelane {
        command.arg("--corelane").arg(corelane);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && !text.contains("Turns that failed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    // Without the heads.
    Some(rows.skip(1).map(cells).collect())
}

/// The row of one contestant.
fn row(asked: &str, contestant: &str, corelane: Option<&Path>) -> Option<Vec<String>> {
    let rows = rows(asked, contestant, corelane)?;
    let [row] =
        <[_; 1]>::try_from(rows).unwrap_or_else(|rows| panic!("one row was to be: {rows:?}"));
    Some(row)
}

/// nginx's; none where the machine lacks what it needs.
fn nginx_row(asked: &str) -> Option<Vec<String>> {
    if !Path::new(NGINX_STREAM_MODULE).exists() {
        eprintln!("skipped: {NGINX_STREAM_MODULE} is missing (libnginx-mod-stream)");
        return None;
    }
    row(asked, "nginx", None)
}

/// Beside this package's own program, where the workspace was built.
fn corelane() -> Option<PathBuf> {
    let corelane = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("corelane");
    corelane.exists().then_some(corelane)
}

/// Whether nothing failed, or was late at most: this machine may do much else.
fn is_kept(cell: &str) -> bool {
    cell == "0" || cell.ends_with(" late") && !cell.contains(',')
}

#[test]
fn a_reload_of_nginx_keeps_its_connections_in_the_old_worker() {
    let Some(row) = nginx_row(SMALL) else {
        return;
    };
    assert_eq!(row[..2], ["nginx", "reload"]);
    // Nothing of the kinds that stay is lost; they stay in the worker that began with them.
    assert!(row[9..12].iter().all(|cell| is_kept(cell)), "{row:?}");
    assert_eq!(row[12], "26 (26–26)", "{row:?}");
}

#[test]
fn a_change_of_corelane_is_taken_or_refused_and_loses_nothing() {
    let Some(corelane) = corelane() else {
        return eprintln!("skipped: corelane was not built");
    };
    let contestants = "corelane-tokio-per-core,tokio-per-core-to-tokio";
    let Some(rows) = rows(SMALL, contestants, Some(&corelane)) else {
        return;
    };
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in rows {
        if row[2].starts_with("not taken: ") {
            eprintln!("{}: {}", row[0], row[2]);
        } else {
            assert!(row[8..12].iter().all(|cell| is_kept(cell)), "{row:?}");
        }
    }
}

#[test]
fn upgrades_of_nginx_cut_its_connections_after_a_time() {
    let Some(row) = nginx_row(SMALL_UPGRADE) else {
        return;
    };
    assert_eq!(row[..3], ["nginx", "2 of 2", "1 of 1"]);
    assert!(is_kept(&row[10]), "{row:?}");
    // None of those that were open is left, however each ended.
    assert!(row[11..13].iter().all(|cell| !is_kept(cell)), "{row:?}");
    assert_eq!(row[13], "0", "{row:?}");
}

#[test]
fn upgrades_of_corelane_lose_nothing() {
    let Some(corelane) = corelane() else {
        return eprintln!("skipped: corelane was not built");
    };
    let Some(row) = row(SMALL_UPGRADE, "corelane-tokio", Some(&corelane)) else {
        return;
    };
    assert_eq!(row[..3], ["corelane-tokio", "2 of 2", "1 of 1"]);
    assert!(row[10..13].iter().all(|cell| is_kept(cell)), "{row:?}");
    assert_eq!(row[13], "0", "{row:?}");
}

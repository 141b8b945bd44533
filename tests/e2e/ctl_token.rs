//! Who may change the proxy over TCP: the token, TLS, and what a browser's page of another site may not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::generate_simple_self_signed;
use rustix::process::Signal;
use serde_json::Value;

use crate::ctl::Controlled;
use crate::harness::child::Child;
use crate::harness::config::route;
use crate::harness::proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::terminal::Terminal;
use crate::harness::wait;

each_scheduler!(
    a_token_may_change_until_a_reload_has_another_one,
    a_token_s_file_that_others_may_read_is_refused,
    over_tls_a_token_goes_anywhere,
    pages_of_other_sites_and_what_is_out_of_bounds_are_refused,
);

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn secret(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("room");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&path, mode).expect("it is ours");
    path
}

fn routes() -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], "shares = 900", "")
}

/// A request over TCP: the answer's status, and its body.
fn ask(controlled: &Controlled, request: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(controlled.proxy.admin()).expect("it listens");
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: corelane\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    // It may be cut off where there is too much.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    (status.unwrap_or(0), body.unwrap_or_default())
}

const JSON: &str = "content-type: application/json\r\n";

fn bearer(token: &str) -> String {
    format!("{JSON}authorization: Bearer {token}\r\n")
}

fn drain(controlled: &Controlled, headers: &str) -> u16 {
    let request = "PATCH /api/v1/servers/main/builtin:echo";
    ask(controlled, request, headers, "{\"state\":\"drain\"}").0
}

fn state(controlled: &Controlled) -> Value {
    controlled.json(&["servers", "main", "builtin:echo"])["state"].clone()
}

fn a_token_may_change_until_a_reload_has_another_one(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "token", &format!("{TOKEN}\n"));
    let controlled = Controlled::start(scheduler, &format!("token_file = {file:?}"), &routes());
    assert_eq!(ask(&controlled, "GET /api/v1/servers", "", "").0, 200);
    for headers in [JSON, &bearer(OTHER), &bearer(""), &bearer(&TOKEN[1..])] {
        assert_eq!(drain(&controlled, headers), 401, "{headers}");
    }
    let basic = format!("{JSON}authorization: Basic {TOKEN}\r\n");
    assert_eq!(drain(&controlled, &basic), 401);
    assert_eq!(state(&controlled), "up", "nothing has changed");
    assert_eq!(drain(&controlled, &bearer(TOKEN)), 200);
    assert_eq!(state(&controlled), "draining");
    let events = controlled.json(&["events"]);
    let last = events["events"]
        .as_array()
        .and_then(|all| all.last())
        .expect("an event");
    let by = last["by"].as_str().expect("words");
    assert!(by.starts_with("token from 127.0.0.1:"), "{last}");
    controlled.proxy.logs("token from 127.0.0.1");
    let log = controlled.proxy.log();
    assert!(!log.contains(TOKEN), "{log}");
    // No program is run for a token.
    let upgrade = "POST /api/v1/upgrade?binary=/bin/true";
    assert_eq!(ask(&controlled, upgrade, &bearer(TOKEN), "").0, 403);
    let url = format!("http://{}", controlled.proxy.admin());
    let mut ctl = proxy::command();
    ctl.args([
        "ctl",
        "set-server",
        "main",
        "builtin:echo",
        "--state",
        "ready",
        "--url",
        &url,
    ]);
    let output = ctl
        .arg("--token-file")
        .arg(&file)
        .output()
        .expect("corelane runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(state(&controlled), "up");
    secret(folder.path(), "token", OTHER);
    assert_eq!(
        drain(&controlled, &bearer(OTHER)),
        401,
        "not before a reload"
    );
    controlled.done(&["reload"]);
    assert_eq!(drain(&controlled, &bearer(TOKEN)), 401);
    assert_eq!(drain(&controlled, &bearer(OTHER)), 200);
    controlled.proxy.stop();
}

fn a_token_s_file_that_others_may_read_is_refused(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "token", TOKEN);
    let controlled = Controlled::start(scheduler, &format!("token_file = {file:?}"), &routes());
    for (mode, content, why) in [
        (0o644, TOKEN, "open to others"),
        (0o620, TOKEN, "open to others"),
        (0o600, "short", "16 to 1024"),
    ] {
        secret(folder.path(), "token", content);
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(&file, mode).expect("it is ours");
        let refused = controlled.ctl(&["reload"]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains(why), "{words}");
        let checked = controlled.ctl(&["reload", "--check"]);
        assert!(!checked.status.success(), "{checked:?}");
        assert_eq!(drain(&controlled, &bearer(TOKEN)), 200, "what ran goes on");
    }
    controlled.proxy.stop();
}

fn over_tls_a_token_goes_anywhere(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = secret(folder.path(), "admin.pem", &made.cert.pem());
    let key = secret(
        folder.path(),
        "admin.key",
        &made.signing_key.serialize_pem(),
    );
    let token = secret(folder.path(), "token", TOKEN);
    let admin =
        format!("token_file = {token:?}\ntls_certificate = {certificate:?}\ntls_key = {key:?}");
    let controlled = Controlled::start(scheduler, &admin, &routes());
    let ctl = |words: &[&str], ca: &Path, url: &str| {
        let mut command = proxy::command();
        command.arg("ctl").args(words).args(["--url", url]);
        command.arg("--token-file").arg(&token).arg("--ca").arg(ca);
        command.output().expect("corelane runs")
    };
    let url = format!("https://{}", controlled.proxy.admin());
    let done = ctl(
        &["set-server", "main", "builtin:echo", "--state", "drain"],
        &certificate,
        &url,
    );
    assert!(done.status.success(), "{done:?}");
    assert_eq!(state(&controlled), "draining");
    let mut terminal = Terminal::open(80, 24);
    let mut top = proxy::command();
    top.args(["top", &url]).arg("--ca").arg(&certificate);
    let mut top =
        terminal.begin(|terminal| Child::spawn_on_terminal(&mut top, terminal, Signal::KILL));
    wait::until("top shows it", || terminal.shows("builtin:echo"));
    terminal.press("q");
    assert_eq!(top.wait().code(), Some(0));
    // Who doesn't know the certificate sends no token.
    let other = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let other = secret(folder.path(), "other.pem", &other.cert.pem());
    let refused = ctl(&["servers"], &other, &url);
    assert!(!refused.status.success(), "{refused:?}");
    // Plain HTTP is not answered.
    assert_eq!(ask(&controlled, "GET /api/v1/servers", "", "").0, 0);
    // Silent ones hold nobody up.
    let silent: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(controlled.proxy.admin()).expect("it listens"))
        .collect();
    assert!(ctl(&["servers"], &certificate, &url).status.success());
    drop(silent);
    controlled.proxy.stop();
}

fn pages_of_other_sites_and_what_is_out_of_bounds_are_refused(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret(folder.path(), "token", TOKEN);
    let controlled = Controlled::start(scheduler, &format!("token_file = {file:?}"), &routes());
    let with = |header: &str| drain(&controlled, &format!("{}{header}\r\n", bearer(TOKEN)));
    assert_eq!(with("origin: https://evil.example"), 403);
    assert_eq!(with("sec-fetch-site: cross-site"), 403);
    let rebound = "GET http://evil.example/api/v1/servers";
    assert_eq!(ask(&controlled, rebound, "", "").0, 403);
    let request = "PATCH /api/v1/servers/main/builtin:echo";
    let plain = format!("content-type: text/plain\r\nauthorization: Bearer {TOKEN}\r\n");
    let drained = "{\"state\":\"drain\"}";
    assert_eq!(ask(&controlled, request, &plain, drained).0, 415);
    assert_eq!(ask(&controlled, request, &bearer(TOKEN), "[]").0, 400);
    assert_eq!(
        ask(&controlled, request, &bearer(TOKEN), &" ".repeat(65 * 1024)).0,
        413
    );
    let long = format!("x: {}\r\n", "a".repeat(32 * 1024));
    assert_ne!(
        ask(&controlled, request, &(bearer(TOKEN) + &long), drained).0,
        200
    );
    assert_eq!(state(&controlled), "up", "nothing has changed");
    assert_eq!(with("origin: http://corelane"), 200);
    controlled.proxy.stop();
}

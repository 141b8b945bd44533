//! A proxy without a file, by `--listen` and `--to`, and the file that `corelane init` writes of the same words.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;

use crate::harness::echoed;
use crate::harness::heirs::Heirs;
use crate::harness::peer;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade::upgrade;

each_scheduler!(
    it_serves_and_says_what_a_reload_and_an_upgrade_are,
    what_init_writes_runs_and_is_not_overwritten,
);

/// The words that choose a scheduler.
fn scheduler_words(scheduler: Scheduler) -> [&'static str; 2] {
    ["--scheduler", scheduler.name()]
}

fn it_serves_and_says_what_a_reload_and_an_upgrade_are(scheduler: Scheduler) {
    let (one, other) = (peer::echo(), peer::echo());
    let [first, second] = [&one, &other].map(|service| service.address().to_string());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.sock");
    let unix = format!("unix:{}", path.display());
    let [option, name] = scheduler_words(scheduler);
    // Both servers behind the one, one of them behind the other.
    let proxy = Proxy::start_words(&[
        "--listen",
        "127.0.0.1:0",
        "--to",
        &first,
        "--to",
        &second,
        "--listen",
        &unix,
        "--to",
        &first,
        "--admin",
        "127.0.0.1:0",
        option,
        name,
    ]);
    let heirs = Heirs::marked(unix.clone());
    let runs = proxy.get("/state").body;
    let runs = String::from_utf8_lossy(&runs).into_owned();
    assert!(runs.contains(scheduler.mode()), "{runs}");
    let visits = || {
        (0..4).for_each(|seed| echoed::visit(proxy.address("main-1"), seed));
        let mut client = UnixStream::connect(&path).expect("it listens");
        client
            .set_read_timeout(Some(wait::DEADLINE))
            .expect("timeout");
        client.write_all(b"hello").expect("send");
        client.read_exact(&mut [0; 5]).expect("receive");
    };
    visits();
    assert!(one.accepted() >= 1 && other.accepted() >= 1);
    wait::until("the page is told", || {
        proxy
            .log()
            .contains(&format!("page=\"http://{}/\"", proxy.admin()))
    });
    proxy.signal(Signal::HUP);
    wait::until("a reload is refused in words", || {
        proxy
            .log()
            .contains("runs by --listen and --to, without a file")
    });
    visits();
    upgrade(&proxy, &heirs);
    visits();
    drop(heirs);
}

fn init(file: &str, folder: &Path, words: &[&str]) -> Output {
    let mut command = proxy::command();
    let command = command.current_dir(folder).arg("init").args(words);
    command.arg(file).output().expect("corelane runs")
}

fn what_init_writes_runs_and_is_not_overwritten(scheduler: Scheduler) {
    let service = peer::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let server = service.address().to_string();
    let [option, name] = scheduler_words(scheduler);
    let words = [
        "--listen",
        "127.0.0.1:0",
        "--to",
        &server,
        "--admin",
        "127.0.0.1:0",
        option,
        name,
    ];
    let written = init("new.toml", folder.path(), &words);
    assert!(written.status.success(), "{written:?}");
    let file = folder.path().join("new.toml");
    let text = fs::read_to_string(&file).expect("it is written");
    let shown = init("-", folder.path(), &words);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), text);
    let checked = proxy::command().arg("check").arg(&file).output();
    let checked = checked.expect("corelane runs");
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{checked:?}"
    );
    let proxy = Proxy::start_file(&text);
    (0..4).for_each(|seed| echoed::visit(proxy.address("main"), seed));
    proxy.stop();
    let refused = init(
        "new.toml",
        folder.path(),
        &["--listen", "127.0.0.1:1", "--to", "h:1"],
    );
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        why.contains("new.toml exists") && why.contains("--force"),
        "{why}"
    );
    assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
    let forced = init("new.toml", folder.path(), &["--force"]);
    assert!(forced.status.success(), "{forced:?}");
    let echo = fs::read_to_string(&file).expect("it is there");
    assert!(echo.contains("builtin:echo") && echo != text, "{echo}");
}

#[test]
fn what_is_missing_or_too_much_is_told() {
    let told = |words: &[&str]| {
        let output = proxy::command()
            .args(words)
            .output()
            .expect("corelane runs");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let alone = told(&["run", "--listen", "127.0.0.1:1"]);
    assert!(alone.contains("--to"), "{alone}");
    let nothing = told(&["run"]);
    assert!(
        nothing.contains("--listen") || nothing.contains("<FILE>"),
        "{nothing}"
    );
    let both = told(&["run", "a.toml", "--listen", "127.0.0.1:1", "--to", "h:1"]);
    assert!(both.contains("cannot be used with"), "{both}");
    let admin = told(&["run", "a.toml", "--admin", "127.0.0.1:1"]);
    assert!(admin.contains("cannot be used with"), "{admin}");
    let circle = told(&[
        "run",
        "--listen",
        "127.0.0.1:7001",
        "--to",
        "127.0.0.1:7001",
    ]);
    assert!(
        circle.contains("127.0.0.1:7001") && !circle.contains("<command line>"),
        "{circle}"
    );
    let twice = told(&[
        "run",
        "--listen",
        "127.0.0.1:7001",
        "--to",
        "h:1",
        "--to",
        "h:1",
    ]);
    assert!(twice.contains("listed already"), "{twice}");
}

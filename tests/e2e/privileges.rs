//! Root's process becomes somebody else, who has the rights that it needs and no other.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Signal, geteuid};

use crate::harness::child::Child;
use crate::harness::config::{forward, route};
use crate::harness::network;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::restrict::as_own_user;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(root_becomes_the_user, who_is_not_root_becomes_nobody_else);

/// A user and a group that have no account.
const USER: &str = "64990";
const GROUP: &str = "64991";

/// CAP_NET_BIND_SERVICE, capabilities(7).
const NET_BIND_SERVICE: &str = "0000000000000400";

/// What the kernel says of one of the process's threads, without those whose rights are nobody's business: a thread that was
/// there before may do nothing.
fn told(status: &str, field: &str) -> String {
    let lines = status.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = values.next().unwrap_or_default();
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"!").expect("send");
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("its echo");
    assert_eq!(&byte, b"!");
}

fn root_becomes_the_user(scheduler: Scheduler) {
    if !geteuid().is_root() {
        println!("skipped: this test is root's");
        return;
    }
    network::alone("40000 40063", || becomes(scheduler));
}

fn becomes(scheduler: Scheduler) {
    let runtime = format!("user = \"{USER}\"\ngroup = \"{GROUP}\"\n");
    let mut proxy = Proxy::start_with(scheduler, &runtime, &forward(&["builtin:echo"]));
    echoes(&mut proxy.connect("main"));
    let (mut users, mut rights) = (BTreeSet::new(), BTreeSet::new());
    for task in fs::read_dir(format!("/proc/{}/task", proxy.pid())).expect("threads") {
        let path = task.expect("a thread").path().join("status");
        // One may have ended.
        let Ok(status) = fs::read_to_string(path) else {
            continue;
        };
        users.insert((
            told(&status, "Uid"),
            told(&status, "Gid"),
            told(&status, "Groups"),
        ));
        if told(&status, "Name").starts_with("corelane-w") {
            rights.insert((
                told(&status, "CapEff"),
                told(&status, "CapPrm"),
                told(&status, "NoNewPrivs"),
            ));
        }
    }
    let all = |id: &str| [id; 4].join(" ");
    let expected = (all(USER), all(GROUP), GROUP.to_owned());
    assert_eq!(users, BTreeSet::from([expected]));
    let [bind, one] = [NET_BIND_SERVICE, "1"].map(str::to_owned);
    assert_eq!(rights, BTreeSet::from([(bind.clone(), bind, one)]));
    // It still gets a port below 1,024, which a later configuration asks for.
    let file = proxy.directory().join("corelane.toml");
    let routes =
        forward(&["builtin:echo"]) + &route("low", "127.0.0.1:99", &["builtin:echo"], "", "");
    fs::write(&file, configuration(scheduler, &runtime, &routes)).expect("write");
    proxy.signal(Signal::HUP);
    let low = || TcpStream::connect("127.0.0.1:99");
    wait::until("the new listener is there", || low().is_ok());
    echoes(&mut low().expect("a connection"));
    // Somebody else it can't become.
    let other = runtime.replace(USER, "64992");
    fs::write(&file, configuration(scheduler, &other, &routes)).expect("write");
    proxy.signal(Signal::HUP);
    wait::until("it is refused", || {
        proxy.log().contains("restart the proxy")
    });
    echoes(&mut low().expect("a connection"));
    proxy.terminate();
    assert!(proxy.wait().success(), "{}", proxy.whole_log());
}

fn who_is_not_root_becomes_nobody_else(scheduler: Scheduler) {
    let mut command = proxy::command();
    if !as_own_user(&mut command) {
        return;
    }
    let directory = tempfile::tempdir_in("/tmp").expect("directory");
    let file = directory.path().join("corelane.toml");
    let runtime = format!("user = \"{USER}\"\n");
    let text = configuration(scheduler, &runtime, &forward(&["builtin:echo"]));
    fs::write(&file, text).expect("write");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), readable).expect("permissions");
    let mut child = Child::spawn(command.arg("run").arg(&file), Signal::KILL);
    let status = child.wait();
    let log = child.whole_log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("start it as root"), "{log}");
}

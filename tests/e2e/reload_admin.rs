//! `corelane reload` moves the admin server and the socket of commands as it moves listeners: to addresses that overlap those
//! before, and to those that listeners have had. Whoever asks meanwhile is answered.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use rustix::process::Signal;

use crate::harness::config::route;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::{http, peer, port, wait};

each_scheduler!(
    the_admin_address_grows_and_shrinks,
    the_admin_server_and_a_listener_swap_addresses,
    the_socket_of_commands_and_a_listener_swap_paths,
    a_removed_socket_file_comes_back,
);

/// What the admin server answers, and a listener echoes.
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

/// Reloads at least, each of which moves something.
const ROUNDS: usize = 4;

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port::free()))
}

fn text(scheduler: Scheduler, admin: &str, socket: &Path, bind: &str) -> String {
    let routes = route("main", bind, &["builtin:echo"], "", "");
    let socket = format!("socket = {socket:?}\n");
    let text = proxy::configuration_with(scheduler, "", &socket, &routes);
    text.replace(
        "listen = \"127.0.0.1:0\"\n",
        &format!("listen = \"{admin}\"\n"),
    )
}

/// Has the proxy read this, by a command that says so.
fn reload(proxy: &Proxy, socket: &Path, text: &str) {
    let output = try_reload(proxy, socket, text);
    assert!(output.status.success(), "{output:?}");
}

fn try_reload(proxy: &Proxy, socket: &Path, text: &str) -> Output {
    fs::write(proxy.directory().join("corelane.toml"), text).expect("it is ours");
    let mut command = proxy::command();
    command.arg("reload").arg("--socket").arg(socket);
    command.output().expect("corelane runs")
}

/// The first bytes of the answer to [`REQUEST`].
fn ask(mut stream: impl Read + Write) -> String {
    stream.write_all(REQUEST.as_bytes()).expect("send");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks again over a connection that stays.
fn ask_again(mut stream: &TcpStream) {
    stream.write_all(REQUEST.as_bytes()).expect("send");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the answer");
        answer.push(byte[0]);
    }
}

fn is_http(answer: &str) -> bool {
    answer == "HTTP/1.1 200"
}

fn echoes(answer: &str) -> bool {
    REQUEST.starts_with(answer)
}

/// Asks at these addresses all the time until `act` returns: each is answered by the admin server or by a listener.
fn asking(addresses: &[SocketAddr], act: impl FnOnce()) {
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _end = wait::End(&over);
        for &address in addresses {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    let answer = ask(peer::connect(address));
                    assert!(is_http(&answer) || echoes(&answer), "{answer}");
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        act();
    });
    assert!(answered.into_inner() > 0);
}

fn the_admin_address_grows_and_shrinks(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let at = free();
    let port = at.port();
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
    let text = |admin: &str| text(scheduler, admin, &socket, "127.0.0.1:0");
    let proxy = Proxy::start_file(&text(&at.to_string()));
    let stays = peer::connect(at);
    ask_again(&stays);
    asking(&[at], || {
        for admin in [
            format!("0.0.0.0:{port}"),
            at.to_string(),
            format!("*:{port}"),
            format!("0.0.0.0:{port}"),
            at.to_string(),
        ] {
            reload(&proxy, &socket, &text(&admin));
            assert_eq!(http::get(at, "/healthz").status, 200);
            let listens = TcpStream::connect(elsewhere).is_ok();
            assert_eq!(listens, admin != at.to_string(), "{admin}");
            ask_again(&stays);
        }
    });
    drop(stays);
    proxy.stop();
}

fn the_admin_server_and_a_listener_swap_addresses(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let (a, b) = (free(), free());
    let text = |admin: SocketAddr, listener: SocketAddr| {
        text(
            scheduler,
            &admin.to_string(),
            &socket,
            &listener.to_string(),
        )
    };
    let proxy = Proxy::start_file(&text(a, b));
    let (of_admin, of_listener) = (peer::connect(a), peer::connect(b));
    ask_again(&of_admin);
    assert!(echoes(&ask(&of_listener)));
    // One that is refused after the sockets were made leaves none without somebody who accepts.
    let refused = text(b, a) + "[access_log]\npath = \"/nonexistent/access.log\"\n";
    let output = try_reload(&proxy, &socket, &refused);
    assert!(!output.status.success(), "{output:?}");
    for _ in 0..20 {
        assert!(is_http(&ask(peer::connect(a))));
        assert!(echoes(&ask(peer::connect(b))));
    }
    asking(&[a, b], || {
        let mut now = (a, b);
        for _ in 0..ROUNDS {
            now = (now.1, now.0);
            reload(&proxy, &socket, &text(now.0, now.1));
            assert!(is_http(&ask(peer::connect(now.0))));
            assert!(echoes(&ask(peer::connect(now.1))));
            ask_again(&of_admin);
            (&of_listener).write_all(b"x").expect("send");
        }
    });
    // A listener all around the address that the admin server had.
    let around = format!("0.0.0.0:{}", a.port());
    let wider = self::text(scheduler, &b.to_string(), &socket, &around);
    reload(&proxy, &socket, &wider);
    assert!(is_http(&ask(peer::connect(b))));
    assert!(echoes(&ask(peer::connect(a))));
    drop((of_admin, of_listener));
    proxy.stop();
}

fn the_socket_of_commands_and_a_listener_swap_paths(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["one.sock", "other.sock"].map(|name| folder.path().join(name));
    let [one, other] = &paths;
    let text = |socket: &PathBuf, listener: &PathBuf| {
        let bind = format!("unix:{}", listener.display());
        text(scheduler, "127.0.0.1:0", socket, &bind)
    };
    let proxy = Proxy::start_file(&text(one, other));
    let client = UnixStream::connect(other).expect("it listens");
    assert!(echoes(&ask(&client)));
    let mut now = (one, other);
    for _ in 0..ROUNDS {
        let before = now.0;
        now = (now.1, now.0);
        reload(&proxy, before, &text(now.0, now.1));
        let asked = UnixStream::connect(now.0).expect("it listens");
        assert_eq!(ask(asked), "HTTP/1.1 404");
        assert!(echoes(
            &ask(UnixStream::connect(now.1).expect("it listens"))
        ));
        (&client).write_all(b"x").expect("it goes on");
    }
    let left = fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 2, "nothing is left aside");
    drop(client);
    proxy.stop();
    assert!(!one.exists() && !other.exists());
}

/// By a reload that changes nothing in the file. Who waits at the socket that nobody finds any more is served.
fn a_removed_socket_file_comes_back(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let path = folder.path().join("listener.sock");
    let bind = format!("unix:{}", path.display());
    let text = text(scheduler, "127.0.0.1:0", &socket, &bind);
    let proxy = Proxy::start_file(&text);
    let connect = |path: &Path| {
        let stream = UnixStream::connect(path).expect("it listens");
        let timeout = Some(wait::DEADLINE);
        stream.set_read_timeout(timeout).expect("a timeout");
        stream
    };
    for _ in 0..2 {
        let old = connect(&path);
        assert!(echoes(&ask(&old)));
        proxy.pause();
        let (mut waits, mut commands) = (connect(&path), connect(&socket));
        waits.write_all(b"waits").expect("send");
        let check = "POST /api/v1/reload?check HTTP/1.1\r\nhost: a\r\n\r\n";
        commands.write_all(check.as_bytes()).expect("send");
        fs::remove_file(&path).expect("it is there");
        fs::remove_file(&socket).expect("it is there");
        proxy.signal(Signal::HUP);
        proxy.signal(Signal::CONT);
        wait::until("both files are back", || path.exists() && socket.exists());
        let mut answer = [0; 5];
        waits.read_exact(&mut answer).expect("it is served");
        assert_eq!(&answer, b"waits");
        let mut told = String::new();
        commands.read_to_string(&mut told).expect("it is answered");
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        assert!(echoes(&ask(connect(&path))));
        (&old).write_all(b"x").expect("it goes on");
        reload(&proxy, &socket, &text);
    }
    // One that is still there stays.
    let inode = |path: &Path| {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("it is there"))
    };
    let before = (inode(&path), inode(&socket));
    reload(&proxy, &socket, &text);
    assert_eq!((inode(&path), inode(&socket)), before);
    proxy.stop();
    assert!(!path.exists() && !socket.exists());
}

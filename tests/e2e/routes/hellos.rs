//! What real clients of TLS say first.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use rustix::process::Signal;

use super::{configuration, taken};
use crate::harness::browser;
use crate::harness::child::{self, Child};
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::post_quantum;
use crate::service::tls::{TlsServer, curl};

each_scheduler!(
    hellos_of_real_clients_byte_by_byte,
    a_client_with_post_quantum_keys_goes_by_name,
);

/// What a real client says first.
fn hello(command: impl FnOnce(SocketAddr) -> Command) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let _client = Child::spawn(&mut command(address), Signal::KILL);
    listener.set_nonblocking(true).expect("nonblocking");
    let mut stream = None;
    wait::until("the client connects", || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a client").0;
    stream.set_nonblocking(false).expect("blocking");
    stream
        .set_read_timeout(Some(wait::DEADLINE))
        .expect("a timeout");
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a record");
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    let mut hello = head.to_vec();
    hello.resize(5 + length, 0);
    stream
        .read_exact(&mut hello[5..])
        .expect("the whole record");
    hello
}

fn s_client(address: SocketAddr, options: &[&str]) -> Command {
    let mut command = Command::new(program::path("openssl"));
    command
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", "b.example"])
        .args(options);
    command
}

/// A browser, whose hello has keys of all kinds, GREASE, and another one inside that only a server could read (ECH), or what looks so.
fn visit(address: SocketAddr, directory: &Path) -> Command {
    let mut command = Command::new("chromium");
    command
        .args(browser::QUIET)
        // What it asks for doesn't leave this machine.
        .arg(format!(
            "--host-resolver-rules=MAP b.example {address}, MAP * ~NOTFOUND"
        ))
        .arg(format!("--user-data-dir={}", directory.display()))
        .arg("https://b.example/");
    command
}

/// They are made once for all schedulers.
static HELLOS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(hellos);

/// The fixtures are made by the clients of this machine; those that it lacks are left out.
fn hellos() -> Vec<Vec<u8>> {
    let mut hellos = vec![
        hello(|address| s_client(address, &["-alpn", "h2,http/1.1"])),
        hello(|address| s_client(address, &["-tls1_2"])),
        hello(|address| curl(address, "b.example", &[])),
    ];
    match post_quantum::client("b.example") {
        Ok(client) => {
            let hello = hello(client);
            assert!(hello.len() > 1_200, "a post-quantum key");
            hellos.push(hello);
        }
        Err(why) => println!("skipped: {why}"),
    }
    if browser::is_installed() {
        let directory = tempfile::tempdir().expect("directory");
        let hello = hello(|address| visit(address, directory.path()));
        let has = |part: &[u8]| hello.windows(part.len()).any(|bytes| bytes == part);
        assert!(
            has(b"b.example") && has(&[0xfe, 0x0d]),
            "the outer name, and ECH"
        );
        hellos.push(hello);
    }
    hellos
}

fn hellos_of_real_clients_byte_by_byte(scheduler: Scheduler) {
    let server = TlsServer::start("b");
    let routes = "[[listeners.main.routes]]\nsni = \"*.example\"\nupstream = \"b\"\n";
    let proxy = Proxy::start(scheduler, &configuration(routes, &[("b", server.address)]));
    for hello in HELLOS.iter() {
        let mut client = proxy.connect("main");
        client.set_nodelay(true).expect("TCP_NODELAY");
        for byte in hello {
            client.write_all(&[*byte]).expect("send");
        }
        // The server's answer: a record with a ServerHello.
        let mut answer = [0; 6];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!((answer[0], answer[5]), (22, 2));
    }
    assert_eq!(taken(&proxy, "1"), HELLOS.len() as f64);
}

/// Through the handshake, and as far as an answer.
fn a_client_with_post_quantum_keys_goes_by_name(scheduler: Scheduler) {
    let client = match post_quantum::client("b.example") {
        Ok(client) => client,
        Err(why) => return println!("skipped: {why}"),
    };
    let server = TlsServer::start("b");
    let routes = "not_tls = \"refuse\"\n[[listeners.main.routes]]\nsni = \"b.example\"\nalpn = \"h2\"\nupstream = \"b\"\n";
    let proxy = Proxy::start(scheduler, &configuration(routes, &[("b", server.address)]));
    let answer = child::run(&mut client(proxy.address("main")));
    assert!(answer.ends_with("\r\n\r\nb"), "{answer}");
    assert_eq!(taken(&proxy, "1"), 1.0);
}

//! The API of Kubernetes, asked as it allows.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::discovery::scripted_kubernetes::{Instead, ScriptedKubernetes};

#[test]
fn an_api_server_that_fails_lies_or_hangs_keeps_the_last_good_set() {
    let api = ScriptedKubernetes::start();
    let empty = || api.say("web-a", &[], 8080);
    let poisoned = || api.say("web-a", &["10.0.0.9"], 0);
    let own = || api.say("web-a", &["127.0.0.1"], 18199);
    let many = || {
        for slice in 0..11 {
            let ips: Vec<_> = (0..100).map(|n| format!("10.1.{slice}.{n}")).collect();
            let ips: Vec<_> = ips.iter().map(String::as_str).collect();
            api.say(&format!("web-{slice:02}"), &ips, 8080);
        }
    };
    let instead = |instead: Instead| api.say_instead(Some(instead));
    let format = || instead(Instead::Text("<html>".to_owned()));
    let refuse = || instead(Instead::Status(500));
    let absent = || instead(Instead::Status(404));
    let hang = || instead(Instead::Nothing);
    keeps_the_last_good_set(
        "kubernetes",
        &of_kubernetes(&api, ""),
        &|ip| {
            api.say_instead(None);
            for slice in 0..11 {
                api.say(&format!("web-{slice:02}"), &[], 8080);
            }
            api.say("web-a", &[ip], 8080);
        },
        &[
            ("empty", &empty),
            ("address", &poisoned),
            ("loop", &own),
            ("too_many", &many),
            ("format", &format),
            ("refused", &refuse),
            ("not_found", &absent),
            ("timeout", &hang),
        ],
    );
}

fn of_kubernetes(api: &ScriptedKubernetes, more: &str) -> String {
    format!(
        "kubernetes = {{ service = \"web\", namespace = \"shop\", port = \"http\", api = \"http://{}\"{more} }}",
        api.address()
    )
}

fn token_in(path: &Path) -> String {
    format!(", token_file = \"{}\"", path.display())
}

#[test]
fn kubernetes_is_watched_from_the_list_on_and_listed_again_only_when_that_is_too_old() {
    let _reader = reader();
    let directory = tempfile::tempdir().expect("a directory");
    let token = directory.path().join("token");
    fs::write(&token, "first\n").expect("write");
    let api = ScriptedKubernetes::start();
    api.expect_token("first");
    api.say("web-a", &["10.0.0.1"], 8080);
    let asked = Asked::new(&of_kubernetes(&api, &token_in(&token)));
    asked.comes_to("10.0.0.1:8080");
    wait_for("it watches", || api.watches() == 1);
    api.say("web-b", &["10.0.0.2"], 8081);
    let both = ["10.0.0.1:8080", "10.0.0.2:8081"];
    wait_for("both slices", || asked.servers() == both);
    // Two changes at once.
    api.remove("web-a");
    api.say_of(
        "web-b",
        &[
            ("10.0.0.3", ""),
            (
                "10.0.0.2",
                "\"ready\": false, \"serving\": true, \"terminating\": true",
            ),
        ],
        8081,
    );
    asked.comes_to("10.0.0.3:8081");
    // Who asked before has another token now.
    fs::write(&token, "second").expect("write");
    api.expect_token("second");
    api.end_watches();
    wait_for("it watches again", || api.watches() == 2);
    api.say("web-b", &["10.0.0.4"], 8081);
    asked.comes_to("10.0.0.4:8081");
    // But where a busy machine let an answer take too long.
    let relisted = api.lists() as u64 - 1;
    assert!(
        relisted <= asked.failures("timeout"),
        "it goes on from where it was"
    );
    assert_eq!(asked.failures("refused"), 0);
    // Unseen, and forgotten.
    api.end_watches();
    api.compact();
    api.say("web-b", &["10.0.0.5"], 8081);
    asked.comes_to("10.0.0.5:8081");
    api.expect_token("third");
    api.end_watches();
    wait_for("it is refused", || asked.failures("refused") > 0);
    assert_eq!(asked.servers(), ["10.0.0.5:8081"]);
}

/// Speaks TLS for the API server, with a certificate of nobody's but this one, which is returned in PEM.
fn secured(api: SocketAddr, on: &tokio::runtime::Handle) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let pem = made.cert.pem();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_no_client_auth();
            builder.with_single_cert(vec![made.cert.der().clone()], key)
        });
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a server")));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("non-blocking");
    on.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut client), Ok(mut server)) = (
                    acceptor.accept(stream).await,
                    tokio::net::TcpStream::connect(api).await,
                ) else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, pem)
}

#[test]
fn kubernetes_is_asked_by_tls_of_who_its_authorities_vouch_for() {
    let _reader = reader();
    let api = ScriptedKubernetes::start();
    api.say("web-a", &["10.0.0.1"], 8080);
    let mut thread = Thread::default();
    let on = thread.handle().expect("a thread");
    let (address, pem) = secured(api.address(), &on);
    let (_, other) = secured(api.address(), &on);
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.crt");
    fs::write(&ca, other).expect("write");
    let asked = Asked::new(&format!(
        "kubernetes = {{ service = \"web\", namespace = \"shop\", api = \"https://{address}\", ca_file = \"{}\" }}",
        ca.display()
    ));
    wait_for("it is refused", || asked.failures("refused") > 0);
    assert_eq!(api.lists(), 0);
    // It is read again.
    fs::write(&ca, pem).expect("write");
    asked.comes_to("10.0.0.1:8080");
    wait_for("it watches", || api.watches() > 0);
    api.say("web-a", &["10.0.0.2"], 8080);
    asked.comes_to("10.0.0.2:8080");
}

//! What is said of servers that are the proxy's own listeners.

use std::env::VarError;
use std::net::IpAddr;

use proxy_config::{Files, Machine};

/// A machine called "here" with one address more than loopback.
const HERE: Machine<'static> = Machine {
    host_name: "here",
    is_local: &|ip| ip == IpAddr::from([10, 0, 0, 5]),
};

/// Errors and warnings of a configuration of listeners, each with its binds and its servers.
fn said(listeners: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let mut text = String::new();
    for (index, (binds, servers)) in listeners.iter().enumerate() {
        text += &format!(
            "[listeners.l{index}]\nbind = [{binds}]\nupstream = \"u{index}\"\n[upstreams.u{index}]\nservers = [{servers}]\n"
        );
    }
    let lines =
        |problems: &[proxy_config::Problem]| problems.iter().map(ToString::to_string).collect();
    let files = Files::new("f", text.as_bytes(), |_| Err(VarError::NotPresent));
    match files.parse(HERE) {
        Ok(loaded) => (vec![], lines(&loaded.warnings)),
        Err(problems) => (lines(problems.as_slice()), lines(problems.warnings())),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Warning,
    Error,
}

fn verdict(listeners: &[(&str, &str)]) -> Verdict {
    match said(listeners) {
        (errors, _) if !errors.is_empty() => Verdict::Error,
        (_, warnings) if !warnings.is_empty() => Verdict::Warning,
        _ => Verdict::Fine,
    }
}

#[test]
fn a_server_that_is_the_listener_itself() {
    use Verdict::{Error, Fine, Warning};
    for (bind, server, wanted) in [
        ("127.0.0.1:7", "127.0.0.1:7", Error),
        ("127.0.0.1:7", "127.0.0.1:8", Fine),
        ("127.0.0.1:7", "127.0.0.2:7", Fine),
        ("127.0.0.1:7", "[::1]:7", Fine),
        ("127.0.0.1:7", "0.0.0.0:7", Error),
        ("127.0.0.1:7", "[::ffff:127.0.0.1]:7", Error),
        ("127.0.0.1:7", "localhost:7", Warning),
        ("127.0.0.1:7", "here:7", Fine),
        ("127.0.0.1:0", "127.0.0.1:7", Fine),
        ("10.0.0.9:7", "10.0.0.9:7", Error),
        ("10.0.0.5:7", "here:7", Warning),
        ("0.0.0.0:7", "127.0.0.1:7", Error),
        ("0.0.0.0:7", "127.1.2.3:7", Error),
        ("0.0.0.0:7", "0.0.0.0:7", Error),
        ("0.0.0.0:7", "[::1]:7", Fine),
        ("0.0.0.0:7", "10.0.0.5:7", Warning),
        ("0.0.0.0:7", "10.0.0.6:7", Fine),
        ("0.0.0.0:7", "localhost:7", Warning),
        ("0.0.0.0:7", "LOCALHOST.:7", Warning),
        ("0.0.0.0:7", "here:7", Warning),
        ("0.0.0.0:7", "there:7", Fine),
        ("[::]:7", "[::1]:7", Error),
        ("[::]:7", "[::]:7", Error),
        ("[::]:7", "127.0.0.1:7", Fine),
        ("[::]:7", "localhost:7", Warning),
        ("*:7", "127.0.0.1:7", Error),
        ("*:7", "[::1]:7", Error),
        ("*:7", "localhost:7", Error),
        ("*:7", "10.0.0.5:7", Warning),
        ("unix:/run/a", "unix:/run/a", Error),
        ("unix:/run/a", "unix:/run/../run/a", Error),
        ("unix:/tmp/../run/a", "unix:/run/a", Error),
        ("unix:/run/./a", "unix:/run//a", Error),
        ("unix:/run/a", "unix:/run/b", Fine),
        ("127.0.0.1:7", "builtin:echo", Fine),
    ] {
        let got = verdict(&[(&format!("{bind:?}"), &format!("{server:?}"))]);
        assert_eq!(got, wanted, "{bind} and {server}");
    }
    let itself = "\"127.0.0.1:6\", \"127.0.0.1:7\"";
    let (errors, _) = said(&[(itself, itself)]);
    assert_eq!(
        errors,
        [
            "f:5:12: `upstreams.u0.servers[0]` is \"127.0.0.1:6\", which is [listeners.l0], whose connections go there: \
             one connection would make others until no descriptor is left; write the address of another server",
            "f:5:27: `upstreams.u0.servers[1]` is \"127.0.0.1:7\", which is [listeners.l0], whose connections go there: \
             one connection would make others until no descriptor is left; write the address of another server"
        ]
    );
    // With another server there is a way out, as long as that is up.
    let (errors, warnings) = said(&[(itself, "\"10.0.0.6:7\", \"127.0.0.1:7\"")]);
    assert_eq!(errors, [""; 0]);
    assert_eq!(
        warnings,
        [
            "f:5:26: `upstreams.u0.servers[1]` is \"127.0.0.1:7\", which is [listeners.l0], whose connections go there: \
             one connection may make others until no descriptor is left; write the address of another server"
        ]
    );
}

#[test]
fn listeners_that_lead_back_to_each_other() {
    use Verdict::{Error, Fine, Warning};
    let seven = "\"0.0.0.0:7\"";
    let to_eight = "\"127.0.0.1:8\"";
    for (eight, to_seven, wanted) in [
        ("\"127.0.0.1:8\"", "\"127.0.0.1:7\"", Error),
        ("\"127.0.0.1:8\"", "\"10.0.0.5:7\"", Warning),
        ("\"127.0.0.1:8\"", "\"10.0.0.6:7\"", Fine),
        ("\"127.0.0.1:9\"", "\"127.0.0.1:7\"", Fine),
    ] {
        let got = verdict(&[(seven, to_eight), (eight, to_seven)]);
        assert_eq!(got, wanted, "{eight} and {to_seven}");
    }
    // A chain that has an end is fine, and one of three without an end is not.
    let chain = |last: &'static str| {
        verdict(&[
            ("\"127.0.0.1:1\"", "\"127.0.0.1:2\""),
            ("\"127.0.0.1:2\"", "\"127.0.0.1:3\""),
            ("\"127.0.0.1:3\"", last),
        ])
    };
    assert_eq!(chain("\"127.0.0.1:4\""), Fine);
    assert_eq!(chain("\"127.0.0.1:1\""), Error);
    let (errors, _) = said(&[
        ("\"127.0.0.1:1\"", "\"127.0.0.1:2\""),
        ("\"127.0.0.1:2\"", "\"127.0.0.1:1\""),
    ]);
    assert_eq!(errors.len(), 2);
    assert!(errors[0].contains(
        "which is [listeners.l1], from which connections of [listeners.l0] come back to it"
    ));
}

//! What is named as lost, and how often.

use super::{DEFAULT, losses, made_of};

#[test]
fn what_the_system_may_not_allow_is_named() {
    let converted = made_of(" bind 127.0.0.1:81 tfo\n default_backend b", "").expect("it is");
    assert!(
        !converted.file.contains("\nfast_open"),
        "{}",
        converted.file
    );
    assert!(losses(&converted).contains("tcp_fastopen"));
}

/// A listener that goes with its upstream is no loss of its own.
#[test]
fn one_cause_is_one_loss() {
    let beside = "listen g\n bind 127.0.0.1:81\n server s 192.0.2.9:0\n";
    let converted = made_of(DEFAULT, beside).expect("it is");
    let said = losses(&converted);
    assert!(
        !converted.file.contains("[listeners.g]"),
        "{}",
        converted.file
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("[upstreams.g] is left out, and so are the listeners that lead nowhere else"),
        "{said}"
    );
}

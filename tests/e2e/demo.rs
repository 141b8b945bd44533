//! `corelane demo` ends with what its figures say.

use crate::harness::proxy::command;

#[test]
fn it_ends_with_a_conclusion() {
    let arguments = ["demo", "--seconds=1", "--listen=127.0.0.1:0"];
    let output = command().args(arguments).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}");
    let conclusions: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("Conclusion: "))
        .collect();
    assert_eq!(conclusions.len(), 1, "{text}");
    let names = ["glommio", "tokio work-stealing", "tokio per-core", "a tie"];
    assert!(
        names.iter().any(|name| conclusions[0].contains(name)),
        "{text}"
    );
}

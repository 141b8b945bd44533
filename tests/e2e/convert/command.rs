//! The command itself: its exit codes, where the result goes, and what it reads.

use std::fs;

use crate::harness::proxy;

#[test]
fn the_command_line() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name);
    let convert = |arguments: &[&str]| {
        let output = proxy::command()
            .arg("convert")
            .args(arguments)
            .current_dir(directory.path())
            .output();
        let output = output.expect("corelane");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    fs::write(
        path("a.cfg"),
        "listen a\n bind 127.0.0.1:80\n server s 192.0.2.1:80\n",
    )
    .expect("write");
    let (code, stdout, stderr) = convert(&["a.cfg"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("# a.cfg:3 server s 192.0.2.1:80"),
        "{stdout}"
    );
    // A loss.
    fs::write(
        path("b.cfg"),
        "listen b\n bind 127.0.0.1:81\n server s 192.0.2.1:80\n fullconn 3\n",
    )
    .expect("write");
    let (code, stdout, stderr) = convert(&["b.cfg"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("b.cfg:4 `fullconn 3`: ") && stdout.contains("NOT carried over"),
        "{stderr}{stdout}"
    );
    // A directory, and a file to write.
    fs::create_dir(path("conf")).expect("a directory");
    fs::copy(path("a.cfg"), path("conf/1.cfg")).expect("copy");
    fs::copy(path("b.cfg"), path("conf/2.cfg")).expect("copy");
    fs::write(path("conf/notes.txt"), "not this\n").expect("write");
    let (code, stdout, _) = convert(&["conf", "--output", "out.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let written = fs::read_to_string(path("out.toml")).expect("the result");
    assert!(
        written.contains("[listeners.a]") && written.contains("[listeners.b]"),
        "{written}"
    );
    // No result.
    for arguments in [
        &["none.cfg"][..],
        &["out.toml", "--from", "haproxy"],
        &["a.cfg", "--output", "a.cfg"],
        &["conf/notes.txt"],
        &[],
    ] {
        let (code, _, stderr) = convert(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty());
    }
    assert!(
        fs::read_to_string(path("a.cfg"))
            .expect("read")
            .starts_with("listen")
    );
    // Standard input.
    let mut command = proxy::command();
    command.args(["convert", "--from", "haproxy", "-"]);
    let input = fs::File::open(path("a.cfg")).expect("open");
    let output = command.stdin(input).output().expect("corelane");
    assert_eq!(output.status.code(), Some(0));
}

//! The JSON schema as an editor uses it: taplo, which is behind Even Better TOML, takes what is valid and refuses what is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::proxy::command;

/// What taplo says of a file; none where there is no taplo.
fn taplo(file: &Path) -> Option<Output> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/corelane.schema.json");
    let mut taplo = Command::new("taplo");
    taplo.args(["lint", "--no-auto-config", "--schema"]);
    taplo.arg(format!("file://{}", schema.display())).arg(file);
    match taplo.output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: taplo, which tests/run installs: {error}");
            None
        }
    }
}

fn corelane(words: &[&str]) -> String {
    let output = command().args(words).output().expect("corelane runs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The files of a folder with this end.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let has_end = |path: &PathBuf| path.to_string_lossy().ends_with(end);
    paths.filter(has_end).collect()
}

#[test]
fn an_editor_takes_each_example_and_what_init_and_explain_print() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = files("config/examples", ".toml");
    assert!(all.len() > 10);
    all.extend(files("tests/convert/haproxy", ".corelane.toml"));
    all.extend(files("packaging/deb", ".toml"));
    all.extend(files("packaging/docker", ".toml"));
    let listed = all.clone();
    let explained = listed.iter().map(|file| {
        let text = corelane(&["check", "--explain", &file.display().to_string()]);
        (format!("explained {}", file.display()), text)
    });
    // Those with names are asked for, which takes a while where nobody answers.
    let explained = explained.take(3).filter(|(_, text)| !text.is_empty());
    let inits = [
        corelane(&["init", "-"]),
        corelane(&["init", "-", "--listen", "*:6379", "--to", "10.0.0.1:6379"]),
        corelane(&[
            "init",
            "-",
            "--listen",
            "unix:/run/x",
            "--to",
            "redis:6379",
            "--scheduler",
            "per-core",
        ]),
    ];
    let inits = inits.into_iter().map(|text| ("init".to_owned(), text));
    for (place, (what, text)) in explained.chain(inits).enumerate() {
        let file = folder.path().join(format!("{place}.toml"));
        fs::write(&file, text).unwrap_or_else(|error| panic!("{what}: {error}"));
        all.push(file);
    }
    for file in all {
        let Some(output) = taplo(&file) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", file.display());
    }
}

#[test]
fn an_editor_marks_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let valid = corelane(&["init", "-", "--listen", "*:6379", "--to", "10.0.0.1:6379"]);
    for (from, to) in [
        ("upstream = ", "upstraem = "),
        ("cores = \"all\"", "cores = true"),
        ("scheduler = \"auto\"", "scheduler = \"fast\""),
        ("bind = [\"*:6379\"]", "bind = []"),
    ] {
        assert!(valid.contains(from), "{from}");
        let file = folder.path().join("wrong.toml");
        fs::write(&file, valid.replacen(from, to, 1)).expect("write");
        let Some(output) = taplo(&file) else {
            return;
        };
        assert!(!output.status.success(), "{to} is taken");
    }
}

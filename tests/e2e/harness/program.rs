//! Where the programs of the real services are, and those of a test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of a program that Debian may keep out of PATH.
pub(crate) fn path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    postgres_directory()
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("{name} isn't installed; `bash tests/run` installs what the tests need")
        })
}

/// The interpreter that `python3` is in the end: wrappers of it take their time, and many lie still on a loaded machine.
pub(crate) fn python() -> PathBuf {
    let mut ask = Command::new("python3");
    let answer = ask.args(["-c", "import sys; print(sys.executable)"]);
    let answer = answer.output().expect("python3 runs");
    assert!(answer.status.success(), "{answer:?}");
    let path = String::from_utf8(answer.stdout).expect("UTF-8");
    PathBuf::from(path.trim_end())
}

/// Writes a program's text, so that it can be run.
pub(crate) fn write(path: &Path, text: &str) {
    let source = path.with_extension("source");
    fs::write(&source, text).expect("room");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&source, mode).expect("it is ours");
    copy(&source, path);
}

/// Copies a program by a process of its own: one that another test starts just now would have the copy open for writing, too, and
/// nobody could run it meanwhile.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    let copied = copy.arg("-p").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success(), "there is room for it");
}

/// Where Debian has the programs of the newest PostgreSQL server. Those in PATH are wrappers, which look for a
/// cluster of the machine.
fn postgres_directory() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let servers = versions.flatten().filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let directory = version.path().join("bin");
        directory
            .join("initdb")
            .is_file()
            .then_some((number, directory))
    });
    servers.max().map(|(_, directory)| directory)
}

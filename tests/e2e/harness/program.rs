//! Where the programs of the real services are.

use std::fs;
use std::path::PathBuf;

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

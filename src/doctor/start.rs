//! What a start would open, and look up: tried without a trace, as the user who asks.

use std::io;
use std::path::Path;

use proxy_config::Config;
use proxy_core::listen::{self, BindAddress};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::finding::Finding;
use crate::access_log::AccessLogs;
use crate::start_error::{Asker, cannot_listen};
use crate::{admin_door, assemble, command_socket, health, privileges};

const ACCOUNTS: &str = "accounts";
const FILES: &str = "files";
const ADDRESSES: &str = "addresses";

/// What is refused, a finding each; where nothing is, one that says so.
pub(super) fn tried(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<_> = accounts(config).chain(files(config)).collect();
    findings.extend(addresses(config));
    if findings.is_empty() {
        findings.push(Finding::ok(
            "addresses and files",
            "those of the configuration are there, and free",
        ));
    }
    findings
}

fn accounts(config: &Config) -> impl Iterator<Item = Finding> {
    let process = privileges::look_up(&config.runtime).err();
    let socket = config.admin.socket.as_ref();
    let socket = socket.and_then(|socket| command_socket::group(socket).err());
    let refused = process.into_iter().chain(socket);
    refused.map(|error| Finding::fail(ACCOUNTS, format!("{error:#}")))
}

fn files(config: &Config) -> impl Iterator<Item = Finding> {
    let admin = admin_door::open(&config.admin).err();
    let log = AccessLogs::check(config.access_log.as_ref()).err();
    let refused = admin.into_iter().chain(log);
    let refused = refused.map(|error| format!("{error:#}"));
    let checks = config.upstreams.iter().filter_map(|upstream| {
        let error = health::try_out(&upstream.health.as_ref()?.check).err()?;
        Some(format!("[upstreams.{}.health] {error}", upstream.name))
    });
    refused
        .chain(checks)
        .map(|error| Finding::fail(FILES, error))
}

fn addresses(config: &Config) -> Vec<Finding> {
    const ADMIN: &str = "[admin]";
    let mut findings = Vec::new();
    let options = proxy_core::ListenOptions::default();
    let listen = Asker {
        name: ADMIN,
        key: "`listen`",
    };
    let address = assemble::listen_address(config.admin.listen);
    findings.extend(taken(listen, &address, &options));
    if let Some(socket) = &config.admin.socket {
        let asker = Asker {
            name: ADMIN,
            key: "`socket`",
        };
        let address = BindAddress::Unix(socket.path.clone());
        findings.extend(taken(asker, &address, &options));
    }
    for listener in &config.listeners {
        let name = format!("[listeners.{}]", listener.name);
        let asker = Asker {
            name: &name,
            key: "`bind`",
        };
        let options = assemble::listen_options(listener);
        let addresses = listener.binds.iter().filter_map(assemble::bind_address);
        findings.extend(addresses.filter_map(|address| taken(asker, &address, &options)));
    }
    findings
}

/// Why an address can't be listened on. Rights to low ports and IPv6 have findings of their own.
fn taken(
    asker: Asker<'_>,
    address: &BindAddress,
    options: &proxy_core::ListenOptions,
) -> Option<Finding> {
    let error = match address {
        BindAddress::Unix(path) => place_of_socket(path).err()?,
        // Nobody is refused meanwhile: it doesn't listen, and shares the port.
        _ => listen::reserve_beside(address, 1, options).err()?,
    };
    let is_tcp = !matches!(address, BindAddress::Unix(_));
    let told = || format!("{}: {error}", cannot_listen(asker, address, &error));
    Some(match Errno::from_io_error(&error) {
        Some(Errno::ACCESS | Errno::AFNOSUPPORT) if is_tcp => return None,
        // Of another user, it can't be told from this proxy's own.
        Some(Errno::ADDRINUSE) if is_tcp => Finding::warn(
            ADDRESSES,
            format!(
                "all is well if this proxy runs already, as another user; else {}",
                told()
            ),
        ),
        Some(Errno::NOENT) if is_made_by_systemd(address) => Finding::warn(
            ADDRESSES,
            format!(
                "all is well if systemd makes the directory (RuntimeDirectory=); else {}",
                told()
            ),
        ),
        _ => Finding::fail(ADDRESSES, told()),
    })
}

/// Below /run are directories that are there only while a service runs.
fn is_made_by_systemd(address: &BindAddress) -> bool {
    let paths = ["/run", "/var/run"];
    matches!(address, BindAddress::Unix(path) if paths.iter().any(|run| path.starts_with(run)))
}

/// Whether a socket can be made at a path, or take the place of the one that is there.
fn place_of_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;

    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => return Err(Errno::ADDRINUSE.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let directory = path.parent().unwrap_or(path).join(".");
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    Ok(accessat(CWD, &directory, rights, AtFlags::EACCESS)?)
}

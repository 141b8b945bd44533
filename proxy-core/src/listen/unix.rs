//! Sockets that listen on a path.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::BindAddress;
use super::file::SocketFile;
use super::reserved::Reserved;

pub(super) fn reserve_unix(path: &Path, count: usize) -> io::Result<Reserved> {
    let address = SockAddr::unix(path)?;
    let claim = claim(path)?;
    let new = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None);
    let socket = new()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &new()?) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    let file = SocketFile::of(path)?;
    let mut sockets = vec![socket];
    for _ in 1..count {
        sockets.push(sockets[0].try_clone()?);
    }
    Ok(Reserved {
        address: BindAddress::Unix(path.to_owned()),
        sockets,
        file: Some(file),
        is_beside: false,
        claim,
    })
}

/// Claims a path among the starts of this network namespace, by a socket in the abstract namespace. Its name holds the
/// directory's inode, so that it is the same by whatever way the path leads there. None when a user who has no say in
/// it holds the name: then there is no claim.
///
/// # Errors
/// `AddrInUse` when another start of this user, or of root, holds it.
fn claim(path: &Path) -> io::Result<Option<Socket>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = std::fs::metadata(directory)?;
    let mut name = DefaultHasher::new();
    path.file_name().hash(&mut name);
    let address = SockAddr::unix(format!(
        "\0corelane-bind-{:x}-{:x}-{:x}",
        directory.dev(),
        directory.ino(),
        name.finish()
    ))?;
    let new = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None);
    let claim = new()?;
    match claim.bind(&address) {
        Ok(()) => {
            claim.listen(1)?;
            Ok(Some(claim))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = new()?;
            let connected = holder.connect(&address);
            let is_strange = connected.is_ok()
                && socket_peercred(&holder)
                    .is_ok_and(|holder| !holder.uid.is_root() && holder.uid != geteuid());
            if is_strange { Ok(None) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// Whether a socket file is left from a process that is gone.
fn is_stale(path: &Path, probe: &Socket) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && SockAddr::unix(path)
            .and_then(|address| probe.connect(&address))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

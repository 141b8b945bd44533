//! Sockets that listen on a path.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::BindAddress;
use super::file::SocketFile;
use super::reserved::Reserved;

pub(super) fn reserve_unix(path: &Path, count: usize) -> io::Result<Reserved> {
    let address = SockAddr::unix(path)?;
    let claim = claim(path)?;
    let socket = new()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &new()?) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    let file = SocketFile::of(path)?;
    reserved(path, socket, file, claim, count)
}

/// In the place of a file that is this process's: beside it, until the new one settles.
pub(super) fn reserve_unix_beside(path: &Path, count: usize) -> io::Result<Reserved> {
    let claim = claim(path)?;
    let aside = aside(path);
    let socket = new()?;
    socket.bind(&SockAddr::unix(&aside)?)?;
    let file = SocketFile::aside(path, &aside)?;
    reserved(path, socket, file, claim, count)
}

/// Whether a socket can be made at a path, whose directory may be written to; nothing is made there.
pub(super) fn check_unix(path: &Path) -> io::Result<()> {
    SockAddr::unix(path)?;
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, directory(path).join("."), rights, AtFlags::EACCESS)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(Errno::ADDRINUSE.into()),
        _ => Ok(()),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name in the same directory that nobody else has.
fn aside(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    path.with_file_name(format!(".corelane-{}-{number}", std::process::id()))
}

fn new() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
}

fn reserved(
    path: &Path,
    socket: Socket,
    file: SocketFile,
    claim: Option<Socket>,
    count: usize,
) -> io::Result<Reserved> {
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
        listening: 0,
        is_lent: false,
        distinct: 1,
    })
}

/// Claims a path among the starts of this network namespace, by a socket in the abstract namespace. Its name holds the
/// directory's inode, so that it is the same by whatever way the path leads there. None when a user who has no say in
/// it holds the name: then there is no claim.
///
/// # Errors
/// `AddrInUse` when another start of this user, or of root, holds it.
fn claim(path: &Path) -> io::Result<Option<Socket>> {
    let directory = std::fs::metadata(directory(path))?;
    let mut name = DefaultHasher::new();
    path.file_name().hash(&mut name);
    let address = SockAddr::unix(format!(
        "\0corelane-bind-{:x}-{:x}-{:x}",
        directory.dev(),
        directory.ino(),
        name.finish()
    ))?;
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

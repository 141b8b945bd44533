//! Reading the configuration file, which may be anything: one of a file system that hangs, a pipe that nobody writes.
//!
//! A thread reads, and who wants the file waits for it within bounds. What is no regular file is refused, except a
//! pipe: `<(…)` and `/dev/stdin` are read to their end.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proxy_config::{FILE_BYTES_MAX, Loaded, Machine, Problems};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use tokio::sync::oneshot;

use crate::start_error::{cannot_read, cannot_start};

/// How long the file may take to be read.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// How often a thread that waits for a pipe looks whether anyone still waits for it.
const LOOK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Looks, and pauses between them, that a reader who was given up has to notice it: longer than [`LOOK_INTERVAL`].
const READER_LOOKS_MAX: u32 = 30;
const READER_LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Bytes of a pipe that are read at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The system refused it.
    #[error("{}", cannot_read("the configuration", path, source))]
    Io { path: PathBuf, source: io::Error },
    /// It is a directory, a device or a socket.
    #[error(
        "cannot read the configuration {}: it is {kind}; name a regular file, or write it into a pipe (/dev/stdin)",
        path.display()
    )]
    NoFile { path: PathBuf, kind: &'static str },
    /// It is a pipe that wasn't written and closed in time.
    #[error(
        "cannot read the configuration {}: it is a pipe, and {}; write all of it into the pipe and close that, or name a \
         regular file",
        path.display(),
        if *.is_silent {
            format!("nobody wrote to it for {READ_PATIENCE:?}")
        } else {
            format!("who writes to it did not close it within {READ_PATIENCE:?}")
        }
    )]
    Pipe { path: PathBuf, is_silent: bool },
    /// It is a pipe that was closed with nothing in it, as one that was read before.
    #[error(
        "cannot read the configuration {}: it is a pipe with nothing in it; a pipe can be read only once, so name a regular \
         file where SIGHUP is to read it again",
        path.display()
    )]
    EmptyPipe { path: PathBuf },
    /// There is no thread to read it.
    #[error("{}", cannot_start("the thread that reads the configuration", source))]
    NoThread { source: io::Error },
    /// The file system doesn't answer.
    #[error(
        "cannot read the configuration {}: it was not read within {READ_PATIENCE:?}; see that its file system answers (NFS, \
         FUSE)",
        path.display()
    )]
    Stuck { path: PathBuf },
    /// The thread that was to read it the last time still does.
    #[error(
        "cannot read the configuration {}: the last attempt to read it still hangs; see that its file system answers (NFS, \
         FUSE)",
        path.display()
    )]
    StillStuck { path: PathBuf },
    /// The file was read, and is not a valid configuration.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// Reads and validates the configuration file at `path`. Waits for it.
///
/// # Errors
/// [`LoadError::Invalid`] with all the problems of its text, which name the file as `path` does; the others if it can't
/// be read.
pub(crate) fn load(path: &Path) -> Result<Loaded, LoadError> {
    let (sender, answer) = mpsc::channel();
    let reading = Reading::begin(path, move |result| drop(sender.send(result)))?;
    match answer.recv_timeout(READ_PATIENCE) {
        Ok(result) => reading.loaded(result),
        Err(_) => Err(reading.timed_out()),
    }
}

/// As [`load`], for a thread that has something else to do meanwhile.
///
/// # Errors
/// As there.
pub(crate) async fn load_meanwhile(path: &Path) -> Result<Loaded, LoadError> {
    let (sender, answer) = oneshot::channel();
    let reading = Reading::begin(path, move |result| drop(sender.send(result)))?;
    match tokio::time::timeout(READ_PATIENCE, answer).await {
        Ok(Ok(result)) => reading.loaded(result),
        _ => Err(reading.timed_out()),
    }
}

/// Whether a thread reads. There is one at most: one that hangs in the kernel can't be ended.
static IS_READING: AtomicBool = AtomicBool::new(false);

/// A thread that reads. When this is dropped it ends, unless the kernel holds it.
struct Reading {
    path: PathBuf,
    progress: Arc<Progress>,
}

/// What is known of a thread that reads, from outside.
#[derive(Default)]
struct Progress {
    is_pipe: AtomicBool,
    /// Something was read.
    has_begun: AtomicBool,
    /// Nobody waits for it any more.
    is_abandoned: AtomicBool,
}

/// What came of reading.
enum Content {
    Bytes(Vec<u8>),
    /// It is none that is read.
    Other(&'static str),
}

/// Says that no thread reads any more, when this is dropped.
struct Done;

impl Drop for Done {
    fn drop(&mut self) {
        IS_READING.store(false, SeqCst);
    }
}

/// Becomes the one who reads. False while another reader hangs. One that was given up while it waited for a pipe notices
/// that at its next look.
#[expect(
    clippy::disallowed_methods,
    reason = "a moment, and only after a read was given up"
)]
fn take_reader() -> bool {
    for _ in 0..READER_LOOKS_MAX {
        if !IS_READING.swap(true, SeqCst) {
            return true;
        }
        thread::sleep(READER_LOOK_PAUSE);
    }
    !IS_READING.swap(true, SeqCst)
}

impl Reading {
    fn begin(
        path: &Path,
        on_read: impl FnOnce(io::Result<Content>) + Send + 'static,
    ) -> Result<Self, LoadError> {
        let reading = Self {
            path: path.to_owned(),
            progress: Arc::default(),
        };
        if !take_reader() {
            return Err(LoadError::StillStuck {
                path: path.to_owned(),
            });
        }
        let done = Done;
        let (path, progress) = (reading.path.clone(), reading.progress.clone());
        let thread = thread::Builder::new().name("corelane-config".to_owned());
        let started = thread.spawn(move || {
            let result = read(&path, &progress);
            // First, so that who gets the result can read again.
            drop(done);
            on_read(result);
        });
        match started {
            Ok(_) => Ok(reading),
            Err(source) => Err(LoadError::NoThread { source }),
        }
    }

    fn loaded(self, result: io::Result<Content>) -> Result<Loaded, LoadError> {
        match result {
            Ok(Content::Bytes(bytes))
                if bytes.is_empty() && self.progress.is_pipe.load(Relaxed) =>
            {
                let path = self.path.clone();
                Err(LoadError::EmptyPipe { path })
            }
            Ok(Content::Bytes(bytes)) => {
                let name = self.path.display().to_string();
                let host_name = rustix::system::uname();
                let host_name = host_name.nodename().to_string_lossy();
                let machine = Machine {
                    host_name: &host_name,
                    is_local: &is_local,
                };
                Ok(proxy_config::parse_bytes(&bytes, &name, machine)?)
            }
            Ok(Content::Other(kind)) => Err(LoadError::NoFile {
                path: self.path.clone(),
                kind,
            }),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(self, source: io::Error) -> LoadError {
        LoadError::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn timed_out(self) -> LoadError {
        let path = self.path.clone();
        if self.progress.is_pipe.load(Relaxed) {
            let is_silent = !self.progress.has_begun.load(Relaxed);
            LoadError::Pipe { path, is_silent }
        } else {
            LoadError::Stuck { path }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.progress.is_abandoned.store(true, Relaxed);
    }
}

/// Whether an address is this machine's: then the kernel goes there from there. Nothing is sent for it.
fn is_local(ip: IpAddr) -> bool {
    /// UDP sends nothing to it: any port does (discard, RFC 863).
    const PORT: u16 = 9;
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, PORT))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

/// The content of the file at `path`, cut one byte after the limit, so that it is seen to be over it.
fn read(path: &Path, progress: &Progress) -> io::Result<Content> {
    // A device is not even opened: that may do something.
    if let Some(kind) = refused(&path.metadata()?) {
        return Ok(Content::Other(kind));
    }
    // To open a pipe is to wait for its writer, unless it is non-blocking.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if let Some(kind) = refused(&found) {
        return Ok(Content::Other(kind));
    }
    if found.file_type().is_fifo() {
        progress.is_pipe.store(true, Relaxed);
        return read_pipe(&file, progress).map(Content::Bytes);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Content::Bytes(bytes))
}

/// What a file is that is not read.
fn refused(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_dir() {
        Some("a directory")
    } else if kind.is_char_device() {
        Some("a terminal or another device")
    } else if kind.is_block_device() {
        Some("a device")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        None
    }
}

/// Reads until those who write to the pipe have closed it.
fn read_pipe(mut pipe: &File, progress: &Progress) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; CHUNK_BYTES];
    while bytes.len() <= FILE_BYTES_MAX && !progress.is_abandoned.load(Relaxed) {
        match pipe.read(&mut chunk) {
            // The end, if there ever was a writer.
            Ok(0) if !bytes.is_empty() || waited(pipe)?.contains(PollFlags::HUP) => break,
            Ok(count) => {
                bytes.extend_from_slice(&chunk[..count]);
                progress.has_begun.fetch_or(count > 0, Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waited(pipe)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(FILE_BYTES_MAX + 1);
    Ok(bytes)
}

/// Waits for bytes or an end, for [`LOOK_INTERVAL`] at most. Returns which.
fn waited(pipe: &File) -> io::Result<PollFlags> {
    let mut polled = [PollFd::new(pipe, PollFlags::IN)];
    match poll(&mut polled, Some(&LOOK_INTERVAL)) {
        Ok(_) => Ok(polled[0].revents()),
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    /// What is read from `path`, as text.
    fn text(path: &Path) -> String {
        match read(path, &Progress::default()) {
            Ok(Content::Bytes(bytes)) => String::from_utf8(bytes).expect("UTF-8"),
            Ok(Content::Other(kind)) => format!("it is {kind}"),
            Err(error) => error.to_string(),
        }
    }

    /// How `<(…)` names a pipe.
    fn path_of(pipe: &impl AsRawFd) -> PathBuf {
        format!("/proc/self/fd/{}", pipe.as_raw_fd()).into()
    }

    #[test]
    fn this_machine_s_addresses_are_known() {
        for (address, local) in [
            ("127.0.0.1", true),
            ("127.9.9.9", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            // Loopback's other addresses are gone to from the first; the configuration knows all of them.
            assert_eq!(is_local(ip), local, "{address}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
        assert_eq!(text(directory.path()), "it is a directory");
        assert_eq!(text(&socket), "it is a socket");
        let device = "it is a terminal or another device";
        for path in ["/dev/zero", "/dev/null"] {
            assert_eq!(text(Path::new(path)), device);
        }
    }

    #[test]
    fn files_and_pipes_are_cut_at_the_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let long = "x".repeat(FILE_BYTES_MAX + 10);
        fs::write(&path, &long).expect("write");
        assert_eq!(text(&path).len(), FILE_BYTES_MAX + 1);
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = path_of(&reader);
        let writing = thread::spawn(move || writer.write_all(long.as_bytes()));
        assert_eq!(text(&path).len(), FILE_BYTES_MAX + 1);
        // The rest is read by nobody.
        drop(reader);
        let _ = writing.join().expect("the writer");
    }

    #[test]
    fn a_pipe_is_read_until_it_is_closed() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = path_of(&reader);
        let reading = thread::spawn(move || text(&path));
        for part in ["one", "two"] {
            writer.write_all(part.as_bytes()).expect("write");
            thread::yield_now();
        }
        drop(writer);
        assert_eq!(reading.join().expect("the reader"), "onetwo");
        // One whose writer was faster.
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"done").expect("write");
        drop(writer);
        assert_eq!(text(&path_of(&reader)), "done");
    }

    #[test]
    fn who_reads_a_pipe_ends_when_nobody_waits_any_more() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = path_of(&reader);
        let progress = Arc::new(Progress::default());
        let its = progress.clone();
        let reading = thread::spawn(move || drop(read(&path, &its)));
        writer.write_all(b"the begin").expect("write");
        while !progress.has_begun.load(Relaxed) {
            thread::yield_now();
        }
        progress.is_abandoned.store(true, Relaxed);
        reading.join().expect("it ends");
        assert!(progress.is_pipe.load(Relaxed));
    }
}

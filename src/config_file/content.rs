//! The content of one file. What is no regular file is refused, except a pipe: `<(…)` and `/dev/stdin` are read to their
//! end.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::progress::Progress;

/// How often a thread that waits for a pipe looks whether anyone still waits for it.
pub(super) const LOOK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Bytes of a pipe that are read at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// What a directory is called.
pub(super) const DIRECTORY: &str = "a directory";

/// What came of reading a file.
pub(super) enum Content {
    Bytes {
        bytes: Vec<u8>,
        found: Metadata,
    },
    /// It is not a kind of file that is read.
    Other(&'static str),
}

/// The content of the file at `path`, cut one byte after `max`, so that it is seen to be over it.
pub(super) fn read(path: &Path, max: usize, progress: &Progress) -> io::Result<Content> {
    progress.begin(path);
    // A device is not even opened: that may do something.
    if let Some(kind) = refused(&path.metadata()?) {
        return Ok(Content::Other(kind));
    }
    if let Some(mut bytes) = progress.instead_of(path) {
        let found = path.metadata()?;
        bytes.truncate(max + 1);
        return Ok(Content::Bytes { bytes, found });
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
        let bytes = read_pipe(&file, max, progress)?;
        return Ok(Content::Bytes { bytes, found });
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Content::Bytes { bytes, found })
}

/// What a file is that is not read.
fn refused(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_dir() {
        Some(DIRECTORY)
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
fn read_pipe(mut pipe: &File, max: usize, progress: &Progress) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; CHUNK_BYTES];
    while bytes.len() <= max && !progress.is_abandoned.load(Relaxed) {
        match pipe.read(&mut chunk) {
            // The end, if there ever was a writer.
            Ok(0) if !bytes.is_empty() || is_over(waited(pipe)?) => break,
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
    bytes.truncate(max + 1);
    Ok(bytes)
}

/// Whether all writers have gone and left nothing. One that came after the last look may have written and gone already.
fn is_over(events: PollFlags) -> bool {
    events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN)
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
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::thread;

    use proxy_config::FILE_BYTES_MAX;

    use super::*;

    /// What is read from `path`, as text.
    fn text(path: &Path) -> String {
        match read(path, FILE_BYTES_MAX, &Progress::default()) {
            Ok(Content::Bytes { bytes, .. }) => String::from_utf8(bytes).expect("UTF-8"),
            Ok(Content::Other(kind)) => format!("it is {kind}"),
            Err(error) => error.to_string(),
        }
    }

    /// How `<(…)` names a pipe.
    fn path_of(pipe: &impl AsRawFd) -> PathBuf {
        format!("/proc/self/fd/{}", pipe.as_raw_fd()).into()
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
    fn a_writer_that_comes_and_goes_between_two_looks_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe");
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = File::options();
        let mut reader = options
            .read(true)
            .custom_flags(flags)
            .open(&path)
            .expect("open");
        assert_eq!(reader.read(&mut [0; 1]).expect("nobody writes yet"), 0);
        let mut writer = File::options().write(true).open(&path).expect("open");
        writer.write_all(b"all of it").expect("write");
        drop(writer);
        assert!(!is_over(waited(&reader).expect("poll")));
        let bytes = read_pipe(&reader, FILE_BYTES_MAX, &Progress::default()).expect("read");
        assert_eq!(bytes, b"all of it");
        assert!(is_over(waited(&reader).expect("poll")));
    }

    #[test]
    fn who_reads_a_pipe_ends_when_nobody_waits_any_more() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = path_of(&reader);
        let progress = Arc::new(Progress::default());
        let its = progress.clone();
        let reading = thread::spawn(move || drop(read(&path, FILE_BYTES_MAX, &its)));
        writer.write_all(b"the begin").expect("write");
        while !progress.has_begun.load(Relaxed) {
            thread::yield_now();
        }
        progress.is_abandoned.store(true, Relaxed);
        reading.join().expect("it ends");
        assert!(progress.is_pipe.load(Relaxed));
    }
}

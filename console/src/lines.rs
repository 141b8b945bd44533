//! Writes whole lines to a descriptor that may refuse them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Writes lines so that none is glued to a torn one.
///
/// A disk that is full takes a part of a line. In a file of our own that part is cut off again at once. Elsewhere (a
/// pipe, a file that others write, too) the rest of that line goes first when there is room again.
pub struct LineWriter<F> {
    to: F,
    /// Whether nobody else is to lose bytes when the file is cut.
    is_own_file: bool,
    /// What a torn line lacks.
    rest: Vec<u8>,
}

/// What was not written.
#[derive(Debug)]
pub struct Refused {
    /// Lines that were written before.
    pub written: u64,
    /// Why the next one was not.
    pub error: io::Error,
}

impl LineWriter<BorrowedFd<'static>> {
    /// Writes to what this process was started with.
    pub const fn inherited(to: BorrowedFd<'static>) -> Self {
        Self {
            to,
            is_own_file: false,
            rest: Vec::new(),
        }
    }
}

impl LineWriter<File> {
    /// Writes to `file`, which was opened at `path` to append to it. If its last line is torn (by a process that was
    /// killed), that line is ended first.
    pub fn opened(file: File, path: &Path) -> Self {
        let is_own_file = file.metadata().is_ok_and(|found| found.is_file());
        let rest = if is_own_file && ends_torn(path) {
            b"\n".to_vec()
        } else {
            Vec::new()
        };
        Self {
            to: file,
            is_own_file,
            rest,
        }
    }

    /// Removes a torn line.
    ///
    /// # Errors
    /// When the file can't be cut, as one that is append-only (`chattr +a`).
    fn cut(&mut self, torn: usize) -> io::Result<()> {
        // After a write that appends, the position is the end of what was written.
        let end = self.to.stream_position()?;
        // Else somebody cut the file or wrote to it meanwhile, and there is nothing left to repair.
        if self.to.metadata()?.len() == end {
            self.to.set_len(end - torn as u64)?;
        }
        Ok(())
    }

    /// As [`LineWriter::write`], and repairs the file after a refusal.
    ///
    /// # Errors
    /// As there.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Refused> {
        let (refused, torn) = match self.write_counting(lines) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if torn > 0 && self.is_own_file && self.cut(torn).is_ok() {
            self.rest.clear();
        }
        Err(refused)
    }
}

impl<F: AsFd> LineWriter<F> {
    /// Writes `lines`, waiting for as long as there is no room.
    ///
    /// # Errors
    /// When the output refuses them (its reader is gone, the disk is full): the rest of `lines` is lost, except for the
    /// end of a line of which a part is written. That is counted as not written.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), Refused> {
        self.write_counting(lines).map_err(|(refused, _)| refused)
    }

    /// As [`LineWriter::write`]. With the refusal comes how much of a torn line was written.
    fn write_counting(&mut self, lines: &[u8]) -> Result<(), (Refused, usize)> {
        let (count, result) = write_all(&self.to, &self.rest);
        self.rest.drain(..count);
        if let Err(error) = result {
            return Err((Refused { written: 0, error }, 0));
        }
        let (count, result) = write_all(&self.to, lines);
        let Err(error) = result else {
            return Ok(());
        };
        let (written, left) = lines.split_at(count);
        let whole = written.iter().rposition(|&byte| byte == b'\n');
        let torn = count - whole.map_or(0, |at| at + 1);
        if torn > 0 {
            let line = left.split_inclusive(|&byte| byte == b'\n').next();
            self.rest.extend_from_slice(line.unwrap_or_default());
        }
        let written = newlines(written);
        Err((Refused { written, error }, torn))
    }
}

/// How many lines end in `text`.
pub(crate) fn newlines(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Writes all of it, or returns how much it wrote and what stopped it.
fn write_all(to: &impl AsFd, mut bytes: &[u8]) -> (usize, io::Result<()>) {
    let all = bytes.len();
    let result = loop {
        if bytes.is_empty() {
            break Ok(());
        }
        match rustix::io::write(to, bytes) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Another process that has this pipe or terminal made it non-blocking.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
            }
            Err(error) => break Err(error.into()),
        }
    };
    (all - bytes.len(), result)
}

/// Whether the file at `path` has something after its last newline. One that may not be read is taken for whole.
fn ends_torn(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::os::fd::OwnedFd;
    use std::{fs, thread};

    use rustix::io::ioctl_fionbio;

    use super::*;

    fn own(path: &Path) -> LineWriter<File> {
        let file = File::options().append(true).create(true).open(path);
        LineWriter::opened(file.expect("open"), path)
    }

    /// A writer to a file of which `torn` bytes were just written by a write that then failed.
    fn after_a_torn_write(
        path: &Path,
        written: &[u8],
        line: &[u8],
        torn: usize,
    ) -> LineWriter<File> {
        let mut lines = own(path);
        lines.write(written).expect("write");
        rustix::io::write(&lines.to, &line[..torn]).expect("write");
        lines.rest.extend_from_slice(&line[torn..]);
        lines
    }

    #[test]
    fn a_torn_line_of_a_file_is_cut_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut lines = after_a_torn_write(&path, b"one\n", b"second\n", 3);
        lines.cut(3).expect("cut");
        assert_eq!(fs::read(&path).expect("read"), b"one\n");
    }

    #[test]
    fn what_somebody_else_wrote_is_not_cut_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut lines = after_a_torn_write(&path, b"one\n", b"second\n", 3);
        let mut other = File::options().append(true).open(&path).expect("open");
        other.write_all(b"theirs\n").expect("write");
        lines.cut(3).expect("nothing to cut");
        assert_eq!(fs::read(&path).expect("read"), b"one\nsectheirs\n");
    }

    #[test]
    fn a_line_that_can_t_be_cut_off_is_completed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut lines = after_a_torn_write(&path, b"one\n", b"second\n", 3);
        lines.write(b"third\n").expect("write");
        assert_eq!(fs::read(&path).expect("read"), b"one\nsecond\nthird\n");
    }

    #[test]
    fn a_line_that_an_earlier_process_left_torn_is_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        for (before, after) in [
            (&b"one\ntw"[..], &b"one\ntw\nnext\n"[..]),
            (b"one\n", b"one\nnext\n"),
            (b"", b"next\n"),
        ] {
            fs::write(&path, before).expect("write");
            own(&path).append(b"next\n").expect("append");
            assert_eq!(fs::read(&path).expect("read"), after);
        }
    }

    #[test]
    fn lines_before_a_refusal_are_counted() {
        let full = File::options().write(true).open("/dev/full").expect("open");
        let mut lines = LineWriter::opened(full, Path::new("/dev/full"));
        let refused = lines.append(b"a\nb\n").expect_err("no room");
        assert_eq!(refused.written, 0);
        assert_eq!(
            refused.error.raw_os_error(),
            Some(Errno::NOSPC.raw_os_error())
        );
        assert_eq!(newlines(b"a\nb\nc"), 2);
    }

    #[test]
    fn a_pipe_that_is_full_and_non_blocking_is_waited_for() {
        let (mut read, write) = pipe().expect("a pipe");
        let write = OwnedFd::from(write);
        ioctl_fionbio(&write, true).expect("non-blocking");
        let text = b"0123456\n".repeat(100_000);
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut all = Vec::new();
                read.read_to_end(&mut all).expect("read");
                all
            });
            let mut lines = LineWriter {
                to: write,
                is_own_file: false,
                rest: Vec::new(),
            };
            lines.write(&text).expect("all is written");
            drop(lines);
            assert!(reader.join().expect("reader") == text);
        });
    }
}

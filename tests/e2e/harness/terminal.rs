//! A terminal with somebody who types and reads.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

pub(crate) struct Terminal {
    keys: File,
    /// For programs. Closed by [`Terminal::begin`].
    programs: Option<File>,
    drawn: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// One of this size.
    pub(crate) fn open(columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).expect("a terminal");
        unlockpt(&terminal).expect("unlock");
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).expect("its size");
        let name = ptsname(&terminal, Vec::new()).expect("its name");
        let programs = File::from(
            rustix::fs::open(
                name.as_c_str(),
                OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .expect("open"),
        );
        let keys = File::from(terminal);
        let mut screen = keys.try_clone().expect("dup");
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let keep = drawn.clone();
        // To the end: who draws must not wait for a reader.
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                keep.lock().expect("no panic").extend(&piece[..length]);
            }
        });
        Self {
            keys,
            programs: Some(programs),
            drawn,
        }
    }

    /// Has `start` begin a program on it.
    pub(crate) fn begin<T>(&mut self, start: impl FnOnce(&File) -> T) -> T {
        start(&self.programs.take().expect("once"))
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    /// How often something was drawn so far. Blanks don't count: those that were there already are not drawn.
    pub(crate) fn shown(&self, wanted: &str) -> usize {
        self.text().matches(&wanted.replace(' ', "")).count()
    }

    /// All text that was drawn, without colours, places and blanks.
    fn text(&self) -> String {
        let drawn = self.drawn.lock().expect("no panic");
        let drawn = String::from_utf8_lossy(&drawn);
        let mut text = String::new();
        for (place, piece) in drawn.split("\x1b[").enumerate() {
            let end = match place {
                0 => 0,
                _ => piece
                    .find(|c: char| c.is_ascii_alphabetic())
                    .map_or(piece.len(), |end| end + 1),
            };
            text.extend(piece[end..].chars().filter(|&c| c != ' '));
        }
        text
    }
}

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
    columns: usize,
    rows: usize,
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
            columns: columns.into(),
            rows: rows.into(),
        }
    }

    /// Has `start` begin a program on it.
    pub(crate) fn begin<T>(&mut self, start: impl FnOnce(&File) -> T) -> T {
        start(&self.programs.take().expect("once"))
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Whether this was ever drawn, wherever it stands by now.
    pub(crate) fn has_drawn(&self, wanted: &str) -> bool {
        let drawn = self.drawn.lock().expect("no panic");
        String::from_utf8_lossy(&drawn).contains(wanted)
    }

    /// Its lines, as somebody sees them now.
    pub(crate) fn lines(&self) -> Vec<String> {
        let drawn = self.drawn.lock().expect("no panic");
        let drawn = String::from_utf8_lossy(&drawn);
        let blank = vec![vec![' '; self.columns]; self.rows];
        let mut cells = blank.clone();
        let (mut row, mut column) = (0, 0);
        for (place, piece) in drawn.split("\x1b[").enumerate() {
            let end = match place {
                0 => 0,
                _ => piece
                    .find(|c: char| c.is_ascii_alphabetic())
                    .map_or(piece.len(), |end| end + 1),
            };
            let (order, text) = piece.split_at(end);
            if let Some(place) = order.strip_suffix('H') {
                let (at_row, at_column) = place.split_once(';').unwrap_or(("1", "1"));
                let number = |text: &str| text.parse().unwrap_or(1_usize) - 1;
                (row, column) = (number(at_row), number(at_column));
            } else if order.ends_with('J') {
                cells.clone_from(&blank);
            }
            for character in text.chars() {
                if let Some(cell) = cells.get_mut(row).and_then(|row| row.get_mut(column)) {
                    *cell = character;
                }
                column += 1;
            }
        }
        cells.into_iter().map(String::from_iter).collect()
    }

    /// Whether a line has something in it.
    pub(crate) fn shows(&self, wanted: &str) -> bool {
        self.lines().iter().any(|line| line.contains(wanted))
    }
}

//! `server`.

use super::super::note::Notes;
use super::super::plan::Server;
use super::section::Line;

/// A server of an upstream.
pub(super) fn read(line: &Line, notes: &mut Notes) -> Server {
    let words = line.words();
    let mut server = Server::new(words[2], &line.from);
    let mut options = words[3..].iter();
    while let Some(option) = options.next() {
        let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u64>().ok());
        match *option {
            "check" => {}
            "backup" => server.set("backup", true),
            "weight" => match number(options.next()) {
                Some(weight) => server.set("weight", weight),
                None => notes.lose(&line.from.part("weight"), "it needs a number"),
            },
            "maxconn" => match number(options.next()) {
                Some(count) if count > 0 => server.set("max_connections", count),
                _ => {}
            },
            option => notes.lose(
                &line.from.part(option),
                "`convert` does not know this option of a server",
            ),
        }
    }
    server
}

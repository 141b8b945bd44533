//! Configurations of other proxies, whose lines are whatever somebody has written. The first byte says whose file it is, and what
//! is around it.

#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use proxy_convert::{Input, Kind, NOTES_MAX, Surroundings, convert};

/// Says whose file it is; without it, that is found out.
const NAMED: u8 = 4;
/// It comes as two files, of which the second one has the first one's content, too.
const TWICE: u8 = 8;

const KINDS: [Kind; 4] = [Kind::Haproxy, Kind::Nginx, Kind::Envoy, Kind::Traefik];

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let kind = (choice & NAMED != 0).then(|| KINDS[usize::from(choice % 4)]);
    let around = Around { bytes };
    let files = 1 + usize::from(choice & TWICE != 0);
    let inputs: Vec<_> = (0..files).map(|_| around.input()).collect();
    let result = convert(&inputs, kind, &around);
    assert!(
        result == convert(&inputs, kind, &around),
        "another time it becomes something else"
    );
    let Ok(converted) = result else {
        return;
    };
    if let Err(problems) = proxy_config::parse(&converted.file, "corelane.toml") {
        panic!(
            "it becomes what is not valid: {problems}\n{}",
            converted.file
        );
    }
    // Whatever a line says, its comment is one line, and a terminal shows it as it is.
    for notes in [&converted.losses, &converted.remarks] {
        for (place, note) in notes.iter().enumerate() {
            let note = note.to_string();
            assert!(!note.chars().any(char::is_control), "{note:?}");
            assert!(
                place >= NOTES_MAX || converted.file.contains(&format!("\n#   {note}\n")),
                "{note}"
            );
        }
    }
});

/// A machine on which each file has the content of the first one, so that what includes others never ends by itself.
struct Around<'b> {
    bytes: &'b [u8],
}

impl Around<'_> {
    fn input(&self) -> Input {
        Input {
            // Whoever writes an `include` chooses the name.
            name: "a\n\u{1b}[2J".to_owned(),
            bytes: self.bytes.to_vec(),
        }
    }
}

impl Surroundings for Around<'_> {
    fn read(&self, _: &Path, _: &Path) -> Result<Input, String> {
        Ok(self.input())
    }

    fn matches(&self, _: &str, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(vec!["b".into(), "c".into()])
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name.len() % 2 == 0).then(|| format!("{name} server\n"))
    }
}

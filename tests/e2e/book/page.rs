//! What a page of the book has its reader do.

use std::fs;
use std::path::{Path, PathBuf};

/// One thing to do.
pub(super) enum Step {
    /// A file, by its path as commands name it.
    File {
        path: PathBuf,
        text: String,
    },
    Command(Command),
}

/// What is typed, and the lines that come back. In these `...` stands for anything, and alone for any lines.
pub(super) struct Command {
    pub(super) line: String,
    pub(super) expected: Vec<String>,
}

/// Before a block that no test runs.
const NOT_RUN: &str = "<!-- not run: ";

/// The steps of a page. Panics at a block whose purpose isn't known: it would be tested by nobody.
pub(super) fn steps(page: &Path) -> Vec<Step> {
    let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
    let mut steps = Vec::new();
    let mut lines = text.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            before = if line.is_empty() { before } else { line };
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "toml" => steps.push(file(page, &block)),
            "console" => steps.extend(commands(page, &block).into_iter().map(Step::Command)),
            // The manifest is validated by its schemas.
            "yaml" => {}
            "sh" if before.starts_with(NOT_RUN) => {}
            _ => panic!("{page:?}: a block of {kind:?} without {NOT_RUN}… before it:\n{block:#?}"),
        }
        before = "";
    }
    steps
}

/// Either a file of the repository, or what stands there, with its name in the first line.
fn file(page: &Path, block: &[&str]) -> Step {
    let included = block[0].strip_prefix("{{#include ");
    if let Some(path) = included.and_then(|rest| rest.strip_suffix("}}")) {
        let path = page.parent().expect("a folder").join(path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .canonicalize()
            .expect("it is there");
        let path = path.canonicalize().expect("it is there");
        let path = path.strip_prefix(root).expect("in the repository");
        return Step::File {
            path: path.to_owned(),
            text,
        };
    }
    let name = block[0].strip_prefix("# ");
    let name = name.filter(|name| name.ends_with(".toml"));
    let name = name.unwrap_or_else(|| panic!("{page:?}: a file without a name: {block:#?}"));
    Step::File {
        path: name.into(),
        text: block.join("\n") + "\n",
    }
}

fn commands(page: &Path, block: &[&str]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(line), _) => commands.push(Command {
                line: line.to_owned(),
                expected: Vec::new(),
            }),
            (None, Some(command)) => command.expected.push((*line).to_owned()),
            (None, None) => panic!("{page:?}: {line:?} is said before anything is typed"),
        }
    }
    commands
}

/// Whether the lines are there, in this order; others may stand between them.
pub(super) fn has(output: &str, expected: &[String]) -> bool {
    let mut lines = output.lines();
    let mut wanted = expected.iter().filter(|line| *line != "...");
    wanted.all(|pattern| lines.any(|line| fits(line.trim_end(), pattern)))
}

/// A terminal shows what comes behind the last carriage return of a line.
fn fits(line: &str, pattern: &str) -> bool {
    let line = line.rsplit('\r').next().unwrap_or_default();
    let parts: Vec<_> = pattern.split("...").collect();
    let [first, middle @ .., last] = &parts[..] else {
        return line == pattern;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn lines_are_found_in_their_order() {
    let expected = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(has("a\nb\nc 1 d\n", &expected(&["a", "...", "c ... d"])));
    assert!(!has("b\na\n", &expected(&["a", "b"])));
    assert!(!has("ab\n", &expected(&["a"])));
    assert!(has("x=\"1\",y 7", &expected(&["...\"1\"... 7"])));
    assert!(!has("", &expected(&["a"])));
    assert!(has("1 %\ra: 2\n", &expected(&["a: ..."])));
}

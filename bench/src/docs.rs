//! A document that is written by hand except for sections between markers.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::MachineArgs;

/// The document's name in the directory of the results.
pub(crate) const DOCUMENT: &str = "BENCHMARKS.md";
/// The directory beside it, for what it links to.
pub(crate) const FILES: &str = "benchmarks";
/// What a new document begins with.
const HEAD: &str = "# Benchmarks\n\n`bench/` measures corelane side by side with its peers; the sections between the \
                    markers are written by it.\n";

/// Prints a section, and writes it where `machine` says that results go.
pub(crate) fn publish(machine: &MachineArgs, name: &str, body: &str) -> anyhow::Result<()> {
    println!("{body}");
    match &machine.out {
        Some(dir) => write(dir, name, body),
        None => Ok(()),
    }
}

/// Writes section `name` of the document in `dir`, and leaves the rest as it is.
pub(crate) fn write(dir: &Path, name: &str, body: &str) -> anyhow::Result<()> {
    let path = dir.join(DOCUMENT);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    fs::write(&path, replace(&text, name, body))
        .with_context(|| format!("writing {}", path.display()))
}

/// `text` with what is between the markers of `name` replaced by `body`; without both markers, in order, a section
/// is added at the end.
fn replace(text: &str, name: &str, body: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}: begin -->"),
        format!("<!-- {name}: end -->"),
    );
    let section = format!("{begin}\n\n{}\n\n{end}", body.trim());
    let found = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    match found {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{}\n\n{section}\n", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_section_changes() {
        let text = "head\n<!-- a: begin -->\nold\n<!-- a: end -->\nmiddle\n<!-- b: begin -->\nb\n<!-- b: end -->\n";
        let new = replace(text, "a", "new\n");
        assert_eq!(
            new,
            "head\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nmiddle\n<!-- b: begin -->\nb\n<!-- b: end -->\n"
        );
        assert_eq!(replace(&new, "a", "new"), new);
    }

    #[test]
    fn a_missing_section_is_added_at_the_end() {
        assert_eq!(
            replace("head\n", "a", "new"),
            "head\n\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\n"
        );
        // One marker alone is no section, and nothing is lost.
        assert!(replace("<!-- a: begin -->\nkept", "a", "new").contains("kept"));
    }

    #[test]
    fn a_missing_document_is_made() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a", "one").unwrap();
        write(dir.path(), "a", "two").unwrap();
        let text = fs::read_to_string(dir.path().join(DOCUMENT)).unwrap();
        assert!(text.starts_with("# Benchmarks") && text.contains("two") && !text.contains("one"));
    }
}

//! Files of values and of maps, which conditions and backends are found by.

use std::path::Path;

use super::super::input::Surroundings;

/// The most entries that the a file may have.
const ENTRIES_MAX: usize = 10_000;

/// The lines of a file, those that are comments or empty left out.
pub(super) fn lines(path: &str, surroundings: &dyn Surroundings) -> Result<Vec<String>, String> {
    let input = surroundings
        .read(Path::new(path), Path::new(""))
        .map_err(|reason| format!("the file {path} is not read: {reason}"))?;
    let text = input.text()?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries: Vec<_> = lines.take(ENTRIES_MAX + 1).map(str::to_owned).collect();
    if entries.len() > ENTRIES_MAX {
        return Err(format!(
            "the file {path} has more than {ENTRIES_MAX} entries"
        ));
    }
    Ok(entries)
}

/// The pairs of a map's file.
///
/// # Errors
/// Why it can't be read.
pub(super) fn pairs(
    path: &str,
    surroundings: &dyn Surroundings,
) -> Result<Vec<(String, String)>, String> {
    let pairs = lines(path, surroundings)?.into_iter().filter_map(|line| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key.to_owned(), value.trim().to_owned()))
    });
    Ok(pairs.collect())
}

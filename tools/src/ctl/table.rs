//! Rows of one kind, in columns.

use std::fmt;

use serde_json::Value;

use super::words;

/// Columns that come first, in this order; the others follow by their names.
const FIRST: &[&str] = &[
    "id",
    "number",
    "at",
    "kind",
    "what",
    "by",
    "upstream",
    "server",
    "listener",
    "client",
    "peer",
    "core",
    "state",
    "why",
    "since",
    "connections",
];

/// A heading, and the rows below it.
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    /// Of objects that have the same keys; columns in which no row has anything are left out.
    pub(super) fn of(rows: &[Value]) -> Self {
        let first = rows.first().and_then(Value::as_object);
        let keys = first.into_iter().flat_map(|row| row.keys());
        let has_some = |key: &&String| {
            let mut values = rows.iter().map(|row| &row[key.as_str()]);
            !values.all(|value| value.is_null() || value.as_str() == Some(""))
        };
        let mut keys: Vec<_> = keys.filter(has_some).collect();
        let place = |key: &str| FIRST.iter().position(|one| *one == key);
        keys.sort_by_key(|key| place(key).unwrap_or(FIRST.len()));
        let heading = keys.iter().map(|key| heading(key)).collect();
        let line = |row: &Value| {
            let values = keys.iter().map(|key| words::of(key, &row[key.as_str()]));
            values.collect()
        };
        let lines = rows.iter().map(line);
        Self(std::iter::once(heading).chain(lines).collect())
    }
}

fn heading(key: &str) -> String {
    let words = key.strip_suffix("_seconds").unwrap_or(key);
    words.replace('_', " ").to_uppercase()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        if columns == 0 {
            return writeln!(f, "none");
        }
        let width = |column: usize| {
            let cells = self.0.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line += &format!("{cell:width$}  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_empty_ones_are_left_out() {
        let rows = [
            json!({"server": "10.0.0.1:80", "state": "up", "why": "", "age_seconds": 1.0}),
            json!({"server": "b", "state": "draining", "why": null, "age_seconds": 22.5}),
        ];
        assert_eq!(
            Table::of(&rows).to_string(),
            "SERVER       STATE     AGE\n10.0.0.1:80  up        1.0\nb            draining  22.5\n"
        );
        assert_eq!(Table::of(&[]).to_string(), "none\n");
    }
}

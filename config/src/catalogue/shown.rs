//! Types, defaults and headings as the reference shows them.

use super::key::{Absent, Key, Kind, Table};
use crate::problems::path::NAME_BYTES_MAX;
use crate::raw::read::INTEGER_MAX;
use crate::values::dscp::{DSCP_MAX, NAMES};
use crate::values::duration::written;
use crate::values::size;

pub(super) fn heading(table: &Table) -> String {
    match table.path {
        "" => "The top level".to_owned(),
        // A table in an array has no header.
        path if path.ends_with("[0]") => format!("A table in `{}`", &path[..path.len() - 3]),
        path => format!("`[{path}]`"),
    }
}

/// The anchor of a table's section.
pub(super) fn heading_anchor(table: &Table) -> String {
    let heading = heading(table).to_lowercase().replace(' ', "-");
    let is_kept = |character: &char| character.is_ascii_alphanumeric() || "-_".contains(*character);
    heading.chars().filter(is_kept).collect()
}

pub(super) fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Boolean => "`true` or `false`".to_owned(),
        &Kind::Integer {
            min,
            max: INTEGER_MAX,
        } => format!("integer, {min} or more"),
        Kind::Integer { min, max } => format!("integer, {min} to {max}"),
        Kind::PowerOfTwo { min, max } => format!("power of two, {min} to {max}"),
        Kind::Number { min, max } => format!("number, {min} to {max}"),
        Kind::Duration { min, max } => {
            format!("duration, {} to {}", written(*min), written(*max))
        }
        Kind::DurationOrOff { min, max } => {
            format!(
                "duration, {} to {}, or `\"off\"`",
                written(*min),
                written(*max)
            )
        }
        Kind::Seconds { max } => format!("duration of whole seconds, 1s to {max}s"),
        Kind::SecondsOrOffOrTable { max, .. } => {
            format!("duration of whole seconds, 1s to {max}s, `\"off\"`, or table")
        }
        Kind::Dscp => {
            let names: Vec<_> = NAMES.iter().map(|name| format!("`\"{name}\"`")).collect();
            format!("integer, 0 to {DSCP_MAX}, or {}", names.join(", "))
        }
        Kind::Percent { max } => format!("percentage, `\"0%\"` to `\"{max}%\"`"),
        Kind::Size { min, max } => {
            format!("size, {} to {}", size::written(*min), size::written(*max))
        }
        Kind::Choice(names) => choices(names),
        Kind::ChoiceOrBoolean(names) => format!("{}, `true` or `false`", choices(names)),
        Kind::Cores => format!(
            "`\"all\"`, integer from 1 to {}, or string",
            crate::values::cores::CORES_MAX
        ),
        Kind::Text(syntax) => syntax.what.to_owned(),
        Kind::TextOrTexts { of, max } => format!("{}, or array of 1 to {max}", of.what),
        Kind::Texts { of, max } => format!("array of 1 to {max} {}", of.what),
        Kind::TextsOrTables { of, max, .. } => {
            format!("array of 1 to {max}, each {} or table", of.what)
        }
        Kind::Ports { max } => {
            format!("port, range such as `\"8000-8010\"`, or array of 1 to {max}")
        }
        Kind::Statuses { max } => {
            format!("array of 1 to {max}, each a status or a range such as `\"200-299\"`")
        }
        Kind::Tables { max, .. } => format!("array of 1 to {max} tables"),
        Kind::Weights { highest, max } => {
            format!("table of 1 to {max} names, each with an integer from 0 to {highest}")
        }
        Kind::Table(_) => "table".to_owned(),
        Kind::Named { max, .. } => {
            format!("1 to {max} tables with names: 1 to {NAME_BYTES_MAX} of `A-Z a-z 0-9 _ . -`")
        }
    }
}

fn choices(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`\"{name}\"`")).collect();
    names.join(", ")
}

pub(super) fn default(key: &Key) -> String {
    match key.absent {
        Absent::Required => "required".to_owned(),
        Absent::Default(value) => format!("`{value}`"),
        Absent::Means(absence) => absence.to_owned(),
        Absent::Empty => String::new(),
    }
}

//! `corelane ctl`: the client of the API, with tables.

mod table;
mod words;

use std::time::Duration;

use proxy_console::{errln, outln};
use proxy_state::client::Question;
use serde_json::Value;

use self::table::Table;
use crate::target::Target;

/// How long each step of a question may take that nothing has to be waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The status that says that the caller may not.
const FORBIDDEN: u16 = 403;

/// A question, and how its answer is shown.
#[derive(Clone, Debug)]
pub struct Order {
    /// "GET", "POST", ….
    pub method: &'static str,
    /// Below `/api/v1/`, with the query.
    pub path: String,
    /// JSON; none: there is no body.
    pub body: Option<Value>,
    /// How the answer is shown.
    pub show: Show,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// What was done, in words.
    Message,
    /// A list under this key, a line each.
    Rows(&'static str),
    /// An object, a line for each of its keys.
    Object,
    /// The text under this key, as it is.
    Text(&'static str),
    /// Lines under this key, or these words where there are none.
    Lines(&'static str, &'static str),
    /// All of it, as JSON.
    Whole,
}

impl Order {
    /// Something to look at.
    pub fn get(path: impl Into<String>, show: Show) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            body: None,
            show,
        }
    }
}

/// Asks, and prints the answer to stdout, or what is wrong to stderr. Returns whether it was done.
///
/// # Errors
/// When nobody answers, with what to do.
pub fn run(target: &Target, order: &Order, is_json: bool) -> anyhow::Result<bool> {
    let question = Question {
        method: order.method.to_owned(),
        path: format!("/api/v1/{}", order.path),
        body: order
            .body
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default(),
        token: target.token(),
    };
    let answer = target.ask(&question, PATIENCE)?;
    let read = serde_json::from_str(&answer.body);
    if read.is_err() && answer.status == FORBIDDEN {
        // Who may not even ask is told so in plain words.
        errln!("{}", answer.body.trim_end());
        return Ok(false);
    }
    let value: Value = read.map_err(|_| {
        anyhow::anyhow!(
            "{} answers {} without JSON: is this a corelane of this version?",
            target.shown(),
            answer.status
        )
    })?;
    if !(200..300).contains(&answer.status) {
        let words = value["error"].as_str().unwrap_or(&answer.body);
        errln!("{}", if is_json { &answer.body } else { words });
        return Ok(false);
    }
    if is_json {
        outln!("{value:#}");
    } else {
        show(&value, order.show);
    }
    Ok(true)
}

/// How long a shell waits for names.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);

/// What stands under a key in each row of a list that a path answers; nothing where nobody answers.
pub fn names(target: &Target, path: &str, list: &str, key: &str) -> Vec<String> {
    let question = Question {
        method: "GET".to_owned(),
        path: format!("/api/v1/{path}"),
        ..Question::default()
    };
    let answer = target.ask(&question, NAMES_PATIENCE);
    let value = answer
        .ok()
        .and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok());
    let value = value.unwrap_or_default();
    let rows = value[list].as_array().map_or(&[][..], Vec::as_slice).iter();
    let names = rows.map(|row| words::of(key, &row[key]));
    names.filter(|name| name != "-").collect()
}

fn show(value: &Value, how: Show) {
    match how {
        Show::Message => outln!("{}", value["message"].as_str().unwrap_or_default()),
        Show::Whole => outln!("{value:#}"),
        Show::Text(key) => outln!("{}", value[key].as_str().unwrap_or_default().trim_end()),
        Show::Lines(key, none) => {
            let lines = value[key].as_array().map_or(&[][..], Vec::as_slice);
            for line in lines {
                outln!("{}", words::of(key, line));
            }
            if lines.is_empty() {
                outln!("{none}");
            }
        }
        Show::Rows(key) => {
            let rows = value[key].as_array().map_or(&[][..], Vec::as_slice);
            outln!("{}", Table::of(rows).to_string().trim_end());
            let total = value["total"].as_u64().unwrap_or_default();
            let more = total.saturating_sub(rows.len() as u64);
            if more > 0 {
                outln!("and {more} more; --limit and --offset show others");
            }
        }
        Show::Object => {
            for (key, value) in value.as_object().into_iter().flatten() {
                match value.as_array() {
                    Some(rows) if rows.iter().any(Value::is_object) => {
                        outln!("{key}:\n{}", Table::of(rows).to_string().trim_end());
                    }
                    _ => outln!("{key}: {}", words::of(key, value)),
                }
            }
        }
    }
}

//! What was found, and how it is shown.

use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// What is there, and what that means.
    pub(crate) found: String,
    /// The command or the line that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Ok,
    /// The proxy runs, and has less than it could.
    Warn,
    /// It doesn't start, or doesn't do what is configured.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}

impl Finding {
    pub(crate) fn new(name: &'static str, level: Level, found: impl Into<String>) -> Self {
        Self {
            name,
            level,
            found: found.into(),
            mend: None,
        }
    }

    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Level::Ok, found)
    }

    pub(crate) fn warn(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Level::Warn, found)
    }

    pub(crate) fn fail(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Level::Fail, found)
    }

    pub(crate) fn mend(self, mend: impl Into<String>) -> Self {
        Self {
            mend: Some(mend.into()),
            ..self
        }
    }
}

/// A line each, and one more for what mends it.
pub(crate) fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for Finding {
        name,
        level,
        found,
        mend,
    } in findings
    {
        let _ = writeln!(text, "{level:<5} {name:<width$}  {found}");
        if let Some(mend) = mend {
            let _ = writeln!(text, "{:5} {:width$}  mend: {mend}", "", "");
        }
    }
    text
}

/// The same for programs.
pub(crate) fn json(findings: &[Finding], is_healthy: bool) -> String {
    let shown = json!({ "ok": is_healthy, "findings": findings });
    format!("{shown:#}\n")
}

//! `[access_log]`: a line for each connection, at its end.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::choice::choices;
use crate::raw::read::{Read, string};
use crate::raw::section::Section;
use crate::values::template::{Template, template};

/// The access log's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `path`: where the lines go.
    pub destination: Destination,
    /// `format`, and `template` for text.
    pub format: Format,
    /// `queue`: how many lines may wait to be written; more are dropped and counted.
    pub queue: NonZeroU32,
}

/// Where the lines go; displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file: an absolute path. Lines are appended, and it is made if it doesn't exist.
    File(PathBuf),
}

/// What a line looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Text, by a template.
    Text(Template),
    /// A JSON object with every field.
    Json,
}

choices! {
    /// The names of the formats.
    pub(crate) enum FormatName {
        Text = "text",
        Json = "json",
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str(STDOUT),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

const STDOUT: &str = "stdout";
const PATH: &str = "\"stdout\" or the absolute path of a file";
/// Reads the section, if it is written; it is absent as well if a problem was found.
pub(crate) fn read(root: &mut Section<'_>) -> Option<AccessLog> {
    root.optional_section("access_log", read_section)?
}

fn read_section(section: &mut Section<'_>) -> Option<AccessLog> {
    let destination = section.optional("path");
    let name = section.value("format");
    let template = read_template(section, name);
    let queue = section.value("queue");
    Some(AccessLog {
        destination: destination?,
        format: match name {
            FormatName::Text => Format::Text(template),
            FormatName::Json => Format::Json,
        },
        queue,
    })
}

fn read_template(section: &mut Section<'_>, format: FormatName) -> Template {
    let written = section.node("template");
    if let (FormatName::Json, Some(node)) = (format, &written) {
        let path = node.path();
        node.report(format!(
            "`{path}` is for format = \"text\"; remove it, or the format"
        ));
    }
    let template = written.and_then(|node| node.read(template));
    template.unwrap_or_default()
}

impl Read for Destination {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        destination(value)
    }
}

fn destination(value: &DeValue<'_>) -> Result<Destination, Refusal> {
    let written = string(value, PATH)?;
    if written == STDOUT {
        Ok(Destination::Stdout)
    } else if written.starts_with('/') && !written.ends_with('/') && !written.contains('\0') {
        Ok(Destination::File(PathBuf::from(written)))
    } else {
        Err(Refusal::new(PATH, value))
    }
}

//! `[access_log]`: a line for each connection, at its end.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use toml::de::DeValue;

use crate::refusal::Refusal;
use crate::section::Section;
use crate::template::{Template, template};
use crate::value::{choice, integer, string};

/// The access log's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `path`: where the lines go.
    pub destination: Destination,
    /// `format`, and `template` for text.
    pub format: Format,
    /// `queue`: how many lines may wait to be written, from 1 to 1048576; more are dropped and
    /// counted. Each costs some 200 bytes of memory from the start. Default 8192.
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

/// The names of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Text,
    Json,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str(STDOUT),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for FormatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

const STDOUT: &str = "stdout";
const PATH: &str = "\"stdout\" or the absolute path of a file";
const PATH_ADVICE: &str =
    "write where the lines go, as in path = \"/var/log/corelane/access.log\" or path = \"stdout\"";
const QUEUE_MAX: u64 = 1 << 20;
const QUEUE_DEFAULT: NonZeroU32 = NonZeroU32::new(8192).unwrap();

/// Reads the section, if it is written; it is absent as well if a problem was found.
pub(crate) fn read(root: &mut Section<'_>) -> Option<AccessLog> {
    root.node("access_log")?.section(read_section)
}

fn read_section(section: &mut Section<'_>) -> Option<AccessLog> {
    let destination = section
        .required_node("path", PATH_ADVICE)
        .and_then(|node| node.read(destination));
    let name = section.or("format", FormatName::Text, |value| {
        choice(value, &[FormatName::Text, FormatName::Json])
    });
    let written = section.node("template");
    if let (FormatName::Json, Some(node)) = (name, &written) {
        let path = node.path();
        node.report(format!(
            "`{path}` is for format = \"text\"; remove it, or the format"
        ));
    }
    let template = written.and_then(|node| node.read(template));
    let queue = section.or("queue", QUEUE_DEFAULT, |value| {
        integer(value, 1..=QUEUE_MAX)
    });
    Some(AccessLog {
        destination: destination?,
        format: match name {
            FormatName::Text => Format::Text(template.unwrap_or_default()),
            FormatName::Json => Format::Json,
        },
        queue,
    })
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

//! `include`: which files a file wants to be read with it.

use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::node::Node;
use crate::raw::read::string;

/// The most values of an `include`.
pub const INCLUDES_MAX: usize = 64;

/// How deep files may include each other. The first one is at 0.
pub const INCLUDE_DEPTH_MAX: usize = 8;

const PATTERN: &str = "the path of a file, or of several with * and ?, such as \"conf.d/*.toml\"";

/// What a file includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The path of a file, or of several with `*` and `?`; relative to the file that includes it. Not empty.
    pub pattern: String,
    /// The file that includes it, as it was named.
    pub by: String,
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl Include {
    /// Whether it may be any number of files, none too.
    pub fn is_pattern(&self) -> bool {
        self.pattern.contains(['*', '?', '['])
    }
}

/// What the file `by`, which is `depth` files deep, includes. `advice` says what to write.
pub(super) fn read(node: Node<'_>, advice: &'static str, by: &str, depth: usize) -> Vec<Include> {
    let nodes = node.elements(INCLUDES_MAX, advice);
    let wanted = nodes.iter().filter_map(|node| {
        let pattern = node.read(pattern)?;
        if depth >= INCLUDE_DEPTH_MAX {
            node.report(format!(
                "`{}` is {INCLUDE_DEPTH_MAX} files deep already; include it in a file further up",
                node.path()
            ));
            return None;
        }
        Some(Include {
            pattern,
            by: by.to_owned(),
            at: node.place().at,
            depth: depth + 1,
        })
    });
    wanted.collect()
}

fn pattern(value: &DeValue<'_>) -> Result<String, Refusal> {
    let written = string(value, PATTERN)?;
    if written.is_empty() || written.contains('\0') || written.ends_with('/') {
        return Err(Refusal::new(PATTERN, value));
    }
    if written.contains("**") {
        let advice = "folders are not searched for more; name each of them".to_owned();
        return Err(Refusal::new(PATTERN, value).advise(advice));
    }
    Ok(written.to_owned())
}

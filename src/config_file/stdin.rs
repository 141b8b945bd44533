//! Standard input in place of a file.

/// How standard input is written in place of a file.
pub(crate) const STDIN: &str = "-";

/// What problems call standard input, as compilers do.
pub(super) const STDIN_NAME: &str = "<stdin>";

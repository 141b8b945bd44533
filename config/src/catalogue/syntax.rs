//! Syntaxes that keys of several tables share.

use super::key::Syntax;

/// A user.
pub(crate) const USER: Syntax = Syntax {
    what: "user",
    ..GROUP
};

/// A group.
pub(crate) const GROUP: Syntax = Syntax {
    what: "group",
    accepted: &["adm", "corelane-admin", "1000"],
    refused: &["", "a b", "-a", "4294967295"],
    pattern: "^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
};

//! Some connections, and where they go: what variables come to.

use super::super::intersection::Condition;
use super::super::origin::Origin;

/// Some connections, and where they go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub(super) conditions: Vec<Condition>,
    pub(super) to: To,
    pub(super) from: Origin,
}

impl Branch {
    /// A branch to a value.
    pub(super) fn new(conditions: Vec<Condition>, to: &str, from: &Origin) -> Self {
        Self {
            conditions,
            to: To::Value(to.to_owned()),
            from: from.clone(),
        }
    }

    /// Whether both are one route: they differ in the values of their only condition.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let key = |branch: &Self| match &branch.conditions[..] {
            [(key, _)] => Some(*key),
            _ => None,
        };
        self.to == other.to && key(self).is_some() && key(self) == key(other)
    }
}

/// Where a branch leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum To {
    /// What a variable is; nothing where it is empty.
    Value(String),
    /// By weight.
    Split(Vec<(String, u64)>),
}

//! Some connections, and where they go.

use super::intersection::Condition;
use super::origin::Origin;

/// Connections that meet conditions, and where they go: `T` is what the original can lead to.
#[derive(Debug, Clone)]
pub(super) struct Case<T> {
    pub(super) conditions: Vec<Condition>,
    pub(super) to: T,
    pub(super) from: Origin,
}

impl<T> Case<T> {
    /// Whether it takes every connection.
    pub(super) fn is_rest(&self) -> bool {
        self.conditions.is_empty()
    }
}

impl<T: PartialEq> Case<T> {
    /// Whether both are one route: they differ in the values of their only condition.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let key = |case: &Self| match &case.conditions[..] {
            [(key, _)] => Some(*key),
            _ => None,
        };
        self.to == other.to && key(self).is_some() && key(self) == key(other)
    }
}

//! What is logged, as people see it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// What is logged.
#[derive(Debug, Default)]
pub struct Log(Mutex<LogView>);

/// The levels that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogView {
    /// Of all modules that no other one is given for.
    pub level: String,
    /// Of some modules.
    pub modules: BTreeMap<String, String>,
}

impl Log {
    /// What is in force.
    pub fn shown(&self) -> LogView {
        self.lock().clone()
    }

    /// This is in force now.
    pub fn set(&self, view: LogView) {
        *self.lock() = view;
    }

    fn lock(&self) -> MutexGuard<'_, LogView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

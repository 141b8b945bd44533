//! Whether workers turn: each is asked, and answers when it has its turn.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Asks the workers of a scheduler for a sign of life. It may outlive the scheduler.
pub trait Pulse: Debug + Send + Sync {
    /// Asks all of them, which wakes those that sleep.
    fn ask(&self) -> Box<dyn Asked>;
}

/// What was asked of the workers.
pub trait Asked: Send {
    /// Those that have not shown since then that they turn, by index.
    fn silent(&self) -> Vec<usize>;
}

/// The answers of workers that were asked one by one.
#[derive(Clone, Debug)]
pub struct Answers(Arc<[AtomicBool]>);

impl Answers {
    /// None has answered.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| AtomicBool::new(false)).collect())
    }

    /// A worker answers.
    pub fn give(&self, worker: usize) {
        self.0[worker].store(true, Relaxed);
    }
}

impl Asked for Answers {
    fn silent(&self) -> Vec<usize> {
        let answers = self.0.iter().enumerate();
        let silent = answers.filter(|(_, answer)| !answer.load(Relaxed));
        silent.map(|(worker, _)| worker).collect()
    }
}

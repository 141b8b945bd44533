//! Who asks for a reload, and who waits until there can be one.

use std::collections::VecDeque;

use proxy_admin::commands::{Command, Reply, Wish};

/// Commands that wait for the end of a switch; one more is told to come later, so that there is always a place for a check.
const WAITING_MAX: usize = 8;

/// Who asks.
pub(super) enum Asked {
    /// A signal, or a file that was replaced, as events name it.
    Silently(Wish, &'static str),
    /// Somebody who is told what came of it.
    By(Command),
}

/// Those that wait, the first to come first. Of those that ask silently there is one at most for each wish.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Asked>);

impl Asked {
    pub(super) fn wish(&self) -> Wish {
        match self {
            Self::Silently(wish, _) => wish.clone(),
            Self::By(command) => command.wish.clone(),
        }
    }

    /// Who it is, as events name them.
    pub(super) fn by(&self) -> &str {
        match self {
            Self::Silently(_, who) => who,
            Self::By(command) => &command.by,
        }
    }

    pub(super) fn answer(self, reply: Reply) {
        if let Self::By(command) = self {
            command.answer(reply);
        }
    }
}

impl Waiting {
    pub(super) fn add(&mut self, asked: Asked) {
        let is_silent = |asked: &Asked| matches!(asked, Asked::Silently(..));
        let silent = self.0.iter().filter(|asked| is_silent(asked)).count();
        if is_silent(&asked) {
            let mut silently = self.0.iter().filter(|asked| is_silent(asked));
            if !silently.any(|other| other.wish() == asked.wish()) {
                self.0.push_back(asked);
            }
        } else if self.0.len() - silent < WAITING_MAX {
            self.0.push_back(asked);
        } else {
            let words =
                format!("{WAITING_MAX} commands wait for the switch that runs; try again later\n");
            asked.answer(Reply::Busy(words));
        }
    }

    /// The first that waits.
    pub(super) fn next(&mut self) -> Option<Asked> {
        self.0.pop_front()
    }
}

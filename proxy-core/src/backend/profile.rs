//! What a scheduler is called and what it can do.

/// All that the rest of the proxy knows of the scheduler that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// One word for it, which no other scheduler has.
    pub name: &'static str,
    /// The label `scheduler`.
    pub scheduler: &'static str,
    /// The label `mode`.
    pub mode: &'static str,
    /// How its cores come to have the same load.
    pub evening: Evening,
    /// Whether it weighs listeners by their shares in queues of its own. Where it doesn't, a listener with fewer shares
    /// forwards less in a turn.
    pub queues: bool,
    /// The sockets that it wants at each bind address.
    pub sockets: BindSockets,
}

/// How a scheduler evens out the load of its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evening {
    /// Idle workers take the work of busy ones.
    Steals,
    /// Hot cores give live connections to cooler ones.
    Moves,
    /// They could, and the configuration says no: this is what to change in it.
    CouldMove(&'static str),
    /// Connections stay where they were accepted.
    Nothing,
}

/// How many sockets a scheduler wants at a bind address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindSockets {
    /// All workers accept from one.
    One,
    /// Each worker accepts from its own.
    OneAWorker,
}

/// The scheduler whose idle workers take the work of busy ones, for people who want it. Where schedulers are chosen, it is
/// known which one that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stealing {
    /// The name of the advice to use it.
    pub advice: &'static str,
    /// The keys that choose it, as they are written.
    pub keys: &'static str,
}

impl Profile {
    /// Whether idle workers take the work of busy ones, so that a connection runs on any core.
    pub fn steals(&self) -> bool {
        self.evening == Evening::Steals
    }
}

impl BindSockets {
    /// How many that is.
    pub fn count(self, workers: usize) -> usize {
        match self {
            Self::One => 1,
            Self::OneAWorker => workers,
        }
    }
}

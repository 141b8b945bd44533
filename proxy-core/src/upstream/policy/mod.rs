//! How a server is chosen: pure code over what is known of each.

#[cfg(test)]
mod fleet;
pub(crate) mod group;
pub(crate) mod hash;
pub(crate) mod maglev;
pub(crate) mod random;
pub(crate) mod ranking;
pub(crate) mod turns;

/// How an upstream's servers are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each server in turn, by weight.
    #[default]
    RoundRobin,
    /// The server with the fewest connections for its weight; equals take turns.
    LeastConnections,
    /// Of two that are drawn by weight, the one that is better by [`CompareBy`].
    RandomTwo,
    /// The same one for the same client, as a table says.
    SourceHash,
    /// The first one that is not full.
    First,
}

/// What [`Balance::SourceHash`] goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address: the one that was announced, if it was.
    #[default]
    Source,
    /// The address of who has connected.
    Peer,
    /// The server name of TLS; without one, the client's address.
    Sni,
}

/// What tells the better one of two, under [`Balance::RandomTwo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompareBy {
    /// Its connections, for its weight.
    #[default]
    Connections,
    /// How long connects to it take lately, times its connections for its weight.
    ConnectTime,
}

/// What policies ask of a pool's places.
pub(crate) trait Places {
    /// Whether a server may be picked now.
    fn can_serve(&self, place: usize) -> bool;
    /// Its weight now, in 256ths.
    fn weight(&self, place: usize) -> u64;
    /// The same without regard to how new it is.
    fn whole_weight(&self, place: usize) -> u64;
    /// Whether it takes the turn that it has: not each while it is new, or where its agent gives it less than its weight.
    fn takes_turn(&self, place: usize) -> bool;
    /// Whether it keeps what falls to it by this hash: not all where its agent gives it less than its weight.
    fn keeps(&self, place: usize, hash: u64) -> bool;
    /// Its connections now.
    fn connections(&self, place: usize) -> u64;
    /// What a connect to it takes lately, in nanoseconds; none: none was measured.
    fn connect_time(&self, place: usize) -> Option<u64>;
}

/// Which of a connection's tries a server is picked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// It takes a turn.
    First,
    /// Another server has failed. It leaves the turns alone.
    Another,
}

/// How loaded a server would be with one more connection, by its weight. What is equal as a fraction is equal here.
pub(crate) fn pressure(connections: u64, weight: u64) -> u64 {
    // Weights are below 2^17, so that fractions which differ do so by more than is cut off.
    ((connections.min(CONNECTIONS_MAX) + 1) << PRESSURE_BITS) / weight.max(1)
}

const PRESSURE_BITS: u32 = 36;

/// What is compared at most.
const CONNECTIONS_MAX: u64 = (1 << (u64::BITS - PRESSURE_BITS)) - 2;

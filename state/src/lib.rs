//! What a proxy shows of itself, as plain data: the admin server writes it, the live page and the tools read it.

#[cfg(feature = "client")]
pub mod client;
mod imbalance;
mod judge;
pub mod limits;
mod model;

pub use self::imbalance::Imbalance;
pub use self::judge::{Balance, Judgement, greatest};
pub use self::limits::Limits;
pub use self::model::{
    Closing, Connection, Connections, Core, Figures, Finding, HISTORY_MAX, HOUR_MAX, HOUR_STEP,
    Level, Listener, Point, ROUTES_SHOWN_MAX, Route, SERVERS_SHOWN_MAX, Server, State, Target,
    Upstream,
};

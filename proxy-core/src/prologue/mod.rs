//! What a client says before it has a server: pure, bounded parsers, without a socket and without a clock.
//!
//! The [`Machine`] has them read what came, one after the other: a header of the PROXY protocol where the listener accepts one,
//! then what comes before TLS, then a ClientHello where routes ask for what it says.
//! It is part of a connection in this phase only, and there is none where the listener has to hear nothing.

mod machine;
mod parsed;
pub mod proxy_protocol;
mod settings;
pub mod starttls;
pub mod tls;

pub use self::machine::{Heard, Machine, Step};
pub use self::parsed::Parsed;
pub use self::settings::{
    AcceptProxy, Expected, HelloSettings, NotTls, PROLOGUE_TIMEOUT, PrologueSettings, Untrusted,
};

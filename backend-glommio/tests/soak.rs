//! Connections that go from core to core for as long as `CORELANE_SOAK_SECONDS` says: a process of its own, as its
//! descriptors are counted.

#[allow(dead_code, reason = "it starts what does not move, too")]
mod backends;
mod restless;

use conformance::{Real, resources};
use restless::Restless;

#[test]
fn connections_survive_moves() {
    conformance::run::<Real<Restless>>(resources::connections_survive_moves::<Restless>);
}

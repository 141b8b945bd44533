//! Ports for services that can't be told to take any free one.

use std::net::{Ipv4Addr, SocketAddr};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

/// Below the kernel's ephemeral range (32768 and up), so that no outgoing connection of another test takes the
/// port between this look and the service's bind.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// From here on ports are the kernel's choice.
pub(crate) const CHOSEN: u16 = 32_768;

/// A port that nobody listens on. Test processes start looking at different places.
pub(crate) fn free() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + process::id().wrapping_mul(7_919).wrapping_add(step) % COUNT;
        let port = u16::try_from(port).expect("below 65536");
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// It is bound, and never listened on: a process that another test starts just now has the socket, too, until it runs its
/// program, and who connects meanwhile is to be refused.
fn is_free(port: u16) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    socket.bind(&address.into()).is_ok()
}

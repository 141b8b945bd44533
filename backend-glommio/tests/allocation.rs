//! Forwarding without allocations: a process of its own, as all its allocations are counted.

mod backends;

use backends::{Epoll, Glommio};
use conformance::{Real, resources};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn glommio() {
    conformance::run::<Real<Glommio>>(resources::messages_allocate_nothing::<Glommio>);
}

#[test]
fn glommio_epoll() {
    conformance::run::<Real<Epoll>>(resources::messages_allocate_nothing::<Epoll>);
}

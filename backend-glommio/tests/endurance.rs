//! Tens of thousands of short connections: a process of its own, as its memory is measured.

mod backends;

use backends::{Epoll, Glommio};
use conformance::{Real, resources};

#[test]
fn glommio() {
    conformance::run::<Real<Glommio>>(resources::many_short_connections::<Glommio>);
}

#[test]
fn glommio_epoll() {
    conformance::run::<Real<Epoll>>(resources::many_short_connections::<Epoll>);
}

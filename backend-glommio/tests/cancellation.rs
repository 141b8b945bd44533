//! A proxy that is dropped leaves no descriptor: a process of its own, as it counts them.

mod backends;

use backends::{Epoll, Glommio};
use conformance::{Real, resources};

#[test]
fn glommio() {
    conformance::run::<Real<Glommio>>(resources::cancellation::<Glommio>);
}

#[test]
fn glommio_epoll() {
    conformance::run::<Real<Epoll>>(resources::cancellation::<Epoll>);
}

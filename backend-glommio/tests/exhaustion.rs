//! No descriptor left: a process of its own, as its limit is lowered.

mod backends;

use backends::{Epoll, Glommio};
use conformance::{Real, resources};

#[test]
fn glommio() {
    conformance::run::<Real<Glommio>>(resources::descriptor_exhaustion::<Glommio>);
}

#[test]
fn glommio_epoll() {
    conformance::run::<Real<Epoll>>(resources::descriptor_exhaustion::<Epoll>);
}

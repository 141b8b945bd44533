//! The conformance suite on Glommio, with each source of readiness.

mod backends;

use backends::{Epoll, Glommio};
use conformance::Real;

conformance::suite!(glommio, Real<Glommio>);
conformance::real_suite!(glommio_sockets, Real<Glommio>);
conformance::suite!(glommio_epoll, Real<Epoll>);
conformance::real_suite!(glommio_epoll_sockets, Real<Epoll>);

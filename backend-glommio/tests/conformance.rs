//! The conformance suite on Glommio, with each source of readiness.

mod backends;
mod restless;

use backends::{Epoll, Glommio};
use conformance::Real;
use restless::Restless;

conformance::suite!(glommio, Real<Glommio>);
conformance::real_suite!(glommio_sockets, Real<Glommio>);
conformance::suite!(glommio_epoll, Real<Epoll>);
conformance::real_suite!(glommio_epoll_sockets, Real<Epoll>);

// The same while every connection goes from core to core: no case may notice.
conformance::suite!(glommio_restless, Real<Restless>);
conformance::real_suite!(glommio_restless_sockets, Real<Restless>);

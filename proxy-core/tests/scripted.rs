//! The conformance suite on a scripted socket, with no descriptor and no clock.

use conformance::Scripted;

conformance::suite!(scripted, Scripted);

//! What `server` blocks share.

use super::super::names::Names;
use super::directive::Directive;
use super::upstream::Upstreams;

/// What `server` blocks share.
pub(super) struct Around<'d> {
    /// The directives of `stream {}`.
    pub(super) stream: &'d [Directive],
    pub(super) upstreams: Upstreams<'d>,
    pub(super) names: Names,
}

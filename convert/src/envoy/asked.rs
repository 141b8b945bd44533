//! Chains as they are read: what each asks for, and where it leads.

use ipnet::IpNet;

use super::super::origin::Origin;

/// Where a chain leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum To {
    Upstream(String),
    Split(Vec<(String, u64)>),
    /// It is left out, and its clients are refused.
    Reject,
}

/// What a chain asks of a connection; nothing of what is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) port: Option<u16>,
    pub(super) names: Vec<String>,
    /// With TLS, or without.
    pub(super) is_tls: Option<bool>,
    pub(super) protocols: Vec<String>,
    pub(super) peers: Vec<IpNet>,
    pub(super) sources: Vec<IpNet>,
}

/// A chain.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) asked: Asked,
    pub(super) to: To,
    pub(super) from: Origin,
}

/// Some connections, and where they go.
pub(super) type Case = super::super::case::Case<To>;

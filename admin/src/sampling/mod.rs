//! What needs two looks: utilization, imbalance, rates, and what happened lately. One thread looks once a second.

pub(crate) mod history;
pub(crate) mod load;
pub(crate) mod origin;
pub(crate) mod rates;
pub(crate) mod recent;
pub(crate) mod sampler;
pub(crate) mod sums;
pub(crate) mod threads;

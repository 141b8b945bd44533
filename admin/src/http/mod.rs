//! HTTP on the admin server's address: who may ask, which paths there are, and what each answers.

pub(crate) mod answer;
pub(crate) mod clients;
pub(crate) mod events;
pub(crate) mod hosts;
pub(crate) mod paths;
mod ready;
pub(crate) mod security;
pub(crate) mod server;

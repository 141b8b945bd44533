//! End-to-end tests of corelane: the real binary, real sockets and real services, under each scheduler.
//!
//! `bash tests/run` installs the services; `CORELANE_BINARY` names another build of the proxy to test.

#![allow(
    clippy::disallowed_methods,
    reason = "the rules about clocks are for the proxy; these are the peers of it"
)]

mod access;
mod access_log;
mod address;
mod admin;
mod admission;
mod adviser;
mod agent;
mod back_pressure;
mod bad_start;
mod balance;
mod bandwidth;
mod checks;
mod churn;
mod command;
mod compare;
mod config_file;
mod connections;
mod console;
mod cpu;
mod death;
mod demo;
mod descriptors;
mod discovery;
mod drain;
mod duplex;
mod ejection;
mod examples;
mod failover;
mod findings;
mod half_close;
mod harness;
mod health;
mod idle;
mod include;
mod io_uring;
mod iperf;
mod keepalive;
mod last_words;
mod leak;
mod limit;
mod many_servers;
mod memory;
mod network_options;
mod nginx;
mod nodelay;
mod order;
mod page;
mod pause;
mod placement;
mod policies;
mod postgres;
mod prometheus;
mod proxy_protocol;
mod quiet;
mod rebalance;
mod recovery;
mod redis;
mod reload;
mod reload_admin;
mod reload_around;
mod reload_effects;
mod reload_listeners;
mod reload_settings;
mod reset;
mod retries;
mod ring;
mod routes;
mod self_connect;
mod sequences;
mod series;
mod service;
mod socket_options;
mod sources;
mod start;
mod start_order;
mod switch;
mod switch_around;
mod switch_connecting;
mod switch_refused;
mod takeover;
mod times;
mod top;
mod truth;
mod turns;
mod unanswered;
mod unnoticed;
mod upstream_failure;
mod urgent;
mod watch;

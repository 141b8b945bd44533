//! TCP options of either side, as they are written.

use super::text::{duration, quoted};
use crate::sections::socket::{Keepalive, SocketOptions};
use crate::values::seconds::Seconds;

pub(super) fn socket_options(options: &SocketOptions) -> Vec<(&'static str, String)> {
    let keepalive = match options.keepalive {
        Keepalive::Off => Some(quoted("off")),
        Keepalive::On {
            idle,
            interval,
            count,
        } => {
            let seconds = |key, seconds: Option<Seconds>| {
                seconds.map(|seconds| format!("{key} = {}", quoted(seconds)))
            };
            let count = count.map(|count| format!("count = {count}"));
            let times = [seconds("idle", idle), seconds("interval", interval), count];
            let times: Vec<_> = times.into_iter().flatten().collect();
            (!times.is_empty()).then(|| format!("{{ {} }}", times.join(", ")))
        }
    };
    let values = [
        ("keepalive", keepalive),
        ("user_timeout", options.user_timeout.map(duration)),
        ("notsent_lowat", options.notsent_lowat.map(quoted)),
        ("receive_buffer", options.receive_buffer.map(quoted)),
        ("send_buffer", options.send_buffer.map(quoted)),
        ("congestion", options.congestion.as_ref().map(quoted)),
        ("mark", options.mark.map(|mark| mark.to_string())),
        ("dscp", options.dscp.map(|dscp| dscp.to_string())),
        ("interface", options.interface.as_ref().map(quoted)),
    ];
    let written = values.into_iter();
    written
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

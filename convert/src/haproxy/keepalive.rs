//! `option clitcpka` and `srvtcpka`.

use std::time::Duration;

use super::super::plan::{Keys, Said};
use super::super::value::Value;
use super::proxy::Proxy;

/// `option clitcpka` and its times, which are those of `keepalive`.
pub(super) fn keepalive(proxy: &Proxy, option: &'static str, keys: &mut Keys) {
    let Some(line) = proxy
        .options
        .get(option)
        .or_else(|| proxy.options.get("tcpka"))
    else {
        return;
    };
    let of = |what| proxy.numbers.get(format!("{option}-{what}").as_str());
    let mut table = Vec::new();
    for (key, what) in [("idle", "idle"), ("interval", "intvl")] {
        if let Some(Said { value, .. }) = of(what) {
            table.push((key, Duration::from_secs((*value).max(1)).into()));
        }
    }
    if let Some(Said { value, .. }) = of("cnt") {
        table.push(("count", (*value).into()));
    }
    if !table.is_empty() {
        keys.set("keepalive", Value::Table(table), &line.from);
    }
}

//! A workload after a live proxy's metrics.
//!
//! Metrics have no messages. What they have, for each core, is how often it ran a connection and how many bytes it
//! forwarded: a message is taken for what one run forwards, and an exchange for two runs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};

use super::options::{BYTES_MAX, CONNECTIONS_MAX, HEAVY_MAX};
use super::scrape::Page;
use crate::clocks::{now, pause};
use proxy_load::Flows;
use proxy_state::limits::UNEVEN_MIN;

/// Time between the two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(4);

/// Bytes that a run of a bulk connection is taken to forward.
const BULK_RUN_BYTES: f64 = 128.0 * 1024.0;

/// Bytes of a bulk message in the load.
const BULK_MESSAGE_BYTES: usize = 256 * 1024;

/// Spliced bytes a second under which there is no bulk worth a flow of its own.
const BULK_RATE_MIN: f64 = 1e6;

/// Part of a listener's bytes that is spliced, above which all of its connections are bulk, and under which none is.
const BULK_ALL_MIN: f64 = 0.9;
const BULK_ANY_MIN: f64 = 0.1;

/// The longest time between two messages of a flow.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Exchanges a second of all light flows, at least: fewer have no percentiles.
const LIGHT_RATE_MIN: f64 = 20.0;

/// Connections that live longer than this are taken to stay.
const LIFETIME_MAX_SECONDS: f64 = 600.0;

/// A workload, and how it was found.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) light: Flows,
    pub(super) heavy: Flows,
    pub(super) heavy_on_one_core: bool,
    pub(super) notes: Vec<String>,
}

/// Looks twice at the proxy whose admin server is at `admin`; by TLS where its certificate is given, in PEM.
///
/// # Errors
/// When there is none, or it has no load; with what to do.
pub(super) fn record(admin: SocketAddr, certificate: Option<&[u8]>) -> anyhow::Result<Recorded> {
    let missing = || {
        format!(
            "no live proxy answers at [admin] listen = \"{admin}\"; start it with `corelane run` and put it under its \
             load, or describe the load with --connections, --bytes and --heavy instead of --record"
        )
    };
    if admin.port() == 0 {
        bail!(
            "{}; with port 0 it can't be found, so set a port",
            missing()
        );
    }
    let before = Page::fetch(admin, certificate).with_context(missing)?;
    let began = now();
    pause(LOOK_INTERVAL);
    let after = Page::fetch(admin, certificate).with_context(missing)?;
    derive(&before, &after, began.elapsed().as_secs_f64())
}

/// Something that happened between the looks, a second.
struct Rates<'a> {
    before: &'a Page,
    after: &'a Page,
    seconds: f64,
}

impl Rates<'_> {
    fn of(&self, counter: &str, label: Option<(&str, &str)>) -> f64 {
        let grown = self.after.sum(counter, label) - self.before.sum(counter, label);
        grown.max(0.0) / self.seconds
    }
}

fn derive(before: &Page, after: &Page, seconds: f64) -> anyhow::Result<Recorded> {
    let rates = Rates {
        before,
        after,
        seconds,
    };
    let bytes = rates.of("corelane_core_bytes_total", None);
    let runs = rates.of("corelane_core_polls_total", None);
    let opened = rates.of("corelane_listener_connections_total", None);
    let average = |page: &Page| page.sum("corelane_listener_connections", None);
    let connections = f64::midpoint(average(before), average(after)).max(1.0);
    let imbalance = after.sum("corelane_core_imbalance_ratio", None);
    if bytes < 1.0 || runs < 0.5 {
        bail!(
            "the live proxy forwards nothing now, so there is no load to take for a model; try again under load, or \
             describe it with --connections, --bytes and --heavy"
        );
    }
    let mut notes = vec![format!(
        "recorded over {seconds:.1} s: {connections:.0} connections, {:.2} MB/s, {opened:.1} new connections/s, λ {imbalance:.2}",
        bytes / 1e6
    )];
    let bulk = bulk(&rates);
    let heavy = match bulk {
        Some((count, rate)) => {
            notes.push(format!(
                "bulk: {:.2} MB/s went through pipes, taken for {count} heavy flows of {BULK_MESSAGE_BYTES} bytes a message",
                rate / 1e6
            ));
            flows(count, BULK_MESSAGE_BYTES as f64, rate, None)
        }
        None if imbalance >= UNEVEN_MIN => hottest(&rates, &mut notes),
        None => flows(0, 1.0, 0.0, None),
    };
    let heavy_rate = flow_bytes(&heavy);
    let bulk_runs = bulk.map_or(0.0, |(_, rate)| rate / BULK_RUN_BYTES);
    let hot_runs = if bulk.is_none() {
        heavy_rate / heavy.bytes as f64
    } else {
        0.0
    };
    let light_bytes = (bytes - heavy_rate).max(1.0);
    let light_runs = (runs - bulk_runs - hot_runs).max(0.5);
    let light_count = (connections - heavy.count as f64).max(1.0);
    // Little's law: how long a connection lives.
    let lifetime = (opened > 0.0).then(|| connections / opened);
    let lifetime = lifetime.filter(|&lifetime| lifetime <= LIFETIME_MAX_SECONDS);
    let mut light = flows(
        light_count as usize,
        light_bytes / light_runs,
        light_bytes,
        lifetime,
    );
    notes.push(format!(
        "estimated, for metrics have no messages: {} bytes a message (bytes forwarded by one run of a connection), {:.0} \
         exchanges/s (half of the runs)",
        light.bytes,
        flow_bytes(&light) / 2.0 / light.bytes as f64
    ));
    let least = Duration::from_secs_f64(light.count as f64 / LIGHT_RATE_MIN);
    if light.interval > Some(least) {
        notes.push(format!(
            "that is too little to measure latencies by: they exchange {LIGHT_RATE_MIN:.0} messages/s in all"
        ));
        light.interval = Some(least);
    }
    if let Some(messages) = light.messages {
        notes.push(format!("a connection lasts {messages} exchanges"));
    }
    if light_count as usize > CONNECTIONS_MAX {
        notes.push(format!(
            "{light_count:.0} connections are more than {CONNECTIONS_MAX}: fewer carry the same load"
        ));
    }
    Ok(Recorded {
        light,
        heavy,
        heavy_on_one_core: imbalance >= UNEVEN_MIN,
        notes,
    })
}

/// Bulk connections and their bytes a second, if there is bulk.
fn bulk(rates: &Rates<'_>) -> Option<(usize, f64)> {
    let (mut count, mut bulk) = (0.0, 0.0);
    let listeners = rates
        .after
        .values("corelane_listener_connections", "listener");
    for listener in listeners {
        let label = Some(("listener", listener));
        let spliced = rates.of("corelane_listener_spliced_bytes_total", label);
        let bytes = rates.of("corelane_listener_bytes_total", label);
        let connections = rates.after.sum("corelane_listener_connections", label);
        let part = spliced / bytes.max(1.0);
        if spliced < BULK_RATE_MIN || part < BULK_ANY_MIN {
            continue;
        }
        bulk += spliced;
        // How many of mixed ones are bulk isn't known.
        count += if part >= BULK_ALL_MIN {
            connections.max(1.0)
        } else {
            1.0
        };
    }
    (bulk > 0.0).then(|| ((count as usize).clamp(1, HEAVY_MAX), bulk))
}

/// What the core that forwards the most has, as heavy flows.
fn hottest(rates: &Rates<'_>, notes: &mut Vec<String>) -> Flows {
    let counter = "corelane_core_bytes_total";
    let bytes_of = |core: &&str| rates.of(counter, Some(("core", core)));
    let cores = rates.after.values(counter, "core");
    let most = cores
        .into_iter()
        .max_by(|a, b| bytes_of(a).total_cmp(&bytes_of(b)));
    let Some(core) = most else {
        return flows(0, 1.0, 0.0, None);
    };
    let label = Some(("core", core));
    let (bytes, runs) = (
        bytes_of(&core),
        rates.of("corelane_core_polls_total", label),
    );
    let count = rates.after.sum("corelane_core_connections", label);
    let part = bytes / rates.of(counter, None).max(1.0);
    let flows = flows(
        (count as usize).clamp(1, HEAVY_MAX),
        bytes / runs.max(0.5),
        bytes,
        None,
    );
    notes.push(format!(
        "uneven: core {core} forwards {:.0} % of the bytes; its {count:.0} connections are taken for {} heavy flows",
        part * 100.0,
        flows.count
    ));
    flows
}

/// `count` flows of `message` bytes a message, which together forward `rate` bytes a second, there and back. They live
/// for `lifetime` seconds, or stay.
fn flows(count: usize, message: f64, rate: f64, lifetime: Option<f64>) -> Flows {
    let count = count.min(CONNECTIONS_MAX);
    let bytes = (message as usize).clamp(1, BYTES_MAX);
    let seconds = count as f64 * 2.0 * bytes as f64 / rate.max(1e-9);
    let interval = Duration::try_from_secs_f64(seconds)
        .map_or(INTERVAL_MAX, |interval| interval.min(INTERVAL_MAX));
    let messages = lifetime.map(|lifetime| ((lifetime / seconds).round() as u64).max(1));
    Flows {
        count,
        bytes,
        interval: Some(interval),
        messages,
    }
}

/// Bytes a second, there and back.
fn flow_bytes(flows: &Flows) -> f64 {
    let interval = flows.interval.unwrap_or(INTERVAL_MAX).as_secs_f64();
    flows.count as f64 * 2.0 * flows.bytes as f64 / interval.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page after `seconds` of: 10 connections of a listener, 2 of another, so many runs and bytes a second on each of
    /// two cores, and spliced bytes of the second listener.
    fn page(
        seconds: f64,
        cores: [(f64, f64); 2],
        spliced: f64,
        opened: f64,
        imbalance: f64,
    ) -> Page {
        let mut text = format!(
            "corelane_core_imbalance_ratio {imbalance}\n\
             corelane_listener_connections{{listener=\"web\"}} 10\ncorelane_listener_connections{{listener=\"bulk\"}} 2\n\
             corelane_listener_connections_total{{listener=\"web\"}} {}\n\
             corelane_listener_bytes_total{{listener=\"web\",direction=\"in\"}} 0\n\
             corelane_listener_bytes_total{{listener=\"bulk\",direction=\"in\"}} {}\n\
             corelane_listener_spliced_bytes_total{{listener=\"bulk\"}} {}\n",
            100.0 + opened * seconds,
            spliced * seconds,
            spliced * seconds,
        );
        for (core, (runs, bytes)) in cores.into_iter().enumerate() {
            text += &format!(
                "corelane_core_connections{{core=\"{core}\"}} 6\n\
                 corelane_core_polls_total{{core=\"{core}\"}} {}\n\
                 corelane_core_bytes_total{{core=\"{core}\",direction=\"in\"}} {}\n",
                1e6 + runs * seconds,
                1e9 + bytes * seconds,
            );
        }
        Page::new(&text)
    }

    fn recorded(cores: [(f64, f64); 2], spliced: f64, opened: f64, imbalance: f64) -> Recorded {
        let at = |seconds| page(seconds, cores, spliced, opened, imbalance);
        derive(&at(0.0), &at(4.0), 4.0).expect("a load")
    }

    #[test]
    fn an_even_load_of_messages() {
        // 1000 exchanges a second of 100 bytes.
        let found = recorded([(1000.0, 1e5); 2], 0.0, 0.0, 0.1);
        assert_eq!((found.light.count, found.light.bytes), (12, 100));
        assert_eq!(found.light.interval, Some(Duration::from_millis(12)));
        assert_eq!(found.light.messages, None);
        assert_eq!((found.heavy.count, found.heavy_on_one_core), (0, false));
        assert!(
            found.notes[0].contains("12 connections, 0.20 MB/s"),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn connections_that_come_and_go() {
        // Each lives for 12 / 120 seconds, and makes an exchange in 12 ms.
        let found = recorded([(1000.0, 1e5); 2], 0.0, 120.0, 0.1);
        assert_eq!(found.light.messages, Some(8));
        assert_eq!(found.light.interval, Some(Duration::from_millis(12)));
    }

    #[test]
    fn bulk_is_told_apart() {
        let bulk = 64e6;
        let runs = 1000.0 + bulk / BULK_RUN_BYTES / 2.0;
        let found = recorded([(runs, 1e5 + bulk / 2.0); 2], bulk, 0.0, 0.8);
        assert_eq!((found.heavy.count, found.heavy_on_one_core), (2, true));
        assert!((flow_bytes(&found.heavy) / bulk - 1.0).abs() < 1e-6);
        assert_eq!(found.light.count, 10);
        assert!((99..=101).contains(&found.light.bytes), "{found:?}");
    }

    #[test]
    fn one_core_s_connections_are_the_heavy_ones() {
        let found = recorded([(100.0, 1e4), (5000.0, 1e7)], 0.0, 0.0, 0.9);
        assert_eq!((found.heavy.count, found.heavy.bytes), (6, 2000));
        assert!((flow_bytes(&found.heavy) / 1e7 - 1.0).abs() < 1e-6);
        assert_eq!((found.light.count, found.light.bytes), (6, 100));
        assert!(
            found.notes[1].contains("core 1 forwards 100 % of the bytes"),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn what_hardly_sends_is_made_to_send_more() {
        let found = recorded([(5.0, 500.0); 2], 0.0, 0.0, 0.0);
        assert_eq!((found.light.count, found.light.bytes), (12, 100));
        assert_eq!(found.light.interval, Some(Duration::from_millis(600)));
        assert!(found.notes[2].contains("too little"), "{:?}", found.notes);
    }

    #[test]
    fn an_idle_proxy_is_no_model() {
        let error = derive(
            &page(0.0, [(0.0, 0.0); 2], 0.0, 0.0, 0.0),
            &page(4.0, [(0.0, 0.0); 2], 0.0, 0.0, 0.0),
            4.0,
        );
        let error = error.expect_err("no load").to_string();
        assert!(error.contains("try again under load"), "{error}");
    }

    #[test]
    fn whatever_is_recorded_is_bounded() {
        let found = flows(1_000_000, 1e12, 1.0, Some(1e-9));
        assert_eq!((found.count, found.bytes), (CONNECTIONS_MAX, BYTES_MAX));
        assert_eq!(
            (found.interval, found.messages),
            (Some(INTERVAL_MAX), Some(1))
        );
        assert_eq!(flows(0, 0.0, 0.0, None).count, 0);
    }
}

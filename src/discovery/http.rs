//! Servers by a page: a list, asked for from time to time, or Consul's health API by blocking queries.

use std::time::Duration;

use proxy_config::HttpUrl;
use tokio::time::sleep;

use super::failure::{Failure, Reason};
use super::fetch::{self, Request};
use super::format;
use super::lookup::Lookup;
use super::report::Said;

/// The paths that are Consul's health API.
const CONSUL: &str = "/v1/health/service/";

/// How long Consul waits for a change until it answers all the same; it adds up to a sixteenth.
const CONSUL_WAIT: Duration = Duration::from_secs(60);

/// How soon Consul is asked again at the earliest: an index that grows without a change would be a busy loop.
const CONSUL_PAUSE: Duration = Duration::from_millis(200);

/// How long an answer may take that nobody is to wait for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon it is asked again after a failure.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Asks for as long as it runs.
pub(super) async fn ask(url: &HttpUrl, interval: Duration, lookup: &Lookup, said: &Said) {
    let is_consul = url.path.starts_with(CONSUL);
    let mut known = Known::default();
    loop {
        let asked = if is_consul {
            consul(url, lookup, &mut known).await
        } else {
            page(url, lookup, &mut known).await
        };
        let (pause, least) = match asked {
            Ok(found) => (
                said.on_found(found),
                if is_consul { CONSUL_PAUSE } else { interval },
            ),
            Err(failure) => {
                known = Known::default();
                said.on_failure(&failure);
                (Duration::ZERO, interval.min(INTERVAL_AFTER_FAILURE))
            }
        };
        sleep(pause.max(least)).await;
    }
}

/// What the last answer was; nothing after a failure, so that the next answer is a whole one.
#[derive(Default)]
struct Known {
    found: Vec<super::found::Found>,
    etag: Option<String>,
    index: Option<u64>,
}

async fn page(
    url: &HttpUrl,
    lookup: &Lookup,
    known: &mut Known,
) -> Result<Vec<super::found::Found>, Failure> {
    let request = Request {
        url,
        path: &url.path,
        etag: known.etag.as_deref(),
        token: None,
        tls: None,
        patience: PATIENCE,
    };
    let answer = fetch::get(request, lookup).await?;
    // Only who was asked for a change may say that there is none.
    if answer.status == 304 && known.etag.is_some() {
        return Ok(known.found.clone());
    }
    let found = format::json(answer.body(url)?)?;
    known.etag = answer.header("etag");
    known.found = found.clone();
    Ok(found)
}

async fn consul(
    url: &HttpUrl,
    lookup: &Lookup,
    known: &mut Known,
) -> Result<Vec<super::found::Found>, Failure> {
    let separator = if url.path.contains('?') { '&' } else { '?' };
    let waits = known.index.map(|index| {
        let seconds = CONSUL_WAIT.as_secs();
        format!("{}{separator}index={index}&wait={seconds}s", url.path)
    });
    let patience = if waits.is_some() {
        CONSUL_WAIT + CONSUL_WAIT / 16 + PATIENCE
    } else {
        PATIENCE
    };
    let request = Request {
        url,
        path: waits.as_deref().unwrap_or(&url.path),
        etag: None,
        token: None,
        tls: None,
        patience,
    };
    let answer = fetch::get(request, lookup).await?;
    let index = answer
        .header("x-consul-index")
        .and_then(|index| index.parse().ok());
    let found = format::consul(answer.body(url)?)?;
    known.index = next_index(known.index, index).ok_or_else(|| {
        Failure::new(
            Reason::Format,
            format!("{url} answers without X-Consul-Index"),
        )
    })?;
    Ok(found)
}

/// The index to wait for: as Consul advises, none after one that has gone back, and never 0.
fn next_index(before: Option<u64>, now: Option<u64>) -> Option<Option<u64>> {
    let now = now?;
    let has_gone_back = before.is_some_and(|before| now < before);
    Some((!has_gone_back).then_some(now.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_back_begins_anew() {
        assert_eq!(next_index(None, Some(7)), Some(Some(7)));
        assert_eq!(next_index(Some(7), Some(7)), Some(Some(7)));
        assert_eq!(next_index(Some(7), Some(3)), Some(None));
        assert_eq!(next_index(None, Some(0)), Some(Some(1)));
        assert_eq!(next_index(Some(7), None), None);
    }
}

//! The page's own connection is cut, or goes silent, while the proxy goes on.

use rustix::process::Signal;

use super::{ANY, LIVE, drawn, open, start, under_load, wait_for};
use crate::harness::browser::Browser;
use crate::harness::proxy::Proxy;
use crate::harness::relay::Relay;
use crate::harness::wait;

/// Points that the page and the proxy keep.
const HISTORY_MAX: u64 = 120;

const AWAY: &str = "document.getElementById('link').textContent === 'connecting…'";

/// The numbers of the points that the page has.
fn history(browser: &mut Browser) -> Vec<u64> {
    let numbers = browser.evaluate("history.map(point => point.number)");
    let numbers = numbers.as_array().expect("an array").iter();
    numbers
        .map(|number| number.as_u64().expect("a number"))
        .collect()
}

/// The number of the newest point that the proxy has.
fn newest(proxy: &Proxy) -> u64 {
    let state: serde_json::Value = serde_json::from_slice(&proxy.get("/state").body).expect("JSON");
    let last = state["history"].as_array().expect("an array").last();
    last.map_or(0, |point| point["number"].as_u64().expect("a number"))
}

/// What the page showed before is there after, what it missed comes with it, and it goes on.
#[test]
fn the_history_is_kept() {
    let proxy = start(ANY);
    let way = Relay::to(proxy.admin());
    let page = format!("http://{}/", way.address());
    let Some(mut browser) = Browser::open(proxy.directory(), &page) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    under_load(&proxy, || {
        wait::until("five seconds are drawn", || drawn(&mut browser) >= 5);
        let drawn_before = drawn(&mut browser);
        way.cut();
        wait_for(&mut browser, "the page says that it is cut off", AWAY);
        let before = history(&mut browser);
        let last = *before.last().expect("a point");
        wait::until("the proxy goes on", || newest(&proxy) >= last + 3);
        assert_eq!(
            history(&mut browser),
            before,
            "it stays while nothing comes"
        );

        way.mend();
        wait_for(&mut browser, "the page is live again", LIVE);
        let goes_on = format!("history.at(-1).number >= {}", newest(&proxy) + 2);
        wait_for(&mut browser, "the history goes on", &goes_on);
        let after = history(&mut browser);
        let last = *after.last().expect("a point");
        let first = before[0].max((last + 1).saturating_sub(HISTORY_MAX));
        let whole: Vec<_> = (first..=last).collect();
        assert_eq!(after, whole, "each second once");
        let drawn = drawn(&mut browser);
        assert!(drawn >= drawn_before, "{drawn} s of {drawn_before}");
    });
    proxy.stop();
}

/// A connection that says nothing more isn't taken for a live one, and is begun again.
#[test]
fn silence_is_noticed() {
    let proxy = start(ANY);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    proxy.signal(Signal::STOP);
    wait_for(&mut browser, "the page says that nothing comes", AWAY);
    proxy.signal(Signal::CONT);
    wait_for(&mut browser, "the page is live again", LIVE);
    proxy.stop();
}

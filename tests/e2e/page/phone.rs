//! The page on a phone.

use super::{ANY, LIVE, open, start, wait_for};
use crate::harness::config::route;
use crate::harness::peer;
use crate::harness::proxy::Proxy;

/// CSS pixels of a usual phone, and the width of the least.
const WIDTH: u32 = 390;
const HEIGHT: u32 = 844;
const WIDTH_MIN: u32 = 320;

/// Bytes of the longest name that a configuration may have.
const NAME_BYTES_MAX: usize = 64;

/// A larger window.
const DESKTOP: (u32, u32) = (1280, 900);

/// Whether each core's strip fills its place, is wholly on the screen, and nothing is in front of it.
const STRIPS_ARE_SEEN: &str = "[...document.querySelectorAll('[data-core] canvas')].every(canvas => {
    const { left, right, top, bottom, width, height } = canvas.getBoundingClientRect();
    const place = canvas.closest('.plot');
    return width >= 200 && height >= 24 && left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight
        && width === place.clientWidth && height === place.clientHeight && canvas.width === width
        && document.elementFromPoint(left + width / 2, top + height / 2).closest('.plot') === place;
})";

/// Who looks sees the cores, before anything is touched.
#[test]
fn the_cores_are_on_the_first_screen() {
    let proxy = start(ANY);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    browser.become_phone(WIDTH, HEIGHT);
    wait_for(&mut browser, "the page is live", LIVE);
    let cores = proxy.metrics().series("corelane_core_info", &[]).count();
    let shown = "document.querySelectorAll('[data-core] canvas').length";
    assert_eq!(browser.evaluate(shown), cores);
    assert_eq!(browser.evaluate("scrollY"), 0);
    wait_for(&mut browser, "the cores are seen", STRIPS_ARE_SEEN);
    assert_eq!(browser.evaluate("scrollY"), 0);
    // The map of many cores has no room of its own where there are few.
    assert_eq!(
        browser.evaluate("document.getElementById('heat').hidden"),
        true
    );
    assert_eq!(
        browser.evaluate("document.getElementById('heat').offsetHeight"),
        0
    );
    let ground = "getComputedStyle(document.body).backgroundColor";
    let before = browser.text(ground);
    browser.touch("document.getElementById('theme')");
    wait_for(
        &mut browser,
        "a touch changes the colours",
        &format!("{ground} !== '{before}'"),
    );
}

/// With names of any length it is no wider than the screen, and each control is large enough for a finger.
#[test]
fn nothing_is_too_wide_or_too_small() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let dead = peer::refusing().to_string();
    let servers = [dead.as_str(), "builtin:echo"];
    let proxy = Proxy::start(ANY, &route(&name, "127.0.0.1:0", &servers, "", ""));
    // Two, so that each server is somebody's first.
    let clients = [proxy.connect(&name), proxy.connect(&name)];
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    browser.become_phone(WIDTH, HEIGHT);
    wait_for(&mut browser, "the page is live", LIVE);
    wait_for(
        &mut browser,
        "the long name is in a finding",
        &format!("document.getElementById('findings').textContent.includes('{name}')"),
    );
    wait_for(
        &mut browser,
        "the connections are there",
        "document.querySelectorAll('#connection-table tbody tr').length === 2",
    );
    for width in [WIDTH, WIDTH_MIN] {
        browser.become_phone(width, HEIGHT);
        // A page that is wider makes a phone's window larger.
        let widths = "[innerWidth, document.documentElement.scrollWidth]";
        assert_eq!(browser.evaluate(widths), serde_json::json!([width, width]));
        browser.evaluate("document.getElementById('core-list').scrollIntoView()");
        let seen = format!("the cores are seen, {width} wide");
        wait_for(&mut browser, &seen, STRIPS_ARE_SEEN);
    }
    let (width, height) = DESKTOP;
    browser.become_desktop(width, height);
    browser.evaluate("document.getElementById('core-list').scrollIntoView()");
    wait_for(&mut browser, "the strips grow", STRIPS_ARE_SEEN);
    browser.become_phone(WIDTH_MIN, HEIGHT);
    let small = "[...document.querySelectorAll('a, button, input, summary')]
        .filter(control => control.checkVisibility() && control.getBoundingClientRect().height < 24)
        .map(control => control.outerHTML).join()";
    assert_eq!(browser.text(small), "");
    drop(clients);
}

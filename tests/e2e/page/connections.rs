//! The table of connections: what is shown of it, in which order.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{ANY, LIVE, open, wait_for};
use crate::harness::browser::Browser;
use crate::harness::config::{forward, route};
use crate::harness::proxy::Proxy;
use crate::harness::wait;

/// Titles, the region that scrolls and what else Tab may stop at before the title that is looked for.
const STOPS_MAX: usize = 20;

/// The title that has the focus.
const FOCUSED: &str = "document.activeElement.closest('#connection-table th')?.textContent ?? ''";

fn exchange(mut stream: &TcpStream, count: usize) {
    stream.write_all(&vec![1; count]).expect("send");
    stream.read_exact(&mut vec![0; count]).expect("receive");
}

/// The clients that are shown, from the top.
fn clients(browser: &mut Browser) -> String {
    browser.text(
        "[...document.querySelectorAll('#connection-table tbody tr')].map(row => row.cells[0].textContent).join()",
    )
}

fn wait_for_clients(browser: &mut Browser, what: &str, wanted: &[&str]) {
    let wanted = wanted.join(",");
    wait::until(what, || clients(browser) == wanted);
}

/// Writes into the filter in the place of what is there.
fn filter(browser: &mut Browser, text: &str) {
    let choose = "(() => { const filter = document.getElementById('filter'); filter.focus(); filter.select(); })()";
    browser.evaluate(choose);
    browser.write(text);
}

#[test]
fn are_filtered_and_sorted_by_keyboard() {
    let other = route("other", "127.0.0.1:0", &["builtin:echo"], "", "");
    let proxy = Proxy::start(ANY, &(forward(&["builtin:echo"]) + &other));
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    let open = |listener, count| {
        let stream = proxy.connect(listener);
        exchange(&stream, count);
        let client = stream.local_addr().expect("address").to_string();
        (stream, client)
    };
    let (first, second) = (open("main", 300), open("main", 100));
    let (third, fourth) = (open("main", 200), open("other", 400));
    let names = [&first.1, &second.1, &third.1, &fourth.1].map(String::as_str);
    wait::until("all bytes of all are shown", || {
        let shown = browser.text(
            "[...document.querySelectorAll('#connection-table tbody tr')]
                .map(row => row.cells[9].textContent).sort().join()",
        );
        shown == "200 B,400 B,600 B,800 B"
    });
    let shown = "document.getElementById('shown').textContent";
    assert_eq!(browser.text(shown), "4");

    for (text, wanted, count) in [
        ("OTHER", &names[3..], "1 of 4"),
        (names[1], &names[1..2], "1 of 4"),
        ("nobody", &[], "0 of 4"),
    ] {
        filter(&mut browser, text);
        wait_for_clients(&mut browser, text, wanted);
        wait::until("their number", || browser.text(shown) == count);
    }
    filter(&mut browser, "main");
    wait::until("the number of main's", || browser.text(shown) == "3 of 4");

    let mut stops = 0;
    while !browser.text(FOCUSED).starts_with("bytes") {
        stops += 1;
        assert!(stops < STOPS_MAX, "Tab doesn't come to the title");
        browser.press("Tab");
    }
    let order = "document.activeElement.closest('th').getAttribute('aria-sort')";
    browser.press("Enter");
    assert_eq!(browser.text(order), "descending");
    assert_eq!(
        clients(&mut browser),
        [names[0], names[2], names[1]].join(",")
    );
    browser.press("Enter");
    assert_eq!(browser.text(order), "ascending");
    assert_eq!(
        clients(&mut browser),
        [names[1], names[2], names[0]].join(",")
    );
    // What comes later goes to its place, and leaves reader and filter where they are.
    exchange(&second.0, 1000);
    wait_for_clients(
        &mut browser,
        "the least has become the greatest",
        &[names[2], names[0], names[1]],
    );
    assert!(browser.text(FOCUSED).starts_with("bytes"));
    assert_eq!(browser.text(shown), "3 of 4");
}

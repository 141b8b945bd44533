//! Routes, and what clients say of themselves: it is shown, and never becomes a part of the page.

use std::io::Write;

use super::{ANY, LIVE, open, wait_for};
use crate::harness::hello::client_hello;
use crate::harness::proxy::Proxy;

/// A name as no browser sends it, and a protocol.
const NAME: &str = "<img/src=x/onerror=window.ran=1>.example";
const PROTOCOL: &[u8] = b"<script>window.ran=1</script>";

const PHONE: (u32, u32) = (390, 844);

const ROUTES: &str = r#"
[listeners.main]
bind = "127.0.0.1:0"
upstream = "own"
[[listeners.main.routes]]
name = "<b onclick='ran=1'>canary"
sni = "*.example"
upstreams = { blue = 90, green = 10 }
[[listeners.main.routes]]
name = "closed"
source = "192.0.2.0/24"
reject = true
[upstreams.own]
servers = ["builtin:echo"]
[upstreams.blue]
servers = ["builtin:echo"]
[upstreams.green]
servers = ["builtin:echo"]
"#;

#[test]
fn are_shown_and_names_are_words_only() {
    let proxy = Proxy::start(ANY, ROUTES);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    let mut client = proxy.connect("main");
    client
        .write_all(&client_hello(NAME, PROTOCOL))
        .expect("send");
    let rows = "[...document.querySelectorAll('#routes tbody tr')]
        .map(row => [...row.cells].slice(1, 5).map(cell => cell.textContent).join('; ')).join('\\n')";
    let canary = "<b onclick='ran=1'>canary; *.example; blue 90\u{a0}%, green 10\u{a0}%; 1";
    let closed = "closed; from 192.0.2.0/24; refused; 0";
    let wanted = [canary, closed, "default; the rest; own; 0"].join("\n");
    let wanted = serde_json::to_string(&wanted).expect("text");
    wait_for(
        &mut browser,
        "the routes are shown",
        &format!("{rows} === {wanted}"),
    );
    let cells = "[...(document.querySelector('#connection-table tbody tr')?.cells ?? [])]
        .map(cell => cell.textContent).slice(2, 5).join('; ')";
    let said = [
        NAME,
        "<script>window.ran=1</script>",
        "<b onclick='ran=1'>canary",
    ]
    .join("; ");
    let said = serde_json::to_string(&said).expect("text");
    wait_for(
        &mut browser,
        "what the client said is shown",
        &format!("{cells} === {said}"),
    );
    let markup = "document.querySelectorAll('main img, main b, main script').length + Number(window.ran ?? 0)";
    wait_for(&mut browser, "the page is live", LIVE);
    let bold_of_findings = "document.querySelectorAll('#findings b').length";
    assert_eq!(
        browser.evaluate(&format!("{markup} - {bold_of_findings}")),
        0
    );
    // A filter finds them, and they leave a phone's page as wide as its screen.
    browser.evaluate("document.getElementById('filter').focus()");
    browser.write("ONERROR");
    let shown = "document.getElementById('shown').textContent";
    wait_for(
        &mut browser,
        "the name is found",
        &format!("{shown} === '1'"),
    );
    browser.become_phone(PHONE.0, PHONE.1);
    let widths = "[innerWidth, document.documentElement.scrollWidth]";
    assert_eq!(
        browser.evaluate(widths),
        serde_json::json!([PHONE.0, PHONE.0])
    );
}

/// Who has no routes and hears no names is not shown what there isn't.
#[test]
fn nothing_is_shown_where_there_are_none() {
    let proxy = super::start(ANY);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    let client = proxy.connect("main");
    wait_for(
        &mut browser,
        "the connection is shown",
        "document.querySelectorAll('#connection-table tbody tr').length === 1",
    );
    let hidden = "getComputedStyle(document.getElementById('route-section')).display === 'none'
        && [2, 3, 4].every(column => document.querySelectorAll('#connection-table th')[column].offsetWidth === 0)";
    assert_eq!(browser.evaluate(hidden), true);
    drop(client);
}

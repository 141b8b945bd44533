//! What the page offers to who has the token, and what it shows of changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{ANY, LIVE, open, wait_for};
use crate::harness::browser::Browser;
use crate::harness::config::forward;
use crate::harness::proxy::{self, Proxy};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Buttons in a table.
const OFFERED: &str = "document.querySelectorAll('#servers td.actions button').length";

#[test]
fn are_offered_to_who_has_the_token_and_stand_in_the_charts() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).expect("room");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&token, mode).expect("it is ours");
    let admin = format!("token_file = {token:?}");
    let routes = forward(&["builtin:echo"]);
    let text = proxy::configuration_with(ANY, "", &admin, &routes);
    let proxy = Proxy::start_file(&text);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    assert_eq!(
        browser.evaluate(OFFERED),
        0,
        "without a token it only looks"
    );
    let give = |browser: &mut Browser, token: &str| {
        browser.evaluate("document.getElementById('change-section').open = true");
        browser.evaluate("document.getElementById('token').focus()");
        browser.write(token);
        browser.press("Enter");
    };
    give(&mut browser, "0000000000000000");
    wait_for(&mut browser, "buttons are there", &format!("{OFFERED} > 0"));
    let click = |name: &str| {
        format!(
            "[...document.querySelectorAll('#servers td.actions button')].find(one => one.textContent === '{name}').click()"
        )
    };
    browser.evaluate(&click("drain"));
    // A wrong token is forgotten.
    wait_for(
        &mut browser,
        "it is said",
        "document.getElementById('token-said').textContent.includes('not the token')",
    );
    wait_for(
        &mut browser,
        "buttons have gone",
        &format!("{OFFERED} === 0"),
    );
    give(&mut browser, TOKEN);
    wait_for(
        &mut browser,
        "buttons are there again",
        &format!("{OFFERED} > 0"),
    );
    browser.evaluate(&click("drain"));
    let state = "document.querySelector('#servers tbody tr').textContent.includes('draining')";
    wait_for(&mut browser, "it drains", state);
    let event =
        "document.getElementById('changes').textContent.includes('gets no new connections')";
    wait_for(&mut browser, "it stands among the changes", event);
    let at = "document.querySelector('#changes tbody tr').cells[0].textContent";
    let by_utc = format!("/ \\d\\d:\\d\\d:\\d\\d UTC$/.test(' ' + {at})");
    assert_eq!(browser.evaluate(&by_utc), true);
    wait_for(&mut browser, "and in the charts", "marks.length > 0");
    wait_for(
        &mut browser,
        "the way back is offered",
        &format!("{OFFERED} === 2"),
    );
    browser.evaluate(&click("ready"));
    wait_for(&mut browser, "it is up", &format!("!({state})"));
    // For this tab only.
    assert_eq!(browser.text("sessionStorage.getItem('token')"), TOKEN);
    assert_eq!(browser.evaluate("localStorage.length"), 0);
    assert_eq!(browser.evaluate("document.cookie.length"), 0);
    proxy.stop();
}

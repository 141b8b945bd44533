//! What is shown says how old it is when nothing new comes.

use std::env;
use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::{LIVE, open, wait_for};
use crate::harness::config::route;
use crate::harness::peer::{self, assert_closed_unanswered};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(a_page_whose_proxy_is_silent_says_how_old_it_is);

/// Where a picture of the old page is kept, if anywhere.
const PICTURE: &str = "CORELANE_OLD_PAGE";

const AGE: &str =
    "(document.getElementById('stale').hidden ? '' : document.getElementById('stale').textContent)";

fn a_page_whose_proxy_is_silent_says_how_old_it_is(scheduler: Scheduler) {
    let refusing = [0, 1].map(|_| peer::refusing().to_string());
    let servers = [refusing[0].as_str(), &refusing[1], "builtin:echo"];
    let routes = route("aa", "127.0.0.1:0", &servers, "", "")
        + &route("bb", "127.0.0.1:0", &servers[..2], "", "");
    let proxy = Proxy::start(scheduler, &routes);
    assert_closed_unanswered(proxy.connect("bb"));
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    assert_eq!(browser.text(AGE), "");
    let title =
        "document.title.startsWith(`${state.host}: 2 servers are down: bb has none left (2 of 2)`)";
    wait_for(&mut browser, "the title is what is found", title);
    let since = "document.querySelector('.finding.alarm .since').textContent.startsWith('for ')";
    wait_for(&mut browser, "it says for how long", since);
    // Those that are down come first.
    let states = browser.text(
        "[...document.querySelectorAll('#servers tbody tr')].map(row => row.cells[2].textContent).join(' ')",
    );
    assert_eq!(states, "failing failing up up up");
    proxy.signal(Signal::STOP);
    let old =
        format!("/^No news from the proxy: what is shown is of .+ and \\d+ s old/.test({AGE})");
    wait_for(&mut browser, "the page says how old it is", &old);
    wait_for(
        &mut browser,
        "it grows older",
        &format!("/and ([5-9]|\\d\\d) s old/.test({AGE})"),
    );
    assert_eq!(
        browser.evaluate("document.title.startsWith('(old) ')"),
        true
    );
    assert_eq!(browser.evaluate(LIVE), false);
    if let Some(folder) = env::var_os(PICTURE) {
        let picture = browser.picture(1280, 1000);
        fs::write(Path::new(&folder).join("old.png"), picture).expect("write");
    }
    proxy.signal(Signal::CONT);
    wait_for(
        &mut browser,
        "it is new again",
        &format!("{AGE} === '' && {LIVE}"),
    );
    assert_eq!(
        browser.evaluate("document.title.startsWith('(old) ')"),
        false
    );
    proxy.stop();
}

//! Looking back at a moment of the last two minutes, in all charts at once.

use super::{ANY, LIVE, drawn, open, start, under_load, wait_for};
use crate::harness::browser::Browser;
use crate::harness::wait;

/// What Tab may stop at before the cores.
const STOPS_MAX: usize = 10;

/// What each chart says of the moment.
const TOLD: &str = "[...document.querySelectorAll('.then')].map(then => then.textContent)";

/// Whether each chart says what it was at the `age`.
fn all_tell(age: usize) -> String {
    let place = age + 1;
    format!(
        "(() => {{
            const point = history.at(-{place});
            const wanted = [
                ...point.utilization.map(percent),
                ...figures.map(figure => figure.text(point.imbalance[figure.key])),
            ];
            return {TOLD}.join() === wanted.map(value => `{age}\\u00a0s ago: ${{value}}`).join();
        }})()"
    )
}

fn none_tells(browser: &mut Browser) -> bool {
    browser.evaluate(&format!("{TOLD}.every(text => text === '')")) == true
}

#[test]
fn by_keyboard_and_by_mouse() {
    let proxy = start(ANY);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    under_load(&proxy, || {
        wait::until("some seconds are drawn", || drawn(&mut browser) >= 4);
        assert!(none_tells(&mut browser));

        let mut stops = 0;
        while browser.text("document.activeElement.id") != "core-list" {
            stops += 1;
            assert!(stops < STOPS_MAX, "Tab doesn't come to the cores");
            browser.press("Tab");
        }
        browser.press("ArrowLeft");
        browser.press("ArrowLeft");
        browser.press("ArrowLeft");
        assert_eq!(browser.evaluate(&all_tell(3)), true);
        browser.press("ArrowRight");
        assert_eq!(browser.evaluate(&all_tell(2)), true);
        let heard = browser.readable();
        let says_it = |line: &str| line.starts_with("2\u{a0}s ago: core ");
        assert!(heard.lines().any(says_it), "{heard}");
        // A moment is so long ago as it was, and what is told of it is another second's.
        let later = format!("history.at(-1).number >= {}", newest(&mut browser) + 1);
        wait_for(&mut browser, "a second has come", &later);
        assert_eq!(browser.evaluate(&all_tell(2)), true);
        browser.press("Home");
        let oldest = format!("{TOLD}[0].startsWith(`${{history.length - 1}}\\u00a0s ago`)");
        // A second may come in between.
        wait_for(&mut browser, "the oldest is told", &oldest);
        browser.press("Escape");
        assert!(none_tells(&mut browser));

        // What is found moves the cores down and up, and the mouse stays where it is.
        let place = "(() => {
            const { plot } = cores.at(-1).chart;
            plot.over.scrollIntoView({ block: 'center' });
            const { left, top } = plot.over.getBoundingClientRect();
            return { x: left + plot.valToPos(-2, 'x'), y: top + 10 };
        })()";
        wait::until("all tell what the mouse points at", || {
            browser.point(place);
            browser.evaluate(&all_tell(2)) == true
        });
        browser.point("({ x: 1, y: 1 })");
        wait::until("the mouse is elsewhere", || none_tells(&mut browser));
    });
    proxy.stop();
}

fn newest(browser: &mut Browser) -> u64 {
    let number = browser.evaluate("history.at(-1).number");
    number.as_u64().expect("a number")
}

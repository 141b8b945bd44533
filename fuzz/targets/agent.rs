//! What agents beside servers say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_checks::agent::{LINE_BYTES_MAX, Report, SHOWN_CHARS_MAX, WEIGHT_PERCENT_MAX, report};

fuzz_target!(|bytes: &[u8]| {
    let all = report(bytes, true).expect("at its end there is an answer");
    check(&all);
    // In pieces it comes to the same, and no sooner than its line is over.
    let slow = (0..=bytes.len()).find_map(|end| report(&bytes[..end], false));
    match slow {
        Some(slow) => assert_eq!(slow, all),
        None => assert!(bytes.len() <= LINE_BYTES_MAX && !bytes.contains(&b'\n')),
    }
    // What is behind the line says nothing.
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        assert_eq!(report(&bytes[..=end], false), Some(all));
    }
});

fn check(report: &Report) {
    assert!(
        report
            .weight_percent
            .is_none_or(|percent| percent <= WEIGHT_PERCENT_MAX)
    );
    assert!(report.line.chars().count() <= SHOWN_CHARS_MAX);
    assert!(!report.line.chars().any(char::is_control));
}

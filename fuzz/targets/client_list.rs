//! Files that list clients.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_config::{Clients, LIST_ENTRIES_MAX, parse_list};

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    match parse_list(bytes) {
        Ok(list) => {
            assert!(list.len() <= lines.min(LIST_ENTRIES_MAX));
            // Each is read again as it is shown.
            for clients in list {
                let (shown, bits_behind) = match clients {
                    Clients::Network(network) => (network.to_string(), network.trunc() != network),
                    Clients::Unix => ("unix".to_owned(), false),
                };
                assert!(!bits_behind, "{shown}");
                assert_eq!(parse_list(shown.as_bytes()), Ok(vec![clients]), "{shown}");
            }
        }
        Err(problem) => assert!((1..=lines).contains(&problem.line), "{problem}"),
    }
});

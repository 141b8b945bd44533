//! No text makes the parser panic, and its problems are always where it says, one a line.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proxy_config::{Files, Machine, PROBLEMS_MAX, parse};

const EXAMPLES: [&str; 4] = [
    include_str!("../examples/echo.toml"),
    include_str!("../examples/postgres.toml"),
    include_str!("../examples/redis.toml"),
    include_str!("../examples/web.toml"),
];

/// Pieces that are likely to change what a text means.
const PIECES: [&str; 28] = [
    "",
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    ".",
    "=",
    "#",
    "\n",
    "\"\"\"",
    "-1",
    "0",
    "99999999999999999999",
    "1.5",
    "true",
    "\"30s\"",
    "1979-05-27",
    "[listeners.echo]\n",
    "ä\u{feff}\u{0}",
    "${",
    "${NAME}",
    "$${",
    "include = [\"a\"]\n",
];

/// Parses the text and checks what must hold for any.
fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = parse(text, "proxy.toml") else {
        return Ok(());
    };
    let listed = problems.as_slice();
    prop_assert!((1..=PROBLEMS_MAX).contains(&listed.len()));
    prop_assert!(listed.is_sorted_by_key(|problem| (problem.line, problem.column)));
    for problem in listed {
        let line = text
            .split('\n')
            .nth(problem.line - 1)
            .expect("the line exists");
        prop_assert!(
            (1..=line.chars().count() + 1).contains(&problem.column),
            "{problem}"
        );
    }
    let lines = listed.len() + usize::from(problems.omitted() > 0);
    prop_assert_eq!(problems.to_string().lines().count(), lines);
    Ok(())
}

/// Replaces a part of the text by a piece.
fn mutate(text: &mut String, at: Index, length: usize, piece: &str) {
    let boundaries: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let start = at.index(boundaries.len());
    let end = (start + length).min(boundaries.len() - 1);
    text.replace_range(
        Range {
            start: boundaries[start],
            end: boundaries[end],
        },
        piece,
    );
}

fn mutation() -> impl Strategy<Value = (Index, usize, &'static str)> {
    (any::<Index>(), 0..20_usize, select(&PIECES[..]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(select(&PIECES[..]), 0..40)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn any_pieces_of_two_files(
        first in prop::collection::vec(select(&PIECES[..]), 0..20),
        second in prop::collection::vec(select(&PIECES[..]), 0..20),
        example in select(&EXAMPLES[..]),
    ) {
        let texts = [first.concat() + example, second.concat() + example, second.concat()];
        for other in &texts {
            let main = format!("include = [\"other\"]\n{}", texts[0]);
            let mut files = Files::new("main", main.as_bytes(), |name| Ok(name.to_owned()));
            while let Some(include) = files.next_include() {
                files.add(&include, "other", other.as_bytes());
            }
            if let Err(problems) = files.parse(Machine::ANY) {
                prop_assert!(!problems.as_slice().is_empty());
            }
        }
    }

    #[test]
    fn any_value(key in "[a-z_]{1,15}", value in any::<String>()) {
        for table in ["runtime", "listeners.a", "upstreams.a", "upstreams.a.health"] {
            let bind_and_servers = format!("bind = {value:?}\nservers = [{value:?}]\n");
            check(&format!("[{table}]\n{key} = {value:?}\n{bind_and_servers}"))?;
        }
    }

    #[test]
    fn a_mutated_example(
        example in select(&EXAMPLES[..]),
        mutations in prop::collection::vec(mutation(), 1..8),
    ) {
        let mut text = example.to_owned();
        for (at, length, piece) in mutations {
            mutate(&mut text, at, length, piece);
        }
        check(&text)?;
    }
}

//! Names of listeners and upstreams.

use std::collections::HashSet;

use proxy_config::NAME_BYTES_MAX;

/// The names of one kind that were given away so far.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// A valid name that nobody has yet, as much like `wanted` as can be.
    pub(super) fn give(&mut self, wanted: &str) -> String {
        let plain = valid(wanted);
        let mut name = plain.clone();
        let mut number = 2_usize;
        while !self.0.insert(name.clone()) {
            let suffix = format!("-{number}");
            let kept = plain.len().min(NAME_BYTES_MAX - suffix.len());
            name = format!("{}{suffix}", &plain[..kept]);
            number += 1;
        }
        name
    }
}

/// `wanted` with `_` for what no name may have; all that remains is ASCII.
fn valid(wanted: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || "_.-".contains(character) {
            character
        } else {
            '_'
        }
    };
    let name: String = wanted.chars().take(NAME_BYTES_MAX).map(plain).collect();
    if name.is_empty() {
        "main".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_given_once() {
        let mut names = Names::default();
        assert_eq!(names.give("a b:ä"), "a_b__");
        assert_eq!(names.give("a b:ö"), "a_b__-2");
        assert_eq!(names.give(""), "main");
        let long = names.give(&"x".repeat(99));
        let longer = names.give(&"x".repeat(98));
        assert_eq!((long.len(), longer.len()), (NAME_BYTES_MAX, NAME_BYTES_MAX));
        assert_ne!(long, longer);
    }
}

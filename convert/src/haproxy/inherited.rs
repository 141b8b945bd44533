//! What a section has of its defaults.

use super::super::note::Notes;
use super::section::Line;

/// The rules of checks, and the option by which they count.
pub(super) const RULES: [(&str, &str); 2] = [("http-check", "httpchk"), ("tcp-check", "tcp-check")];

/// The lines that count for a section by default. Rules of checks are not added to those of defaults: a section's own replace them.
pub(super) fn inherited(mut lines: Vec<Line>, own: &[Line], notes: &mut Notes) -> Vec<Line> {
    for (word, name) in RULES {
        let has_rules = own.iter().any(|line| line.words[0] == word);
        // `option httpchk` is the first of them. `option tcp-check` is none, and has those of defaults count that have it, too.
        let has_option = asks(own, name) && (name == "httpchk" || !asks(&lines, name));
        if has_rules || has_option {
            let is_replaced = |line: &mut Line| line.words[0] == word;
            for line in lines.extract_if(.., is_replaced) {
                let why = "it counts for no section that has such rules, or their option, itself";
                notes.remark(&line.from, why);
            }
        }
    }
    lines
}

/// Whether the lines have an option.
pub(super) fn asks(lines: &[Line], name: &str) -> bool {
    let is_it = |line: &Line| {
        line.words[0] == "option" && line.words.get(1).is_some_and(|word| word == name)
    };
    lines.iter().any(is_it)
}

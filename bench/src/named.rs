//! What is chosen by name on the command line.

use std::fmt;

use anyhow::anyhow;

/// The one of `all` that is called `text`. Where none is, the error has the names of all, and `more` that may be named.
pub(crate) fn one_of<T: Copy + fmt::Display>(
    noun: &str,
    text: &str,
    all: &[T],
    more: &str,
) -> anyhow::Result<T> {
    let found = all.iter().find(|one| one.to_string() == text);
    found.copied().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        anyhow!("no {noun} {text:?}; there are {}, {more}", names.join(", "))
    })
}

/// Those that `words` name, each once, in the order named. A word may name several.
pub(crate) fn each_once<T: PartialEq>(
    words: &[String],
    named: impl Fn(&str) -> anyhow::Result<Vec<T>>,
) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    for word in words {
        for one in named(word)? {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    Ok(all)
}

//! A line of haproxy.cfg as words: quotes, escapes, comments and variables.

use std::collections::HashMap;

use super::super::input::Surroundings;

/// The variables of the environment, as the configuration sees them.
pub(super) struct Environment<'a> {
    surroundings: &'a dyn Surroundings,
    /// Those that `setenv` and its like have changed; nothing for those that were removed.
    changed: HashMap<String, Option<String>>,
}

/// A line that was split.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) words: Vec<String>,
    /// Variables that stand in it, and what they are: nothing where they aren't set.
    pub(super) variables: Vec<(String, Option<String>)>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(surroundings: &'a dyn Surroundings) -> Self {
        let changed = HashMap::new();
        Self {
            surroundings,
            changed,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        match self.changed.get(name) {
            Some(changed) => changed.clone(),
            None => self.surroundings.variable(name),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Option<&str>) {
        self.changed
            .insert(name.to_owned(), value.map(str::to_owned));
    }
}

/// Splits a line.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn split(line: &str, environment: &Environment<'_>) -> Result<Words, &'static str> {
    let mut split = Words::default();
    // A word that is empty exists if it is in quotes.
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (byte, quote) {
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (b'"' | b'\'', Some(open)) if open == byte => quote = None,
            (b'\\', None | Some(b'"')) => {
                let (bytes, length) = escape(&bytes[at..], quote.is_some())?;
                at += length;
                word.get_or_insert_default().extend(bytes);
            }
            (b'$', Some(b'"')) => {
                let (name, default, length) = variable(&line[at..])?;
                at += length;
                let value = environment.get(name);
                let text = value.as_deref().or(default).unwrap_or_default();
                word.get_or_insert_default().extend(text.as_bytes());
                let value = value.or_else(|| default.map(str::to_owned));
                split.variables.push((name.to_owned(), value));
            }
            (b'#', None) => break,
            (byte, None) if byte.is_ascii_whitespace() => {
                if let Some(word) = word.take() {
                    split.words.push(text(word)?);
                }
            }
            (byte, _) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    if let Some(word) = word {
        split.words.push(text(word)?);
    }
    Ok(split)
}

/// A word. Escapes may make bytes that are no text.
fn text(word: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(word).map_err(|_| "its escapes are not UTF-8 text")
}

/// What follows a backslash: the bytes that it stands for, and how many were read.
fn escape(rest: &[u8], is_quoted: bool) -> Result<(Vec<u8>, usize), &'static str> {
    let one = |byte| Ok((vec![byte], 1));
    match rest.first() {
        None => Err("a backslash ends it"),
        Some(&byte @ (b' ' | b'\\' | b'#' | b'"' | b'\'')) => one(byte),
        Some(b'$') if is_quoted => one(b'$'),
        Some(b'n') => one(b'\n'),
        Some(b'r') => one(b'\r'),
        Some(b't') => one(b'\t'),
        Some(b'x') => {
            let digits = rest
                .get(1..3)
                .and_then(|digits| str::from_utf8(digits).ok());
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            byte.map(|byte| (vec![byte], 3))
                .ok_or("\\x is not followed by two hexadecimal digits")
        }
        Some(_) => Ok((vec![b'\\'], 0)),
    }
}

/// What follows a dollar in double quotes: the name, what stands for it where it isn't set, and how many bytes were read.
fn variable(rest: &str) -> Result<(&str, Option<&str>, usize), &'static str> {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || "_.".contains(character));
    let name_of = |text: &str| text.find(ends).unwrap_or(text.len());
    let Some(inner) = rest.strip_prefix('{') else {
        let length = name_of(rest);
        return Ok((&rest[..length], None, length));
    };
    let (inner, _) = inner
        .split_once('}')
        .ok_or("a variable's brace is not closed")?;
    let (name, after) = inner.split_at(name_of(inner));
    let after = after.strip_prefix("[*]").unwrap_or(after);
    let default = match after.strip_prefix('-') {
        Some(default) => Some(default),
        None if after.is_empty() => None,
        None => return Err("a variable has a name that is none"),
    };
    Ok((name, default, inner.len() + 2))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::super::input::Input;
    use super::*;

    struct Home;

    impl Surroundings for Home {
        fn read(&self, _: &Path, _: &Path) -> Result<Input, String> {
            Err(String::new())
        }

        fn matches(&self, _: &str, _: &Path) -> Result<Vec<PathBuf>, String> {
            Ok(Vec::new())
        }

        fn variable(&self, name: &str) -> Option<String> {
            (name == "HOME").then(|| "/root dir".to_owned())
        }
    }

    fn words(line: &str) -> Result<Vec<String>, &'static str> {
        split(line, &Environment::new(&Home)).map(|split| split.words)
    }

    #[test]
    fn quotes_escapes_and_comments_are_haproxys() {
        for (line, expected) in [
            ("  server a\tb ", &["server", "a", "b"][..]),
            ("# all of it", &[]),
            ("a#b c", &["a"]),
            ("a\\#b \"#\" '#'", &["a#b", "#", "#"]),
            (
                r"send info\ replication\r\n",
                &["send", "info replication\r\n"],
            ),
            (r#"a"b c"'d "e'"#, &["ab cd \"e"]),
            (r#"'' "" a"#, &["", "", "a"]),
            (r"'a\n' \x41\q", &["a\\n", "A\\q"]),
            (
                r#""$HOME" "${HOME}/x" '$HOME' $HOME"#,
                &["/root dir", "/root dir/x", "$HOME", "$HOME"],
            ),
            (r#""${NONE}" "${NONE-a b}" "\$HOME""#, &["", "a b", "$HOME"]),
            ("ä \"ö\"", &["ä", "ö"]),
        ] {
            assert_eq!(words(line).expect(line), expected, "{line}");
        }
        for line in [
            "\"a",
            "'a",
            "a\\",
            "\\x4",
            "\"${HOME\"",
            "\"${HOME?}\"",
            "\\xff",
        ] {
            assert!(words(line).is_err(), "{line}");
        }
    }

    #[test]
    fn variables_are_named() {
        let found = split(r#""$HOME${NONE}${NONE-a}""#, &Environment::new(&Home));
        let of = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let expected = [
            of("HOME", Some("/root dir")),
            of("NONE", None),
            of("NONE", Some("a")),
        ];
        assert_eq!(found.expect("it is split").variables, expected);
    }
}

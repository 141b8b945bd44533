//! The words of nginx's configuration: text in, tokens with their lines out.
//!
//! A word ends at white space, `;` or `{`; quotes and comments count only where a word begins, and a backslash takes the next
//! character as it is. `${name}` stays within its word.

use std::iter::Peekable;
use std::str::Chars;

/// Bytes of a word. nginx's own buffer holds 4,096; code of Lua is longer.
pub(super) const WORD_BYTES_MAX: usize = 64 * 1024;

/// What a configuration is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A name or an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

/// Why a text can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: usize,
    pub(super) what: String,
}

impl Unreadable {
    pub(super) fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

/// The tokens of a text.
pub(super) struct Tokens<'t> {
    rest: Peekable<Chars<'t>>,
    pub(super) line: usize,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest: text.chars().peekable(),
            line: 1,
        }
    }

    /// The next token, or `None` at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<Token>, Unreadable> {
        self.skip();
        let Some(&first) = self.rest.peek() else {
            return Ok(None);
        };
        let token = match first {
            ';' => Token::End,
            '{' => Token::Open,
            '}' => Token::Close,
            '"' | '\'' => return self.quoted(first).map(Some),
            _ => return self.word().map(Some),
        };
        self.take();
        Ok(Some(token))
    }

    /// Skips a block of another language up to the `}` that ends it; its `{` has been read.
    pub(super) fn skip_block(&mut self) -> Result<(), Unreadable> {
        let begin = self.line;
        let mut depth = 1_usize;
        while let Some(character) = self.take() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(Unreadable::new(begin, "this block has no `}`"))
    }

    fn take(&mut self) -> Option<char> {
        let character = self.rest.next();
        self.line += usize::from(character == Some('\n'));
        character
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        while let Some(&character) = self.rest.peek() {
            if character == '#' {
                while self.rest.peek().is_some_and(|&next| next != '\n') {
                    self.take();
                }
            } else if is_space(character) {
                self.take();
            } else {
                return;
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Unreadable> {
        let line = self.line;
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                None => return Err(Unreadable::new(line, "this quote is not closed")),
                Some(end) if end == quote => break,
                Some('\\') => self.escaped(&mut text),
                Some(character) => text.push(character),
            }
            within(&text, line)?;
        }
        match self.rest.peek() {
            None | Some(';' | '{' | '}' | ')') => {}
            Some(&next) if is_space(next) => {}
            Some(next) => {
                let what = format!("`{next}` follows a closed quote");
                return Err(Unreadable::new(self.line, what));
            }
        }
        Ok(Token::Word(Word { text, line }))
    }

    fn word(&mut self) -> Result<Token, Unreadable> {
        let line = self.line;
        let mut text = String::new();
        while let Some(&next) = self.rest.peek() {
            let is_variable = next == '{' && text.ends_with('$');
            if is_space(next) || next == ';' || (next == '{' && !is_variable) {
                break;
            }
            self.take();
            match next {
                '\\' => self.escaped(&mut text),
                _ => text.push(next),
            }
            within(&text, line)?;
        }
        Ok(Token::Word(Word { text, line }))
    }

    /// What follows a backslash. It stays before what needs none, as regular expressions have it.
    fn escaped(&mut self, text: &mut String) {
        match self.take() {
            Some(same @ ('"' | '\'' | '\\')) => text.push(same),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(other) => {
                text.push('\\');
                text.push(other);
            }
            None => text.push('\\'),
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn within(text: &str, line: usize) -> Result<(), Unreadable> {
    if text.len() <= WORD_BYTES_MAX {
        return Ok(());
    }
    let what = format!("a word of more than {WORD_BYTES_MAX} bytes begins here");
    Err(Unreadable::new(line, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of `text`, as words.
    fn words(text: &str) -> Result<Vec<String>, Unreadable> {
        let mut tokens = Tokens::new(text);
        let mut words = Vec::new();
        while let Some(token) = tokens.next()? {
            words.push(match token {
                Token::Word(word) => format!("{}@{}", word.text, word.line),
                Token::End => ";".to_owned(),
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
            });
        }
        Ok(words)
    }

    #[test]
    fn words_quotes_comments_and_blocks_are_told_apart() {
        let text = "a b;# c\nserver{listen 1;}\nmap $x ${y} {'a b' \"c\\\"d\";\n~^e\\.f$ g;}";
        let expected = "a@1 b@1 ; server@2 { listen@2 1@2 ; } map@3 $x@3 ${y}@3 { a b@3 c\"d@3 ; ~^e\\.f$@4 g@4 ; }";
        assert_eq!(words(text).expect("readable").join(" "), expected);
    }

    #[test]
    fn a_hash_or_a_quote_within_a_word_is_a_part_of_it() {
        assert_eq!(words("a#b c'd;").unwrap().join(" "), "a#b@1 c'd@1 ;");
    }

    #[test]
    fn what_is_not_closed_is_told_by_its_line() {
        assert_eq!(words("a;\nb 'c").unwrap_err().line, 2);
        assert_eq!(words("a 'b'c;").unwrap_err().line, 1);
        assert!(Tokens::new("{}").skip_block().is_err());
    }
}

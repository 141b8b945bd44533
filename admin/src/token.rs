//! The token of those who may change the proxy over TCP.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The fewest characters of a token: 16 random ones can't be guessed over a network.
pub const TOKEN_MIN: usize = 16;

/// The most characters of a token.
pub const TOKEN_MAX: usize = 1024;

/// A token. It keeps a digest, so that how alike two are never shows in how long it takes to compare them.
#[derive(Clone)]
pub struct Token(Digested);

type Digested = [u8; 32];

impl Token {
    /// That of a file with this content: one line.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(content: &str) -> Result<Self, String> {
        let token = content.trim_end_matches(['\r', '\n']);
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a token is one line of letters, digits and signs without spaces".to_owned(),
            );
        }
        if !(TOKEN_MIN..=TOKEN_MAX).contains(&token.len()) {
            let count = token.len();
            return Err(format!(
                "a token has {TOKEN_MIN} to {TOKEN_MAX} characters, and this has {count}; `openssl rand -hex 32` makes one"
            ));
        }
        Ok(Self(digest(token)))
    }

    /// Whether somebody has shown this one.
    pub(crate) fn is(&self, shown: &str) -> bool {
        shown.len() <= TOKEN_MAX && bool::from(self.0.ct_eq(&digest(shown)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn digest(token: &str) -> Digested {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_it() {
        let token = Token::parse("0123456789abcdef\n").expect("a token");
        assert!(token.is("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcdee",
            "0123456789abcdef0",
            "0123456789abcdef\n",
        ] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!token.is(&"a".repeat(TOKEN_MAX + 1)));
        let long = "a".repeat(TOKEN_MAX + 1);
        for bad in [
            "",
            "short",
            "0123456789 abcdef",
            "0123456789abcdef\nmore",
            &long,
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}

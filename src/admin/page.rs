//! The live page: one answer with everything in it.

use std::sync::LazyLock;

use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::answer::Answer;

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The places of style and script in the document.
const STYLE_MARK: &str = "/* style.css */";
const SCRIPT_MARK: &str = "/* script.js */";

/// The page asks this server and nobody else, and runs and looks like what is built in only. A test tells the hashes
/// when the files change.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-DgbovQi6DYsqtmXkW7Wr/DCymIlARXu8hbuDLxZnSwE='; \
    style-src 'sha256-17FEwyWUK24yu8l7hk1TxCq5/WO3uHpRvUOwvQ7zVsg='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    DOCUMENT
        .replacen(STYLE_MARK, STYLE, 1)
        .replacen(SCRIPT_MARK, SCRIPT, 1)
});

/// The page with its headers.
pub(super) fn response() -> Response<Answer> {
    let mut response = Response::new(Answer::from(PAGE.clone()));
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// RFC 4648.
    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let group = |group: &[u8]| -> String {
            let bits = group
                .iter()
                .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
            let bits = bits << (8 * (3 - group.len()));
            let digit = |at: usize| match at <= group.len() {
                true => DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char,
                false => '=',
            };
            (0..4).map(digit).collect()
        };
        bytes.chunks(3).map(group).collect()
    }

    #[test]
    fn the_policy_allows_what_is_built_in() {
        assert_eq!(base64(b"light w"), "bGlnaHQgdw==");
        for (directive, content) in [("script-src", SCRIPT), ("style-src", STYLE)] {
            let hash = base64(&Sha256::digest(content));
            let wanted = format!("{directive} 'sha256-{hash}';");
            assert!(POLICY.contains(&wanted), "POLICY needs: {wanted}");
        }
    }

    #[test]
    fn it_is_whole_and_asks_nobody_else() {
        assert!(PAGE.contains(STYLE) && PAGE.contains(SCRIPT));
        // An end tag in a string would end the script.
        assert_eq!(PAGE.matches("</script").count(), 1);
        for elsewhere in ["http://", "https://", "//cdn", "@import", "url("] {
            assert!(!PAGE.contains(elsewhere), "{elsewhere}");
        }
    }
}

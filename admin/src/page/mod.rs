//! The live page: one answer with everything in it.

use std::sync::LazyLock;

use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use crate::http::answer::Answer;

const DOCUMENT: &str = include_str!("page.html");

/// What goes into the document, each in the place that is marked with its name. The page's own comes after what it
/// builds on.
const STYLES: [(&str, &str); 2] = [
    (
        "/* uPlot.min.css */",
        include_str!("vendor/uplot/uPlot.min.css"),
    ),
    ("/* style.css */", include_str!("style.css")),
];
const SCRIPTS: [(&str, &str); 3] = [
    (
        "/* uPlot.iife.min.js */",
        include_str!("vendor/uplot/uPlot.iife.min.js"),
    ),
    ("/* charts.js */", include_str!("charts.js")),
    ("/* script.js */", include_str!("script.js")),
];
const LICENCES: [(&str, &str); 1] = [(
    "/* uPlot's LICENSE */",
    include_str!("vendor/uplot/LICENSE"),
)];

/// The page asks this server and nobody else, and runs and looks like what is built in only. A test tells the hashes
/// when the files change.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-GcjUxq2Ikpp59K5J1vcWFWbf0Lo9FcxJXpdPeH63jx8=' \
        'sha256-Vk+/BBjAW/IYNbQt2wKlt3X5vJmD/N3K0i2zlTZ2Gjg=' \
        'sha256-g3bM/p3TnpIC/l5M5IxnQeAzYeixEXuzYgf8ojXWatU='; \
    style-src 'sha256-32MMao1vjur/JktQ9zzlsRT2Rv/ZoLt08EmwoAE1+gQ=' \
        'sha256-i1ltlkdrustub2dw2ZAdErMCx9HiKUHlkCRBipPOpa0='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let parts = STYLES.iter().chain(&SCRIPTS).chain(&LICENCES);
    parts.fold(DOCUMENT.to_owned(), |page, (mark, part)| {
        page.replacen(mark, part, 1)
    })
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
        for (directive, parts) in [("script-src", &SCRIPTS[..]), ("style-src", &STYLES)] {
            let hashes = parts.iter().map(|(_, part)| {
                let hash = base64(&Sha256::digest(part));
                format!(" 'sha256-{hash}'")
            });
            let hashes: String = hashes.collect();
            let wanted = format!("{directive}{hashes};");
            assert!(POLICY.contains(&wanted), "POLICY needs: {wanted}");
        }
    }

    #[test]
    fn it_is_whole_and_asks_nobody_else() {
        for (mark, part) in STYLES.iter().chain(&SCRIPTS).chain(&LICENCES) {
            assert!(PAGE.contains(part) && !PAGE.contains(mark), "{mark}");
        }
        // An end tag or the end of a comment in a part would end what the part is in.
        assert_eq!(PAGE.matches("</script").count(), SCRIPTS.len());
        assert_eq!(PAGE.matches("</style").count(), STYLES.len());
        assert_eq!(PAGE.matches("-->").count(), LICENCES.len());
        // uPlot's first line is a comment that says where it comes from.
        let (_, uplot) = SCRIPTS[0];
        let name = uplot.lines().next().expect("a line");
        assert!(name.starts_with("/*!") && name.find("*/") == Some(name.len() - 2));
        let page = PAGE.replacen(name, "", 1);
        for elsewhere in ["http://", "https://", "//cdn", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}

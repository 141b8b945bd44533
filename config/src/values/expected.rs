//! What health checks say and expect.

use std::path::PathBuf;

use regex::bytes::RegexBuilder;
use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::read::string;

/// The most memory that a regular expression may take, in bytes.
pub const REGEX_MEMORY_MAX: usize = 1 << 20;
/// The most bytes of what is sent or expected.
pub(crate) const BYTES_MAX: usize = 1024;
/// The most bytes of a user's name.
const USER_BYTES_MAX: usize = 32;

/// Text that is sent or expected.
pub(crate) fn text(value: &DeValue<'_>) -> Result<Vec<u8>, Refusal> {
    read(value, "a text of 1 to 1024 bytes", |text| {
        is_of(text, BYTES_MAX).then(|| text.as_bytes().to_vec())
    })
}

/// The same in hexadecimal digits, with spaces between bytes or without.
pub(crate) fn hex(value: &DeValue<'_>) -> Result<Vec<u8>, Refusal> {
    const EXPECTED: &str = "hexadecimal digits of 1 to 1024 bytes, such as \"0aff\"";
    read(value, EXPECTED, |text| {
        let digits: Option<Vec<_>> = text
            .chars()
            .filter(|character| *character != ' ')
            .map(|character| character.to_digit(16))
            .collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
        let bytes: Vec<_> = digits
            .chunks(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect();
        (1..=BYTES_MAX).contains(&bytes.len()).then_some(bytes)
    })
}

/// A regular expression over bytes.
pub(crate) fn regex(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "a regular expression of 1 to 1024 bytes";
    let text = read(value, EXPECTED, |text| {
        is_of(text, BYTES_MAX).then_some(text)
    })?;
    let built = RegexBuilder::new(text).size_limit(REGEX_MEMORY_MAX).build();
    built.map(|_| text.to_owned()).map_err(|error| {
        // The last line says what is wrong; those before it draw where.
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        let advice = last.trim_start_matches("error: ").to_owned();
        Refusal::new(EXPECTED, value).advise(advice)
    })
}

/// A method of HTTP.
pub(crate) fn method(value: &DeValue<'_>) -> Result<String, Refusal> {
    read(value, "a method such as \"GET\"", |text| {
        let is_token = text
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        (is_of(text, 32) && is_token).then(|| text.to_owned())
    })
}

/// The target of a request.
pub(crate) fn path(value: &DeValue<'_>) -> Result<String, Refusal> {
    read(
        value,
        "a path that begins with a slash, without spaces",
        |text| {
            let is_path = is_graphic(text) && (text.starts_with('/') || text == "*");
            (is_of(text, BYTES_MAX) && is_path).then(|| text.to_owned())
        },
    )
}

/// The value of `Host`.
pub(crate) fn host(value: &DeValue<'_>) -> Result<String, Refusal> {
    read(value, "a name, without spaces", |text| {
        (is_of(text, 255) && is_graphic(text)).then(|| text.to_owned())
    })
}

/// A line of a request's head.
pub(crate) fn header(value: &DeValue<'_>) -> Result<String, Refusal> {
    read(
        value,
        "a line \"Name: value\" of up to 1024 bytes",
        |text| {
            let (name, _) = text.split_once(':')?;
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let is_name = !name.is_empty() && name.bytes().all(is_token);
            let is_line = !text.chars().any(char::is_control);
            (is_of(text, BYTES_MAX) && is_name && is_line).then(|| text.to_owned())
        },
    )
}

/// A user of a database.
pub(crate) fn user(value: &DeValue<'_>) -> Result<String, Refusal> {
    read(value, "a name of 1 to 32 bytes", |text| {
        (is_of(text, USER_BYTES_MAX) && !text.contains('\0')).then(|| text.to_owned())
    })
}

/// A file.
pub(crate) fn absolute_path(value: &DeValue<'_>) -> Result<PathBuf, Refusal> {
    read(value, "an absolute path", |text| {
        (text.starts_with('/') && !text.contains('\0')).then(|| PathBuf::from(text))
    })
}

/// A name that a certificate may have.
pub(crate) fn server_name(value: &DeValue<'_>) -> Result<String, Refusal> {
    read(value, "the name of a host, or an IP address", |text| {
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        let is_label = |label: &str| {
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(valid)
        };
        let is_name = is_of(text, 253) && text.split('.').all(is_label);
        (is_address || is_name).then(|| text.to_owned())
    })
}

fn read<'v, T>(
    value: &'v DeValue<'_>,
    expected: &str,
    read: impl FnOnce(&'v str) -> Option<T>,
) -> Result<T, Refusal> {
    let text = string(value, expected)?;
    read(text).ok_or_else(|| Refusal::new(expected, value))
}

fn is_of(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len())
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

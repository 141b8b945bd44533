//! What a line of the access log is made of.

use std::fmt;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::{Refusal, quoted};
use crate::problems::suggest::did_you_mean;
use crate::raw::read::{Read, string};

/// The longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 1024;

/// The template of a line: text, and fields in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of a field.
    Field(Field),
}

/// What there is to say of a connection that has ended; displayed as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// When it ended, in UTC: RFC 3339 with milliseconds.
    Time,
    /// Its id, as at `/connections`.
    Id,
    /// The client's address and port, announced or not, or "unix".
    Client,
    /// The address and port of who has connected, or "unix".
    Peer,
    /// The listener's name.
    Listener,
    /// The server name that the client asked for under TLS.
    Sni,
    /// The protocols that it offered under TLS.
    Alpn,
    /// The route that it took.
    Route,
    /// The server, as it is configured.
    Server,
    /// Bytes from the client that the server took.
    BytesIn,
    /// Bytes from the server that the client took.
    BytesOut,
    /// Seconds from the accept to the first attempt to connect.
    Wait,
    /// Seconds from there until a server was connected to.
    Connect,
    /// Seconds from the accept to the end.
    Total,
    /// Attempts to connect after the first one.
    Retries,
    /// The worker that ended it.
    Core,
    /// Two letters: who ended it, and what it was at.
    End,
    /// The label `cause` of the metrics.
    Cause,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 18] = [
        Self::Time,
        Self::Id,
        Self::Client,
        Self::Peer,
        Self::Listener,
        Self::Sni,
        Self::Alpn,
        Self::Route,
        Self::Server,
        Self::BytesIn,
        Self::BytesOut,
        Self::Wait,
        Self::Connect,
        Self::Total,
        Self::Retries,
        Self::Core,
        Self::End,
        Self::Cause,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Id => "id",
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Listener => "listener",
            Self::Sni => "sni",
            Self::Alpn => "alpn",
            Self::Route => "route",
            Self::Server => "server",
            Self::BytesIn => "bytes_in",
            Self::BytesOut => "bytes_out",
            Self::Wait => "wait",
            Self::Connect => "connect",
            Self::Total => "total",
            Self::Retries => "retries",
            Self::Core => "core",
            Self::End => "end",
            Self::Cause => "cause",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Template {
    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

impl Read for Template {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        template(value)
    }
}

const TEMPLATE: &str = "one line of text with fields such as {client}";

/// A template.
pub(crate) fn template(value: &DeValue<'_>) -> Result<Template, Refusal> {
    let text = string(value, TEMPLATE)?;
    if text.is_empty() {
        return Err(Refusal::new(TEMPLATE, value));
    }
    if text.len() > TEMPLATE_BYTES_MAX {
        let advice = format!("it may have {TEMPLATE_BYTES_MAX} bytes");
        return Err(Refusal::new(TEMPLATE, value).advise(advice));
    }
    if text.contains(char::is_control) {
        let advice = "the end of the line is added; no other control character may be in it";
        return Err(Refusal::new(TEMPLATE, value).advise(advice.to_owned()));
    }
    parse(text).map_err(|advice| Refusal::new(TEMPLATE, value).advise(advice))
}

/// The pieces of a text, or what to do about it.
fn parse(text: &str) -> Result<Template, String> {
    const BRACE: &str = "a brace that is not of a field is written twice";
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            literal.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let inside = rest.strip_prefix('{').ok_or(BRACE)?;
        let (name, after) = inside.split_once('}').ok_or(BRACE)?;
        let field = Field::ALL.into_iter().find(|field| field.name() == name);
        let field = field.ok_or_else(|| unknown(name))?;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Field(field));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(Template(pieces))
}

fn unknown(name: &str) -> String {
    let names = Field::ALL.map(Field::name);
    let advice = did_you_mean(name, names);
    let advice = advice.unwrap_or_else(|| format!("the fields are {}", names.join(", ")));
    format!("there is no field {}; {advice}", quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &Template) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            Piece::Field(field) => format!("{{{field}}}"),
        };
        template.pieces().iter().map(piece).collect()
    }

    #[test]
    fn templates_are_read_as_they_are_written() {
        let every: String = Field::ALL.map(|field| format!("{{{field}}}")).concat();
        for text in [
            "{client}",
            "a {client}b{end}",
            "{{{client}}} }}{{",
            "plain",
            &every,
        ] {
            assert_eq!(
                parse(text).map(|parsed| written(&parsed)),
                Ok(text.to_owned())
            );
        }
        let default = "{time} {client} {listener} {server} {bytes_in} {bytes_out} {wait} \
                       {connect} {total} {retries} {core} {end}";
        assert_eq!(written(&Template::default()), default);
        assert_eq!(parse(default), Ok(Template::default()));
    }

    #[test]
    fn says_what_is_wrong_with_a_template() {
        let brace = "a brace that is not of a field is written twice";
        for (text, advice) in [
            ("{", brace),
            ("}", brace),
            ("{client", brace),
            ("a } b", brace),
            (
                "{clinet}",
                "there is no field \"clinet\"; did you mean \"client\"?",
            ),
            (
                "{ client }",
                "there is no field \" client \"; did you mean \"client\"?",
            ),
            (
                "{}",
                "there is no field \"\"; the fields are time, id, client, peer, listener, sni, alpn, route, server, \
                 bytes_in, bytes_out, wait, connect, total, retries, core, end, cause",
            ),
        ] {
            assert_eq!(parse(text), Err(advice.to_owned()), "{text}");
        }
    }
}

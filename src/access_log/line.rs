//! One line.

use std::io::Write;
use std::time::{Duration, SystemTime};

use proxy_config::{Field, Format, Piece, Template};
use proxy_core::End;
use serde::Serialize;

use proxy_admin::Utc;

/// What is said of one connection.
pub(super) struct Line<'a> {
    pub(super) end: &'a End,
    /// By the calendar.
    pub(super) ended_at: SystemTime,
}

/// The line as JSON. The names are those of the template's fields, with a unit where they are times.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    id: u64,
    client: String,
    peer: String,
    listener: &'a str,
    sni: Option<&'a str>,
    alpn: Option<String>,
    route: Option<&'a str>,
    server: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    wait_seconds: f64,
    connect_seconds: Option<f64>,
    total_seconds: f64,
    retries: u16,
    core: usize,
    end: String,
    cause: &'static str,
}

/// What a field without a value is in text.
const NONE: &str = "-";

impl Line<'_> {
    /// Appends the line, with its end.
    pub(super) fn write(&self, format: &Format, to: &mut Vec<u8>) {
        match format {
            Format::Text(template) => self.write_text(template, to),
            Format::Json => self.write_json(to),
        }
        to.push(b'\n');
    }

    fn write_text(&self, template: &Template, to: &mut Vec<u8>) {
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => to.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => self.write_field(*field, to),
            }
        }
    }

    fn write_field(&self, field: Field, to: &mut Vec<u8>) {
        let end = self.end;
        // Memory takes whatever is written to it.
        let _ = match field {
            Field::Time => write!(to, "{}", Utc(self.ended_at)),
            Field::Id => write!(to, "{}", end.id),
            Field::Client => write!(to, "{}", end.client),
            Field::Peer => write!(to, "{}", end.peer),
            Field::Listener => write!(to, "{}", end.listener.name),
            Field::Sni => write_or_none(self.sni(), to),
            Field::Alpn => write_or_none(self.alpn().as_deref(), to),
            Field::Route => write_or_none(self.route(), to),
            Field::Server => write_or_none(self.server(), to),
            Field::BytesIn => write!(to, "{}", end.bytes_in),
            Field::BytesOut => write!(to, "{}", end.bytes_out),
            Field::Wait => write!(to, "{:.6}", seconds(end.wait)),
            Field::Connect => match end.connect {
                Some(connect) => write!(to, "{:.6}", seconds(connect)),
                None => write!(to, "{NONE}"),
            },
            Field::Total => write!(to, "{:.6}", seconds(end.total)),
            Field::Retries => write!(to, "{}", end.retries),
            Field::Core => write!(to, "{}", end.core),
            Field::End => write!(to, "{}", end.termination),
            Field::Cause => write!(to, "{}", end.cause.label()),
        };
    }

    fn write_json(&self, to: &mut Vec<u8>) {
        let end = self.end;
        let json = Json {
            time: Utc(self.ended_at).to_string(),
            id: end.id,
            client: end.client.to_string(),
            peer: end.peer.to_string(),
            listener: &end.listener.name,
            sni: self.sni(),
            alpn: self.alpn(),
            route: self.route(),
            server: self.server(),
            bytes_in: end.bytes_in,
            bytes_out: end.bytes_out,
            wait_seconds: seconds(end.wait),
            connect_seconds: end.connect.map(seconds),
            total_seconds: seconds(end.total),
            retries: end.retries,
            core: end.core,
            end: end.termination.to_string(),
            cause: end.cause.label(),
        };
        // Memory takes it, and nothing in it can't be JSON.
        let _ = serde_json::to_writer(to, &json);
    }

    fn sni(&self) -> Option<&str> {
        self.end.facts.as_ref()?.sni.as_deref()
    }

    /// With commas between them.
    fn alpn(&self) -> Option<String> {
        let alpn = &self.end.facts.as_ref()?.alpn;
        (!alpn.is_empty()).then(|| alpn.to_string())
    }

    fn route(&self) -> Option<&str> {
        let route = self.end.facts.as_ref()?.route.as_ref()?;
        Some(&route.name)
    }

    fn server(&self) -> Option<&str> {
        let server = self.end.server.as_ref()?;
        Some(&server.label)
    }
}

fn write_or_none(text: Option<&str>, to: &mut Vec<u8>) -> std::io::Result<()> {
    match text {
        Some(text) => write_word(text, to),
        None => write!(to, "{NONE}"),
    }
}

/// A unix socket's path may have any character in it; a space would begin the next field, and a newline a line.
fn write_word(text: &str, to: &mut Vec<u8>) -> std::io::Result<()> {
    for character in text.chars() {
        if character.is_control() || character.is_whitespace() || character == '\\' {
            write!(to, "{}", character.escape_unicode())?;
        } else {
            write!(to, "{character}")?;
        }
    }
    Ok(())
}

/// Whole microseconds: what both formats show.
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Instant, UNIX_EPOCH};

    use proxy_core::metrics::Cause;
    use proxy_core::{
        ClientAddress, Listener, Server, ServerAddress, Stage, Termination, Upstream,
    };

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn end(has_server: bool) -> End {
        let path = "/run/a \"b\"\n.sock";
        let label = format!("unix:{path}");
        let upstream = Upstream::new("pool".to_owned());
        let server = Server::fixed(&upstream, label, ServerAddress::Unix(path.into()));
        End {
            id: 7,
            listener: Arc::new(Listener::new("redis".to_owned())),
            client: ClientAddress::Tcp(([10, 0, 0, 1], 4567).into()),
            peer: ClientAddress::Tcp(([10, 0, 0, 2], 80).into()),
            facts: None,
            server: has_server.then(|| Arc::new(server)),
            bytes_in: 1000,
            bytes_out: 20,
            wait: Duration::from_nanos(12_345),
            connect: has_server.then_some(Duration::from_millis(3)),
            total: Duration::from_secs(61),
            retries: 2,
            core: 1,
            cause: Cause::ClientReset,
            termination: Termination::of(Cause::ClientReset, Stage::Data, None),
            at: Instant::now(),
        }
    }

    fn written(has_server: bool, format: &Format) -> String {
        let end = end(has_server);
        let line = Line {
            end: &end,
            ended_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
        };
        let mut bytes = Vec::new();
        line.write(format, &mut bytes);
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn text_is_one_line_of_words() {
        let format = Format::Text(Template::default());
        assert_eq!(
            written(true, &format),
            "2023-11-14T22:13:20.500Z 10.0.0.1:4567 redis unix:/run/a\\u{20}\"b\"\\u{a}.sock 1000 20 \
             0.000012 0.003000 61.000000 2 1 CD\n"
        );
        assert_eq!(
            written(false, &format),
            "2023-11-14T22:13:20.500Z 10.0.0.1:4567 redis - 1000 20 0.000012 - 61.000000 2 1 CD\n"
        );
    }

    #[test]
    fn json_has_every_field() {
        assert_eq!(
            written(true, &Format::Json),
            "{\"time\":\"2023-11-14T22:13:20.500Z\",\"id\":7,\"client\":\"10.0.0.1:4567\",\
             \"peer\":\"10.0.0.2:80\",\"listener\":\"redis\",\"sni\":null,\"alpn\":null,\
             \"route\":null,\"server\":\"unix:/run/a \\\"b\\\"\\n.sock\",\"bytes_in\":1000,\
             \"bytes_out\":20,\"wait_seconds\":0.000012,\"connect_seconds\":0.003,\
             \"total_seconds\":61.0,\"retries\":2,\"core\":1,\"end\":\"CD\",\
             \"cause\":\"client_reset\"}\n"
        );
        let without = written(false, &Format::Json);
        assert!(without.contains("\"server\":null"), "{without}");
        assert!(without.contains("\"connect_seconds\":null"), "{without}");
    }
}

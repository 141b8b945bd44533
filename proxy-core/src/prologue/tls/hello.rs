//! The message itself, once all of it is there.

use super::reader::Reader;
use super::{Alpn, Bad, name};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// What a ClientHello says about where it wants to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server's name, in lower case and without a dot at its end; the outer one if there is another, encrypted one.
    pub server_name: Option<Box<str>>,
    /// The protocols that it offers.
    pub alpn: Alpn,
    /// It has another hello inside that only the server can read (ECH), or pretends to.
    pub encrypted: bool,
}

impl ClientHello {
    /// From the body of the message, without its type and length.
    pub(super) fn new(body: &[u8]) -> Result<Self, Bad> {
        let mut body = Reader(body);
        let version = body.u16()?;
        let _random = body.take(32)?;
        let session = body.vector8()?;
        let ciphers = body.vector16()?;
        let compressions = body.vector8()?;
        let ciphers_fit = !ciphers.is_empty() && ciphers.len().is_multiple_of(2);
        if version >> 8 != 3 || session.len() > 32 || !ciphers_fit || compressions.is_empty() {
            return Err(Bad::Form);
        }
        // SSL 3.0 and TLS 1.0 end here at times.
        if body.is_empty() {
            return Ok(Self::default());
        }
        let extensions = body.vector16()?;
        if !body.is_empty() {
            return Err(Bad::Form);
        }
        Self::of(Reader(extensions))
    }

    fn of(mut extensions: Reader<'_>) -> Result<Self, Bad> {
        let mut hello = Self::default();
        let (mut has_name, mut has_alpn) = (false, false);
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let value = extensions.vector16()?;
            match kind {
                SERVER_NAME => {
                    if std::mem::replace(&mut has_name, true) {
                        return Err(Bad::ServerName);
                    }
                    hello.server_name = name::server_name(value)?;
                }
                ALPN => {
                    if std::mem::replace(&mut has_alpn, true) {
                        return Err(Bad::Alpn);
                    }
                    hello.alpn = Alpn::new(value)?;
                }
                ENCRYPTED_CLIENT_HELLO => hello.encrypted = true,
                // All others, the invented ones of GREASE among them.
                _ => {}
            }
        }
        Ok(hello)
    }
}

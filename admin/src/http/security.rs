//! Who may change the proxy over TCP, and whether that is encrypted.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::header::AUTHORIZATION;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::api::caller::Caller;
use crate::token::Token;

/// What is asked of those who come to the admin server's address.
#[derive(Clone, Default)]
pub struct Security {
    /// What those show who may change the proxy; none: nobody may.
    pub token: Option<Token>,
    /// None: plain HTTP is spoken.
    pub tls: Option<Tls>,
}

/// TLS with certificates of the admin server's.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// With certificates, the server's own first, and its private key, both in PEM.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, String> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let certificates = read.map_err(|error| format!("the certificates: {error}"))?;
        if certificates.is_empty() {
            return Err("there is no certificate in PEM".to_owned());
        }
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key: {error}"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| format!("the certificate and the key: {error}"))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.0
    }
}

/// Why what somebody has shown is not taken.
pub(super) enum BadToken {
    /// It is not the token.
    Wrong,
    /// Everybody on the way could have read it.
    Plain,
}

impl Security {
    /// Who asks, by what the request shows.
    pub(super) fn caller<B>(
        &self,
        request: &Request<B>,
        from: SocketAddr,
        is_encrypted: bool,
    ) -> Result<Caller, BadToken> {
        let Some(shown) = request.headers().get(AUTHORIZATION) else {
            return Ok(Caller::Reader(from));
        };
        if !is_encrypted && !from.ip().to_canonical().is_loopback() {
            return Err(BadToken::Plain);
        }
        let shown = shown.to_str().unwrap_or_default();
        let shown = shown.split_once(' ');
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let is_it = |(_, shown): (_, &str)| {
            let token = self.token.as_ref();
            token.is_some_and(|token| token.is(shown.trim_start()))
        };
        match shown.is_some_and(is_it) {
            true => Ok(Caller::Bearer(from)),
            false => Err(BadToken::Wrong),
        }
    }
}

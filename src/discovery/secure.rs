//! TLS to a source: whose certificates are trusted.

use std::sync::Arc;

use proxy_config::HttpUrl;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::failure::{Failure, Reason};

/// Handshakes with one host, whose certificate must be signed by one of some authorities.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// With a host, a name or an IP address, that these vouch for, in PEM.
    ///
    /// # Errors
    /// When they are no certificates.
    pub(super) fn new(pem: &[u8], host: &str) -> Result<Self, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(Reason::Format, format!("TLS to {host}: {why}"))
        };
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(read.unwrap_or_default());
        if added == 0 {
            return Err(failed(
                &"the file of authorities has no certificates in PEM",
            ));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// When nobody does it there, or somebody else.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        url: &HttpUrl,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let shaken = self.connector.connect(self.name.clone(), stream).await;
        shaken.map_err(|error| Failure::new(Reason::Refused, format!("{url}: TLS: {error}")))
    }
}

//! A handshake of TLS.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::progress::{Heard, Progress};

/// Whose certificates pass.
#[derive(Clone, Debug)]
pub struct TlsTrust(Option<Trusted>);

#[derive(Clone, Debug)]
struct Trusted {
    verifier: Arc<WebPkiServerVerifier>,
    /// Those of a file pass themselves, too: certificates that sign themselves mostly say that they are of an authority, and
    /// webpki takes none of those from a server.
    own: Arc<[CertificateDer<'static>]>,
}

/// Why a check of TLS can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is no certificates in PEM.
    #[error("it has no certificates in PEM")]
    NoCertificates,
    /// The system trusts nobody.
    #[error(
        "the system has no certificates that are trusted (install ca-certificates, or name a file: ca)"
    )]
    NoSystemCertificates,
    /// The name is none of a server.
    #[error("\"{0}\" is no name that a certificate can have")]
    Name(String),
    /// What rustls says.
    #[error("{0}")]
    Other(String),
}

/// A handshake with one server, and what is known of its certificate.
#[derive(Clone, Debug)]
pub struct TlsScript {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// In seconds since 1970; zero: not known.
    expires_at: Arc<AtomicU64>,
}

impl TlsTrust {
    /// Any certificate passes.
    pub fn anybody() -> Self {
        Self(None)
    }

    /// Those pass that are signed by one of these, in PEM.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(pem: &[u8]) -> Result<Self, TlsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let read = read.map_err(|_| TlsError::NoCertificates)?;
        let trusted = Self::signed_by(read.clone());
        let trusted = trusted.map_err(|none| none.unwrap_or(TlsError::NoCertificates))?;
        Ok(Self(Some(Trusted {
            own: read.into(),
            ..trusted
        })))
    }

    /// Those pass that the system trusts.
    ///
    /// # Errors
    /// When it trusts nobody.
    pub fn of_system() -> Result<Self, TlsError> {
        let read = rustls_native_certs::load_native_certs().certs;
        let trusted = Self::signed_by(read);
        let trusted = trusted.map_err(|none| none.unwrap_or(TlsError::NoSystemCertificates))?;
        Ok(Self(Some(trusted)))
    }

    /// None: nobody is trusted.
    fn signed_by(certificates: Vec<CertificateDer<'static>>) -> Result<Trusted, Option<TlsError>> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(None);
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        let verifier = verifier.map_err(|error| Some(TlsError::Other(error.to_string())))?;
        Ok(Trusted {
            verifier,
            own: Arc::default(),
        })
    }
}

impl TlsScript {
    /// A handshake that asks for a name, or for none where it is an IP address.
    ///
    /// # Errors
    /// When it is no name.
    pub fn new(trust: &TlsTrust, name: &str) -> Result<Self, TlsError> {
        let parsed = ServerName::try_from(name.to_owned());
        let parsed = parsed.map_err(|_| TlsError::Name(name.to_owned()))?;
        let provider = Arc::new(ring::default_provider());
        let expires_at = Arc::default();
        let verifier = Verifier {
            trust: trust.0.clone(),
            provider: provider.clone(),
            expires_at: Arc::clone(&expires_at),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Other(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = config.with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name: parsed,
            expires_at,
        })
    }

    /// When the certificate expires that the server has shown last, in seconds since 1970; none: it has shown none.
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at.load(Relaxed)).filter(|seconds| *seconds > 0)
    }
}

/// Judges certificates, and notes when they expire.
#[derive(Debug)]
struct Verifier {
    trust: Option<Trusted>,
    provider: Arc<CryptoProvider>,
    expires_at: Arc<AtomicU64>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.expires_at
            .store(expires_at(certificate).unwrap_or(0), Relaxed);
        match &self.trust {
            None => Ok(ServerCertVerified::assertion()),
            Some(trust) if trust.own.contains(certificate) => verify_own(certificate, name, now),
            Some(trust) => {
                let verifier = &trust.verifier;
                verifier.verify_server_cert(certificate, others, name, ocsp, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// Verifies a certificate that is trusted itself: its name and its time.
fn verify_own(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    if expires_at(certificate).is_none_or(|expires_at| expires_at < now.as_secs()) {
        return Err(CertificateError::Expired.into());
    }
    Ok(ServerCertVerified::assertion())
}

/// When a certificate expires, in seconds since 1970.
fn expires_at(certificate: &[u8]) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let not_after = certificate.tbs_certificate.validity.not_after;
    Some(not_after.to_unix_duration().as_secs())
}

/// A handshake that is under way.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ClientConnection,
    /// Bytes that it has heard.
    heard: usize,
}

impl Tls {
    /// # Errors
    /// What rustls says.
    pub(crate) fn begin(script: &TlsScript) -> Result<Self, String> {
        let connection = ClientConnection::new(script.config.clone(), script.name.clone());
        let connection = connection.map_err(|error| error.to_string())?;
        Ok(Self {
            connection,
            heard: 0,
        })
    }

    pub(crate) fn step(&mut self, heard: Heard<'_>, output: &mut Vec<u8>) -> Progress {
        let progress = self.hear(heard);
        if progress == Progress::Passed {
            self.connection.send_close_notify();
        }
        while self.connection.wants_write() {
            // A vector takes everything.
            if self.connection.write_tls(output).is_err() {
                break;
            }
        }
        progress
    }

    fn hear(&mut self, heard: Heard<'_>) -> Progress {
        while self.heard < heard.bytes.len() && self.connection.is_handshaking() {
            let mut rest = Cursor::new(&heard.bytes[self.heard..]);
            match self.connection.read_tls(&mut rest) {
                Ok(0) => break,
                Ok(count) => self.heard += count,
                Err(error) => return Progress::Failed(error.to_string()),
            }
            if let Err(error) = self.connection.process_new_packets() {
                return Progress::Failed(format!("the handshake of TLS failed: {error}"));
            }
        }
        if self.connection.is_handshaking() {
            Progress::More
        } else {
            Progress::Passed
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::ServerConnection;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::dialogue::{Dialogue, Script};

    /// A server with a certificate of its own for `db.example`, and that certificate in PEM.
    struct Server(Arc<rustls::ServerConfig>, String);

    /// It expires at the beginning of this year.
    fn server(expires: i32) -> Server {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["db.example".to_owned()]).expect("names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(expires, 1, 1);
        // As openssl makes them.
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a key that fits");
        Server(config.into(), certificate.pem())
    }

    /// What a handshake comes to whose server's bytes come in pieces of so many, with the byte in a place changed.
    fn shake(
        server: &Server,
        script: &TlsScript,
        piece: usize,
        flipped: Option<usize>,
    ) -> (Progress, usize) {
        let mut peer = ServerConnection::new(server.0.clone()).expect("a server");
        let (mut dialogue, mut progress) = Dialogue::begin(&Script::Tls(script.clone()), b"");
        let mut said = 0;
        for _ in 0..10 {
            let sent = dialogue.output().to_vec();
            dialogue.on_sent(sent.len());
            let mut rest = &sent[..];
            while !rest.is_empty() && peer.read_tls(&mut rest).is_ok() {
                let _ = peer.process_new_packets();
            }
            let mut answer = Vec::new();
            while peer.wants_write() {
                peer.write_tls(&mut answer).expect("a vector takes it");
            }
            if let Some(place) = flipped.and_then(|place| place.checked_sub(said))
                && place < answer.len()
            {
                answer[place] ^= 0x10;
            }
            said += answer.len();
            for piece in answer.chunks(piece) {
                if progress != Progress::More {
                    return (progress, said);
                }
                progress = dialogue.on_receive(piece);
            }
        }
        match progress {
            Progress::More => (dialogue.on_end(), said),
            over => (over, said),
        }
    }

    fn script(trust: &TlsTrust, name: &str) -> TlsScript {
        TlsScript::new(trust, name).expect("a name")
    }

    #[test]
    fn a_handshake_passes_however_it_comes_and_tells_when_the_certificate_expires() {
        let server = server(2001);
        for piece in [1, 2, 7, 100, usize::MAX] {
            let script = script(&TlsTrust::anybody(), "other.example");
            assert_eq!(script.expires_at(), None);
            assert_eq!(shake(&server, &script, piece, None).0, Progress::Passed);
            // 2001-01-01T00:00:00Z
            assert_eq!(script.expires_at(), Some(978_307_200));
        }
    }

    #[test]
    fn what_is_verified_is_who_signed_it_the_name_and_the_time() {
        let good = server(2100);
        let why = |server: &Server, trust: &TlsTrust, name: &str| {
            let script = script(trust, name);
            let (progress, _) = shake(server, &script, 100, None);
            assert!(script.expires_at().is_some(), "known whatever is wrong");
            match progress {
                Progress::Failed(why) => why,
                _ => String::new(),
            }
        };
        let trust = TlsTrust::of(good.1.as_bytes()).expect("a certificate");
        assert_eq!(why(&good, &trust, "db.example"), "");
        assert!(why(&good, &trust, "other.example").contains("not valid for"));
        assert!(why(&server(2100), &trust, "db.example").contains("invalid peer certificate"));
        let old = server(2001);
        let trust = TlsTrust::of(old.1.as_bytes()).expect("a certificate");
        assert!(why(&old, &trust, "db.example").contains("Expired"));
    }

    #[test]
    fn no_changed_byte_panics_and_no_other_protocol_passes() {
        let server = server(2100);
        let trust = TlsTrust::of(server.1.as_bytes()).expect("a certificate");
        let script = script(&trust, "db.example");
        let (_, said) = shake(&server, &script, usize::MAX, None);
        for place in 0..said {
            shake(&server, &script, usize::MAX, Some(place));
        }
        let (mut dialogue, _) = Dialogue::begin(&Script::Tls(script), b"");
        let progress = dialogue.on_receive(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert!(matches!(progress, Progress::Failed(_)), "{progress:?}");
    }

    #[test]
    fn text_without_certificates_is_nobody() {
        for pem in [
            "",
            "nonsense",
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        ] {
            assert!(TlsTrust::of(pem.as_bytes()).is_err(), "{pem}");
        }
        assert!(TlsScript::new(&TlsTrust::anybody(), "a b").is_err());
    }
}

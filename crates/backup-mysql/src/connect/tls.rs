//! TLS by rustls, with libpq's meanings of `sslmode`.

use std::sync::Arc;

use backup_core::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::packet::Stream;
use crate::config::{SslMode, Tls};

/// Encrypts a stream to `host`.
pub(super) async fn encrypt(tls: &Tls, host: &str, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>> {
    let config = client(tls)?;
    let name = ServerName::try_from(host.to_owned()).or_else(|error| {
        // Without verification the name is of no use.
        if tls.mode >= SslMode::VerifyFull { Err(error) } else { ServerName::try_from("unnamed.invalid") }
    });
    let name = name.map_err(|error| refused("the host is no name that a certificate could have", error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| {
        refused("no encrypted connection came to be", error)
            .hint("check sslmode and sslrootcert, and the server's certificate: its authority, its names, its dates")
    })?;
    Ok(Box::new(stream))
}

fn client(tls: &Tls) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("TLS cannot be set up", error))?;
    let config = match tls.mode {
        SslMode::VerifyFull => config.with_root_certificates(roots(tls)?),
        mode => {
            let authority = match mode {
                SslMode::VerifyCa => Some(verifier(tls, &provider)?),
                _ => None,
            };
            config.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { authority, provider }))
        }
    };
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        return Ok(config.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unreadable("sslcert", error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("sslkey", error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| unreadable("sslcert", error))
}

fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), Arc::clone(provider))
        .build()
        .map_err(|error| refused("no authority can be trusted", error))
}

/// The authorities of `sslrootcert`, or else the system's.
fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = match &tls.root_certificates {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|error| unreadable("sslrootcert", error))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(Error::usage("there is no certificate authority to verify the server by")
            .hint("name a file with it: sslrootcert=/path/to/ca.pem"));
    }
    Ok(roots)
}

fn refused(what: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Connect, format!("{what}: {error}")).because(error)
}

fn unreadable(option: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Config, format!("the file of {option} cannot be used: {error}"))
        .hint("it is a file in PEM format")
        .because(error)
}

/// Takes a certificate of any name: of an authority that is trusted, or, without one, of anybody.
#[derive(Debug)]
struct AnyName {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last: all else is well.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

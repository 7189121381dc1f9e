//! The rustls configuration of one server.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_core::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::SslMode;
use crate::verifier::AnyName;

/// Whether to encrypt, whom to trust, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// What of the server to verify.
    pub mode: SslMode,
    /// Whose word counts.
    pub authorities: Authorities,
    /// What to show to a server that asks.
    pub client: Option<ClientCertificate>,
}

/// Whose word about a server counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Authorities {
    /// Of all whom the operating system trusts.
    #[default]
    System,
    /// Of those in a file in PEM.
    File(PathBuf),
}

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub chain: PathBuf,
    /// Its key, which nobody else may read.
    pub key: PathBuf,
}

impl Tls {
    /// A configuration that verifies what `mode` says. Errors: `Usage` if a file cannot be used or no authority is known,
    /// `PermissionDenied` if others may read the key.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("TLS has no protocol version").because(error))?;
        let authority = || self.authority(&provider);
        let builder = match self.mode {
            SslMode::VerifyFull => builder.with_webpki_verifier(authority()?),
            mode => {
                let authority = if mode.verifies() { Some(authority()?) } else { None };
                let verifier = AnyName { authority, provider };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let Some(client) = &self.client else { return Ok(builder.with_no_client_auth()) };
        refuse_if_others_read(&client.key)?;
        let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|error| unusable(&client.key, error))?;
        builder
            .with_client_auth_cert(certificates(&client.chain)?, key)
            .map_err(|error| unusable(&client.chain, error))
    }

    fn authority(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
        let found = match &self.authorities {
            Authorities::File(file) => certificates(file)?,
            Authorities::System => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        verifier.build().map_err(|error| {
            Error::usage("there is no certificate authority to verify the server by")
                .hint("name a file with it: sslrootcert=/path/to/ca.pem")
                .because(error)
        })
    }
}

/// What the certificate of `host` has to name. Where names are not verified, a host may have one that no certificate could.
/// Errors: `Usage`.
pub fn server_name(host: &str, mode: SslMode) -> Result<ServerName<'static>> {
    let name = match ServerName::try_from(host.to_owned()) {
        Err(_) if mode < SslMode::VerifyFull => ServerName::try_from("unnamed.invalid"),
        name => name,
    };
    name.map_err(|error| {
        Error::usage(format!("{host:?} is no name that a certificate could have"))
            .hint("name the host as its certificate does")
            .because(error)
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(file, error))?;
    if found.is_empty() {
        return Err(Error::usage(format!("{} has no certificate in it", file.display()))
            .hint("it has to be a file in PEM format"));
    }
    Ok(found)
}

/// As libpq does: a key is its owner's alone, or root's and readable by a group.
fn refuse_if_others_read(key: &Path) -> Result<()> {
    let metadata = std::fs::metadata(key).map_err(|error| unusable(key, error))?;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & others == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied, format!("others may read the key {}", key.display()))
        .hint(format!("chmod 600 {}", key.display())))
}

fn unusable(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::usage(format!("{} cannot be used: {error}", file.display()))
        .hint("it has to be a file in PEM format that this account may read")
        .because(error)
}

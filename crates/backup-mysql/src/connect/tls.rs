//! TLS in the midst of the login.

use std::sync::Arc;

use backup_core::{Error, ErrorKind, Result};
use backup_tls::{Tls, server_name};
use tokio_rustls::TlsConnector;

use super::packet::Stream;

/// Encrypts a stream to `host`.
pub(super) async fn encrypt(tls: &Tls, host: &str, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>> {
    let (config, name) = (tls.client_config()?, server_name(host, tls.mode)?);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| {
        Error::new(ErrorKind::Connect, format!("no encrypted connection came to be: {error}"))
            .hint("check sslmode and sslrootcert, and the server's certificate: its authority, its names, its dates")
            .because(error)
    })?;
    Ok(Box::new(stream))
}

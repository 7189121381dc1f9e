//! TLS to database servers, by rustls with ring: whom to trust, and who we are.
//!
//! | where | what |
//! |---|---|
//! | `mode` | [`SslMode`]: whether to encrypt, and what of the server to verify |
//! | `client` | [`Tls::client_config`]: the rustls configuration that does so |
//! | `verifier` | certificates that are taken whatever their name, or whoever signed them |
//!
//! How TLS begins differs from protocol to protocol and is the engines' business.

mod client;
mod mode;
mod verifier;

pub use client::{Authorities, ClientCertificate, Tls, server_name};
pub use mode::SslMode;

/// Whether what a host is called by is surely this machine: nobody is on the way there.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

//! Getting in: the server's greeting, TLS, and proving the password.

use backup_core::{Error, ErrorKind, Result};
use backup_tls::SslMode;
use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};

use super::field::Fields;
use super::packet::{Packets, Stream};
use super::tls;
use crate::config::{Address, Config};
use crate::error::{from_packet, malformed};

/// What client and server can do, as far as it matters here.
mod capability {
    pub(super) const LONG_PASSWORD: u64 = 1;
    pub(super) const LONG_FLAG: u64 = 1 << 2;
    pub(super) const LOCAL_FILES: u64 = 1 << 7;
    pub(super) const PROTOCOL_41: u64 = 1 << 9;
    pub(super) const SSL: u64 = 1 << 11;
    pub(super) const TRANSACTIONS: u64 = 1 << 13;
    pub(super) const SECURE_CONNECTION: u64 = 1 << 15;
    pub(super) const PLUGIN_AUTH: u64 = 1 << 19;
}

/// utf8mb4_general_ci, which every server knows.
const COLLATION: u8 = 45;

/// The server's first packet.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) version: String,
    pub(crate) connection: u32,
    capabilities: u64,
    nonce: Vec<u8>,
    plugin: String,
}

/// What a password may be sent through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Anybody on the way can read it.
    Clear,
    /// Encrypted, but to whom nobody knows.
    Unverified,
    /// This machine, or a server whose certificate was verified.
    Trusted,
}

impl Greeting {
    fn parse(payload: &[u8]) -> Result<Self> {
        if payload.first() == Some(&0xff) {
            return Err(from_packet(payload));
        }
        let mut fields = Fields(payload);
        if fields.byte()? != 10 {
            return Err(malformed("a greeting of another protocol"));
        }
        let version = String::from_utf8_lossy(fields.until_nul()?).into_owned();
        let connection = fields.number(4)? as u32;
        let mut nonce = fields.take(8)?.to_vec();
        fields.byte()?;
        let low = fields.number(2)?;
        fields.take(3)?;
        let capabilities = low | fields.number(2)? << 16;
        let length = usize::from(fields.byte()?);
        fields.take(10)?;
        let needed = capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
        if capabilities & needed != needed {
            return Err(malformed("a greeting of a server older than MySQL 5.5.7"));
        }
        let rest = fields.take(length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        // Some servers forget the NUL behind the last field.
        let plugin = fields.0.split(|byte| *byte == 0).next().unwrap_or_default();
        let plugin = String::from_utf8_lossy(plugin).into_owned();
        Ok(Self { version, connection, capabilities, nonce, plugin })
    }
}

/// Logs in over a new stream. `files` offers to send what a LOAD DATA LOCAL asks for.
pub(crate) async fn login(
    config: &Config,
    stream: Box<dyn Stream>,
    files: bool,
) -> Result<(Packets, Greeting, Secrecy)> {
    let mut packets = Packets::new(stream);
    let greeting = Greeting::parse(&packets.payload().await?)?;
    let mut capabilities = capability::LONG_PASSWORD
        | capability::LONG_FLAG
        | capability::PROTOCOL_41
        | capability::TRANSACTIONS
        | capability::SECURE_CONNECTION
        | capability::PLUGIN_AUTH;
    if files {
        capabilities |= capability::LOCAL_FILES;
    }
    let mut secrecy = if config.address.is_local() { Secrecy::Trusted } else { Secrecy::Clear };
    if let Address::Tcp { host, .. } = &config.address
        && config.tls.mode != SslMode::Disable
    {
        if greeting.capabilities & capability::SSL != 0 {
            capabilities |= capability::SSL;
            packets.send(&start(capabilities)).await?;
            let sequence = packets.sequence();
            let stream = tls::encrypt(&config.tls, host, packets.into_stream()?).await?;
            packets = Packets::over(stream, sequence);
            if config.tls.mode.verifies() {
                secrecy = Secrecy::Trusted;
            } else if secrecy == Secrecy::Clear {
                secrecy = Secrecy::Unverified;
            }
        } else if !config.tls.mode.permits_clear() {
            return Err(Error::new(ErrorKind::Connect, "the server does not offer encrypted connections")
                .hint("set up TLS on the server, or say sslmode=prefer or sslmode=disable"));
        }
    }
    prove(config, &mut packets, &greeting, capabilities, secrecy).await?;
    Ok((packets, greeting, secrecy))
}

/// What the answer to the greeting begins with. Sent alone, it asks for TLS.
fn start(capabilities: u64) -> Vec<u8> {
    let mut start = (capabilities as u32).to_le_bytes().to_vec();
    start.extend((super::packet::LARGEST as u32).to_le_bytes());
    start.push(COLLATION);
    start.extend([0; 23]);
    start
}

async fn prove(
    config: &Config,
    packets: &mut Packets,
    greeting: &Greeting,
    capabilities: u64,
    secrecy: Secrecy,
) -> Result<()> {
    let password = config.password.as_ref().map_or("", backup_core::Secret::expose).as_bytes();
    // A plugin that is not known here is asked to give way to the account's own.
    let plugin = if is_known(&greeting.plugin) { greeting.plugin.as_str() } else { "mysql_native_password" };
    let proof = proof(plugin, password, &greeting.nonce, secrecy)?;
    let mut answer = start(capabilities);
    answer.extend(config.user.as_bytes());
    answer.push(0);
    answer.push(u8::try_from(proof.len()).map_err(|_| Error::internal("a proof of a password is too long"))?);
    answer.extend(&proof);
    answer.extend(plugin.as_bytes());
    answer.push(0);
    packets.send(&answer).await?;
    // At most a change of plugin and what belongs to it: a server that goes on asking is no server.
    let mut plugin = plugin.to_owned();
    for _ in 0..8 {
        let payload = packets.payload().await?;
        match payload.first() {
            Some(0) => return Ok(()),
            Some(0xff) => return Err(from_packet(&payload)),
            Some(0xfe) => {
                let mut fields = Fields(payload.get(1..).unwrap_or_default());
                plugin = String::from_utf8_lossy(fields.until_nul()?).into_owned();
                let nonce = fields.0.strip_suffix(&[0]).unwrap_or(fields.0);
                let proof = self::proof(&plugin, password, nonce, secrecy)?;
                packets.send(&proof).await?;
            }
            // caching_sha2_password: it remembers us, or it wants the password itself.
            Some(1) if plugin == SHA2 && payload.get(1) == Some(&3) => {}
            Some(1) if plugin == SHA2 && payload.get(1) == Some(&4) => {
                packets.send(&in_clear(password, secrecy)?).await?;
            }
            _ => return Err(malformed("something that is no answer to a password")),
        }
    }
    Err(malformed("ever more questions instead of an answer to a password"))
}

const SHA2: &str = "caching_sha2_password";

fn is_known(plugin: &str) -> bool {
    matches!(plugin, "mysql_native_password" | SHA2 | "client_ed25519" | "mysql_clear_password")
}

/// What proves the password to `plugin`.
fn proof(plugin: &str, password: &[u8], nonce: &[u8], secrecy: Secrecy) -> Result<Vec<u8>> {
    let proof = match plugin {
        "mysql_native_password" => scramble_native(nonce, password).map(|proof| proof.to_vec()),
        SHA2 => scramble_sha256(nonce, password).map(|proof| proof.to_vec()),
        "client_ed25519" => Some(create_response_for_ed25519(password, nonce).to_vec()),
        "mysql_clear_password" => Some(in_clear(password, secrecy)?),
        other => {
            let message = format!("the account logs in by {other:?}, which lifeboat does not know");
            return Err(Error::new(ErrorKind::Connect, message).hint(
                "make an account that logs in by caching_sha2_password, ed25519 or mysql_native_password",
            ));
        }
    };
    Ok(proof.unwrap_or_default())
}

/// The password itself, which goes only to a server that is known to be the right one.
fn in_clear(password: &[u8], secrecy: Secrecy) -> Result<Vec<u8>> {
    if secrecy != Secrecy::Trusted {
        let message = "the server wants the password itself, and it is not known who it is";
        return Err(Error::new(ErrorKind::Connect, message)
            .hint("say sslmode=verify-full (or verify-ca), with sslrootcert where the server's authority is your own"));
    }
    Ok([password, &[0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_in_clear_only_to_who_is_known() {
        for secrecy in [Secrecy::Clear, Secrecy::Unverified] {
            assert_eq!(in_clear(b"canary", secrecy).unwrap_err().kind(), ErrorKind::Connect);
            assert!(proof("mysql_clear_password", b"canary", b"", secrecy).is_err());
        }
        assert_eq!(in_clear(b"x", Secrecy::Trusted).unwrap(), b"x\0");
    }

    #[test]
    fn a_greeting_that_is_cut_off_is_an_error() {
        let mut greeting = b"\x0a10.11\0\x07\0\0\0".to_vec();
        greeting.extend(*b"12345678\0");
        greeting.extend([0xff, 0xff, 45, 2, 0, 0xff, 0xff, 21]);
        greeting.extend([0; 10]);
        greeting.extend(*b"123456789012\0mysql_native_password\0");
        let whole = Greeting::parse(&greeting).unwrap();
        assert_eq!((whole.connection, whole.nonce.len()), (7, 20));
        assert_eq!(whole.plugin, "mysql_native_password");
        for end in 0..greeting.len() - "mysql_native_password\0".len() {
            assert!(Greeting::parse(&greeting[..end]).is_err(), "{end}");
        }
    }
}

//! Getting in: the server's greeting, TLS, and proving the password.

use backup_core::{Error, ErrorKind, Result};
use backup_tls::SslMode;
use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};

use super::field::Fields;
use super::packet::{Packets, Stream};
use super::{public_key, tls};
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
    /// As it is, but within this machine.
    Local,
    /// Encrypted, but to whom nobody knows.
    Unverified,
    /// A unix socket, or encrypted to this machine or to a server whose certificate was verified.
    Trusted,
}

impl Secrecy {
    /// Whether somebody on the way could listen, or answer in the server's place.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Clear | Self::Unverified)
    }
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
    let mut secrecy = match &config.address {
        Address::Socket(_) => Secrecy::Trusted,
        address if address.is_local() => Secrecy::Local,
        Address::Tcp { .. } => Secrecy::Clear,
    };
    if let Address::Tcp { host, .. } = &config.address
        && config.tls.mode != SslMode::Disable
    {
        if greeting.capabilities & capability::SSL != 0 {
            capabilities |= capability::SSL;
            packets.send(&start(capabilities)).await?;
            let sequence = packets.sequence();
            let stream = tls::encrypt(&config.tls, host, packets.into_stream()?).await?;
            packets = Packets::over(stream, sequence);
            let is_known = config.tls.mode.verifies() || secrecy == Secrecy::Local;
            secrecy = if is_known { Secrecy::Trusted } else { Secrecy::Unverified };
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
    let (mut plugin, mut nonce) = (plugin.to_owned(), greeting.nonce.clone());
    for _ in 0..8 {
        let payload = packets.payload().await?;
        match payload.first() {
            Some(0) => return Ok(()),
            Some(0xff) => return Err(from_packet(&payload)),
            Some(0xfe) => {
                let mut fields = Fields(payload.get(1..).unwrap_or_default());
                plugin = String::from_utf8_lossy(fields.until_nul()?).into_owned();
                nonce = fields.0.strip_suffix(&[0]).unwrap_or(fields.0).to_vec();
                let proof = self::proof(&plugin, password, &nonce, secrecy)?;
                packets.send(&proof).await?;
            }
            // caching_sha2_password: it remembers us, or it wants the password itself.
            Some(1) if plugin == SHA2 && payload.get(1) == Some(&3) => {}
            Some(1) if plugin == SHA2 && payload.get(1) == Some(&4) => {
                let answer = match secrecy {
                    Secrecy::Trusted | Secrecy::Unverified => in_clear(password, secrecy)?,
                    // A server hears the password itself only where nobody else does.
                    Secrecy::Local | Secrecy::Clear => {
                        public_key::encrypt(&key(config, packets, secrecy).await?, password, &nonce)?
                    }
                };
                packets.send(&answer).await?;
            }
            _ => return Err(malformed("something that is no answer to a password")),
        }
    }
    Err(malformed("ever more questions instead of an answer to a password"))
}

/// The public key of a server without TLS: the one that was given; or, within this machine or where that was asked for, the one that it says is its own.
async fn key(config: &Config, packets: &mut Packets, secrecy: Secrecy) -> Result<Vec<u8>> {
    if let Some(file) = &config.public_key {
        return std::fs::read(file).map_err(|error| {
            Error::usage(format!("server-public-key-path cannot be read: {}: {error}", file.display()))
                .hint("name the server's public_key.pem")
                .because(error)
        });
    }
    if secrecy != Secrecy::Local && !config.asks_for_public_key {
        let message = "the server wants the password encrypted to its public key, and that is not known";
        return Err(Error::new(ErrorKind::Connect, message).hint(
            "connect with TLS (sslmode=verify-full), or give the server's public_key.pem as server-public-key-path; \
             get-server-public-key=true believes whatever key the server sends",
        ));
    }
    packets.send(&[ASK_FOR_KEY]).await?;
    let payload = packets.payload().await?;
    match payload.split_first() {
        Some((1, key)) => Ok(key.to_vec()),
        Some((0xff, _)) => Err(from_packet(&payload)),
        _ => Err(malformed("something that is no public key")),
    }
}

const ASK_FOR_KEY: u8 = 2;
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
        let message =
            "the server wants the password itself, and it is not known who it is, or others can listen";
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
        for secrecy in [Secrecy::Clear, Secrecy::Local, Secrecy::Unverified] {
            assert_eq!(in_clear(b"canary", secrecy).unwrap_err().kind(), ErrorKind::Connect);
            assert!(proof("mysql_clear_password", b"canary", b"", secrecy).is_err());
        }
        assert_eq!(in_clear(b"x", Secrecy::Trusted).unwrap(), b"x\0");
    }

    fn greeting(plugin: &str) -> Vec<u8> {
        let mut greeting = b"\x0a10.11\0\x07\0\0\0".to_vec();
        greeting.extend(*b"12345678\0");
        greeting.extend([0xff, 0xf7, 45, 2, 0, 0xff, 0xff, 21]);
        greeting.extend([0; 10]);
        greeting.extend(*b"123456789012\0");
        greeting.extend(plugin.as_bytes());
        greeting.push(0);
        greeting
    }

    /// Logs in at somebody who says these things one after the other, and returns what came of it and all that he was told.
    async fn tell(url: &str, says: &[&[u8]]) -> (Result<Secrecy>, Vec<u8>) {
        use tokio::io::AsyncReadExt;
        let config = Config::from_url(&url.parse().unwrap()).unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut theirs = Packets::new(Box::new(theirs));
        let peer = async {
            let mut told = Vec::new();
            for (i, said) in says.iter().enumerate() {
                theirs.send(said).await.unwrap();
                // The answer to a key comes in two.
                if i + 1 == says.len() {
                    break;
                }
                let Ok(heard) = theirs.payload().await else { break };
                told.extend(heard);
            }
            let mut stream = theirs.into_stream().unwrap();
            let _ = stream.read_to_end(&mut told).await;
            told
        };
        let login = async { login(&config, Box::new(ours), false).await.map(|(_, _, secrecy)| secrecy) };
        tokio::join!(login, peer)
    }

    const PASSWORD_IN_CLEAR: &[u8] = b"canary\0";
    const KEY: &[u8] = b"\x01-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxSKOcxiet8lLMn8ImyUE
bGGKob5EdRz/4wdiw12ED0GfKKTKhVnodFCfm1mdy7bKOX5QxL9skrvYodpW43eR
R5bfOzIgy1qIB8RYb6qOXRBw1oA4snBDqtUjDv/lbHLJN+IbzM4oU+e3Lt9rXyLX
VY289ewONPweXHqSCnTL91w+wkU1peIFV2QhZ+upUCdCtwOn5hnJPNgxtbklFoya
C8W3Z7Xx7He2QDJsEWAqX197efw0L6j8X8Tyd8Uwb7zUB1tfMGhHfm9EwejPAtzx
4GztQNtNMtGS2oGZLQBLV9hib4dDL92iiZeckg2LAf4GsJofLLR8mcHCRoqVbQJ1
YQIDAQAB
-----END PUBLIC KEY-----
";

    #[tokio::test]
    async fn whoever_is_not_known_gets_no_password_and_is_asked_for_no_key() {
        let greeting = greeting(SHA2);
        let says = [&greeting[..], &[1, 4], KEY, &[0, 0, 0, 2, 0, 0, 0]];
        let (refused, told) = tell("mysql://me:canary@far/db?sslmode=prefer", &says[..2]).await;
        assert!(refused.unwrap_err().to_string().contains("public key"));
        assert!(told.ends_with(b"caching_sha2_password\0"), "{told:?}");
        // Who asked for it believes in the key; and within this machine nobody is in between.
        for url in ["mysql://me:canary@far/db?get-server-public-key=true", "mysql://me:canary@127.0.0.1/db"] {
            let (known, told) = tell(url, &says).await;
            assert!(matches!(known.unwrap(), Secrecy::Clear | Secrecy::Local));
            let behind = told.windows(22).position(|bytes| bytes == b"caching_sha2_password\0").unwrap() + 22;
            assert_eq!((told[behind], told.len() - behind - 1), (2, 256), "{url}");
            assert!(!told.windows(6).any(|bytes| bytes == b"canary"));
        }
        // Another key than one that encrypts.
        let says = [&greeting[..], &[1, 4], b"\x01this is no key", &[0, 0, 0, 2, 0, 0, 0]];
        let (refused, told) = tell("mysql://me:canary@127.0.0.1/db", &says[..3]).await;
        assert!(refused.unwrap_err().to_string().contains("public key"));
        assert!(told.ends_with(&[2]));
    }

    #[tokio::test]
    async fn nobody_gets_the_password_in_clear_by_changing_the_way_to_log_in() {
        for plugin in ["mysql_clear_password", "dialog", "mysql_old_password", "parsec"] {
            for host in ["far", "127.0.0.1", "localhost"] {
                let switch = [b"\xfe", plugin.as_bytes(), b"\0nonce\0"].concat();
                let refused = b"\xff\x15\x04#28000no".to_vec();
                for says in [[greeting("mysql_native_password"), switch], [greeting(plugin), refused]] {
                    let says: Vec<&[u8]> = says.iter().map(Vec::as_slice).collect();
                    let url = format!("mysql://me:canary@{host}/db?sslmode=disable");
                    let (refused, told) = tell(&url, &says).await;
                    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Connect);
                    assert!(!told.windows(7).any(|bytes| bytes == PASSWORD_IN_CLEAR), "{plugin} at {host}");
                }
            }
        }
    }

    /// What a MariaDB has of an account whose password is `secret`, by `ed25519_password('secret')`.
    #[test]
    fn a_mariadb_finds_its_ed25519_signed_by_the_password() {
        use ed25519_dalek::{Signature, Verifier, VerifyingKey};
        let key = [
            0x64, 0x88, 0x14, 0x44, 0x45, 0x20, 0xe4, 0xf5, 0x60, 0x43, 0xa2, 0xec, 0x92, 0x15, 0xe6, 0x3b,
            0xe7, 0x99, 0x2d, 0x2d, 0x27, 0x0b, 0xc6, 0xde, 0xe8, 0x73, 0xe3, 0x61, 0x64, 0x78, 0x60, 0x96,
        ];
        let nonce = b"12345678901234567890123456789012";
        let signed = proof("client_ed25519", b"secret", nonce, Secrecy::Clear).unwrap();
        let signature = Signature::from_slice(&signed).unwrap();
        VerifyingKey::from_bytes(&key).unwrap().verify(nonce, &signature).unwrap();
        let wrong = proof("client_ed25519", b"Secret", nonce, Secrecy::Clear).unwrap();
        let wrong = Signature::from_slice(&wrong).unwrap();
        assert!(VerifyingKey::from_bytes(&key).unwrap().verify(nonce, &wrong).is_err());
    }

    #[test]
    fn a_greeting_that_is_cut_off_is_an_error() {
        let mut greeting = greeting("mysql_native_password");
        let whole = Greeting::parse(&greeting).unwrap();
        assert_eq!((whole.connection, whole.nonce.len()), (7, 20));
        assert_eq!(whole.plugin, "mysql_native_password");
        for end in 0..greeting.len() - "mysql_native_password\0".len() {
            assert!(Greeting::parse(&greeting[..end]).is_err(), "{end}");
        }
        // One of MySQL 5.5 before it knew of ways to log in; and none at all.
        greeting[25] = 0;
        let error = Greeting::parse(&greeting).unwrap_err().to_string();
        assert!(error.contains("older"), "{error}");
        assert!(Greeting::parse(b"").is_err() && Greeting::parse(b"HTTP/1.1 400 Bad Request").is_err());
    }
}

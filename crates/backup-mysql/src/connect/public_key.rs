//! The server's RSA key, to which `caching_sha2_password` encrypts a password where there is no TLS.

use backup_core::{Error, ErrorKind, Result};
use mysql_common::crypto::rsa::{GetRandom, Pkcs1OaepPadding, PublicKey};
use num_bigint::BigUint;
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Keys of other sizes protect nothing, or take for ever.
const BITS: std::ops::RangeInclusive<u64> = 1024..=16384;
/// What padding takes of a block, in bytes.
const PADDING: usize = 2 * 20 + 2;

/// A password for who has the private key of this public one, in PEM format. `nonce` makes it of use but once.
pub(super) fn encrypt(pem: &[u8], password: &[u8], nonce: &[u8]) -> Result<Vec<u8>> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|error| {
        no_key("it is not in PEM format").because(std::io::Error::other(error.to_string()))
    })?;
    let (modulus, exponent) = parse(&der).ok_or_else(|| no_key("it is no RSA key"))?;
    let bits = modulus.bits();
    if !BITS.contains(&bits)
        || bits % 8 != 0
        || !(2..=64).contains(&exponent.bits())
        || !modulus.bit(0)
        || !exponent.bit(0)
    {
        return Err(no_key("its size is not that of a key that protects anything"));
    }
    let key = PublicKey::new(modulus, exponent);
    let mut block = [password, &[0]].concat();
    if block.len() + PADDING > key.num_octets() || nonce.is_empty() {
        return Err(no_key("it is too short for this password"));
    }
    block.iter_mut().zip(nonce.iter().cycle()).for_each(|(byte, of_nonce)| *byte ^= of_nonce);
    Ok(key.encrypt_block(block, Pkcs1OaepPadding::new(GetRandom)))
}

fn no_key(why: &str) -> Error {
    Error::new(ErrorKind::Connect, format!("the server's public key cannot be used: {why}")).hint(
        "give the server's public_key.pem as server-public-key-path, or connect with sslmode=verify-full",
    )
}

/// The modulus and the exponent of a SubjectPublicKeyInfo.
fn parse(der: &[u8]) -> Option<(BigUint, BigUint)> {
    let (mut info, _) = value(der, SEQUENCE)?;
    let (_, behind) = value(info, SEQUENCE)?;
    info = behind;
    let (bits, _) = value(info, BIT_STRING)?;
    let (numbers, _) = value(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, behind) = value(numbers, INTEGER)?;
    let (exponent, _) = value(behind, INTEGER)?;
    Some((BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// The value of this tag that `der` begins with, and what is behind it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_at_checked(2)?;
    let &[found, length] = head else { return None };
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pem(der: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
        for group in der.chunks(3) {
            let bits =
                group.iter().chain([&0, &0]).take(3).fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte));
            let digits = (0..4).map(|i| DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
            text.extend(digits.enumerate().map(|(i, digit)| if i <= group.len() { digit } else { b'=' }));
        }
        text.extend(b"\n-----END PUBLIC KEY-----\n");
        text
    }

    fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
        let [high, low] = (value.len() as u16).to_be_bytes();
        [&[tag, 0x82, high, low], value].concat()
    }

    fn key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let numbers = [tagged(INTEGER, modulus), tagged(INTEGER, exponent)].concat();
        let bits = [&[0][..], &tagged(SEQUENCE, &numbers)].concat();
        tagged(SEQUENCE, &[tagged(SEQUENCE, b"\x06\x00\x05\x00"), tagged(BIT_STRING, &bits)].concat())
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(modulus in proptest::collection::vec(any::<u8>(), 0..300), exponent in proptest::collection::vec(any::<u8>(), 0..12), cut in 0usize..400, byte: u8) {
            let mut der = key(&modulus, &exponent);
            let _ = encrypt(&pem(&der), b"secret", b"12345678901234567890");
            if let Some(at) = der.get_mut(cut) {
                *at = byte;
            }
            let _ = encrypt(&pem(&der), b"secret", b"12345678901234567890");
            der.truncate(cut);
            let _ = encrypt(&pem(&der), b"secret", b"12345678901234567890");
            let _ = encrypt(&der, b"secret", b"");
        }
    }

    #[test]
    fn a_key_that_protects_nothing_is_refused() {
        let refused = |modulus: &[u8], exponent: &[u8], password: &[u8]| {
            encrypt(&pem(&key(modulus, exponent)), password, b"12345678901234567890").is_err()
        };
        let modulus = [&[0, 0xff][..], &[0xab; 255]].concat();
        assert!(!refused(&modulus, &[1, 0, 1], b"secret"));
        assert!(refused(&[0xff; 64], &[1, 0, 1], b"secret"));
        assert!(refused(&[0xff; 4096], &[1, 0, 1], b"secret"));
        assert!(refused(&modulus, &[0xff; 100], b"secret"));
        assert!(refused(&modulus, &[1, 0, 0], b"secret"));
        assert!(refused(&modulus, &[1, 0, 1], &[b'x'; 214]));
        assert!(!refused(&modulus, &[1, 0, 1], &[b'x'; 213]));
        // An exponent of one encrypts nothing.
        assert!(refused(&modulus, &[1], b"secret"));
    }
}

//! Signatures: who vouches for a manifest, a mark, a description, a pending record. Hashes prove that bytes are whole; only these prove who wrote them.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::id::{Hash32, random};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Whose signatures count: an Ed25519 public key, written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signer([u8; 32]);

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Signer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            Error::usage("a signer is an Ed25519 public key: 64 hexadecimal digits")
                .hint("`lifeboat key show` prints those of a repository")
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| malformed())?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| malformed())?;
        // For such a key there are signatures that fit anything.
        if key.is_weak() { Err(malformed()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Signer {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Signer> for String {
    fn from(signer: Signer) -> Self {
        signer.to_string()
    }
}

/// What a signature is about. One that was made for one purpose counts for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Manifest,
    Mark,
    Description,
    /// What a running backup has stored so far.
    Pending,
}

impl Purpose {
    /// The bytes that are signed for the hash of something.
    fn message(self, hash: &Hash32) -> Vec<u8> {
        let purpose = match self {
            Self::Manifest => "manifest",
            Self::Mark => "mark",
            Self::Description => "repository",
            Self::Pending => "pending",
        };
        [format!("lifeboat 2026 {purpose}\0").as_bytes(), &hash.0].concat()
    }
}

/// The secret half of a [`Signer`]. Neither `Debug` nor an error shows it.
#[derive(Clone)]
pub(crate) struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&random()?)))
    }

    /// Reads what [`SigningKey::to_secret`] gave.
    pub(crate) fn from_secret(secret: &Secret) -> Result<Self> {
        let mut seed = [0; 32];
        hex::decode_to_slice(secret.expose(), &mut seed)
            .map_err(|_| Error::new(ErrorKind::WrongKey, "the signing key is not 64 hexadecimal digits"))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    pub(crate) fn to_secret(&self) -> Secret {
        Secret::new(hex::encode(self.0.to_bytes()))
    }

    pub(crate) fn signer(&self) -> Signer {
        Signer(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, purpose: Purpose, hash: &Hash32) -> Signature {
        let ed25519 = self.0.sign(&purpose.message(hash)).to_bytes();
        Signature { signer: self.signer(), ed25519: hex::encode(ed25519) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ...)", self.signer())
    }
}

/// A signature, and who it says made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    pub(crate) signer: Signer,
    ed25519: String,
}

impl Signature {
    /// Whether its signer signed this hash, for this purpose. Whether that signer counts is another question.
    pub(crate) fn check(&self, purpose: Purpose, hash: &Hash32) -> Result<Signer> {
        let forged = || {
            let message = format!("the signature is not one that {} made of this", self.signer);
            Error::new(ErrorKind::UnknownSigner, message)
        };
        let mut bytes = [0; 64];
        hex::decode_to_slice(&self.ed25519, &mut bytes).map_err(|_| forged())?;
        // Nothing proves a signature, so no other way to write the same digits is taken for it.
        if hex::encode(bytes) != self.ed25519 {
            return Err(forged());
        }
        let key = VerifyingKey::from_bytes(&self.signer.0).map_err(|_| forged())?;
        let signature = ed25519_dalek::Signature::from_bytes(&bytes);
        key.verify_strict(&purpose.message(hash), &signature).map_err(|_| forged())?;
        Ok(self.signer)
    }
}

/// The line behind a line of JSON, which proves it: the line's hash, and in a sealed repository a signature of that hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// The BLAKE3 of the line, without its newline.
    pub(crate) hash: Hash32,
    pub(crate) signature: Option<Signature>,
}

impl Proof {
    pub(crate) fn of(line: &[u8], purpose: Purpose, key: Option<&SigningKey>) -> Self {
        let hash = Hash32::of(line);
        Self { hash, signature: key.map(|key| key.sign(purpose, &hash)) }
    }

    /// Whether it proves `line`, and who signed that. A signature that does not fit is an error, not no signature.
    pub(crate) fn check(&self, line: &[u8], purpose: Purpose, what: &str) -> Result<Author> {
        if Hash32::of(line) != self.hash {
            return Err(Error::damaged(format!("{what} does not fit its hash")));
        }
        match &self.signature {
            None => Ok(Author::Nobody),
            Some(signature) => signature.check(purpose, &self.hash).map(Author::Signed),
        }
    }
}

/// Who vouches for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Author {
    /// It is not signed.
    #[default]
    Nobody,
    /// The signature fits. That says nothing of whether this signer is known.
    Signed(Signer),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_for_its_hash_its_purpose_and_its_signer_only() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let hash = Hash32::of(b"a manifest");
        let signature = key.sign(Purpose::Manifest, &hash);
        assert_eq!(signature.check(Purpose::Manifest, &hash).unwrap(), key.signer());
        for purpose in [Purpose::Mark, Purpose::Description, Purpose::Pending] {
            assert_eq!(signature.check(purpose, &hash).unwrap_err().kind(), ErrorKind::UnknownSigner);
        }
        assert!(signature.check(Purpose::Manifest, &Hash32::of(b"another")).is_err());
        let claimed = Signature { signer: other.signer(), ..signature.clone() };
        assert!(claimed.check(Purpose::Manifest, &hash).is_err());
        for digit in 0..signature.ed25519.len() {
            let mut flipped = signature.clone().ed25519.into_bytes();
            flipped[digit] = if flipped[digit] == b'0' { b'1' } else { b'0' };
            let flipped = String::from_utf8(flipped).unwrap();
            let flipped = Signature { ed25519: flipped, ..signature.clone() };
            assert!(flipped.check(Purpose::Manifest, &hash).is_err(), "digit {digit}");
        }
        let shouted = Signature { ed25519: signature.ed25519.to_uppercase(), ..signature.clone() };
        assert!(shouted.check(Purpose::Manifest, &hash).is_err(), "another spelling of the same digits");
    }

    #[test]
    fn a_signing_key_comes_back_and_is_never_shown() {
        let key = SigningKey::generate().unwrap();
        let secret = key.to_secret();
        assert_eq!(SigningKey::from_secret(&secret).unwrap().signer(), key.signer());
        assert!(!format!("{key:?} {secret:?}").contains(secret.expose()));
        assert!(SigningKey::from_secret(&Secret::new("canary")).is_err());
    }

    #[test]
    fn what_is_no_public_key_is_no_signer() {
        let signer = SigningKey::generate().unwrap().signer();
        assert_eq!(signer.to_string().parse::<Signer>().unwrap(), signer);
        // The neutral element of the curve, for which a signature of everything is easily made.
        let weak = format!("01{}", "0".repeat(62));
        for text in ["", "ff", &weak, &"g".repeat(64)] {
            assert_eq!(text.parse::<Signer>().unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}

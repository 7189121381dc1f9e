//! Sealing: every object that holds contents is an age file, which only the holders of an identity can open.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, Decryptor, Encryptor, scrypt, x25519};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// How a manifest's body says that it is sealed.
pub(crate) const AGE: &str = "age";
/// What passphrases cost, as a power of two: age's own, about a second and 256 MiB.
const WORK: u8 = 18;
/// A hostile object may ask for more work than ours do: up to 1 GiB.
const WORK_MAX: u8 = 20;

/// Whom a repository is sealed for: an age X25519 recipient, `age1...`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recipient(String);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // The text may be an identity that was given by mistake, so it is not repeated.
        if text.trim_start().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err(Error::usage("this is an identity, which is secret, and not a recipient")
                .hint("give the line `# public key: age1...` of its file; anybody may know that one"));
        }
        match x25519::Recipient::from_str(text) {
            Ok(recipient) => Ok(Self(recipient.to_string())),
            Err(why) => Err(Error::usage(format!("this is not an age X25519 recipient: {why}"))
                .hint("`age-keygen` prints one: age1 and 58 more characters")),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Recipient {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Recipient> for String {
    fn from(recipient: Recipient) -> Self {
        recipient.0
    }
}

/// Seals for a set of recipients, none of whose identities it knows.
#[derive(Clone)]
pub(crate) struct Sealer(Arc<Vec<x25519::Recipient>>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

impl Sealer {
    /// Without recipients there is no sealing, which is an error: never is something stored in clear instead.
    pub(crate) fn new(recipients: &[Recipient]) -> Result<Self> {
        let parse = |recipient: &Recipient| {
            x25519::Recipient::from_str(&recipient.0).map_err(|why| Error::usage(why.to_string()))
        };
        let recipients = recipients.iter().map(parse).collect::<Result<Vec<_>>>()?;
        if recipients.is_empty() {
            return Err(Error::new(ErrorKind::MissingKey, "there is nobody to seal for"));
        }
        Ok(Self(Arc::new(recipients)))
    }

    fn writer<W: Write>(&self, output: W) -> Result<age::stream::StreamWriter<W>> {
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(|why| failed(&why))?;
        encryptor.wrap_output(output).map_err(|why| failed(&why))
    }

    /// `clear` as a whole age file.
    pub(crate) fn seal(&self, clear: &[u8]) -> Result<Vec<u8>> {
        // A header of about 100 bytes a recipient, and 16 bytes for each 64 KiB.
        let mut sealed = Vec::with_capacity(clear.len() + clear.len() / 4096 + 256 + 100 * self.0.len());
        let mut writer = self.writer(&mut sealed)?;
        writer.write_all(clear).map_err(|why| failed(&why))?;
        writer.finish().map_err(|why| failed(&why))?;
        Ok(sealed)
    }

    /// An age file that is written piece by piece.
    pub(crate) fn stream(&self) -> Result<SealStream> {
        let sealed = Shared::default();
        Ok(SealStream { writer: self.writer(sealed.clone())?, sealed })
    }
}

fn failed(why: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("sealing failed: {why}"))
}

/// A large object while it is sealed.
pub(crate) struct SealStream {
    writer: age::stream::StreamWriter<Shared>,
    sealed: Shared,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SealStream {
    /// Seals more, and returns what is ready to be stored.
    pub(crate) fn push(&mut self, clear: &[u8]) -> Result<Vec<u8>> {
        self.writer.write_all(clear).map_err(|why| failed(&why))?;
        Ok(self.sealed.take())
    }

    /// What is left to be stored.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        self.writer.finish().map_err(|why| failed(&why))?;
        Ok(self.sealed.take())
    }
}

/// What opens sealed objects: an age X25519 identity. `Debug` shows its public half.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, ...)", self.recipient())
    }
}

impl Identity {
    /// A new one.
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// Who it is to those that seal for it.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public().to_string())
    }

    /// The line that stock age takes for an identity.
    pub fn to_secret(&self) -> Secret {
        Secret::new(self.0.to_string().expose_secret())
    }

    /// All identities of an age identity file. Errors: `WrongKey` if there is none, or something else.
    pub fn parse_file(text: &Secret) -> Result<Vec<Self>> {
        let lines = text.expose().lines().map(str::trim);
        let identities = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = identities
            .map(|line| {
                // The line is secret, and so is whatever else stands in its place.
                x25519::Identity::from_str(line).map(Self).map_err(|_| {
                    Error::new(ErrorKind::WrongKey, "this is not a file of age X25519 identities")
                        .hint("a line of it must be AGE-SECRET-KEY-1...; if the file is itself encrypted, decrypt it with age first")
                })
            })
            .collect::<Result<Vec<_>>>()?;
        if identities.is_empty() {
            return Err(Error::new(ErrorKind::WrongKey, "the identity file holds no identity")
                .hint("a line of it must be AGE-SECRET-KEY-1..., as `age-keygen` writes it"));
        }
        Ok(identities)
    }
}

/// Opens what was sealed for one of a set of identities.
#[derive(Debug, Clone)]
pub(crate) struct Unsealer(Arc<Vec<Identity>>);

impl Unsealer {
    /// `None` if there are no identities.
    pub(crate) fn new(identities: Vec<Identity>) -> Option<Self> {
        (!identities.is_empty()).then(|| Self(Arc::new(identities)))
    }

    pub(crate) fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().map(Identity::recipient).collect()
    }

    /// What `sealed` holds, which is never more than its own size.
    pub(crate) fn unseal(&self, sealed: &[u8], what: &str) -> Result<Vec<u8>> {
        let mut clear = Vec::with_capacity(sealed.len());
        let mut reader = self.reader(sealed, what)?;
        reader.read_to_end(&mut clear).map_err(|why| damaged(what, &why))?;
        Ok(clear)
    }

    /// A reader of what `sealed` holds.
    pub(crate) fn reader<R: BufRead>(&self, sealed: R, what: &str) -> Result<age::stream::StreamReader<R>> {
        let decryptor = Decryptor::new_buffered(sealed).map_err(|why| self.refused(what, &why))?;
        let identities = self.0.iter().map(|identity| &identity.0 as &dyn age::Identity);
        decryptor.decrypt(identities).map_err(|why| self.refused(what, &why))
    }

    fn refused(&self, what: &str, why: &DecryptError) -> Error {
        match why {
            DecryptError::NoMatchingKeys => {
                let held: Vec<_> = self.recipients().iter().map(ToString::to_string).collect();
                let message =
                    format!("{what} is not sealed for the identity given here ({})", held.join(", "));
                Error::new(ErrorKind::WrongKey, message).hint(
                    "give the identity of one of the repository's recipients; `lifeboat key show` lists them",
                )
            }
            why => damaged(what, why),
        }
    }
}

fn damaged(what: &str, why: &dyn fmt::Display) -> Error {
    Error::damaged(format!("{what} cannot be unsealed: {why}"))
}

/// `clear` as an age file that a passphrase opens.
pub(crate) fn seal_with_passphrase(clear: &Secret, passphrase: &Secret) -> Result<Vec<u8>> {
    if passphrase.expose().is_empty() {
        return Err(Error::usage("the passphrase is empty").hint("give one that nobody guesses"));
    }
    let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase.expose()));
    recipient.set_work_factor(if cfg!(test) { 4 } else { WORK });
    age::encrypt(&recipient, clear.expose().as_bytes()).map_err(|why| failed(&why))
}

/// What [`seal_with_passphrase`] sealed. `None` if the passphrase does not fit.
pub(crate) fn unseal_with_passphrase(
    sealed: &[u8],
    passphrase: &Secret,
    what: &str,
) -> Result<Option<Secret>> {
    let mut identity = scrypt::Identity::new(SecretString::from(passphrase.expose()));
    identity.set_max_work_factor(WORK_MAX);
    match age::decrypt(&identity, sealed) {
        Ok(clear) => {
            let clear = String::from_utf8(clear).map_err(|why| damaged(what, &why.utf8_error()))?;
            Ok(Some(Secret::new(clear)))
        }
        Err(DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed) => Ok(None),
        Err(why) => Err(damaged(what, &why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_for_several_is_opened_by_each_and_by_nobody_else() {
        let (one, two, other) = (Identity::generate(), Identity::generate(), Identity::generate());
        let sealer = Sealer::new(&[one.recipient(), two.recipient()]).unwrap();
        let clear = vec![7; 200_000];
        let sealed = sealer.seal(&clear).unwrap();
        for identity in [one, two] {
            let unsealer = Unsealer::new(vec![other.clone(), identity]).unwrap();
            assert_eq!(unsealer.unseal(&sealed, "it").unwrap(), clear);
        }
        let error = Unsealer::new(vec![other]).unwrap().unseal(&sealed, "it").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKey);
        assert!(error.advice().is_some());
    }

    #[test]
    fn no_flipped_byte_and_no_cut_of_a_sealed_object_is_opened() {
        let identity = Identity::generate();
        let sealed = Sealer::new(&[identity.recipient()]).unwrap().seal(b"a small secret").unwrap();
        let unsealer = Unsealer::new(vec![identity]).unwrap();
        for i in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[i] ^= 1;
            assert!(unsealer.unseal(&flipped, "it").is_err(), "byte {i}");
            assert!(unsealer.unseal(&sealed[..i], "it").is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_stream_is_the_same_file_however_it_is_written() {
        let identity = Identity::generate();
        let mut stream = Sealer::new(&[identity.recipient()]).unwrap().stream().unwrap();
        let clear: Vec<u8> = (0..300_000u32).map(|i| (i / 7) as u8).collect();
        let mut sealed = Vec::new();
        for piece in clear.chunks(70_001) {
            sealed.extend(stream.push(piece).unwrap());
        }
        sealed.extend(stream.finish().unwrap());
        assert_eq!(Unsealer::new(vec![identity]).unwrap().unseal(&sealed, "it").unwrap(), clear);
    }

    #[test]
    fn a_passphrase_opens_only_what_it_closed() {
        let (clear, passphrase) = (Secret::new("AGE-SECRET-KEY-1"), Secret::new("correct horse"));
        let sealed = seal_with_passphrase(&clear, &passphrase).unwrap();
        assert_eq!(unseal_with_passphrase(&sealed, &passphrase, "it").unwrap(), Some(clear.clone()));
        assert_eq!(unseal_with_passphrase(&sealed, &Secret::new("wrong"), "it").unwrap(), None);
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(!matches!(unseal_with_passphrase(&flipped, &passphrase, "it"), Ok(Some(_))), "byte {at}");
            let cut = unseal_with_passphrase(&sealed[..at], &passphrase, "it");
            assert!(!matches!(cut, Ok(Some(_))), "cut at {at}");
        }
        assert!(seal_with_passphrase(&clear, &Secret::new("")).is_err());
    }

    #[test]
    fn an_identity_comes_back_from_its_file_and_is_never_shown() {
        let identity = Identity::generate();
        let secret = identity.to_secret();
        let file = Secret::new(format!("# a comment\n\n{}\n", secret.expose()));
        let found = Identity::parse_file(&file).unwrap();
        assert_eq!(found.iter().map(Identity::recipient).collect::<Vec<_>>(), [identity.recipient()]);
        assert!(!format!("{identity:?}").contains(secret.expose()));
        for wrong in ["", "# nothing", "canary"] {
            let error = Identity::parse_file(&Secret::new(wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongKey);
            assert!(!error.to_string().contains("canary"));
        }
        let error = secret.expose().parse::<Recipient>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret.expose()));
    }
}

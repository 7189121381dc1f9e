//! Whether to encrypt, and what of the server to verify.

use backup_core::{Error, Result};

/// `sslmode`, with libpq's meanings. A later one is stricter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server wants that.
    Allow,
    /// Encrypted if the server can do that.
    #[default]
    Prefer,
    /// Encrypted, to whomever: against listeners, not against impostors.
    Require,
    /// To whomever a trusted authority has given a certificate.
    VerifyCa,
    /// To the host that was asked for, by the word of a trusted authority.
    VerifyFull,
}

impl SslMode {
    /// The mode of that name. Errors: `Usage`.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(Error::usage(format!("there is no sslmode {name:?}"))
                    .hint("there are disable, prefer, require, verify-ca and verify-full"));
            }
        })
    }

    /// As libpq has it: who says which authority to trust wants it asked.
    #[must_use]
    pub fn with_authority_named(self) -> Self {
        if self == Self::Require { Self::VerifyCa } else { self }
    }

    /// Whether an unencrypted connection will do.
    pub fn permits_clear(self) -> bool {
        self < Self::Require
    }

    /// Whether an impostor would be found out, so that a password may be sent as it is.
    pub fn verifies(self) -> bool {
        self >= Self::VerifyCa
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_makes_require_verify_and_nothing_else() {
        assert_eq!(SslMode::Require.with_authority_named(), SslMode::VerifyCa);
        for mode in
            [SslMode::Disable, SslMode::Allow, SslMode::Prefer, SslMode::VerifyCa, SslMode::VerifyFull]
        {
            assert_eq!(mode.with_authority_named(), mode);
        }
    }

    #[test]
    fn names_are_libpqs() {
        assert_eq!(SslMode::parse("verify-full").unwrap(), SslMode::VerifyFull);
        for name in ["", "Require", "verify_full", "maybe"] {
            assert!(SslMode::parse(name).is_err(), "{name}");
        }
    }
}

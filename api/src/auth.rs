//! Bearer tokens: who calls, and on whose behalf. Signed JWTs (HS256) with the key of the data directory.

use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decidr_domain::id::Key;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who calls.
    pub sub: String,
    /// The key of the tenant on whose behalf; of an operator's token none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Key>,
    /// Whether it is an operator's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("a bearer token is needed: `Authorization: Bearer …`")]
    Missing,
    /// It was not signed with this server's key, has ended, or is no token.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// Its tenant is not there.
    #[error("the token is not valid: it names no tenant of this server")]
    UnknownTenant,
}

/// How many bytes a secret has.
pub(crate) const SECRET_LENGTH: usize = 32;

/// The secret in `file`, made if it is not there; readable by its owner alone.
pub(crate) fn secret(file: &Path) -> std::io::Result<[u8; SECRET_LENGTH]> {
    if !file.exists() {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(file) {
            Ok(mut file) => file.write_all(STANDARD.encode(random_secret()).as_bytes())?,
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let invalid = || {
        let message = format!("{} does not hold a key of {SECRET_LENGTH} bytes in base64", file.display());
        std::io::Error::new(std::io::ErrorKind::InvalidData, message)
    };
    let secret = STANDARD.decode(std::fs::read_to_string(file)?.trim()).map_err(|_| invalid())?;
    secret.try_into().map_err(|_| invalid())
}

/// A secret that nobody can guess: two random UUIDs, 244 bits of them random.
pub(crate) fn random_secret() -> [u8; SECRET_LENGTH] {
    let mut secret = [0; SECRET_LENGTH];
    for half in secret.chunks_exact_mut(16) {
        half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    secret
}

/// Signs and checks tokens.
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenKey {
    /// The key in `file`, made if it is not there; readable by its owner alone.
    pub fn open(file: &Path) -> std::io::Result<Self> {
        let secret = secret(file)?;
        Ok(Self { encoding: EncodingKey::from_secret(&secret), decoding: DecodingKey::from_secret(&secret) })
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|error| TokenError::Invalid(error.to_string()))
    }

    /// What a token says, if it is genuine and has not ended.
    pub fn check(&self, token: &str) -> Result<Claims, TokenError> {
        let data = decode::<Claims>(token, &self.decoding, &Validation::new(Algorithm::HS256));
        let claims = data.map_err(|error| TokenError::Invalid(error.to_string()))?.claims;
        if claims.operator == claims.tenant.is_some() {
            return Err(TokenError::Invalid("it is for a tenant or for an operator".into()));
        }
        Ok(claims)
    }

    /// What the value of an `Authorization` header says.
    pub fn check_header(&self, header: Option<&str>) -> Result<Claims, TokenError> {
        let header = header.ok_or(TokenError::Missing)?;
        let token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        self.check(token.ok_or(TokenError::Missing)?)
    }
}

/// Seconds since 1970, `days` from today.
pub fn in_days(days: u32) -> u64 {
    (jiff::Timestamp::now().as_second() + i64::from(days) * 86_400).max(0) as u64
}

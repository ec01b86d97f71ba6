//! The public form of a position: sealed, so that it tells nobody how much others wrote, and may hold more later.
//!
//! Positions count the events of all tenants. What a client gets is therefore one block of AES under a key of the server:
//! equal positions look equal, and nothing else can be read from them. A tenant is only ever shown positions of its own
//! newest event, so that not even a change of the token tells of others.

use std::path::Path;

use aes::Aes256;
use aes::cipher::{Block, BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decidr_domain::id::{Position, TenantId};

use crate::auth::secret;

/// Seals positions for tenants, and opens what they hand back.
pub struct PositionKey(Aes256);

impl PositionKey {
    /// The key in `file`, made if it is not there; readable by its owner alone.
    pub fn open(file: &Path) -> std::io::Result<Self> {
        Ok(Self(Aes256::new(&secret(file)?.into())))
    }

    /// A key of which nothing is kept.
    pub fn ephemeral() -> Self {
        Self(Aes256::new(&crate::auth::random_secret().into()))
    }

    /// The form that a client of `tenant` gets of a position in the log of this lineage.
    pub fn seal(&self, tenant: TenantId, lineage: u32, position: Position) -> String {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&lineage.to_be_bytes());
        block[4..8].copy_from_slice(&mark(tenant));
        block[8..].copy_from_slice(&position.to_be_bytes());
        let mut block = Block::<Aes256>::from(block);
        self.0.encrypt_block(&mut block);
        URL_SAFE_NO_PAD.encode(block)
    }

    /// The position that a client of `tenant` handed back; `None` if it is none that was sealed for it, of this log.
    pub fn open_sealed(&self, tenant: TenantId, lineage: u32, sealed: &str) -> Option<Position> {
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(sealed).ok()?.try_into().ok()?;
        let mut block = Block::<Aes256>::from(bytes);
        self.0.decrypt_block(&mut block);
        let (head, position) = block.split_first_chunk::<8>()?;
        let genuine = head[..4] == lineage.to_be_bytes() && head[4..] == mark(tenant);
        genuine.then(|| Position::from_be_bytes(position.try_into().unwrap_or_default()))
    }
}

/// Four bytes of a tenant's id that another's are not likely to have.
fn mark(tenant: TenantId) -> [u8; 4] {
    ((tenant.0.as_u128() ^ (tenant.0.as_u128() >> 64)) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_what_was_sealed_for_a_tenant_and_a_log_opens() {
        let (key, a, b) = (PositionKey::ephemeral(), TenantId(Uuid::now_v7()), TenantId(Uuid::from_u128(7)));
        let sealed = key.seal(a, 9, 123_456_789);
        assert_eq!(key.open_sealed(a, 9, &sealed), Some(123_456_789));
        assert_eq!(key.seal(a, 9, 123_456_789), sealed);
        assert_eq!(key.open_sealed(b, 9, &sealed), None);
        assert_eq!(key.open_sealed(a, 8, &sealed), None);
        assert_eq!(PositionKey::ephemeral().open_sealed(a, 9, &sealed), None);
        for bad in ["", "abc", "AAAA", "not a position", &"A".repeat(22), &"A".repeat(100)] {
            assert_eq!(key.open_sealed(a, 9, bad), None, "{bad}");
        }
    }

    #[test]
    fn neighbours_do_not_look_alike() {
        let (key, tenant) = (PositionKey::ephemeral(), TenantId(Uuid::from_u128(1)));
        let (one, two) = (key.seal(tenant, 1, 1), key.seal(tenant, 1, 2));
        let alike = one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
        assert!(alike < 12, "{one} and {two}");
    }
}

//! The public form of a position: opaque, so that it may hold more later without breaking anybody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decidr_domain::id::Position;

/// A place in a log, and which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Which log: positions of another one mean nothing here.
    pub lineage: u32,
    /// Which part of the log; there is one.
    pub shard: u16,
    /// The place.
    pub position: Position,
}

impl Token {
    /// The form that clients get.
    pub fn encode(self) -> String {
        let mut bytes = [0; 14];
        bytes[..4].copy_from_slice(&self.lineage.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.shard.to_be_bytes());
        bytes[6..].copy_from_slice(&self.position.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a client handed back.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 14] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (lineage, rest) = bytes.split_first_chunk::<4>()?;
        let (shard, position) = rest.split_first_chunk::<2>()?;
        Some(Self {
            lineage: u32::from_be_bytes(*lineage),
            shard: u16::from_be_bytes(*shard),
            position: Position::from_be_bytes(position.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let token = Token { lineage: 7, shard: 0, position: 123_456_789 };
        assert_eq!(Token::decode(&token.encode()), Some(token));
        for bad in ["", "abc", "AAAA", "not a position", &"A".repeat(100)] {
            assert_eq!(Token::decode(bad), None, "{bad}");
        }
    }
}

//! When something happened, and on whose word.

use ecow::EcoString;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// When something was recorded, to the microsecond, and who asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// Who: the actor of the command.
    pub by: EcoString,
}

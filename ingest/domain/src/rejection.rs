//! Why a command was refused. A refusal leaves nothing behind.

use crate::formula::{FormulaError, FormulaErrorKind};
use crate::id::{EntityId, Key, NotAKey, Version};

/// Why a command was refused, for people in the message and for programs in [`Rejection::code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The thing is not there, or belongs to another tenant, which is the same to the caller.
    #[error("no {what} `{id}`")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// The id or key that was given.
        id: String,
    },
    /// The caller's token does not allow this command.
    #[error("{0}")]
    Forbidden(String),
    /// The tenant is suspended.
    #[error("the tenant is suspended and takes no commands")]
    TenantSuspended,
    /// The key belongs to something else.
    #[error("the key {key:?} is in use: {what}")]
    KeyTaken {
        /// The key.
        key: Key,
        /// By what.
        what: String,
    },
    /// The collection has no such attribute.
    #[error("unknown attribute `{key}` in collection `{collection}`{}", hint(suggestion))]
    UnknownAttribute {
        /// What was written.
        key: String,
        /// The collection's key.
        collection: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// The value does not fit the attribute.
    #[error("attribute `{attribute}` wants {expected}, and the value is {found}")]
    ValueTypeMismatch {
        /// The attribute's key.
        attribute: String,
        /// What it wants.
        expected: String,
        /// What it got.
        found: String,
    },
    /// The attribute is computed.
    #[error("attribute `{attribute}` is computed ({kind}) and cannot be written")]
    NotWritable {
        /// The attribute's key.
        attribute: String,
        /// What computes it.
        kind: &'static str,
    },
    /// The target of a link is not there.
    #[error("attribute `{attribute}` cannot link to `{target}`: there is no such entity")]
    LinkTargetNotFound {
        /// The link's key.
        attribute: String,
        /// The target.
        target: EntityId,
    },
    /// The target of a link is in another collection than the link leads to.
    #[error("attribute `{attribute}` links to collection `{expected}`, and entity `{target}` is in `{found}`")]
    LinkTargetWrongCollection {
        /// The link's key.
        attribute: String,
        /// The target.
        target: EntityId,
        /// The key of the collection that the link leads to.
        expected: String,
        /// The key of the collection that the target is in.
        found: String,
    },
    /// The caller expected another version.
    #[error("version {expected} was expected, and {actual} is the version now")]
    VersionConflict {
        /// What the caller expected.
        expected: i64,
        /// What it is.
        actual: Version,
    },
    /// The entity is archived; restoring it is all that can be done.
    #[error("entity `{id}` is archived; restore it first")]
    Archived {
        /// The entity.
        id: EntityId,
    },
    /// A formula cannot be used.
    #[error("{what}: {error}")]
    Formula {
        /// Which formula.
        what: String,
        /// What is wrong with it.
        error: FormulaError,
    },
    /// The definition would depend on itself.
    #[error("the definition would depend on itself: {}", path.join(" → "))]
    FormulaCycle {
        /// The way round, as `collection.attribute`; the first is also the last.
        path: Vec<String>,
    },
    /// Anything else that is wrong with the input.
    #[error("{0}")]
    InvalidInput(String),
    /// The input is larger than is allowed.
    #[error("{0}")]
    TooLarge(String),
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

impl Rejection {
    /// The code that clients see.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::NotFound { .. } => "NOT_FOUND",
            Rejection::Forbidden(_) => "FORBIDDEN",
            Rejection::TenantSuspended => "TENANT_SUSPENDED",
            Rejection::KeyTaken { .. } => "KEY_TAKEN",
            Rejection::UnknownAttribute { .. } => "UNKNOWN_ATTRIBUTE",
            Rejection::ValueTypeMismatch { .. } => "VALUE_TYPE_MISMATCH",
            Rejection::NotWritable { .. } => "NOT_WRITABLE",
            Rejection::LinkTargetNotFound { .. } => "LINK_TARGET_NOT_FOUND",
            Rejection::LinkTargetWrongCollection { .. } => "LINK_TARGET_WRONG_COLLECTION",
            Rejection::VersionConflict { .. } => "VERSION_CONFLICT",
            Rejection::Archived { .. } => "ARCHIVED",
            Rejection::Formula { error, .. } => match error.kind {
                FormulaErrorKind::Syntax => "FORMULA_SYNTAX",
                FormulaErrorKind::Type => "FORMULA_TYPE",
                FormulaErrorKind::UnknownAttribute => "UNKNOWN_ATTRIBUTE",
                FormulaErrorKind::TooLarge => "TOO_LARGE",
            },
            Rejection::FormulaCycle { .. } => "FORMULA_CYCLE",
            Rejection::InvalidInput(_) => "INVALID_INPUT",
            Rejection::TooLarge(_) => "TOO_LARGE",
        }
    }

    /// A thing that is not there, or not there for this tenant.
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Rejection::NotFound { what, id: id.to_string() }
    }
}

impl From<NotAKey> for Rejection {
    fn from(error: NotAKey) -> Self {
        Rejection::InvalidInput(error.to_string())
    }
}

/// The longest display name, in bytes.
pub const NAME_LENGTH_MAX: usize = 200;

/// Refuses an empty or overlong display name.
pub(crate) fn check_name(name: &str) -> Result<(), Rejection> {
    if name.trim().is_empty() {
        return Err(Rejection::InvalidInput("a name cannot be empty".into()));
    }
    if name.contains(char::is_control) {
        return Err(Rejection::InvalidInput("a name has no control characters, as line ends".into()));
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(Rejection::TooLarge(format!("a name has {NAME_LENGTH_MAX} bytes at most, and this one has {}", name.len())));
    }
    Ok(())
}

//! A value, or the error that takes its place; and the words of errors.

use std::sync::Arc;

use ecow::EcoString;

use crate::value::{ErrorKind, ErrorValue, Value};

/// A value, or the error that takes its place.
pub type Outcome<T = Value> = Result<T, Arc<ErrorValue>>;

/// An error to return from a function.
pub fn error(kind: ErrorKind, message: impl Into<EcoString>) -> Arc<ErrorValue> {
    Arc::new(ErrorValue { kind, message: message.into() })
}

/// A noun with its article, for messages.
pub fn article(noun: &str) -> String {
    // A user, a url.
    if noun.starts_with(['a', 'e', 'i', 'o']) { format!("an {noun}") } else { format!("a {noun}") }
}

/// The first forty characters, for messages.
pub fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

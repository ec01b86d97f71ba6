//! The one table from our errors to what clients see.

use async_graphql::{Error, ErrorExtensionValues, ErrorExtensions, Value};
use decidr_domain::rejection::Rejection;
use decidr_ingest::{ExecuteError, LogError};

/// An error for a client: a message, a code, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Refusal {
    message: String,
    code: &'static str,
    span: Option<(usize, usize)>,
    path: Option<Vec<String>>,
}

impl Refusal {
    /// An error with this code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), code, span: None, path: None }
    }

    /// Something that should not happen.
    pub fn internal(message: &str) -> Self {
        tracing::error!(message, "internal error");
        Self::new("INTERNAL", message)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let (message, code) = (rejection.to_string(), rejection.code());
        let (mut span, mut path) = (None, None);
        match rejection {
            Rejection::Formula { error, .. } => span = Some((error.span.start, error.span.end)),
            Rejection::FormulaCycle { path: way } => path = Some(way),
            _ => {}
        }
        Self { message, code, span, path }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        // What the storage says is for the operator, in the log.
        tracing::error!(error = &error as &dyn std::error::Error, "the log could not be read");
        Self::new("UNAVAILABLE", "the log could not be read; try again")
    }
}

impl From<ExecuteError> for Refusal {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Rejected(rejection) => rejection.into(),
            // What the storage says is for the operator, in the log.
            ExecuteError::Log(_) | ExecuteError::Stopped => {
                tracing::error!(error = &error as &dyn std::error::Error, "a command could not be recorded");
                Self::new("UNAVAILABLE", "the command could not be recorded; the same commandId again is safe")
            }
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::new(refusal.message).extend_with(|_, extensions: &mut ErrorExtensionValues| {
            extensions.set("code", refusal.code);
            if let Some((start, end)) = refusal.span {
                let number = |n: usize| Value::Number(n.into());
                let span = [("start", start), ("end", end)].map(|(name, n)| (async_graphql::Name::new(name), number(n)));
                extensions.set("span", Value::Object(span.into_iter().collect()));
            }
            if let Some(path) = refusal.path {
                extensions.set("path", Value::List(path.into_iter().map(Value::String).collect()));
            }
        })
    }
}

/// An error that comes before GraphQL does, in GraphQL's form.
pub fn refusal_json(code: &str, message: &str) -> serde_json::Value {
    serde_json::json!({ "errors": [{ "message": message, "extensions": { "code": code } }] })
}

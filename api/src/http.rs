//! HTTP: GraphQL by POST, GraphQL over WebSocket by upgrade, health, readiness, metrics.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_graphql::{Request, Variables};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::command::Authority;
use decidr_sinks::Sink;
use futures_util::FutureExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::auth::{Claims, TokenError, TokenKey};
use crate::graphql::scalars::from_json;
use crate::graphql::{ApiSchema, Caller, ScanBudget, refusal_json, schema, with_codes};
use crate::measure::{as_metrics, collections};
use crate::platform::Platform;
use crate::position::PositionKey;
use crate::websocket;

/// The largest request body, in bytes.
pub const BODY_MAX: usize = 4 * 1024 * 1024;

/// What every request needs. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    tokens: Arc<TokenKey>,
    positions: Arc<PositionKey>,
    /// There as soon as the platform is caught up with its log.
    ready: Arc<OnceLock<Ready>>,
    metrics: PrometheusHandle,
    /// What attributes hold, as it was last measured.
    measured: Arc<tokio::sync::Mutex<Option<(Instant, String)>>>,
}

/// How long what attributes hold is not measured again: each time it looks at every row.
const MEASURED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Ready {
    platform: Arc<Platform>,
    schema: ApiSchema,
}

impl Server {
    /// A server that is alive and not ready.
    pub fn new(tokens: TokenKey, positions: PositionKey, metrics: PrometheusHandle) -> Self {
        Self { tokens: Arc::new(tokens), positions: Arc::new(positions), ready: Arc::default(), metrics, measured: Arc::default() }
    }

    /// Makes it ready.
    pub fn ready(&self, platform: Arc<Platform>) {
        let _ = self.ready.set(Ready { schema: schema(platform.clone(), self.positions.clone()), platform });
    }

    /// Serves until `stop` is done, and then until requests under way are answered.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let router = Router::new()
            .route("/graphql", get(upgrade).post(graphql))
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(readiness))
            .route("/metrics", get(metrics))
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .with_state(self);
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).with_graceful_shutdown(stop).await
    }

    /// Who calls with these claims.
    pub(crate) fn caller(&self, claims: Claims) -> Result<Caller, TokenError> {
        let authority = match &claims.tenant {
            None => Authority::Operator,
            Some(key) => {
                let platform = self.ready.get().map(|ready| ready.platform.arranged());
                let tenant = platform.as_ref().and_then(|arranged| arranged.catalog().tenant_by_key(key)).map(|schema| schema.tenant.id);
                Authority::Tenant(tenant.ok_or(TokenError::UnknownTenant)?)
            }
        };
        Ok(Caller { authority, actor: claims.sub })
    }

    /// Who calls with this header, and for how long the token is good.
    pub(crate) async fn authenticate(&self, authorization: Option<&str>) -> Result<(Caller, Duration), TokenError> {
        let claims = self.tokens.check_header(authorization)?;
        // A year at most, so that the time can be added to any other.
        let left = claims.exp.saturating_sub(crate::auth::in_days(0)).min(365 * 86_400);
        let caller = match self.caller(claims.clone()) {
            // The tenant may be so new that it is recorded and not arranged.
            Err(TokenError::UnknownTenant) => {
                if let Some(ready) = self.ready.get() {
                    ready.platform.fresh(Duration::from_secs(1)).await;
                }
                self.caller(claims)
            }
            known => known,
        };
        Ok((caller?, Duration::from_secs(left)))
    }

    pub(crate) fn schema(&self) -> Option<&ApiSchema> {
        self.ready.get().map(|ready| &ready.schema)
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, refusal_json(code, message).to_string())
}

pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
}

async fn graphql(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let started = Instant::now();
    let Some(schema) = server.schema() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the server is catching up with its log; see /readyz");
    };
    let caller = match server.authenticate(authorization(&headers)).await {
        Ok((caller, _)) => caller,
        Err(error) => return refuse(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", &error.to_string()),
    };
    let body = match body {
        Ok(body) => body,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", &format!("a request has {BODY_MAX} bytes at most"));
        }
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "INVALID_INPUT", &error.to_string()),
    };
    let request = match serde_json::from_slice(&body).map_err(|error| error.to_string()).and_then(request) {
        Ok(request) => request,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, "INVALID_INPUT", &message),
    };
    let Some(response) = caught(schema.execute(request.data(caller))).await.map(with_codes) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", BROKEN);
    };
    metrics::histogram!("decidr_http_request_seconds").record(started.elapsed());
    match serde_json::to_string(&response) {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", &error.to_string()),
    }
}

/// What is said to whom a defect was met for.
pub(crate) const BROKEN: &str = "the server met a defect of its own, and says what in its log";

/// What comes of it; nothing if it panics, so that whoever asked is answered.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    std::panic::AssertUnwindSafe(future).catch_unwind().await.ok()
}

/// A GraphQL request from its JSON form.
pub(crate) fn request(body: serde_json::Value) -> Result<Request, String> {
    let serde_json::Value::Object(mut fields) = body else { return Err("the body is not a JSON object".into()) };
    let text = |value: Option<serde_json::Value>, name: &str| match value {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is not a string")),
    };
    let query = text(fields.remove("query"), "query")?.ok_or("the body has no `query`")?;
    let mut request = Request::new(query).data(ScanBudget::default());
    request.operation_name = text(fields.remove("operationName"), "operationName")?;
    match fields.remove("variables") {
        None | Some(serde_json::Value::Null) => {}
        Some(variables @ serde_json::Value::Object(_)) => request.variables = Variables::from_value(from_json(variables)),
        Some(_) => return Err("`variables` is not an object".into()),
    }
    Ok(request)
}

async fn upgrade(State(server): State<Server>, headers: HeaderMap, request: axum::extract::Request) -> Response {
    let (mut parts, _) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => {
            let authorization = authorization(&headers).map(str::to_owned);
            upgrade
                .protocols([websocket::PROTOCOL])
                .max_message_size(BODY_MAX)
                .on_upgrade(move |socket| websocket::serve(server, socket, authorization))
        }
        Err(_) => {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "INVALID_INPUT", "queries and mutations are sent by POST; subscriptions by WebSocket")
        }
    }
}

async fn readiness(State(server): State<Server>) -> Response {
    match server.ready.get() {
        Some(_) => (StatusCode::OK, "ready\n").into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "catching up with the log\n").into_response(),
    }
}

/// For whoever asks, with nothing about any tenant; for an operator also what each attribute holds.
async fn metrics(State(server): State<Server>, headers: HeaderMap) -> Response {
    if let Some(ready) = server.ready.get() {
        let arranged = ready.platform.arranged();
        let (head, computed) = (ready.platform.head(), arranged.position());
        for (arrangement, size) in arranged.sizes() {
            metrics::gauge!("decidr_arrangement_updates", "arrangement" => arrangement).set(size.updates as f64);
            metrics::gauge!("decidr_arrangement_bytes", "arrangement" => arrangement).set(size.bytes as f64);
        }
        metrics::gauge!("decidr_log_position").set(head as f64);
        metrics::gauge!("decidr_dataflow_position").set(computed as f64);
        metrics::gauge!("decidr_dataflow_lag_events").set(head.saturating_sub(computed) as f64);
        metrics::gauge!("decidr_live_position").set(ready.platform.live().position() as f64);
        metrics::gauge!("decidr_live_lag_events").set(head.saturating_sub(ready.platform.live().position()) as f64);
        metrics::gauge!("decidr_live_subscribers").set(ready.platform.live().subscribers() as f64);
    }
    let mut all = server.metrics.render();
    let caller = server.authenticate(authorization(&headers)).await;
    if let (Some(ready), Ok((Caller { authority: Authority::Operator, .. }, _))) = (server.ready.get(), caller) {
        let (measured, arranged) = (server.measured.clone(), ready.platform.arranged());
        // By itself, so that what was begun is there for the next who asks, also if this one has gone.
        let sizes = tokio::spawn(async move {
            let mut measured = measured.lock().await;
            if measured.as_ref().is_none_or(|(at, _)| at.elapsed() > MEASURED_FOR) {
                let sizes = tokio::task::spawn_blocking(move || as_metrics(&collections(&arranged))).await;
                *measured = sizes.ok().map(|sizes| (Instant::now(), sizes));
            }
            measured.as_ref().map_or_else(String::new, |(_, sizes)| sizes.clone())
        });
        all.push_str(&sizes.await.unwrap_or_default());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], all).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        let breaks = async || -> u8 { [1, 2, 3][std::hint::black_box(3)] };
        assert_eq!(caught(breaks()).await, None);
    }
}

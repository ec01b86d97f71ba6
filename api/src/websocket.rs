//! GraphQL over WebSocket: the protocol `graphql-transport-ws`, as its PROTOCOL.md has it.
//!
//! One task reads the socket and one writes it. Every operation runs in a task of its own and waits when the writer's
//! queue is full, so that a slow client holds up its own feeds, which then coalesce behind it, and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::graphql::{Caller, refusal_json, with_codes};
use crate::http::{BROKEN, Server, caught, request};

/// The name of the protocol.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// How long a client may take to say who it is.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one message may take to be taken by the network.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the server asks whether the client is still there, and how long a client may be silent.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How many operations one connection may have under way.
const OPERATIONS_MAX: usize = 1_000;

/// How many messages wait for the socket.
const OUTBOX_MAX: usize = 64;

/// Why the server ends a connection: the protocol's code, and words.
type Close = (u16, String);

/// Serves one connection.
pub async fn serve(server: Server, socket: WebSocket, authorization: Option<String>) {
    let (mut sink, mut stream) = socket.split();
    let (outbox, mut outgoing) = mpsc::channel::<Message>(OUTBOX_MAX);
    let writer = tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            let ends = matches!(message, Message::Close(_));
            // A client that does not read would hold this up for ever.
            if !matches!(tokio::time::timeout(SEND_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) || ends {
                break;
            }
        }
    });
    let deadline = tokio::time::Instant::now() + INIT_TIMEOUT;
    let mut connection = Connection { server, authorization, caller: None, expires: deadline, outbox, operations: Operations::default() };
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut heard = tokio::time::Instant::now();
    let close = loop {
        let message = tokio::select! {
            message = stream.next() => message,
            // A token that has ended must not go on through a socket that was opened before.
            () = tokio::time::sleep_until(connection.expires) => break Some(match connection.caller {
                None => (4408, "connection_init did not come in time".to_owned()),
                Some(_) => (4403, "Forbidden: the token has ended".to_owned()),
            }),
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_MAX {
                    break Some((1001, "the client has been silent for too long".to_owned()));
                }
                // A full queue says that the client is being written to; the writer finds out whether it reads.
                let _ = connection.outbox.try_send(Message::Ping(Default::default()));
                continue;
            }
        };
        heard = tokio::time::Instant::now();
        let outcome = match message {
            Some(Ok(Message::Text(text))) => connection.receive(text.as_str()).await,
            Some(Ok(Message::Binary(_))) => Err((4400, "messages are text".to_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
        };
        if let Err(close) = outcome {
            break Some(close);
        }
    };
    connection.operations.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(AbortHandle::abort);
    if let Some((code, reason)) = close {
        // The client may be gone already, or not read.
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _ = tokio::time::timeout(SEND_TIMEOUT, connection.outbox.send(close)).await;
    }
    drop(connection);
    let _ = writer.await;
}

struct Connection {
    server: Server,
    /// The header of the upgrade request, for clients that can set one.
    authorization: Option<String>,
    caller: Option<Caller>,
    /// When the caller's token ends.
    expires: tokio::time::Instant,
    outbox: mpsc::Sender<Message>,
    operations: Operations,
}

/// The operations under way, by the client's id. An operation takes itself out before it says that it is complete, so
/// that the client may use the id again at once.
type Operations = Arc<Mutex<HashMap<String, AbortHandle>>>;

impl Connection {
    async fn receive(&mut self, text: &str) -> Result<(), Close> {
        let invalid = |reason: &str| (4400, reason.to_owned());
        let message: Json = serde_json::from_str(text).map_err(|_| invalid("the message is not JSON"))?;
        let kind = message["type"].as_str().ok_or_else(|| invalid("the message has no type"))?;
        match kind {
            "connection_init" => {
                if self.caller.is_some() {
                    return Err((4429, "Too many initialisation requests".into()));
                }
                let payload = &message["payload"];
                let header = payload["authorization"].as_str().or_else(|| payload["Authorization"].as_str());
                let header = header.or(self.authorization.as_deref());
                match self.server.authenticate(header).await {
                    Ok((caller, left)) => {
                        self.caller = Some(caller);
                        self.expires = tokio::time::Instant::now() + left;
                    }
                    Err(error) => return Err((4403, format!("Forbidden: {error}"))),
                }
                self.send(json!({ "type": "connection_ack" })).await;
            }
            "ping" => self.send(json!({ "type": "pong" })).await,
            "pong" => {}
            "subscribe" => {
                let id = message["id"].as_str().ok_or_else(|| invalid("subscribe needs an id"))?.to_owned();
                self.subscribe(id, message["payload"].clone())?;
            }
            "complete" => {
                let id = message["id"].as_str().ok_or_else(|| invalid("complete needs an id"))?;
                if let Some(operation) = self.operations.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
                    operation.abort();
                }
            }
            other => return Err((4400, format!("a message of type {} was not expected", other.chars().take(40).collect::<String>()))),
        }
        Ok(())
    }

    fn subscribe(&mut self, id: String, payload: Json) -> Result<(), Close> {
        let Some(caller) = self.caller.clone() else { return Err((4401, "Unauthorized".into())) };
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        if operations.contains_key(&id) {
            return Err((4409, format!("Subscriber for {} already exists", id.chars().take(80).collect::<String>())));
        }
        if operations.len() >= OPERATIONS_MAX {
            return Err((4429, format!("a connection has {OPERATIONS_MAX} operations at most")));
        }
        let request = request(payload).map_err(|message| (4400, message))?.data(caller);
        let Some(schema) = self.server.schema().cloned() else { return Err((4500, "the server is not ready".into())) };
        let outbox = self.outbox.clone();
        let (key, under_way) = (id.clone(), self.operations.clone());
        // It is entered before it can end: the lock is held until then.
        let task = tokio::spawn(async move {
            let done = || {
                let mut operations = under_way.lock().unwrap_or_else(PoisonError::into_inner);
                // The id may be another operation's by now.
                if operations.get(&id).is_some_and(|operation| operation.id() == tokio::task::id()) {
                    operations.remove(&id);
                }
            };
            let mut responses = std::pin::pin!(schema.execute_stream(request));
            loop {
                let Some(next) = caught(responses.next()).await else {
                    let payload = refusal_json("INTERNAL", BROKEN)["errors"].clone();
                    let message = json!({ "id": id, "type": "error", "payload": payload });
                    done();
                    // Who is gone need not hear of it.
                    let _ = outbox.send(Message::Text(message.to_string().into())).await;
                    return;
                };
                let Some(response) = next.map(with_codes) else { break };
                // An answer without data is an error of the operation itself, and ends it.
                let failed = response.is_err() && response.data == async_graphql::Value::Null;
                let message = if failed {
                    json!({ "id": id, "type": "error", "payload": serde_json::to_value(&response.errors).unwrap_or_default() })
                } else {
                    // The response is written as it is: taking it apart would cost more than making it.
                    let Ok(payload) = serde_json::to_string(&response) else { return done() };
                    let head = json!({ "id": id }).to_string();
                    let text = format!("{},\"type\":\"next\",\"payload\":{payload}}}", &head[..head.len() - 1]);
                    if outbox.send(Message::Text(text.into())).await.is_err() {
                        return done();
                    }
                    continue;
                };
                done();
                let _ = outbox.send(Message::Text(message.to_string().into())).await;
                return;
            }
            done();
            let _ = outbox.send(Message::Text(json!({ "id": id, "type": "complete" }).to_string().into())).await;
        });
        operations.insert(key, task.abort_handle());
        Ok(())
    }

    async fn send(&self, message: Json) {
        // The writer is gone only when the socket is; then reading ends too.
        let _ = self.outbox.send(Message::Text(message.to_string().into())).await;
    }
}

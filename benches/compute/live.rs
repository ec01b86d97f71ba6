//! Live queries that differ by a constant: how long until a new one shows what there is, and how long until a change is at
//! the one that it concerns, each of them changing once a second.
//!
//! Everything is done as for a client, but that there are no sockets: the query is text, what comes is written as JSON.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use async_graphql::Value as GraphqlValue;
use async_graphql::futures_util::StreamExt as _;
use async_graphql::{Request as GraphqlRequest, Response};
use benches::{Bench, Times, formula, number, set};
use decidr_api::graphql::{ApiSchema, Caller, schema};
use decidr_api::position::PositionKey;
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{CollectionId, CommandId, EntityId};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{Line, latency};

/// How many entities each query shows.
const SHOWN: usize = 100;

/// For how many seconds each query changes.
const SECONDS: usize = 10;

/// How often what is due is sent; what is due together is sent together.
const TICK: Duration = Duration::from_millis(1);

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let queries = 10_000 / smaller;
    let rows = bench.collection("rows").await?;
    bench.attribute(rows, "owner", number()).await?;
    bench.attribute(rows, "due", number()).await?;
    bench.attribute(rows, "title", DefinitionInput::text()).await?;
    bench.attribute(rows, "late", formula("{due} / 2 & ' late'")).await?;
    let values = (0..queries * SHOWN).map(|n| json!({ "owner": n % queries, "title": format!("row {n}") }));
    let ids = bench.entities(rows, values).await?;
    bench.settle().await;
    let api = schema(bench.platform.clone(), Arc::new(PositionKey::ephemeral()));
    let client = Client { api, tenant: Authority::Tenant(bench.tenant), rows };

    let (times, received) = (Arc::new(Mutex::new(Times::new()?)), Arc::new(Semaphore::new(0)));
    let start = Instant::now();
    let (mut opened, mut listeners) = (Times::new()?, JoinSet::new());
    for owner in 0..queries {
        let from = Instant::now();
        let (mut stream, shown) = client.open(owner).await?;
        opened.since(from);
        ensure!(shown == SHOWN, "query {owner} shows {shown} rows");
        let (times, received) = (Arc::clone(&times), Arc::clone(&received));
        listeners.spawn(async move {
            while let Some(response) = stream.next().await {
                // As it would be sent.
                let written = serde_json::to_string(&response)?;
                let now = start.elapsed();
                ensure!(response.errors.is_empty(), "{written}");
                let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                for due in dues(&response) {
                    times.add(now.saturating_sub(Duration::from_micros(due)));
                    received.add_permits(1);
                }
            }
            Ok(())
        });
    }
    lines.push(latency("live", format!("a new live query of {SHOWN} among {} rows, {queries} of them", queries * SHOWN), &opened));

    let begin = start.elapsed() + Duration::from_millis(100);
    let (total, mut sent, mut senders) = (queries * SECONDS, 0, JoinSet::new());
    let due_at = |n: usize| begin + Duration::from_secs_f64(n as f64 / queries as f64);
    while sent < total {
        tokio::time::sleep(TICK).await;
        let now = start.elapsed();
        let mut requests = Vec::new();
        while sent < total && due_at(sent) <= now {
            // Another row of the query each second.
            let (owner, second) = (sent % queries, sent / queries);
            requests.push(client.request(ids[owner + second * queries], due_at(sent)));
            sent += 1;
        }
        let platform = Arc::clone(&bench.platform);
        senders.spawn(async move { platform.execute_all(requests).await });
    }
    while let Some(answers) = senders.join_next().await {
        answers?.into_iter().collect::<Result<Vec<_>, _>>().context("an update was refused")?;
    }
    all_came(&received, total, &mut listeners).await?;
    listeners.abort_all();
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    lines.push(latency("live", format!("{queries} live queries, each changing once a second, from when it was due"), &times));
    Ok(())
}

/// Waits until so many changes were received; if they are not, says why.
pub(crate) async fn all_came(received: &Semaphore, total: usize, listeners: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let all = received.acquire_many(u32::try_from(total)?);
    if tokio::time::timeout(Duration::from_secs(60), all).await.is_ok() {
        return Ok(());
    }
    let ended = std::iter::from_fn(|| listeners.try_join_next());
    let failed = ended.map(|ended| ended.map_err(Into::into).and_then(|ended| ended)).find_map(Result::err);
    let message = format!("{} of {total} changes came", received.available_permits());
    Err(failed.unwrap_or_else(|| anyhow!("the others did not end")).context(message))
}

struct Client {
    api: ApiSchema,
    tenant: Authority,
    rows: CollectionId,
}

type Responses = async_graphql::futures_util::stream::BoxStream<'static, Response>;

impl Client {
    /// A live query of what one owner has; gives how many entities it shows first.
    async fn open(&self, owner: usize) -> anyhow::Result<(Responses, usize)> {
        let query = format!(
            "subscription {{ entities(collectionId: \"{}\", filter: \"{{owner}} = {owner}\") \
             {{ position kind ops {{ op id node {{ values }} }} }} }}",
            self.rows
        );
        let caller = Caller { authority: self.tenant, actor: "bench".into() };
        let mut stream = self.api.execute_stream(GraphqlRequest::new(query).data(caller)).boxed();
        let mut shown = 0;
        loop {
            let response = stream.next().await.ok_or_else(|| anyhow!("the stream ended"))?;
            ensure!(response.errors.is_empty(), "{:?}", response.errors);
            serde_json::to_string(&response)?;
            match field(&response.data, &["entities", "kind"]) {
                Some(GraphqlValue::Enum(kind)) if kind == "SNAPSHOT" => shown += ops(&response).len(),
                _ => return Ok((stream, shown)),
            }
        }
    }

    /// Notes in an entity when that was due, in microseconds.
    fn request(&self, id: EntityId, due: Duration) -> Request {
        let command: Command = set(id, json!({ "due": due.as_micros() as u64 }));
        let id = Uuid::now_v7();
        Request { command_id: CommandId(id), authority: self.tenant, actor: "bench".into(), correlation_id: id, command }
    }
}

pub(crate) fn field<'a>(value: &'a GraphqlValue, path: &[&str]) -> Option<&'a GraphqlValue> {
    path.iter().try_fold(value, |value, name| match value {
        GraphqlValue::Object(fields) => fields.get(*name),
        _ => None,
    })
}

fn ops(response: &Response) -> &[GraphqlValue] {
    match field(&response.data, &["entities", "ops"]) {
        Some(GraphqlValue::List(ops)) => ops,
        _ => &[],
    }
}

/// When the changes that a message tells of were due.
fn dues(response: &Response) -> Vec<u64> {
    let due = |op: &GraphqlValue| match field(op, &["node", "values", "due"]) {
        Some(GraphqlValue::Number(due)) => due.as_u64(),
        _ => None,
    };
    ops(response).iter().filter_map(due).collect()
}

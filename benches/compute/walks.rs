//! W4 as standing queries: people who know others, some known by many, and what they write. Of a thousand people: whom they
//! know, who is two steps away, the twenty newest posts of a tag within two steps, how many there are of each tag, and the
//! shortest way to another; while a thousand links a second come and go. A hundred changes a second are such that a message
//! must come: from when they were due until it is written.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use async_graphql::Value as GraphqlValue;
use async_graphql::futures_util::StreamExt as _;
use async_graphql::{Request as GraphqlRequest, Response};
use benches::recorder::Random;
use benches::{Bench, Times, link, number};
use decidr_api::graphql::{ApiSchema, Caller, schema};
use decidr_api::position::PositionKey;
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{CommandId, EntityId};
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::live::{all_came, field};
use crate::{Line, latency};

/// How many others each knows.
const KNOWN: usize = 20;

/// How many tags there are.
const TAGS: usize = 100;

/// For how long links come and go, and how many a second; one in ten of them must bring a message.
const SECONDS: usize = 10;
const RATE: usize = 1_000;
const PROBED: usize = 10;

const TICK: Duration = Duration::from_millis(1);

/// The kinds of standing queries.
const KINDS: [&str; 5] = [
    "whom one knows",
    "who is within two steps",
    "the 20 newest posts of a tag within two steps",
    "how many posts of each tag two steps away",
    "the shortest way, up to 4 steps",
];

/// Somebody about whom is asked: knows a friend, who knows another friend, both known by nobody else; nobody leads to the end.
struct Asked {
    start: EntityId,
    friend: EntityId,
    other: EntityId,
    end: EntityId,
    tag: usize,
}

impl Asked {
    fn query(&self, kind: usize) -> (&'static str, String) {
        let ops = "ops { op id index node { values(keys: [\"n\"]) } }";
        let start = self.start;
        let (field, arguments, shown) = match kind {
            0 => ("follow", format!("entityId: \"{start}\", path: [\"knows\"]"), ops.to_owned()),
            1 => (
                "traverse",
                format!("entityId: \"{start}\", links: [\"knows\"], depthMax: 2"),
                "ops { op id reached { depth node { values(keys: [\"n\"]) } } }".to_owned(),
            ),
            2 => (
                "follow",
                format!(
                    "entityId: \"{start}\", path: [\"knows\", \"knows\", \"posts\"], filter: \"{{tag}} = {}\", first: 20, \
                     orderBy: [{{ attribute: \"at\", direction: DESC }}]",
                    self.tag
                ),
                ops.to_owned(),
            ),
            3 => (
                "followGroups",
                format!("entityId: \"{start}\", path: [\"knows\", \"knows\", \"posts\"], groupBy: [\"tag\"]"),
                "ops { op path count }".to_owned(),
            ),
            _ => (
                "shortestPath",
                format!("fromId: \"{start}\", toId: \"{}\", links: [\"knows\"], depthMax: 4", self.end),
                "path { id values(keys: [\"n\"]) }".to_owned(),
            ),
        };
        (field, format!("subscription {{ {field}({arguments}) {{ position kind {shown} }} }}"))
    }
}

/// What is waited for: by query and entity, or by query alone for ways, since when.
type Waiting = Arc<Mutex<HashMap<(usize, String), Duration>>>;

/// What a subscriber knows, by id.
type Known = Arc<Mutex<BTreeSet<String>>>;

pub(crate) async fn run(bench: &Bench, smaller: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (count, post_count, queries) = (100_000 / smaller, 1_000_000 / smaller, (1_000 / smaller).max(8));
    let mut random = Random(42);
    let people = bench.collection("people").await?;
    let posts = bench.collection("posts").await?;
    bench.attribute(people, "n", number()).await?;
    bench.attribute(people, "knows", link(people, true, "known_by", false)?).await?;
    for key in ["n", "at", "tag"] {
        bench.attribute(posts, key, number()).await?;
    }
    bench.attribute(posts, "author", link(people, false, "posts", false)?).await?;
    bench.attribute(people, "name", DefinitionInput::text()).await?;
    let probes = SECONDS * RATE / PROBED;
    // Some nobody knows yet, to be known by those who are asked about.
    let ids = bench.entities(people, (0..count + 3 * queries + probes).map(|n| json!({ "n": n }))).await?;
    let asked: Vec<Asked> = (0..queries)
        .map(|n| {
            let [friend, other, end] = [0, 1, 2].map(|i| ids[count + 3 * n + i]);
            Asked { start: ids[n * (count / queries)], friend, other, end, tag: n % TAGS }
        })
        .collect();
    let fresh = &ids[count + 3 * queries..];
    // Some are known by ten times as many as others.
    let somebody = |random: &mut Random| {
        let bound = 1 + random.below(count);
        ids[random.below(bound)]
    };
    let mut known: Vec<Vec<EntityId>> = Vec::with_capacity(count);
    for _ in 0..count {
        let circle: BTreeSet<EntityId> = (0..KNOWN).map(|_| somebody(&mut random)).collect();
        known.push(circle.into_iter().collect());
    }
    let knows =
        |id: EntityId, to: Vec<EntityId>| Command::Entity(EntityCommand::LinkEntities { id, attribute: "knows".into(), target_ids: to });
    let mut links: Vec<Command> = ids.iter().zip(&known).map(|(id, circle)| knows(*id, circle.clone())).collect();
    for Asked { start, friend, other, .. } in &asked {
        links.extend([knows(*start, vec![*friend]), knows(*friend, vec![*other])]);
    }
    bench.execute(links).await?;
    let post = |n: usize, author: EntityId, tag: usize| json!({ "n": n, "at": n, "tag": tag, "author": author.to_string() });
    bench.entities(posts, (0..post_count).map(|n| post(n, ids[random.below(count)], random.below(TAGS)))).await?;
    bench.settle().await;

    let client =
        Client { api: schema(bench.platform.clone(), Arc::new(PositionKey::ephemeral())), tenant: Authority::Tenant(bench.tenant) };
    let start = Instant::now();
    let waiting: Waiting = Arc::default();
    let (times, received) = (Arc::new(Mutex::new(new_times()?)), Arc::new(Semaphore::new(0)));
    let (mut opened, mut listeners, mut states) = (new_times()?, JoinSet::new(), Vec::new());
    for (n, one) in asked.iter().enumerate() {
        let kind = n % KINDS.len();
        let (field, query) = one.query(kind);
        let (from, state): (_, Known) = (Instant::now(), Arc::default());
        let mut stream = client.open(field, &query, &state).await?;
        opened[kind].since(from);
        states.push(state.clone());
        let (waiting, times, received) = (Arc::clone(&waiting), Arc::clone(&times), Arc::clone(&received));
        listeners.spawn(async move {
            while let Some(response) = stream.next().await {
                // As it would be sent.
                let written = serde_json::to_string(&response)?;
                let now = start.elapsed();
                ensure!(response.errors.is_empty(), "{written}");
                let arrived = heard(&response, field, &mut state.lock().unwrap_or_else(PoisonError::into_inner));
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                for id in arrived {
                    if let Some(due) = waiting.remove(&(n, id)) {
                        times.lock().unwrap_or_else(PoisonError::into_inner)[kind].add(now.saturating_sub(due));
                        received.add_permits(1);
                    }
                }
            }
            Ok(())
        });
    }

    let begin = start.elapsed() + Duration::from_millis(100);
    let (total, mut sent, mut probed, mut senders) = (SECONDS * RATE, 0, 0, JoinSet::new());
    let due_at = |n: usize| begin + Duration::from_secs_f64(n as f64 / RATE as f64);
    let mut is_linked = vec![false; queries];
    while sent < total {
        tokio::time::sleep(TICK).await;
        let now = start.elapsed();
        let mut commands = Vec::new();
        while sent < total && due_at(sent) <= now {
            let due = due_at(sent);
            sent += 1;
            if sent % PROBED != 0 {
                let (n, new) = (random.below(count), somebody(&mut random));
                let command = match known[n].pop() {
                    Some(old) if random.below(2) == 0 => unknows(ids[n], old),
                    old => {
                        known[n].extend(old);
                        if known[n].contains(&new) {
                            continue;
                        }
                        known[n].push(new);
                        knows(ids[n], vec![new])
                    }
                };
                commands.push(command);
                continue;
            }
            let (n, id) = (probed % queries, fresh[probed]);
            let (one, kind) = (&asked[n], n % KINDS.len());
            let (command, key) = match kind {
                0 => (knows(one.start, vec![id]), id.to_string()),
                1 => (knows(one.friend, vec![id]), id.to_string()),
                2 => {
                    let id = EntityId(Uuid::now_v7());
                    let Json::Object(values) = post(post_count + probed, one.other, one.tag) else { continue };
                    (Command::Entity(EntityCommand::CreateEntity { id, collection_id: posts, values }), id.to_string())
                }
                3 => {
                    // Of a tag of its own, so that what is heard of it comes from this.
                    let (id, tag) = (EntityId(Uuid::now_v7()), TAGS + probed);
                    let Json::Object(values) = post(post_count + probed, one.other, tag) else { continue };
                    (Command::Entity(EntityCommand::CreateEntity { id, collection_id: posts, values }), format!("[{tag}]"))
                }
                _ => {
                    is_linked[n] = !is_linked[n];
                    (if is_linked[n] { knows(one.other, vec![one.end]) } else { unknows(one.other, one.end) }, String::new())
                }
            };
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert((n, key), due);
            commands.push(command);
            probed += 1;
        }
        let requests: Vec<Request> = commands.into_iter().map(|command| client.request(command)).collect();
        let platform = Arc::clone(&bench.platform);
        senders.spawn(async move { platform.execute_all(requests).await });
    }
    while let Some(answers) = senders.join_next().await {
        answers?.into_iter().collect::<Result<Vec<_>, _>>().context("a change was refused")?;
    }
    all_came(&received, probed, &mut listeners).await?;
    bench.settle().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    listeners.abort_all();
    // Whoever asks now is told what those know who heard of every change.
    let mut compared = 0;
    for (n, one) in asked.iter().enumerate().step_by((queries / 40).max(1) | 1) {
        let ((field, query), anew): (_, Known) = (one.query(n % KINDS.len()), Arc::default());
        drop(client.open(field, &query, &anew).await?);
        let of = |known: &Known| known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(of(&anew) == of(&states[n]), "query {n} ({}): {:?} anew, {:?} kept", KINDS[n % KINDS.len()], of(&anew), of(&states[n]));
        compared += 1;
    }
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    for (kind, name) in KINDS.iter().enumerate() {
        lines.push(latency("walks", format!("{name}: begun, {count} people, {post_count} posts"), &opened[kind]));
        lines.push(latency(
            "walks",
            format!("… told of a change, {RATE} links a second, {queries} queries ({compared} compared)"),
            &times[kind],
        ));
    }
    Ok(())
}

fn new_times() -> anyhow::Result<Vec<Times>> {
    KINDS.iter().map(|_| Times::new()).collect()
}

fn unknows(id: EntityId, from: EntityId) -> Command {
    Command::Entity(EntityCommand::UnlinkEntities { id, attribute: "knows".into(), target_ids: vec![from] })
}

struct Client {
    api: ApiSchema,
    tenant: Authority,
}

type Responses = async_graphql::futures_util::stream::BoxStream<'static, Response>;

impl Client {
    /// Begins to listen; returns when the snapshot is through.
    async fn open(&self, name: &str, query: &str, known: &Known) -> anyhow::Result<Responses> {
        let caller = Caller { authority: self.tenant, actor: "bench".into() };
        let mut stream = self.api.execute_stream(GraphqlRequest::new(query).data(caller)).boxed();
        loop {
            let response = stream.next().await.ok_or_else(|| anyhow!("the stream ended"))?;
            ensure!(response.errors.is_empty(), "{:?}", response.errors);
            serde_json::to_string(&response)?;
            match field(&response.data, &[name, "kind"]) {
                Some(GraphqlValue::Enum(kind)) if kind == "SNAPSHOT" => {
                    heard(&response, name, &mut known.lock().unwrap_or_else(PoisonError::into_inner));
                }
                _ => return Ok(stream),
            }
        }
    }

    fn request(&self, command: Command) -> Request {
        let id = Uuid::now_v7();
        Request { command_id: CommandId(id), authority: self.tenant, actor: "bench".into(), correlation_id: id, command }
    }
}

/// Takes a message in; gives the ids that came, or of groups the paths; for a way what stands for its coming and going.
fn heard(response: &Response, name: &str, known: &mut BTreeSet<String>) -> Vec<String> {
    let text = |value: &GraphqlValue| match value {
        GraphqlValue::String(text) => text.clone(),
        other => other.to_string(),
    };
    if name == "shortestPath" {
        if matches!(field(&response.data, &[name, "kind"]), Some(GraphqlValue::Enum(kind)) if kind == "PROGRESS") {
            return Vec::new();
        }
        let way: BTreeSet<String> = match field(&response.data, &[name, "path"]) {
            Some(GraphqlValue::List(nodes)) => nodes.iter().filter_map(|node| field(node, &["id"])).map(text).collect(),
            _ => BTreeSet::new(),
        };
        let has_turned = way.is_empty() != known.is_empty();
        *known = way;
        return if has_turned { vec![String::new()] } else { Vec::new() };
    }
    let mut came = Vec::new();
    if let Some(GraphqlValue::List(ops)) = field(&response.data, &[name, "ops"]) {
        for op in ops {
            if let (Some(path), Some(count)) = (field(op, &["path"]).map(text), field(op, &["count"]).map(text)) {
                let (of_path, is_gone) = (format!("{path} "), count == "0");
                let before = known.range(of_path.clone()..).next().filter(|known| known.starts_with(&of_path)).cloned();
                if let Some(before) = &before {
                    known.remove(before);
                }
                if !is_gone {
                    known.insert(of_path + &count);
                }
                if before.is_none() {
                    came.push(path);
                }
                continue;
            }
            let Some(id) = field(op, &["id"]).map(text) else { continue };
            if matches!(field(op, &["op"]), Some(GraphqlValue::Enum(kind)) if kind == "DELETE") {
                known.remove(&id);
            } else if known.insert(id.clone()) {
                came.push(id);
            }
        }
    }
    came
}

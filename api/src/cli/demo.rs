//! `decidr demo`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::delta::Row;
use decidr_domain::formula::coerce::text;
use decidr_domain::id::{CommandId, EntityId, Key};
use decidr_domain::schema::{CollectionSchema, TenantSchema};
use hdrhistogram::Histogram;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::serve::{Listen, serve_until_asked, server};
use super::{Compute, Data};
use crate::auth::{Claims, TokenKey, in_days};
use crate::demo;
use crate::graphql::scalars;
use crate::platform::Platform;

/// Import the demo's flights with all their links and computed attributes; then let delays change and flights be added,
/// show the airlines' table changing, and serve it all over GraphQL.
#[derive(Args)]
pub(super) struct Demo {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    listen: Listen,
    /// Import and exit; the last line is a summary as JSON.
    #[arg(long)]
    once: bool,
    /// A folder with airlines, airports, planes and flights as .csv or .csv.gz, in place of January.
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// How many changes a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data.open()?;
        let listener = if self.once { None } else { Some(self.listen.bind().await?) };
        let platform = Arc::new(Platform::open(&data_dir, self.compute.config()).await?);
        let demo = demo::Demo { platform: &platform, data_dir: &data_dir, source: self.source.as_deref() };
        let summary = demo.import().await?;
        if !summary.not_linked.is_empty() {
            let counts: Vec<_> = summary.not_linked.iter().map(|(attribute, count)| format!("{count} of {attribute}")).collect();
            eprintln!("not linked: {}; rows and reasons are in {}", counts.join(", "), data_dir.report("flights").display());
        }
        eprintln!("{} commands in {:.1} s: {:.0}/s", summary.commands, summary.seconds, summary.commands as f64 / summary.seconds);
        let summary = json!({
            "commands": summary.commands, "seconds": summary.seconds, "unlinked": summary.not_linked, "refused": summary.refused,
        });
        let Some(listener) = listener else {
            println!("{summary}");
            platform.close().await;
            return Ok(());
        };
        let tokens = TokenKey::open(&data_dir.token_key())?;
        let claims = Claims { sub: "demo".into(), tenant: Some(Key::new(demo::TENANT)?), operator: false, exp: in_days(30) };
        let token = tokens.sign(&claims)?;
        let address = listener.local_addr()?;
        let server = server(&data_dir)?;
        server.ready(platform.clone());
        println!("GraphQL  http://{address}/graphql");
        println!("Token    {token}");
        println!(
            "Try      curl -s http://{address}/graphql -H 'authorization: Bearer {token}' -H 'content-type: application/json' \\\n           -d '{{\"query\":\"{{ collection(key: \\\"airlines\\\") {{ id name attributes {{ key type }} }} }}\"}}'"
        );
        let show = tokio::spawn(Show { platform: platform.clone(), rate: self.rate }.run());
        let served = serve_until_asked(server, listener).await;
        show.abort();
        platform.close().await;
        served
    }
}

/// Lets things change, and shows them.
struct Show {
    platform: Arc<Platform>,
    rate: u32,
}

/// The columns of the airlines' table.
const COLUMNS: [(&str, usize); 7] = [
    ("carrier", 7),
    ("name", 28),
    ("flight_count", 12),
    ("on_time_share", 13),
    ("avg_arr_delay", 13),
    ("seat_miles_total", 16),
    ("longest_flight", 14),
];

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let schema = self.schema()?;
        let flights = collection(&schema, "flights")?.clone();
        let mut pool: Vec<Row> = Vec::new();
        self.platform.arranged().scan(flights.id(), None, |row| {
            pool.push(row.clone());
            true
        });
        let deltas = self.delta_latencies()?;
        let (mut step, started) = (0u64, Instant::now());
        let mut next_frame = Instant::now();
        let pause = Duration::from_secs(1) / self.rate;
        let mut tick = tokio::time::interval(pause);
        while !pool.is_empty() {
            tick.tick().await;
            // Spread over the flights by a step that has no divisor in common with most counts.
            let row = &pool[(step.wrapping_mul(7_919) % pool.len() as u64) as usize];
            let command = self.change(&schema, &flights, row, step);
            let id = CommandId(Uuid::now_v7());
            let authority = Authority::Tenant(schema.tenant.id);
            let request = Request { command_id: id, authority, actor: "demo".into(), correlation_id: id.0, command };
            // A refusal, as of a flight that somebody archived, is no reason to stop.
            let _ = self.platform.execute(request).await;
            step += 1;
            if Instant::now() >= next_frame {
                next_frame = Instant::now() + Duration::from_millis(if std::io::stdout().is_terminal() { 250 } else { 5_000 });
                let rate = step as f64 / started.elapsed().as_secs_f64();
                self.draw(&*self.schema()?, rate, &deltas)?;
            }
        }
        Ok(())
    }

    fn schema(&self) -> anyhow::Result<Arc<TenantSchema>> {
        let arranged = self.platform.arranged();
        arranged.catalog().tenant_by_key(&Key::new(demo::TENANT)?).cloned().ok_or_else(|| anyhow::anyhow!("the demo's tenant is not there"))
    }

    /// Nine times in ten another delay, else one more flight like this one.
    fn change(&self, schema: &TenantSchema, flights: &CollectionSchema, row: &Row, step: u64) -> Command {
        let id = row.entity.id;
        if step % 10 != 9 {
            let delay = (step.wrapping_mul(2_654_435_761) >> 8) % 240;
            let values = Map::from_iter([("arr_delay".to_owned(), json!(delay as i64 - 40))]);
            return Command::Entity(EntityCommand::SetValues { id, values, expected_version: None });
        }
        let stored = flights.attributes().iter().filter(|attribute| !attribute.definition.is_computed());
        let copied = stored.filter_map(|attribute| match scalars::cell(schema, row, attribute).into_json() {
            Ok(Json::Null) | Err(_) => None,
            Ok(value) => Some((attribute.key.to_string(), value)),
        });
        Command::Entity(EntityCommand::CreateEntity { id: EntityId(Uuid::now_v7()), collection_id: flights.id(), values: copied.collect() })
    }

    /// Measures from the commit of a timestamp's oldest event until its delta is there, in microseconds.
    fn delta_latencies(&self) -> anyhow::Result<Arc<Mutex<Histogram<u64>>>> {
        let latencies = Arc::new(Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 3)?));
        let theirs = latencies.clone();
        self.platform.engine().subscribe(Box::new(move |published| {
            let micros = published.accepted.elapsed().as_micros() as u64;
            theirs.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        }));
        Ok(latencies)
    }

    fn draw(&self, schema: &TenantSchema, rate: f64, latencies: &Mutex<Histogram<u64>>) -> anyhow::Result<()> {
        let airlines = collection(schema, "airlines")?;
        let arranged = self.platform.arranged();
        let mut out = String::new();
        if std::io::stdout().is_terminal() {
            out.push_str("\x1b[2J\x1b[H");
        }
        for (key, width) in COLUMNS {
            out.push_str(&format!("{key:>width$}  "));
        }
        out.push('\n');
        arranged.scan(airlines.id(), None, |row| {
            for (key, width) in COLUMNS {
                let value = airlines.by_key(key).map(|attribute| text(&schema.shown_value(row, attribute.id))).unwrap_or_default();
                let short: String = value.chars().take(width).collect();
                out.push_str(&format!("{short:>width$}  "));
            }
            out.push('\n');
            true
        });
        let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let (p50, p99) = (latencies.value_at_quantile(0.5) as f64 / 1000.0, latencies.value_at_quantile(0.99) as f64 / 1000.0);
        out.push_str(&format!(
            "position {}   {rate:.0} changes/s   commit to delta p50 {p50:.2} ms p99 {p99:.2} ms   (Ctrl-C ends)\n",
            arranged.position()
        ));
        std::io::stdout().write_all(out.as_bytes())?;
        std::io::stdout().flush()?;
        Ok(())
    }
}

fn collection<'a>(schema: &'a TenantSchema, key: &str) -> anyhow::Result<&'a Arc<CollectionSchema>> {
    schema.collection_by_key(key).ok_or_else(|| anyhow::anyhow!("collection {key} is not there"))
}

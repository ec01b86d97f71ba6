//! The demo: flights that left New York in 2013, as tables with links, formulas, lookups and rollups.
//!
//! January comes with the program; a folder with the same files takes its place. Every command has an id made from what it
//! does, so that a demo which was killed goes on where it was.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use decidr_domain::aggregate::attribute::{AttributeCommand, DefinitionInput};
use decidr_domain::aggregate::collection::CollectionCommand;
use decidr_domain::aggregate::space::SpaceCommand;
use decidr_domain::aggregate::tenant::TenantCommand;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{AttributeId, CollectionId, CommandId, Key, SpaceId, TenantId};
use decidr_domain::rollup::Rollup;
use decidr_domain::schema::TenantSchema;
use flate2::read::GzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use crate::csv_import::{Import, KeyIndex, LinkColumn, Report, Targets};
use crate::platform::{DataDir, Platform};

/// The demo's tenant.
pub const TENANT: &str = "demo";

/// Who sends the demo's commands.
const ACTOR: &str = "demo";

/// A collection with its stored attributes: key and type, the column's name being the key.
type Table = (&'static str, &'static str, &'static [(&'static str, Stored)]);

const TABLES: [Table; 4] = [
    ("airlines", "Airlines", &[("carrier", Stored::Text), ("name", Stored::Text)]),
    (
        "airports",
        "Airports",
        &[
            ("faa", Stored::Text),
            ("name", Stored::Text),
            ("lat", Stored::Number),
            ("lon", Stored::Number),
            ("alt", Stored::Number),
            ("tz", Stored::Number),
            ("dst", Stored::Text),
            ("tzone", Stored::Text),
        ],
    ),
    (
        "planes",
        "Planes",
        &[
            ("tailnum", Stored::Text),
            ("year", Stored::Number),
            ("type", Stored::Text),
            ("manufacturer", Stored::Text),
            ("model", Stored::Text),
            ("engines", Stored::Number),
            ("seats", Stored::Number),
            ("speed", Stored::Number),
            ("engine", Stored::Text),
        ],
    ),
    (
        "flights",
        "Flights",
        &[
            ("year", Stored::Number),
            ("month", Stored::Number),
            ("day", Stored::Number),
            ("dep_time", Stored::Number),
            ("sched_dep_time", Stored::Number),
            ("dep_delay", Stored::Number),
            ("arr_time", Stored::Number),
            ("sched_arr_time", Stored::Number),
            ("arr_delay", Stored::Number),
            ("carrier", Stored::Text),
            ("flight", Stored::Number),
            ("tailnum", Stored::Text),
            ("origin", Stored::Text),
            ("dest", Stored::Text),
            ("air_time", Stored::Number),
            ("distance", Stored::Number),
            ("hour", Stored::Number),
            ("minute", Stored::Number),
            ("time_hour", Stored::Datetime),
        ],
    ),
];

#[derive(Clone, Copy)]
enum Stored {
    Text,
    Number,
    Datetime,
}

/// The links of flights: attribute, column, collection that it leads to, attribute there that holds the column's text,
/// backlink.
const LINKS: [(&str, &str, &str, &str, &str); 4] = [
    ("airline", "carrier", "airlines", "carrier", "flights"),
    ("plane", "tailnum", "planes", "tailnum", "flights"),
    ("origin_airport", "origin", "airports", "faa", "departures"),
    ("dest_airport", "dest", "airports", "faa", "arrivals"),
];

enum Computed {
    Formula(&'static str),
    Lookup(&'static str, &'static str),
    Rollup(&'static str, &'static str, Option<&'static str>, Option<&'static str>),
}

use Computed::{Formula, Lookup, Rollup as RollupOf};

/// What is computed: collection, key, how.
const COMPUTED: &[(&str, &str, Computed)] = &[
    ("flights", "speed_mph", Formula("IF({air_time}, ROUND({distance} * 60 / {air_time}, 1))")),
    ("flights", "on_time", Formula("IF({air_time}, {arr_delay} <= 15)")),
    ("flights", "seats", Lookup("plane", "seats")),
    ("flights", "carrier_name", Lookup("airline", "name")),
    ("flights", "seat_miles", Formula("IF({seats}, {seats} * {distance})")),
    ("airlines", "flight_count", RollupOf("flights", "COUNTALL", None, None)),
    ("airlines", "arrived_flights", RollupOf("flights", "COUNT", Some("arr_delay"), None)),
    ("airlines", "on_time_flights", RollupOf("flights", "COUNTALL", None, Some("{on_time}"))),
    ("airlines", "avg_arr_delay", RollupOf("flights", "AVERAGE", Some("arr_delay"), None)),
    ("airlines", "seat_miles_total", RollupOf("flights", "SUM", Some("seat_miles"), None)),
    ("airlines", "longest_flight", RollupOf("flights", "MAX", Some("distance"), None)),
    ("airlines", "on_time_share", Formula("IF({arrived_flights}, ROUND({on_time_flights} / {arrived_flights}, 4))")),
    ("airports", "departure_count", RollupOf("departures", "COUNTALL", None, None)),
    ("airports", "arrival_count", RollupOf("arrivals", "COUNTALL", None, None)),
    ("airports", "avg_dep_delay", RollupOf("departures", "AVERAGE", Some("dep_delay"), None)),
    ("airports", "max_arr_delay", RollupOf("arrivals", "MAX", Some("arr_delay"), None)),
    ("planes", "flight_count", RollupOf("flights", "COUNTALL", None, None)),
    ("planes", "miles", RollupOf("flights", "SUM", Some("distance"), None)),
    ("planes", "first_flight", RollupOf("flights", "MIN", Some("time_hour"), None)),
    ("planes", "last_flight", RollupOf("flights", "MAX", Some("time_hour"), None)),
];

/// The files that come with the program: all airlines, airports and planes, and the flights of January.
const EMBEDDED: [(&str, &[u8]); 4] = [
    ("airlines", include_bytes!("../../examples/nycflights13/airlines.csv.gz")),
    ("airports", include_bytes!("../../examples/nycflights13/airports.csv.gz")),
    ("planes", include_bytes!("../../examples/nycflights13/planes.csv.gz")),
    ("flights", include_bytes!("../../examples/nycflights13/flights.csv.gz")),
];

/// What the import came to.
pub struct Summary {
    /// Commands that were answered.
    pub commands: u64,
    /// How long the rows took.
    pub seconds: f64,
    /// Links that could not be made, by attribute.
    pub not_linked: BTreeMap<String, u64>,
    /// Rows that were refused.
    pub refused: u64,
}

/// The demo, on a platform.
pub struct Demo<'a> {
    /// The platform.
    pub platform: &'a Arc<Platform>,
    /// Where reports go.
    pub data_dir: &'a DataDir,
    /// A folder with the four files, in place of those that come with the program.
    pub source: Option<&'a Path>,
}

impl Demo<'_> {
    /// Makes the tenant, its tables, links and computed attributes, and then imports the rows.
    pub async fn import(&self) -> anyhow::Result<Summary> {
        let tenant = self.define().await?;
        let (started, mut summary) = (Instant::now(), Summary { commands: 0, seconds: 0.0, not_linked: BTreeMap::new(), refused: 0 });
        let mut indexes: BTreeMap<&str, Arc<KeyIndex>> = BTreeMap::new();
        for (table, _, _) in TABLES {
            let (source, size) = self.open(table)?;
            let links = LINKS.iter().filter(|_| table == "flights").map(|(attribute, column, target, _, _)| LinkColumn {
                column: (*column).to_owned(),
                attribute: (*attribute).to_owned(),
                targets: Targets::Known(indexes[target].clone()),
            });
            let key = LINKS.iter().find(|(_, _, target, _, _)| *target == table).map(|(_, _, _, key, _)| *key);
            let bar = progress_bar(table, size);
            let schema = self.schema(tenant)?;
            let collection = schema.collection_by_key(table).ok_or_else(|| anyhow::anyhow!("collection {table} is not there"))?.clone();
            let links = links.collect();
            let import = Import { platform: self.platform, tenant, actor: ACTOR, collection, name: table, links, key };
            let report = import.run(source, |rows| bar.set_position(rows)).await?;
            bar.finish();
            summary.commands += report.commands;
            summary.refused += report.refused.len() as u64;
            for (attribute, count) in report.not_linked_counts() {
                *summary.not_linked.entry(attribute).or_default() += count;
            }
            write_report(&self.data_dir.report(table), &report)?;
            indexes.insert(table, Arc::new(report.index));
        }
        self.platform.reached(self.platform.head()).await;
        summary.seconds = started.elapsed().as_secs_f64();
        Ok(summary)
    }

    /// A file's content, and about how many rows it has.
    fn open(&self, table: &str) -> anyhow::Result<(Box<dyn Read + Send>, u64)> {
        let Some(source) = self.source else {
            let (_, bytes) = EMBEDDED.iter().find(|(name, _)| *name == table).ok_or_else(|| anyhow::anyhow!("no file for {table}"))?;
            return Ok((Box::new(GzDecoder::new(Cursor::new(*bytes))), bytes.len() as u64 / 26));
        };
        let candidates: Vec<PathBuf> = [".csv", ".csv.gz"].iter().map(|ending| source.join(format!("{table}{ending}"))).collect();
        let file = candidates.iter().find(|file| file.exists());
        let file = file.ok_or_else(|| anyhow::anyhow!("{} has neither {table}.csv nor {table}.csv.gz", source.display()))?;
        let size = std::fs::metadata(file)?.len();
        Ok((crate::csv_import::open(file)?, size / 26))
    }

    fn schema(&self, tenant: TenantId) -> anyhow::Result<Arc<TenantSchema>> {
        let arranged = self.platform.arranged();
        arranged.catalog().tenant(tenant).cloned().ok_or_else(|| anyhow::anyhow!("the demo's tenant is not there"))
    }

    /// Makes whatever is not there yet of the tenant, the space, the collections and their attributes.
    async fn define(&self) -> anyhow::Result<TenantId> {
        let tenant_key = Key::new(TENANT)?;
        let known = self.platform.arranged().catalog().tenant_by_key(&tenant_key).map(|schema| schema.tenant.id);
        let tenant = match known {
            Some(tenant) => tenant,
            None => {
                let id = TenantId(Uuid::now_v7());
                let register = TenantCommand::RegisterTenant { id, key: tenant_key, name: "Demo".into() };
                self.execute(Authority::Operator, "tenant", Command::Tenant(register)).await?;
                id
            }
        };
        let space = SpaceCommand::CreateSpace { id: SpaceId(Uuid::now_v7()), key: Key::new("flights")?, name: "Flights".into() };
        let space_id = SpaceId(self.execute(Authority::Tenant(tenant), "space", Command::Space(space)).await?);
        let mut collections = BTreeMap::new();
        for (key, name, attributes) in TABLES {
            let create =
                CollectionCommand::CreateCollection { id: CollectionId(Uuid::now_v7()), space_id, key: Key::new(key)?, name: name.into() };
            let id = CollectionId(self.execute(Authority::Tenant(tenant), key, Command::Collection(create)).await?);
            collections.insert(key, id);
            for (attribute, stored) in attributes {
                let definition = match stored {
                    Stored::Text => DefinitionInput::text(),
                    Stored::Number => DefinitionInput::number(),
                    Stored::Datetime => DefinitionInput::Datetime { zone: None },
                };
                self.attribute(tenant, id, key, attribute, definition).await?;
            }
        }
        for (attribute, _, target, _, backlink) in LINKS {
            let definition = DefinitionInput::Link {
                collection_id: collections[target],
                multiple: false,
                backlink_id: AttributeId(Uuid::now_v7()),
                backlink_key: Key::new(backlink)?,
                backlink_name: None,
                hierarchical: false,
            };
            self.attribute(tenant, collections["flights"], "flights", attribute, definition).await?;
        }
        for (collection, attribute, computed) in COMPUTED {
            let definition = match computed {
                Formula(expression) => DefinitionInput::Formula { expression: (*expression).into() },
                Lookup(link, attribute) => DefinitionInput::lookup(*link, *attribute),
                RollupOf(link, function, attribute, filter) => DefinitionInput::rollup(
                    *link,
                    attribute.map(Into::into),
                    Rollup::find(function).ok_or_else(|| anyhow::anyhow!("no rollup {function}"))?,
                    filter.map(Into::into),
                ),
            };
            self.attribute(tenant, collections[collection], collection, attribute, definition).await?;
        }
        self.platform.reached(self.platform.head()).await;
        Ok(tenant)
    }

    async fn attribute(
        &self,
        tenant: TenantId,
        collection_id: CollectionId,
        of: &str,
        key: &str,
        definition: DefinitionInput,
    ) -> anyhow::Result<()> {
        let id = AttributeId(Uuid::now_v7());
        let create = AttributeCommand::CreateAttribute { id, collection_id, key: Key::new(key)?, name: None, definition };
        self.execute(Authority::Tenant(tenant), &format!("{of}.{key}"), Command::Attribute(create)).await?;
        Ok(())
    }

    /// Executes a command whose id is made from `label`: done before, it answers as it did then.
    async fn execute(&self, authority: Authority, label: &str, command: Command) -> anyhow::Result<Uuid> {
        let command_id = CommandId(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("decidr demo {label}").as_bytes()));
        let request = Request { command_id, authority, actor: ACTOR.into(), correlation_id: command_id.0, command };
        Ok(self.platform.execute(request).await.map_err(|error| anyhow::anyhow!("{label}: {error}"))?.subject.id)
    }
}

/// A bar that draws on a terminal, and is silent elsewhere.
pub fn progress_bar(what: &str, size: u64) -> ProgressBar {
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{msg:>10} {bar:40} {pos} rows  {per_sec}  {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Writes down what could not be linked and what was refused; no file if nothing was.
pub fn write_report(file: &Path, report: &Report) -> anyhow::Result<()> {
    if report.not_linked.is_empty() && report.refused.is_empty() {
        return Ok(());
    }
    let mut writer = csv::Writer::from_path(file)?;
    writer.write_record(["row", "attribute", "value", "reason"])?;
    for (row, attribute, text) in &report.not_linked {
        writer.write_record([&row.to_string(), attribute, text, "there is no entity of that key"])?;
    }
    for (row, reason) in &report.refused {
        writer.write_record([&row.to_string(), "", "", reason])?;
    }
    writer.flush()?;
    Ok(())
}

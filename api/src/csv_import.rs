//! Rows of a CSV file to commands: one `createEntity` for each row, its links among its values.
//!
//! A row's command has an id made from the file's name and the row's number: importing the same file again, after a crash
//! or by mistake, adds only what is not there yet.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use decidr_domain::aggregate::attribute::{Attribute, Definition};
use decidr_domain::aggregate::entity::EntityCommand;
use decidr_domain::arrangements::Snapshot as _;
use decidr_domain::command::{Authority, Command, Request};
use decidr_domain::id::{CollectionId, CommandId, EntityId, TenantId};
use decidr_domain::schema::CollectionSchema;
use decidr_ingest::ExecuteError;
use flate2::read::GzDecoder;
use rustc_hash::FxHashMap;
use serde_json::{Map, Number, Value as Json};
use uuid::Uuid;

use crate::platform::Platform;

/// How many commands are handed over at a time.
const BATCH: usize = 512;

/// How many batches may be under way.
const BATCHES_IN_FLIGHT: usize = 4;

/// Entities by the text of one of their attributes.
pub type KeyIndex = FxHashMap<String, EntityId>;

/// A column that becomes a link.
pub struct LinkColumn {
    /// The column.
    pub column: String,
    /// The key of the link attribute.
    pub attribute: String,
    /// The entities that it may lead to, by the column's text.
    pub targets: Arc<KeyIndex>,
}

/// What is imported, and into what.
pub struct Import<'a> {
    /// The platform.
    pub platform: &'a Arc<Platform>,
    /// The tenant.
    pub tenant: TenantId,
    /// Who imports, for the record.
    pub actor: &'a str,
    /// The collection, as it is now.
    pub collection: Arc<CollectionSchema>,
    /// Names the file in command ids.
    pub name: &'a str,
    /// Columns that become links.
    pub links: Vec<LinkColumn>,
    /// The attribute by whose text later imports find these entities.
    pub key: Option<&'a str>,
}

/// What came of an import.
#[derive(Default)]
pub struct Report {
    /// Commands that were answered, those of an earlier import included.
    pub commands: u64,
    /// Rows that were refused: number, reason.
    pub refused: Vec<(u64, String)>,
    /// Links that could not be made: row, attribute, text.
    pub not_linked: Vec<(u64, String, String)>,
    /// The entities by the key attribute.
    pub index: KeyIndex,
}

impl Report {
    /// How many links of each attribute could not be made.
    pub fn not_linked_counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (_, attribute, _) in &self.not_linked {
            *counts.entry(attribute.clone()).or_default() += 1;
        }
        counts
    }
}

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("row {row} of {file} cannot be read")]
    Csv {
        /// Which file.
        file: String,
        /// Which row, counted from 1 behind the header.
        row: u64,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// A command could not be recorded.
    #[error("the import stopped: {0}")]
    Execute(ExecuteError),
    /// The file and the collection do not fit.
    #[error("{0}")]
    Mismatch(String),
}

/// A reader of a file that may be compressed.
pub fn open(file: &Path) -> std::io::Result<Box<dyn Read + Send>> {
    let plain = std::io::BufReader::new(std::fs::File::open(file)?);
    Ok(if file.extension().is_some_and(|extension| extension == "gz") { Box::new(GzDecoder::new(plain)) } else { Box::new(plain) })
}

enum Column {
    Value(Arc<Attribute>),
    Ignored,
}

impl Import<'_> {
    /// Imports every row; `progress` hears how many are done.
    pub async fn run(self, source: Box<dyn Read + Send>, mut progress: impl FnMut(u64)) -> Result<Report, ImportError> {
        let mut reader = csv::Reader::from_reader(source);
        let csv_error = |row, source| ImportError::Csv { file: self.name.to_owned(), row, source };
        let headers = reader.headers().map_err(|source| csv_error(0, source))?.clone();
        let columns: Vec<Column> = headers.iter().map(|name| self.column(name)).collect::<Result<_, _>>()?;
        let place = |name: &str| headers.iter().position(|header| header == name);
        let missing = |name: &str| ImportError::Mismatch(format!("{} has no column `{name}`", self.name));
        let links: Vec<(usize, &LinkColumn)> = self
            .links
            .iter()
            .map(|link| place(&link.column).map(|at| (at, link)).ok_or_else(|| missing(&link.column)))
            .collect::<Result<_, _>>()?;
        let key = self.key.map(|key| place(key).ok_or_else(|| missing(key))).transpose()?;

        let file = Uuid::new_v5(&self.collection.id().0, format!("import {}", self.name).as_bytes()).as_u64_pair().0;
        let mut report = Report::default();
        let mut under_way = std::collections::VecDeque::new();
        let (mut batch, mut row) = (Vec::with_capacity(BATCH), 0);
        let mut record = csv::StringRecord::new();
        loop {
            let more = reader.read_record(&mut record).map_err(|source| csv_error(row + 1, source))?;
            if more {
                row += 1;
                let request = self.request(row, &record, &columns, &links, file, &mut report);
                batch.push((request, key.map(|at| record[at].to_owned())));
            }
            if batch.len() == BATCH || (!more && !batch.is_empty()) {
                let (requests, keys): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                let platform = self.platform.clone();
                // In a task of its own, so that the next rows are read while these are decided.
                let answers = tokio::spawn(async move { platform.execute_all(requests).await });
                under_way.push_back((row + 1 - keys.len() as u64, keys, answers));
            }
            while under_way.len() >= BATCHES_IN_FLIGHT || (!more && !under_way.is_empty()) {
                let Some((first_row, keys, answers)) = under_way.pop_front() else { break };
                let answers = answers.await.map_err(|_| ImportError::Execute(ExecuteError::Stopped))?;
                for (i, (answer, key)) in answers.into_iter().zip(keys).enumerate() {
                    match answer {
                        Ok(answer) => {
                            report.commands += 1;
                            report.index.extend(key.map(|key| (key, EntityId(answer.subject.id))));
                        }
                        Err(ExecuteError::Rejected(rejection)) => report.refused.push((first_row + i as u64, rejection.to_string())),
                        Err(error) => return Err(ImportError::Execute(error)),
                    }
                }
                progress(report.commands + report.refused.len() as u64);
            }
            if !more {
                return Ok(report);
            }
        }
    }

    fn column(&self, name: &str) -> Result<Column, ImportError> {
        if let Some(attribute) = self.collection.by_key(name)
            && !attribute.definition.is_computed()
            && attribute.definition.leads_to().is_none()
        {
            return Ok(Column::Value(attribute.clone()));
        }
        if self.links.iter().any(|link| link.column == name) {
            return Ok(Column::Ignored);
        }
        Err(ImportError::Mismatch(format!(
            "column `{name}` of {} has no stored attribute of that key in collection `{}`; make one, or name a link with --link {name}=collection.key",
            self.name,
            self.collection.key()
        )))
    }

    fn request(
        &self,
        row: u64,
        record: &csv::StringRecord,
        columns: &[Column],
        links: &[(usize, &LinkColumn)],
        file: u64,
        report: &mut Report,
    ) -> Request {
        let mut values = Map::new();
        for (text, column) in record.iter().zip(columns) {
            if let (Column::Value(attribute), false) = (column, is_blank(text)) {
                values.insert(attribute.key.to_string(), json(attribute, text));
            }
        }
        for (place, link) in links {
            let text = &record[*place];
            match link.targets.get(text) {
                _ if is_blank(text) => {}
                Some(target) => drop(values.insert(link.attribute.clone(), Json::String(target.to_string()))),
                None => report.not_linked.push((row, link.attribute.clone(), text.to_owned())),
            }
        }
        let command_id = command_id(file, row);
        Request {
            command_id: CommandId(command_id),
            authority: Authority::Tenant(self.tenant),
            actor: self.actor.to_owned(),
            correlation_id: command_id,
            command: Command::Entity(EntityCommand::CreateEntity {
                id: EntityId(Uuid::now_v7()),
                collection_id: self.collection.id(),
                values,
            }),
        }
    }
}

/// The id of the command for one row: the file, then the row, so that the log's index of commands grows at its end.
fn command_id(file: u64, row: u64) -> Uuid {
    uuid::Builder::from_custom_bytes((u128::from(file) << 64 | u128::from(row)).to_be_bytes()).into_uuid()
}

/// Empty, or `NA` as R writes it.
fn is_blank(text: &str) -> bool {
    text.is_empty() || text == "NA"
}

/// The text of a cell as the API takes values; what does not fit goes through as text, and is refused with a reason.
fn json(attribute: &Attribute, text: &str) -> Json {
    match attribute.definition {
        Definition::Number { .. } => text.parse::<Number>().map_or_else(|_| Json::String(text.into()), Json::Number),
        Definition::Checkbox {} => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "1" => Json::Bool(true),
            "false" | "f" | "no" | "0" => Json::Bool(false),
            _ => Json::String(text.into()),
        },
        Definition::Json {} | Definition::Attachments {} => serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.into())),
        Definition::DateRange {} => match text.split_once('/') {
            Some((start, end)) => serde_json::json!({ "start": start.trim(), "end": end.trim() }),
            None => Json::String(text.into()),
        },
        Definition::MultiSelect { .. } => Json::Array(text.split(',').map(|option| Json::String(option.trim().into())).collect()),
        _ => Json::String(text.into()),
    }
}

/// The entities of a collection by the text of one attribute; of several alike the first.
pub fn index(platform: &Platform, collection: CollectionId, attribute: &Attribute) -> KeyIndex {
    let mut index = KeyIndex::default();
    let arranged = platform.arranged();
    let Some(schema) = arranged.catalog().tenant(attribute.tenant_id) else { return index };
    arranged.scan(collection, None, |row| {
        let text = decidr_domain::formula::coerce::text(&schema.shown_value(row, attribute.id));
        if !text.is_empty() {
            index.entry(text.to_string()).or_insert(row.entity.id);
        }
        true
    });
    index
}

//! Rows of a CSV file to commands: one `createEntity` for each row, its links among its values.
//!
//! A row's command has an id made from the file's name, the row's number and its text: importing the same file again, after a
//! crash or by mistake, adds only what is not there yet. Rows that name one another are linked when all are there.

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
    /// Where it leads.
    pub targets: Targets,
}

/// The entities that a link may lead to, by the column's text.
pub enum Targets {
    /// These, of another collection.
    Known(Arc<KeyIndex>),
    /// Those of the collection that is imported into, by this attribute. They are linked when all rows are there, for a row may
    /// name one that comes behind it.
    Own(Arc<Attribute>),
}

/// A link to be made when all rows are there.
struct Later {
    row: u64,
    /// What tells the row from the others.
    place: u64,
    /// Which of the links.
    link: usize,
    text: String,
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
        if let Some(twice) =
            headers.iter().enumerate().find_map(|(at, name)| headers.iter().take(at).any(|before| before == name).then_some(name))
        {
            return Err(ImportError::Mismatch(format!("{} has two columns `{twice}`", self.name)));
        }
        let place = |name: &str| headers.iter().position(|header| header == name);
        let missing = |name: &str| ImportError::Mismatch(format!("{} has no column `{name}`", self.name));
        let links: Vec<(usize, &LinkColumn)> = self
            .links
            .iter()
            .map(|link| place(&link.column).map(|at| (at, link)).ok_or_else(|| missing(&link.column)))
            .collect::<Result<_, _>>()?;
        let key = self.key.map(|key| place(key).ok_or_else(|| missing(key))).transpose()?;

        let file = self.file("import");
        let mut report = Report::default();
        let (mut under_way, mut linked_later) = (std::collections::VecDeque::new(), Vec::new());
        let (mut batch, mut row) = (Vec::with_capacity(BATCH), 0);
        let mut record = csv::StringRecord::new();
        loop {
            let more = reader.read_record(&mut record).map_err(|source| csv_error(row + 1, source))?;
            if more {
                row += 1;
                let place = place_of(row, &record);
                let request = self.request(row, &record, &columns, &links, command_id(file, place), &mut report);
                let is_own =
                    |(_, (at, link)): &(usize, &(usize, &LinkColumn))| matches!(link.targets, Targets::Own(_)) && !is_blank(&record[*at]);
                let later =
                    links.iter().enumerate().filter(is_own).map(|(link, (at, _))| Later { row, place, link, text: record[*at].to_owned() });
                batch.push((request, (key.map(|at| record[at].to_owned()), later.collect::<Vec<_>>())));
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
                for (i, (answer, (key, later))) in answers.into_iter().zip(keys).enumerate() {
                    match answer {
                        Ok(answer) => {
                            report.commands += 1;
                            linked_later.extend(later.into_iter().map(|later| (EntityId(answer.subject.id), later)));
                            report.index.extend(key.map(|key| (key, EntityId(answer.subject.id))));
                        }
                        Err(ExecuteError::Rejected(rejection)) => report.refused.push((first_row + i as u64, rejection.to_string())),
                        Err(error) => return Err(ImportError::Execute(error)),
                    }
                }
                progress(report.commands + report.refused.len() as u64);
            }
            if !more {
                break;
            }
        }
        if !linked_later.is_empty() {
            self.link(linked_later, &mut report).await?;
        }
        Ok(report)
    }

    /// Links entities of the collection with one another.
    async fn link(&self, all: Vec<(EntityId, Later)>, report: &mut Report) -> Result<(), ImportError> {
        self.platform.reached(self.platform.head()).await;
        let indexes: Vec<Option<KeyIndex>> = self
            .links
            .iter()
            .map(|link| match &link.targets {
                Targets::Own(attribute) => Some(index(self.platform, self.collection.id(), attribute)),
                Targets::Known(_) => None,
            })
            .collect();
        for some in all.chunks(BATCH) {
            let (mut rows, mut requests) = (Vec::with_capacity(some.len()), Vec::with_capacity(some.len()));
            for (id, Later { row, place, link, text }) in some {
                let attribute = &self.links[*link].attribute;
                let Some(target) = indexes[*link].as_ref().and_then(|index| index.get(text)) else {
                    report.not_linked.push((*row, attribute.clone(), text.clone()));
                    continue;
                };
                let command = EntityCommand::LinkEntities { id: *id, attribute: attribute.clone(), target_ids: vec![*target] };
                rows.push(*row);
                requests.push(self.request_of(command_id(self.file(&format!("link {attribute}")), *place), command));
            }
            for (row, answer) in rows.into_iter().zip(self.platform.execute_all(requests).await) {
                match answer {
                    Ok(_) => report.commands += 1,
                    Err(ExecuteError::Rejected(rejection)) => report.refused.push((row, rejection.to_string())),
                    Err(error) => return Err(ImportError::Execute(error)),
                }
            }
        }
        Ok(())
    }

    /// What stands for the file in command ids.
    fn file(&self, purpose: &str) -> u64 {
        Uuid::new_v5(&self.collection.id().0, format!("{purpose} {}", self.name).as_bytes()).as_u64_pair().0
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
        command_id: Uuid,
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
            let Targets::Known(targets) = &link.targets else { continue };
            match targets.get(text) {
                _ if is_blank(text) => {}
                Some(target) => drop(values.insert(link.attribute.clone(), Json::String(target.to_string()))),
                None => report.not_linked.push((row, link.attribute.clone(), text.to_owned())),
            }
        }
        self.request_of(
            command_id,
            EntityCommand::CreateEntity { id: EntityId(Uuid::now_v7()), collection_id: self.collection.id(), values },
        )
    }

    fn request_of(&self, command_id: Uuid, command: EntityCommand) -> Request {
        Request {
            command_id: CommandId(command_id),
            authority: Authority::Tenant(self.tenant),
            actor: self.actor.to_owned(),
            correlation_id: command_id,
            command: Command::Entity(command),
        }
    }
}

/// The id of the command for one row: the file, then the row's place, so that the log's index of commands grows at its end.
fn command_id(file: u64, place: u64) -> Uuid {
    uuid::Builder::from_custom_bytes((u128::from(file) << 64 | u128::from(place)).to_be_bytes()).into_uuid()
}

/// Tells a row from the others, and from what was there when a file of that name was imported before: its number, and a hash of
/// what is in it.
fn place_of(row: u64, record: &csv::StringRecord) -> u64 {
    // Not what may be another in the next version of a library, for it is stored.
    let hash = Uuid::new_v5(&Uuid::nil(), &record.iter().flat_map(|text| text.bytes().chain([0xff])).collect::<Vec<u8>>());
    row << 32 | hash.as_u64_pair().0 >> 32
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

//! `decidr import`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use decidr_domain::arrangements::Snapshot;
use decidr_domain::id::Key;
use decidr_domain::schema::{CollectionSchema, TenantSchema};
use serde_json::json;

use super::{Compute, Data};
use crate::csv_import::{self, LinkColumn, Targets};
use crate::demo::{progress_bar, write_report};
use crate::platform::Platform;

/// Import a CSV file into a collection, each row as a command. The columns' names are the keys of stored attributes.
///
/// Empty cells and `NA` are blank. Importing a file again adds only what is not there yet: a row counts as there if one with the
/// same text was imported from the same place of a file of that name. The last line is a summary as JSON; what could not be
/// linked or was refused is written to a file in the data directory.
#[derive(Args)]
pub(super) struct Import {
    /// The file; `.gz` is unpacked.
    file: PathBuf,
    /// The key of the collection.
    #[arg(long)]
    collection: String,
    /// The key of the tenant.
    #[arg(long, env = "DECIDR_TENANT", default_value = crate::demo::TENANT)]
    tenant: String,
    /// A column whose text names an entity of another collection by one of its attributes, as `carrier=airlines.carrier`;
    /// it becomes the link that leads from this collection to that one, or the link of that key as in
    /// `carrier:airline=airlines.carrier`.
    #[arg(long = "link", value_name = "COLUMN=COLLECTION.KEY")]
    links: Vec<String>,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    compute: Compute,
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data.existing()?;
        let source = csv_import::open(&self.file).map_err(|error| anyhow::anyhow!("{} cannot be read: {error}", self.file.display()))?;
        let platform = Arc::new(Platform::open(&data_dir, self.compute.config()).await?);
        let arranged = platform.arranged();
        let schema = Key::new(&self.tenant).ok().and_then(|key| arranged.catalog().tenant_by_key(&key));
        let schema = schema.ok_or_else(|| anyhow::anyhow!("there is no tenant of key `{}`", self.tenant))?;
        let collection = collection(schema, &self.collection)?.clone();
        let links = self.links.iter().map(|link| link_column(&platform, schema, &collection, link)).collect::<anyhow::Result<_>>()?;
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let size = std::fs::metadata(&self.file)?.len();
        let bar = progress_bar(&self.collection, size / 60);
        let started = Instant::now();
        let import = csv_import::Import {
            platform: &platform,
            tenant: schema.tenant.id,
            actor: "import",
            collection,
            name: &name,
            links,
            key: None,
        };
        let report = import.run(source, |rows| bar.set_position(rows)).await?;
        bar.finish();
        let file = data_dir.report(&self.collection);
        write_report(&file, &report)?;
        let (not_linked, refused) = (report.not_linked_counts(), report.refused.len());
        if refused > 0 || !not_linked.is_empty() {
            eprintln!("{refused} rows refused, {} links not made: see {}", report.not_linked.len(), file.display());
        }
        let seconds = started.elapsed().as_secs_f64();
        println!("{}", json!({ "commands": report.commands, "seconds": seconds, "unlinked": not_linked, "refused": refused }));
        platform.close().await;
        Ok(())
    }
}

fn collection<'a>(schema: &'a TenantSchema, key: &str) -> anyhow::Result<&'a Arc<CollectionSchema>> {
    schema.collection_by_key(key).ok_or_else(|| anyhow::anyhow!("there is no collection of key `{key}`"))
}

/// What `COLUMN[:LINK]=COLLECTION.KEY` means.
fn link_column(platform: &Platform, schema: &TenantSchema, from: &CollectionSchema, text: &str) -> anyhow::Result<LinkColumn> {
    let form = || anyhow::anyhow!("`{text}` does not have the form COLUMN=COLLECTION.KEY");
    let (column, target) = text.split_once('=').ok_or_else(form)?;
    let (target, key) = target.split_once('.').ok_or_else(form)?;
    let (column, wanted) = column.split_once(':').map_or((column, None), |(column, link)| (column, Some(link)));
    let target = collection(schema, target)?;
    let key = target.attribute_or_refuse(key)?;
    let leads_there = |attribute: &&Arc<decidr_domain::aggregate::attribute::Attribute>| {
        let is_link = matches!(attribute.definition, decidr_domain::aggregate::attribute::Definition::Link { .. });
        is_link && attribute.definition.leads_to() == Some(target.id()) && wanted.is_none_or(|wanted| attribute.key.as_str() == wanted)
    };
    let candidates: Vec<_> = from.attributes().iter().filter(leads_there).collect();
    let attribute = match candidates[..] {
        [only] => only.key.to_string(),
        [] => anyhow::bail!(
            "`{}` has no link to `{}`{}",
            from.key(),
            target.key(),
            wanted.map(|w| format!(" of key `{w}`")).unwrap_or_default()
        ),
        _ => anyhow::bail!(
            "`{}` has several links to `{}`; say which, as in {column}:{}={}",
            from.key(),
            target.key(),
            candidates[0].key,
            &text[text.find('=').map_or(0, |at| at + 1)..]
        ),
    };
    let targets = match target.id() == from.id() {
        true => Targets::Own(key.clone()),
        false => Targets::Known(Arc::new(csv_import::index(platform, target.id(), key))),
    };
    Ok(LinkColumn { column: column.to_owned(), attribute, targets })
}

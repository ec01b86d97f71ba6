//! `decidr status`

use clap::Args;
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::event::Event;
use decidr_ingest::EventLog;
use decidr_ingest::log::SqliteLog;
use serde_json::json;

use super::Data;

#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    data: Data,
}

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data.existing()?;
        let log = SqliteLog::open_for_reading(&data_dir.log()).await?;
        let tenants: Vec<_> = log
            .tenants()
            .await?
            .into_iter()
            .filter_map(|recorded| match recorded.event {
                Event::Tenant(TenantEvent::TenantRegistered { id, key, name }) => Some(json!({ "id": id, "key": key, "name": name })),
                _ => None,
            })
            .collect();
        let bytes = std::fs::metadata(data_dir.log())?.len();
        let status = json!({ "events": *log.head().borrow(), "lineage": log.lineage(), "log_bytes": bytes, "tenants": tenants });
        println!("{}", serde_json::to_string_pretty(&status)?);
        Ok(())
    }
}

//! `decidr token`

use clap::Args;
use decidr_domain::aggregate::tenant::TenantEvent;
use decidr_domain::event::Event;
use decidr_domain::id::Key;
use decidr_ingest::log::SqliteLog;

use super::Data;
use crate::auth::{Claims, TokenKey, in_days};

#[derive(Args)]
pub(super) struct Token {
    #[command(flatten)]
    data: Data,
    /// The key of the tenant that the token is for.
    #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
    tenant: Option<TenantKey>,
    /// A token for the operator, who commands tenants.
    #[arg(long)]
    operator: bool,
    /// Who it is for, as events will say.
    #[arg(long, default_value = "cli")]
    actor: String,
    /// For how many days it is good.
    #[arg(long, default_value_t = 30)]
    days: u32,
}

/// A tenant's key on the command line.
#[derive(Clone)]
struct TenantKey(Key);

impl std::str::FromStr for TenantKey {
    type Err = decidr_domain::id::NotAKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Key::new(text).map(TenantKey)
    }
}

impl Token {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data.open()?;
        let tenant = self.tenant.map(|key| key.0);
        if let Some(key) = &tenant {
            let there = if data_dir.log().exists() { SqliteLog::open_for_reading(&data_dir.log()).await?.tenants().await? } else { vec![] };
            let known = |event: &Event| matches!(event, Event::Tenant(TenantEvent::TenantRegistered { key: known, .. }) if known == key);
            anyhow::ensure!(
                there.iter().any(|recorded| known(&recorded.event)),
                "there is no tenant of key `{key}` in {}",
                self.data.data_dir.display()
            );
        }
        let claims = Claims { sub: self.actor, tenant, operator: self.operator, exp: in_days(self.days) };
        println!("{}", TokenKey::open(&data_dir.token_key())?.sign(&claims)?);
        Ok(())
    }
}

//! Entities, as clients see them.

use std::sync::Arc;

use async_graphql::{ID, Name, Object, Value as Json};
use decidr_domain::aggregate::attribute::Attribute;
use decidr_domain::delta::Row;
use decidr_domain::schema::CollectionSchema;

use super::page::{EntityConnection, OrderBy, Page};
use super::scalars::{Values, cell};
use super::{Refusal, TenantView};

/// A row of a collection.
pub(crate) struct Entity {
    pub(crate) view: TenantView,
    pub(crate) row: Row,
}

#[Object]
impl Entity {
    async fn id(&self) -> ID {
        self.row.entity.id.to_string().into()
    }
    async fn collection_id(&self) -> ID {
        self.row.entity.collection_id.to_string().into()
    }
    async fn version(&self) -> u32 {
        self.row.entity.version
    }
    async fn archived(&self) -> bool {
        self.row.entity.archived
    }
    /// All attributes, or those named.
    async fn values(&self, keys: Option<Vec<String>>) -> Result<Values, Refusal> {
        let collection = self.collection()?;
        let shown = |attribute: &Attribute| (Name::new(attribute.key.as_str()), cell(&self.view.schema, &self.row, attribute));
        let fields = match keys {
            None => collection.attributes().iter().map(|attribute| shown(attribute)).collect(),
            Some(keys) => {
                keys.iter().map(|key| collection.attribute_or_refuse(key).map(|attribute| shown(attribute))).collect::<Result<_, _>>()?
            }
        };
        Ok(Values(Json::Object(fields)))
    }
    /// The entities that a link or backlink leads to.
    #[graphql(complexity = "1 + first.max(0) as usize * child_complexity")]
    async fn linked(
        &self,
        attribute: String,
        filter: Option<String>,
        order_by: Option<Vec<OrderBy>>,
        #[graphql(default = 100)] first: i32,
        after: Option<String>,
    ) -> Result<EntityConnection, Refusal> {
        let link = self.collection()?.attribute_or_refuse(&attribute)?;
        let target = link.definition.leads_to().ok_or_else(|| {
            Refusal::new("INVALID_INPUT", format!("attribute `{attribute}` is not a link but a {}", link.definition.kind()))
        })?;
        let page = Page::new(&self.view, target, filter.as_deref(), order_by.as_deref(), first, after.as_deref())?;
        tokio::task::block_in_place(|| page.of_link(&self.row, link))
    }
}

impl Entity {
    fn collection(&self) -> Result<&Arc<CollectionSchema>, Refusal> {
        let id = self.row.entity.collection_id;
        self.view.schema.collection(id).ok_or_else(|| Refusal::internal("an entity's collection is not in its tenant's schema"))
    }
}

//! The part of random histories that is about what is stored: its types, their changes, and values of them.

use decidr_domain::aggregate::attribute::{AttributeCommand, Definition, DefinitionInput};
use decidr_domain::aggregate::choice::{Choice, ChoiceInput};
use decidr_domain::aggregate::format::{NumberFormat, TextFormat};
use decidr_domain::command::Command;
use decidr_domain::id::CollectionId;
use serde_json::{Map, Value as Json, json};

use super::world::{IntoCommand as _, World};

/// Names of options; texts and numbers that are stored are among them, so that they can become options.
const NAMES: [&str; 5] = ["x", "12", "-3.5", "true", "7"];

impl World {
    /// A new attribute that is stored, and no link.
    pub(super) fn create_stored(&mut self) -> Option<Command> {
        let collection = self.pick(&self.collections.clone())?;
        let definition = match self.word()? % 6 {
            0 => DefinitionInput::text(),
            1 => DefinitionInput::Checkbox,
            2 | 3 => self.stored(&[])?,
            _ => DefinitionInput::number(),
        };
        Some(self.create(collection, definition))
    }

    /// Another type for one, or other options.
    pub(super) fn retype(&mut self) -> Option<Command> {
        let id = self.attribute()?;
        let attribute = self.oracle.catalog.tenant(self.tenant)?.attribute(id)?.clone();
        let definition = Some(self.stored(attribute.definition.options())?);
        Some(AttributeCommand::UpdateAttribute { id, key: None, name: None, definition }.into_command())
    }

    fn stored(&mut self, before: &[Choice]) -> Option<DefinitionInput> {
        Some(match self.word()? % 19 {
            12 => DefinitionInput::Datetime { zone: None },
            13 => DefinitionInput::Datetime { zone: Some("Europe/Berlin".into()) },
            14 => DefinitionInput::DateRange,
            15 => DefinitionInput::Attachments,
            16 => DefinitionInput::User { multiple: self.word()? % 2 == 0 },
            17 => {
                let code = "EUR".into();
                let formats = [NumberFormat::Percent {}, NumberFormat::Currency { code }, NumberFormat::Duration {}];
                DefinitionInput::Number { scale: [None, Some(2)][self.word()? % 2], format: self.pick(&formats)? }
            }
            18 => {
                let format = self.pick(&[TextFormat::Long, TextFormat::Url, TextFormat::Phone])?;
                DefinitionInput::Text { max_length: None, format }
            }
            0 | 1 => DefinitionInput::text(),
            2 | 3 => DefinitionInput::number(),
            4 => DefinitionInput::Checkbox,
            5 => DefinitionInput::Json,
            6 => DefinitionInput::Text { max_length: None, format: TextFormat::Email },
            7 => DefinitionInput::Number { scale: Some(0), format: NumberFormat::Rating { max: 7 } },
            8 => DefinitionInput::Date,
            9 | 10 => DefinitionInput::SingleSelect { options: self.options(before)? },
            _ => DefinitionInput::MultiSelect { options: self.options(before)? },
        })
    }

    /// Options, some of which are those that there were under another name.
    fn options(&mut self, before: &[Choice]) -> Option<Vec<ChoiceInput>> {
        let mut options: Vec<ChoiceInput> = Vec::new();
        for _ in 0..1 + self.word()? % 4 {
            let name = self.pick(&NAMES)?;
            let id = if self.word()? % 2 == 0 { self.pick(before).map(|choice| choice.id.to_string()) } else { None };
            let is_taken = |other: &ChoiceInput| other.name == name || (id.is_some() && other.id == id);
            if !options.iter().any(is_taken) {
                options.push(ChoiceInput { id, name: name.to_owned(), color: None });
            }
        }
        Some(options)
    }

    /// Values of some attributes of a collection, links among them.
    pub(super) fn values(&mut self, collection: CollectionId, most: usize) -> Option<Map<String, Json>> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let stored = |d: &Definition| !(d.is_computed() || matches!(d, Definition::Backlink { .. }));
        let attributes: Vec<_> = schema.collection(collection)?.attributes().iter().filter(|a| stored(&a.definition)).cloned().collect();
        let mut out = Map::new();
        for _ in 0..most.min(attributes.len()) {
            let attribute = self.pick(&attributes)?;
            let word = self.word()?;
            let value = match &attribute.definition {
                _ if word % 5 == 0 => Json::Null,
                Definition::Checkbox {} => json!(word % 2 == 0),
                Definition::Link { collection_id, .. } => {
                    let targets: Vec<_> =
                        self.oracle.entities.values().filter(|e| e.collection_id == *collection_id && !e.archived).map(|e| e.id).collect();
                    match self.pick(&targets) {
                        Some(target) if word % 3 == 0 => {
                            // Another order of what it leads to, or others in between.
                            let other = self.pick(&targets)?;
                            json!([other.to_string(), target.to_string()])
                        }
                        Some(target) => json!([target.to_string()]),
                        None => Json::Null,
                    }
                }
                Definition::Text { format: TextFormat::Email, .. } => json!(["a@example.com", "b@example.com"][word % 2]),
                Definition::Text { format: TextFormat::Url, .. } => json!(["https://example.com/a", "http://b.example"][word % 2]),
                Definition::Text { format: TextFormat::Phone, .. } => json!(["+49 30 123456", "12"][word % 2]),
                Definition::Text { .. } => json!(["", "x", "12", "-3.5"][word % 4]),
                Definition::Attachments {} => {
                    let file = |size: usize| json!({ "name": format!("{size}.pdf"), "url": "https://example.com/f", "size": size });
                    let unmeasured = json!({ "name": "f", "url": "https://example.com/g" });
                    [json!([file(word)]), json!([file(1), file(2)]), json!([unmeasured, file(12)]), json!([])][word % 4].clone()
                }
                Definition::User { multiple } => {
                    let user = self.pick(&self.users.clone())?.to_string();
                    if *multiple { json!([user]) } else { json!(user) }
                }
                Definition::SingleSelect { options } => json!(self.pick(options)?.name.as_str()),
                Definition::MultiSelect { options } => json!([self.pick(options)?.name.as_str(), self.pick(options)?.name.as_str()]),
                Definition::Date {} => json!(["2020-02-29", "1970-01-01"][word % 2]),
                Definition::Json {} => [json!({ "a": 1 }), json!("x"), json!(12), json!([true])][word % 4].clone(),
                Definition::Number { format: NumberFormat::Rating { max }, .. } => json!(word % (*max as usize + 1)),
                Definition::Datetime { zone } => {
                    let at = ["2020-02-29T23:30:00", "1970-01-01T00:00:00", "2024-03-31T01:30:00"][word % 3];
                    json!(format!("{at}{}", if zone.is_some() { "" } else { "Z" }))
                }
                Definition::DateRange {} => json!({ "start": "2020-02-29", "end": (["2020-02-29", "2021-01-01"][word % 2]) }),
                // Most are small; some have a fraction, or all the digits that there may be.
                _ => {
                    let written = match word % 27 {
                        26 => "9876543210987654321098765432",
                        25 => "1e-27",
                        small => ["0", "1", "2", "7", "-4", "0.1", "-2.75", "12.5"][small % 8],
                    };
                    serde_json::from_str(written).expect("each is a number")
                }
            };
            out.insert(attribute.key.to_string(), value);
        }
        Some(out)
    }
}

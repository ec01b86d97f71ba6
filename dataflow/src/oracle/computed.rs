//! The part of random histories that is about what is computed: links, formulas, lookups, rollups, closures and matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use decidr_domain::aggregate::attribute::{Attribute, AttributeCommand, Definition, DefinitionInput, SelectionInput};
use decidr_domain::command::{Authority, Command};
use decidr_domain::event::Recorded;
use decidr_domain::id::{AttributeId, CollectionId, Key};
use decidr_domain::rollup::{Argument, ROLLUPS, Rollup};
use decidr_domain::value::Value;

use super::world::{IntoCommand as _, World};

impl World {
    /// A collection whose entities stand in a hierarchy: with the total of what lies below, how deep they stand, and the
    /// way down to them.
    pub(super) fn hierarchy(&mut self) -> Vec<Recorded> {
        let collection = self.collections[0];
        let multiple = self.words.clone().nth(1).is_some_and(|word| word % 3 == 0);
        let (backlink_id, backlink_key) = (AttributeId(self.id()), Key::new("children").expect("it is made of letters and digits"));
        let link = DefinitionInput::Link {
            collection_id: collection,
            multiple,
            backlink_id,
            backlink_key,
            backlink_name: None,
            hierarchical: true,
        };
        let formula = |text: &str| DefinitionInput::Formula { expression: text.into() };
        let rollup = |attribute: &str, function| {
            DefinitionInput::rollup(
                "children",
                Some(attribute.into()),
                Rollup::find(function).expect("there is a rollup of each name here"),
                None,
            )
        };
        let mut events = Vec::new();
        let mut ids = BTreeMap::new();
        for (key, definition) in [
            ("n", DefinitionInput::number()),
            ("parent", link),
            ("total", formula("{n}")),
            ("below", rollup("total", "SUM")),
            ("depth", formula("0")),
            ("above", DefinitionInput::lookup("parent", "depth")),
            ("way", formula("{n} & ''")),
            ("way_there", DefinitionInput::lookup("parent", "way")),
            ("highest", rollup("total", "MAX")),
        ] {
            let id = AttributeId(self.id());
            ids.insert(key, id);
            let create = AttributeCommand::CreateAttribute {
                id,
                collection_id: collection,
                key: Key::new(key).expect("it is made of letters and digits"),
                name: None,
                definition,
            };
            events.extend(self.execute(Authority::Tenant(self.tenant), create.into_command()));
        }
        for (key, text) in [
            ("total", "{n} + {below}"),
            ("depth", "IF(ISBLANK({above}), 0, MAX({above}) + 1)"),
            ("way", "IFERROR(LEFT({way_there} & '/' & {n}, 200), '?')"),
        ] {
            let update = AttributeCommand::UpdateAttribute { id: ids[key], key: None, name: None, definition: Some(formula(text)) };
            let changed = self.execute(Authority::Tenant(self.tenant), update.into_command());
            assert!(!changed.is_empty(), "{key} may depend on itself along the hierarchy");
            events.extend(changed);
        }
        events
    }

    /// Cells that follow from one another through eight links, up and down in turn, from collection to collection.
    pub(super) fn chain(&mut self) -> Vec<Recorded> {
        const DEPTH: usize = 8;
        let mut events = Vec::new();
        let mut make = |world: &mut World, collection, key: String, definition| {
            let (id, key) = (AttributeId(world.id()), Key::new(&key).expect("it is made of letters and digits"));
            let create = AttributeCommand::CreateAttribute { id, collection_id: collection, key, name: None, definition };
            let made = world.execute(Authority::Tenant(world.tenant), create.into_command());
            assert!(!made.is_empty(), "a step of the chain can be made");
            events.extend(made);
        };
        let mut below = self.collections[0];
        make(self, below, "step0".into(), DefinitionInput::number());
        for step in 1..=DEPTH {
            let above = self.collections[step % self.collections.len()];
            let (up, backlink_key) = (format!("up{step}"), Key::new(&format!("down{step}")).expect("it is made of letters and digits"));
            let (holder, target) = if step % 2 == 0 { (above, below) } else { (below, above) };
            let link = DefinitionInput::Link {
                collection_id: target,
                multiple: step % 3 == 0,
                backlink_id: AttributeId(self.id()),
                backlink_key,
                backlink_name: None,
                hierarchical: false,
            };
            make(self, holder, up.clone(), link);
            let before = format!("step{}", step - 1);
            let crossing = if step % 2 == 0 {
                DefinitionInput::lookup(&up, &before)
            } else {
                DefinitionInput::rollup(
                    format!("down{step}"),
                    Some(before),
                    Rollup::find("SUM").expect("there is a rollup of this name"),
                    None,
                )
            };
            make(self, above, format!("crossing{step}"), crossing);
            let formula = DefinitionInput::Formula { expression: format!("SUM({{crossing{step}}}) + 1") };
            make(self, above, format!("step{step}"), formula);
            below = above;
        }
        events
    }

    pub(super) fn create_link(&mut self) -> Option<Command> {
        let collection = self.pick(&self.collections.clone())?;
        let (collection_id, multiple) = (self.pick(&self.collections.clone())?, self.word()? % 2 == 0);
        let hierarchical = collection_id == collection && self.word()? % 4 != 0;
        let (backlink_id, backlink_key) = (AttributeId(self.id()), self.key());
        Some(self.create(
            collection,
            DefinitionInput::Link { collection_id, multiple, backlink_id, backlink_key, backlink_name: None, hierarchical },
        ))
    }

    /// Makes an attribute depend on itself along a hierarchical link: what it was refers to what summarises it.
    pub(super) fn make_recursive(&mut self) -> Option<Command> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let crossings: Vec<_> = schema
            .collections()
            .flat_map(|collection| collection.attributes())
            .filter_map(|attribute| {
                let (Definition::Lookup { link_id, attribute_id, .. }
                | Definition::Rollup { link_id, attribute_id: Some(attribute_id), .. }) = &attribute.definition
                else {
                    return None;
                };
                let same = schema.attribute(*attribute_id).is_some_and(|target| target.collection_id == attribute.collection_id);
                (same && schema.attribute(*link_id).is_some()).then(|| (attribute.key.clone(), *attribute_id))
            })
            .collect();
        let (key, id) = self.pick(&crossings)?;
        let other = self.formula(schema.attribute(id)?.collection_id)?;
        let expression = match self.word()? % 4 {
            0 => format!("{{{key}}} + 1"),
            1 => format!("IF({{{key}}}, {{{key}}}, {other})"),
            2 => format!("IFERROR({{{key}}}, 0) & ({other})"),
            _ => format!("MAX({{{key}}}, 0) + LEN({other})"),
        };
        let definition = Some(DefinitionInput::Formula { expression });
        Some(AttributeCommand::UpdateAttribute { id, key: None, name: None, definition }.into_command())
    }

    pub(super) fn create_computed(&mut self) -> Option<Command> {
        let collection = self.pick(&self.collections.clone())?;
        let definition = match self.word()? % 8 {
            0 => self.closure(collection)?,
            1 => self.matching(collection)?,
            _ => self.computed(collection)?,
        };
        Some(self.create(collection, definition))
    }

    /// The entities of a collection that have what those of another have.
    fn matching(&mut self, collection: CollectionId) -> Option<DefinitionInput> {
        let other = self.pick(&self.collections.clone())?;
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let mut on = Vec::new();
        for _ in 0..1 + self.word()? % 5 / 4 {
            let own = self.pick(schema.collection(collection)?.attributes())?;
            let ty = |id| schema.analyzed(id).map(|analyzed| &analyzed.ty);
            let others = schema.collection(other)?.attributes().iter().filter(|other| ty(other.id) == ty(own.id));
            let others: Vec<_> = others.map(|other| other.key.to_string()).collect();
            on.push((own.key.to_string(), self.pick(&others)?));
        }
        Some(DefinitionInput::Match { collection_id: other, on })
    }

    /// Everything that a link of a collection to itself leads to.
    fn closure(&mut self, collection: CollectionId) -> Option<DefinitionInput> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let links = schema.collection(collection)?.attributes().iter().filter(|a| a.definition.leads_to() == Some(collection));
        let links: Vec<_> = links.map(|a| a.key.to_string()).collect();
        Some(DefinitionInput::Closure { link: self.pick(&links)? })
    }

    pub(super) fn computed(&mut self, collection: CollectionId) -> Option<DefinitionInput> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let links: Vec<_> =
            schema.collection(collection)?.attributes().iter().filter(|a| a.definition.leads_to().is_some()).cloned().collect();
        Some(match self.word()? % 9 {
            8 => {
                let stored = schema.collection(collection)?.attributes().iter().filter(|a| !a.definition.is_computed());
                let stored: Vec<_> =
                    stored.filter(|a| !matches!(a.definition, Definition::Backlink { .. })).map(|a| a.key.to_string()).collect();
                match self.word()? % 6 {
                    0 => DefinitionInput::CreatedTime,
                    4 => DefinitionInput::CreatedBy,
                    5 => DefinitionInput::ModifiedBy { attributes: vec![self.pick(&stored)?] },
                    3 => DefinitionInput::Autonumber,
                    1 => DefinitionInput::ModifiedTime { attributes: vec![] },
                    _ => DefinitionInput::ModifiedTime { attributes: vec![self.pick(&stored)?, self.pick(&stored)?] },
                }
            }
            0 | 4 => DefinitionInput::Formula { expression: self.formula(collection)? },
            kind => {
                // Often of what another one is of, so that their sources contribute the same to both.
                let others = schema.collection(collection)?.attributes().iter().filter_map(|other| match &other.definition {
                    Definition::Lookup { link_id, attribute_id, .. } => Some((*link_id, *attribute_id)),
                    Definition::Rollup { link_id, attribute_id, .. } => Some((*link_id, (*attribute_id)?)),
                    _ => None,
                });
                let others: Vec<_> = others.collect();
                let twin = if self.word()? % 2 == 0 { self.pick(&others) } else { None };
                let link = match twin {
                    Some((link, _)) => schema.attribute(link)?.clone(),
                    // Mostly one by which somebody holds somebody.
                    None => {
                        let held: Vec<_> = links.iter().filter(|link| self.is_held(link)).cloned().collect();
                        if held.is_empty() || self.word()? % 4 == 0 { self.pick(&links)? } else { self.pick(&held)? }
                    }
                };
                let target = link.definition.leads_to()?;
                let attributes: Vec<_> = schema.collection(target)?.attributes().iter().map(|a| a.key.to_string()).collect();
                let attribute = match twin {
                    Some((_, attribute)) => schema.attribute(attribute)?.key.to_string(),
                    None => self.pick(&attributes)?,
                };
                if kind == 1 || kind == 5 {
                    let selection = self.some_selection(collection, target, &attribute)?;
                    DefinitionInput::Lookup { link: link.key.to_string(), attribute, selection }
                } else {
                    let function = self.pick(ROLLUPS)?;
                    self.rollup(collection, &link, attribute, function)?
                }
            }
        })
    }

    /// Several rollups through one link, by which somebody holds somebody if there is such a one.
    pub(super) fn create_rollups(&mut self) -> Option<Vec<Recorded>> {
        const TOGETHER: usize = 5;
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let all = schema.collections().flat_map(|collection| collection.attributes());
        let links: Vec<Arc<Attribute>> = all.filter(|attribute| attribute.definition.leads_to().is_some()).cloned().collect();
        let held: Vec<_> = links.iter().filter(|link| self.is_held(link)).cloned().collect();
        let link = self.pick(if held.is_empty() { &links } else { &held })?;
        let target = link.definition.leads_to()?;
        let targets = schema.collection(target)?.attributes();
        let first = self.word()?;
        let mut events = Vec::new();
        for n in 0..TOGETHER {
            let function = ROLLUPS[(first + n) % ROLLUPS.len()];
            // Few attributes are of files or days.
            let needed = match function.name {
                "ATTACHMENTS_SIZE" => Some(DefinitionInput::Attachments),
                "RANGE_MONTHS" | "LATEST" => Some(DefinitionInput::Date),
                _ => None,
            };
            if let Some(needed) = needed {
                let create = self.create(target, needed);
                events.extend(self.execute(Authority::Tenant(self.tenant), create));
            }
            let attribute = self.pick(targets).map(|attribute| attribute.key.to_string());
            let definition = attribute.and_then(|attribute| self.rollup(link.collection_id, &link, attribute, function));
            // When the words are used up, what was made stays.
            let Some(definition) = definition else { break };
            let create = self.create(link.collection_id, definition);
            events.extend(self.execute(Authority::Tenant(self.tenant), create));
        }
        Some(events)
    }

    /// A rollup of this attribute, or of one that it says more of.
    fn rollup(
        &mut self,
        collection: CollectionId,
        link: &Attribute,
        attribute: String,
        function: &'static Rollup,
    ) -> Option<DefinitionInput> {
        let target = link.definition.leads_to()?;
        let attribute = self.fitting(target, function)?.unwrap_or(attribute);
        let selection = self.some_selection(collection, target, &attribute)?;
        let argument = match function.argument {
            Argument::None => Value::Blank,
            Argument::Share => Value::number(["0", "0.25", "0.5", "1"][self.word()? % 4].parse().expect("each is a number")),
            Argument::Count => Value::from(1 + (self.word()? % 3) as i64),
            Argument::Separator => [Value::Blank, Value::text("+")][self.word()? % 2].clone(),
        };
        let weight = match function.is_weighted() {
            true => Some(self.fitting(target, function)?.unwrap_or_else(|| attribute.clone())),
            false => None,
        };
        let formulas = ["COUNTALL(values)", "SUM(values) + 1", "ARRAYJOIN(values)", "LAST(values)"];
        let formula = if function.name == "FORMULA" { Some(self.pick(&formulas)?.to_owned()) } else { None };
        let (link, attribute) = (link.key.to_string(), Some(attribute));
        Some(DefinitionInput::Rollup { link, attribute, function, selection, argument, weight, formula })
    }

    /// Which sources count, by this attribute or any other; often all do.
    fn some_selection(&mut self, host: CollectionId, target: CollectionId, attribute: &str) -> Option<SelectionInput> {
        match self.word()? % 6 {
            0 | 1 => Some(SelectionInput::default()),
            2 => Some(SelectionInput { filter: Some(format!("{{{attribute}}} >= 1")), ..SelectionInput::default() }),
            _ => self.selection(host, target),
        }
    }

    /// Whether a link leads from somebody to somebody, or a backlink from those.
    fn is_held(&self, link: &Attribute) -> bool {
        let stored = match link.definition {
            Definition::Backlink { link_id, .. } => link_id,
            _ => link.id,
        };
        self.oracle.entities.values().any(|entity| !entity.values.get(stored).targets().is_empty())
    }

    /// Mostly an attribute that such a rollup says something of, if there is one: of most it makes an error.
    fn fitting(&mut self, target: CollectionId, function: &Rollup) -> Option<Option<String>> {
        if self.word()? % 4 == 0 {
            return Some(None);
        }
        let is_wanted: fn(&Definition) -> bool = match function.name {
            "ATTACHMENTS_SIZE" => |definition| matches!(definition, Definition::Attachments {}),
            "RANGE_MONTHS" | "EARLIEST" | "LATEST" => {
                |definition| matches!(definition, Definition::Date {} | Definition::Datetime { .. } | Definition::CreatedTime {})
            }
            "AND" | "OR" | "XOR" | "COUNT_CHECKED" | "COUNT_UNCHECKED" | "PERCENT_CHECKED" | "PERCENT_UNCHECKED" => {
                |definition| matches!(definition, Definition::Checkbox {})
            }
            "SUM" | "AVERAGE" | "WEIGHTED_AVERAGE" | "MEDIAN" | "PERCENTILE" | "VAR" | "VARP" | "STDEV" | "STDEVP" | "RANGE" | "MIN"
            | "MAX" | "TOP" => |definition| matches!(definition, Definition::Number { .. }),
            _ => return Some(None),
        };
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let fitting = schema.collection(target)?.attributes().iter().filter(|attribute| is_wanted(&attribute.definition));
        let fitting: Vec<_> = fitting.map(|attribute| attribute.key.to_string()).collect();
        if fitting.is_empty() { Some(None) } else { self.pick(&fitting).map(Some) }
    }

    fn selection(&mut self, host: CollectionId, target: CollectionId) -> Option<SelectionInput> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let keys =
            |id| schema.collection(id).into_iter().flat_map(|c| c.attributes().iter().map(|a| a.key.to_string())).collect::<Vec<_>>();
        let filter = match self.word()? % 7 {
            6 => Some(format!("COUNTALL({{{}}}) >= COUNTALL(HOST({{{}}}))", self.pick(&keys(target))?, self.pick(&keys(host))?)),
            0 => Some(self.formula(target)?),
            1 => Some(format!("{{{}}} >= HOST({{{}}})", self.pick(&keys(target))?, self.pick(&keys(host))?)),
            _ => None,
        };
        let sort = if self.word()? % 4 == 0 { vec![(self.pick(&keys(target))?, self.word()? % 2 == 0)] } else { vec![] };
        let limit = if self.word()? % 5 == 0 { Some(1 + (self.word()? % 3) as i64) } else { None };
        Some(SelectionInput { filter, sort, limit })
    }

    fn formula(&mut self, collection: CollectionId) -> Option<String> {
        let schema = self.oracle.catalog.tenant(self.tenant)?.clone();
        let attributes: Vec<_> = schema.collection(collection)?.attributes().iter().map(|a| a.key.to_string()).collect();
        let (a, b) = (self.pick(&attributes)?, self.pick(&attributes)?);
        Some(match self.word()? % 14 {
            10 | 11 => self.timed(&a, &b)?,
            9 => format!("DATETIME_DIFF(LAST_MODIFIED_TIME(), CREATED_TIME(), 'seconds') & {{{a}}}"),
            7 => format!("LET(x, {{{a}}}, IF(x = {{{b}}}, x, LEN(x)))"),
            8 => format!("ARRAYJOIN(ARRAYUNIQUE({{{a}}}, {{{b}}}))"),
            0 => format!("{{{a}}} * 2 - {{{b}}}"),
            1 => format!("IF({{{a}}}, {{{b}}}, 7)"),
            2 => format!("{{{a}}} / {{{b}}}"),
            3 => format!("{{{a}}} & '-' & {{{b}}}"),
            4 => format!("{{{a}}} >= {{{b}}}"),
            5 => format!("IF(ISERROR({{{a}}}), BLANK(), {{{a}}})"),
            12 => format!("COUNTALL({{{a}}}) & HAS_ANY({{{b}}}, 2, 'x') & ISBLANK({{{a}}})"),
            13 => format!("IFERROR(HOUR({{{a}}}), {{{b}}}) & DATETIME_FORMAT({{{b}}}, 'D H')"),
            _ => format!("MAX({{{a}}}, {{{b}}}, 3)"),
        })
    }

    /// A formula that asks what time it is.
    fn timed(&mut self, a: &str, b: &str) -> Option<String> {
        let due = format!("DATEADD(DATEADD(CREATED_TIME(), VALUE(LEFT({{{a}}} & '', 3)), 'hours'), {{{b}}} & '0', 'seconds')");
        Some(match self.word()? % 12 {
            0 => format!("{due} < NOW()"),
            1 => format!("IF(IS_AFTER(NOW(), {due}), {{{b}}}, 'soon')"),
            2 => format!("DATETIME_DIFF(NOW(), {due}, 'hours')"),
            3 => format!("DATETIME_DIFF(DATEADD(TODAY(), -1, 'months'), {due}, 'weeks') * -2 + 1"),
            4 => format!("DATETIME_DIFF({due}, NOW(), 'minutes') > {{{b}}}"),
            5 => format!("IF({{{a}}}, MONTH(TODAY()), {{{b}}})"),
            6 => format!("DATETIME_FORMAT(NOW(), 'YYYY-MM-DD HH:mm') & {{{b}}}"),
            7 => format!("LET(d, {due}, d > DATEADD(NOW(), -{{{b}}}, 'days'))"),
            8 => format!("FROMNOW({due})"),
            9 => format!("IFERROR(IS_SAME({due}, TODAY(), 'day'), {{{a}}})"),
            10 => format!("AND({{{a}}}, DATEADD(TODAY(), {{{b}}}, 'days') >= {due})"),
            _ => format!("NOW() > DATEADD('1970-01-01T00:00:00.0005Z', {{{b}}}, 'seconds')"),
        })
    }
}

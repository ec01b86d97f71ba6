//! The analysis of one definition, given those of the attributes that it refers to.

use std::sync::Arc;

use ecow::EcoString;

use super::TenantSchema;
use super::analysis::{Analyzed, Compute};
use super::conversion::Conversion;
use super::crossing::{Collect, Crossing, Direction, Finish, MatchKeys, SortColumn, Summary};
use crate::aggregate::attribute::{Attribute, Definition, MatchKey, SortKey};
use crate::formula::eval::Expr;
use crate::formula::{Attributes, Expression, MODIFIED, Program, Resolved, Scope, Span, Type, functions};
use crate::id::{AttributeId, CollectionId};
use crate::rollup::Rollup;
use crate::value::{ErrorKind, Value};

pub(super) fn broken(attribute: &Attribute, error: Value) -> Analyzed {
    let (collection_id, compute) = (attribute.collection_id, Compute::Broken(error));
    Analyzed { collection_id, ty: Type::Any, level: 0, order: 0, compute, reads: Vec::new(), host_reads: Vec::new(), component: None }
}

pub(super) fn analyze(schema: &TenantSchema, attribute: &Attribute) -> Analyzed {
    match analyze_definition(schema, attribute.collection_id, attribute.id, &attribute.definition) {
        Ok(analyzed) => stored_otherwise(attribute, analyzed),
        Err(error) => broken(attribute, error),
    }
}

/// The same, of cells that come from what is stored by a conversion, if these do.
pub(super) fn stored_otherwise(attribute: &Attribute, analyzed: Analyzed) -> Analyzed {
    match Conversion::of(attribute) {
        Some(conversion) if analyzed.compute == Compute::Stored => {
            Analyzed { compute: Compute::Formula(conversion.program(analyzed.ty.clone())), ..analyzed }
        }
        _ => analyzed,
    }
}

/// What follows from a definition of the attribute `id` of `collection_id`; the error that its cells hold if it does not work.
pub(super) fn analyze_definition(
    schema: &TenantSchema,
    collection_id: CollectionId,
    id: AttributeId,
    definition: &Definition,
) -> Result<Analyzed, Value> {
    let stored = |ty| {
        let (reads, host_reads) = (Vec::new(), Vec::new());
        Ok(Analyzed { collection_id, ty, level: 0, order: 0, compute: Compute::Stored, reads, host_reads, component: None })
    };
    let gone = || Value::error(ErrorKind::Reference, "an attribute that the definition refers to was deleted");
    match definition {
        Definition::Text { .. } | Definition::SingleSelect { .. } => stored(Type::Text),
        Definition::Number { .. } => stored(Type::Number),
        Definition::Checkbox {} => stored(Type::Bool),
        Definition::Date {} => stored(Type::Date),
        Definition::Datetime { .. } => stored(Type::DateTime),
        Definition::DateRange {} => stored(Type::List(Box::new(Type::Date))),
        Definition::Json {} | Definition::Attachments {} => stored(Type::Text),
        Definition::User { multiple: false } => stored(Type::Text),
        Definition::User { multiple: true } => stored(Type::List(Box::new(Type::Text))),
        Definition::MultiSelect { .. } => stored(Type::List(Box::new(Type::Text))),
        Definition::Link { multiple: false, .. } => stored(Type::Text),
        Definition::Link { multiple: true, .. } | Definition::Backlink { .. } => {
            // The cell of a link that may lead to many is how many it leads to.
            let (direction, source) = match definition {
                Definition::Backlink { link_id, collection_id } => (Direction::Backward(*link_id), *collection_id),
                Definition::Link { collection_id: source, .. } => (Direction::Forward(id), *source),
                _ => return Err(gone()),
            };
            let summary = Summary::Count;
            let crossing = Crossing { direction, source, keys: None, value: None, is_of_ranges: false, filter: None, summary };
            let compute = Compute::Crossing(crossing);
            let (reads, host_reads) = (Vec::new(), Vec::new());
            Ok(Analyzed { collection_id, ty: Type::Number, level: 1, order: 0, compute, reads, host_reads, component: None })
        }
        Definition::Closure { collection_id: source, link_id } => {
            let direction = closure_of(schema, id, *link_id).ok_or_else(gone)?;
            let join = Join { direction, source: *source, is_single: false, keys: None };
            Selection::all(collection_id).analyzed(schema, &join, Type::Number, Some(count_of_all()), Finish::List)
        }
        Definition::Match { collection_id: source, on } => {
            let keys = keys_of(schema, on).ok_or_else(gone)?;
            let ty = |id| schema.analyzed(id).map(|analyzed: &Arc<Analyzed>| &analyzed.ty);
            let fits = |(own, other): (&AttributeId, &AttributeId)| {
                ty(*own).zip(ty(*other)).is_some_and(|(own, other)| own == other && !matches!(own, Type::List(_)))
            };
            if !keys.host.iter().zip(&keys.source).all(fits) {
                let message = "a match is of attributes of one type, and a list equals nothing";
                return Err(Value::error(ErrorKind::Type, message));
            }
            let join = Join { direction: Direction::Match(id), source: *source, is_single: false, keys: Some(Arc::new(keys)) };
            Selection::all(collection_id).analyzed(schema, &join, Type::Number, Some(count_of_all()), Finish::List)
        }
        Definition::Autonumber {} => Ok(of_record(collection_id, "AUTONUMBER", Type::Number, &[])),
        Definition::CreatedTime {} => Ok(of_record(collection_id, "CREATED_TIME", Type::DateTime, &[])),
        Definition::CreatedBy {} => Ok(of_record(collection_id, "CREATED_BY", Type::Text, &[])),
        Definition::ModifiedTime { attribute_ids } => Ok(of_record(collection_id, "LAST_MODIFIED_TIME", Type::DateTime, attribute_ids)),
        Definition::ModifiedBy { attribute_ids } => Ok(of_record(collection_id, "LAST_MODIFIED_BY", Type::Text, attribute_ids)),
        Definition::Formula { expression } => {
            let scope = CollectionScope { schema, collection_id };
            let program = expression.program(&scope).map_err(|e| Value::error(ErrorKind::Type, e.message.as_str()))?;
            let below = || program.references.iter().filter_map(|id| schema.analyzed(*id));
            let level = below().map(|a| a.level).max().unwrap_or(0);
            let order = 1 + below().map(|a| a.order).max().unwrap_or(0);
            let (ty, reads) = (program.result.clone(), program.references.clone());
            Ok(Analyzed {
                collection_id,
                ty,
                level,
                order,
                compute: Compute::Formula(program),
                reads,
                host_reads: Vec::new(),
                component: None,
            })
        }
        Definition::Lookup { link_id, attribute_id, filter, sort, limit } => {
            let join = join_of(schema, *link_id).ok_or_else(gone)?;
            let single = join.is_single;
            let target = schema.analyzed(*attribute_id).ok_or_else(gone)?;
            let is_plain = filter.is_none() && sort.is_empty() && limit.is_none();
            let ty = if single { target.ty.clone() } else { Type::List(Box::new(target.ty.item().clone())) };
            let plain = if single { Some(Summary::Only) } else { is_plain.then_some(Summary::List) };
            let selection =
                Selection { collection_id, value: Some(*attribute_id), filter: filter.as_ref(), sort, limit: *limit, weight: None };
            selection.analyzed(schema, &join, ty, plain, if single { Finish::Only } else { Finish::List })
        }
        Definition::Rollup { link_id, attribute_id, function, filter, sort, limit, argument, weight_id, formula } => {
            let target = attribute_id.map(|id| schema.analyzed(id).ok_or_else(gone)).transpose()?;
            let is_range = formula.is_none() && attribute_id.is_some_and(|id| takes_ranges(schema, id, function));
            let value_type = match target {
                Some(_) if is_range => &Type::Text,
                Some(target) => &target.ty,
                None => &Type::Blank,
            };
            let (ty, finish, host_reads) = match formula {
                Some(formula) => {
                    let values = [("values", Type::List(Box::new(value_type.item().clone())))];
                    let host = CollectionScope { schema, collection_id };
                    let program = formula.program_in(Scope { attributes: &host, host: None, variables: &values });
                    let program = program.map_err(|e| Value::error(ErrorKind::Type, e.message.as_str()))?;
                    (program.result.clone(), Finish::Formula(program.clone()), program.references)
                }
                None => {
                    let ty = (function.result)(value_type)
                        .map_err(|wanted| Value::error(ErrorKind::Type, format!("{function:?} wants {wanted}")))?;
                    (ty, Finish::Rollup(function, argument.clone()), Vec::new())
                }
            };
            let is_plain = formula.is_none() && sort.is_empty() && limit.is_none() && !function.order_matters && !function.is_weighted();
            let plain = is_plain.then(|| Summary::Rollup(function, argument.clone()));
            let selection =
                Selection { collection_id, value: *attribute_id, filter: filter.as_ref(), sort, limit: *limit, weight: *weight_id };
            let join = join_of(schema, *link_id).ok_or_else(gone)?;
            let mut analyzed = selection.analyzed(schema, &join, ty, plain, finish)?;
            if let Compute::Crossing(crossing) = &mut analyzed.compute {
                crossing.is_of_ranges = is_range;
            }
            let level = host_reads.iter().filter_map(|id| schema.analyzed(*id)).map(|a| a.level + 1).max().unwrap_or(0);
            analyzed.level = analyzed.level.max(level);
            analyzed.host_reads.extend(host_reads);
            analyzed.host_reads.sort_unstable();
            analyzed.host_reads.dedup();
            Ok(analyzed)
        }
    }
}

/// Whether a rollup takes each cell of an attribute as one value that is a range of days. What summarises texts too does; what does
/// not looks at the days.
pub fn takes_ranges(schema: &TenantSchema, attribute: AttributeId, function: &Rollup) -> bool {
    (function.result)(&Type::Text).is_ok() && is_range_of_days(schema, attribute)
}

/// Whether an attribute holds a range of days, or shows that of one entity.
fn is_range_of_days(schema: &TenantSchema, id: AttributeId) -> bool {
    let Some(attribute) = schema.attribute(id) else { return false };
    let is_range = |shown: &Attribute| matches!(shown.definition, Definition::DateRange {});
    let is_of_one = |shown: &Attribute| match &shown.definition {
        Definition::Lookup { link_id, .. } => schema.attribute(*link_id).is_some_and(|link| !link.definition.is_multiple_link()),
        _ => false,
    };
    let mut shown = schema.looked_up(attribute).skip_while(|shown| is_of_one(shown));
    shown.next().is_some_and(is_range)
}

/// The formula that is nothing but this function of these attributes.
fn of_record(collection_id: CollectionId, function: &str, result: Type, attributes: &[AttributeId]) -> Analyzed {
    let function = functions::find(function).expect("the function is in the list");
    let arguments = attributes.iter().map(|id| Expr::Attribute(*id)).collect();
    let is_of_all = functions::OF_CHANGES.contains(&function.name) && attributes.is_empty();
    let references = if is_of_all { vec![MODIFIED] } else { attributes.to_vec() };
    let expr = Expr::Lazy(function, arguments, Span { start: 0, end: 0 });
    let program = Program { expr, result: result.clone(), references: references.clone(), host_references: Vec::new(), is_timed: false };
    Analyzed {
        collection_id,
        ty: result,
        level: 0,
        order: 1,
        compute: Compute::Formula(program),
        reads: references,
        host_reads: Vec::new(),
        component: None,
    }
}

/// Which linked entities a lookup or rollup takes, and what of them.
struct Selection<'a> {
    collection_id: CollectionId,
    value: Option<AttributeId>,
    filter: Option<&'a Expression>,
    sort: &'a [SortKey],
    limit: Option<u32>,
    weight: Option<AttributeId>,
}

impl Selection<'_> {
    /// All of them, by their presence.
    fn all(collection_id: CollectionId) -> Self {
        Self { collection_id, value: None, filter: None, sort: &[], limit: None, weight: None }
    }

    /// The crossing: with the summary `plain` if it need not look at contributions one by one, else collecting them.
    fn analyzed(&self, schema: &TenantSchema, join: &Join, ty: Type, plain: Option<Summary>, finish: Finish) -> Result<Analyzed, Value> {
        let gone = || Value::error(ErrorKind::Reference, "an attribute that the definition refers to was deleted");
        let (direction, source, keys) = (join.direction, join.source, join.keys.clone());
        let (sources, host) =
            (CollectionScope { schema, collection_id: source }, CollectionScope { schema, collection_id: self.collection_id });
        let scope = Scope { attributes: &sources, host: Some(&host), variables: &[] };
        let filter = self.filter.map(|filter| filter.program_in(scope)).transpose();
        let filter = filter.map_err(|e| Value::error(ErrorKind::Type, e.message.as_str()))?;
        let mut host_reads = filter.as_ref().map_or_else(Vec::new, |filter| filter.host_references.clone());
        for id in self.sort.iter().map(|key| key.attribute_id).chain(self.weight) {
            schema.analyzed(id).ok_or_else(gone)?;
        }
        let mut columns: Vec<AttributeId> = self.weight.into_iter().chain(self.sort.iter().map(|key| key.attribute_id)).collect();
        // What does not look at the host is decided by the source itself.
        let (own_filter, filter) = if host_reads.is_empty() { (filter, None) } else { (None, filter) };
        columns.extend(filter.iter().flat_map(|filter| &filter.references));
        let mut reads: Vec<_> = self.value.iter().chain(&columns).copied().collect();
        reads.extend(own_filter.iter().flat_map(|filter| &filter.references));
        if let Some(keys) = &keys {
            reads.extend(&keys.source);
            host_reads.extend(&keys.host);
        }
        for reads in [&mut reads, &mut host_reads] {
            reads.sort_unstable();
            reads.dedup();
        }
        let weights = usize::from(self.weight.is_some());
        let sort_column = |(i, key): (usize, &SortKey)| {
            let options = schema.attribute(key.attribute_id).map_or(&[][..], |attribute| attribute.definition.options()).to_vec();
            SortColumn { column: weights + i, descending: key.descending, options }
        };
        let sort = self.sort.iter().enumerate().map(sort_column).collect();
        let limit = self.limit.map(|limit| limit as usize);
        let summary = match plain {
            Some(plain) if filter.is_none() => plain,
            _ => Summary::Collect(Arc::new(Collect { columns, filter, sort, limit, finish })),
        };
        let levels = reads.iter().chain(&host_reads).filter_map(|id| schema.analyzed(*id)).map(|a| a.level);
        // Where no link joins them, hosts and sources meet half-way.
        let level = 1 + u32::from(keys.is_some()) + levels.max().unwrap_or(0);
        let (value, filter, is_of_ranges) = (self.value, own_filter, false);
        let compute = Compute::Crossing(Crossing { direction, source, keys, value, is_of_ranges, filter, summary });
        Ok(Analyzed { collection_id: self.collection_id, ty, level, order: 0, compute, reads, host_reads, component: None })
    }
}

/// What joins hosts and sources.
struct Join {
    direction: Direction,
    /// The collection of the sources.
    source: CollectionId,
    /// Whether there is at most one source.
    is_single: bool,
    keys: Option<Arc<MatchKeys>>,
}

/// What joins the entities on both sides of a link of any kind.
fn join_of(schema: &TenantSchema, link_id: AttributeId) -> Option<Join> {
    let (direction, source, is_single, keys) = match &schema.attribute(link_id)?.definition {
        Definition::Link { collection_id, multiple, .. } => (Direction::Forward(link_id), *collection_id, !multiple, None),
        Definition::Backlink { collection_id, link_id } => (Direction::Backward(*link_id), *collection_id, false, None),
        Definition::Closure { collection_id, link_id: step } => (closure_of(schema, link_id, *step)?, *collection_id, false, None),
        Definition::Match { collection_id, on } => (Direction::Match(link_id), *collection_id, false, Some(Arc::new(keys_of(schema, on)?))),
        _ => return None,
    };
    Some(Join { direction, source, is_single, keys })
}

/// The keys of a match, if all of them are there.
fn keys_of(schema: &TenantSchema, on: &[MatchKey]) -> Option<MatchKeys> {
    let keys = MatchKeys { host: on.iter().map(|key| key.own_id).collect(), source: on.iter().map(|key| key.other_id).collect() };
    let all_are_there = keys.host.iter().chain(&keys.source).all(|id| schema.analyzed(*id).is_some());
    all_are_there.then_some(keys)
}

/// How many there are, also if there are none.
fn count_of_all() -> Summary {
    Summary::Rollup(Rollup::find("COUNTALL").expect("the rollup is in the list"), Value::Blank)
}

/// The direction of the closure of a link or backlink.
fn closure_of(schema: &TenantSchema, closure: AttributeId, step: AttributeId) -> Option<Direction> {
    let (link, is_backward) = match &schema.attribute(step)?.definition {
        Definition::Link { .. } => (step, false),
        Definition::Backlink { link_id, .. } => (*link_id, true),
        _ => return None,
    };
    Some(Direction::Reach { closure, link, is_backward })
}

/// The zone in which the instants of an attribute are looked at, if it has one of its own; a lookup has that of what it shows.
fn zone_of(schema: &TenantSchema, attribute: &Attribute) -> Option<EcoString> {
    match &schema.looked_up(attribute).last()?.definition {
        Definition::Datetime { zone } => zone.clone(),
        _ => None,
    }
}

/// The attributes of one collection, as its formulas see them.
pub(super) struct CollectionScope<'a> {
    pub(super) schema: &'a TenantSchema,
    pub(super) collection_id: CollectionId,
}

impl Attributes for CollectionScope<'_> {
    fn resolve(&self, name: &str) -> Resolved {
        let Some(collection) = self.schema.collection(self.collection_id) else { return Resolved::Unknown };
        let id = name.parse::<AttributeId>().ok();
        // A key may look like an id without hyphens, and is one's own word for the attribute.
        let attribute = collection.by_key(name).or_else(|| {
            let mut attributes = collection.attributes().iter();
            attributes.find(|attribute| id == Some(attribute.id) || (id.is_none() && attribute.name == name))
        });
        let Some(attribute) = attribute else {
            return if id.is_some_and(|id| self.schema.is_deleted(id)) { Resolved::Gone } else { Resolved::Unknown };
        };
        if let Definition::Link { multiple: true, .. } = attribute.definition {
            return Resolved::Links(attribute.id);
        }
        if attribute.definition.is_multiple_link() {
            let key = &attribute.key;
            return Resolved::Unusable(format!("{{{key}}} leads to many entities: make a rollup or lookup through it, and refer to that"));
        }
        let ty = self.schema.analyzed(attribute.id).map_or(Type::Any, |analyzed| analyzed.ty.clone());
        match zone_of(self.schema, attribute) {
            Some(zone) if ty == Type::DateTime => Resolved::Zoned(attribute.id, zone),
            _ => Resolved::Attribute(attribute.id, ty),
        }
    }

    fn names(&self) -> Vec<String> {
        let attributes = self.schema.collection(self.collection_id).into_iter().flat_map(|collection| collection.attributes());
        attributes.flat_map(|attribute| [attribute.key.to_string(), attribute.name.to_string()]).collect()
    }
}

//! Groups and their summaries, kept up to date: an entity that changes costs one kernel's step for each summary of each of
//! the groups that it leaves and enters.

use std::collections::{BTreeMap, BTreeSet};

use decidr_dataflow::RollupGroup;
use decidr_domain::delta::Row;
use decidr_domain::formula::Program;
use decidr_domain::id::EntityId;
use decidr_domain::value::Value;
use decidr_sinks::live::Changes;

use super::changes::{GroupOp, OpKind};
use super::explain::Cell;
use super::groups::{GROUPS_MAX, Summary};
use super::listener::{Beginning, Listener};
use super::maintained::Maintained;
use super::reading::Reading;
use super::scalars::json;
use super::{Refusal, ScanBudget, TenantView};

/// How many values the summaries of one subscriber may keep, all its groups together.
const VALUES_MAX: usize = 2_000_000;

/// One summary of one group.
enum Kept {
    Kernel(RollupGroup),
    /// The order of the entities matters.
    InOrder(BTreeMap<EntityId, Value>),
}

impl Kept {
    /// How many values it keeps.
    fn held(&self) -> usize {
        match self {
            Kept::Kernel(kernel) => kernel.held(),
            Kept::InOrder(values) => values.len(),
        }
    }

    fn change(&mut self, id: EntityId, value: &Value, is_in: bool) {
        match (self, is_in) {
            (Kept::Kernel(kernel), true) => kernel.add(value),
            (Kept::Kernel(kernel), false) => kernel.remove(value),
            (Kept::InOrder(values), true) => drop(values.insert(id, value.clone())),
            (Kept::InOrder(values), false) => drop(values.remove(&id)),
        }
    }
}

/// One group.
struct State {
    count: i64,
    kept: Vec<Kept>,
    /// What was told of it last.
    told: Option<(i64, Vec<Value>)>,
}

/// The groups of one subscriber.
pub(super) struct LiveGroups {
    levels: Vec<Reading>,
    summaries: Vec<Summary>,
    groups: BTreeMap<Vec<Value>, State>,
    /// How many groups without groups in them have entities.
    innermost: usize,
    /// How many values the summaries keep.
    held: usize,
    /// The groups that changed since they were told of.
    touched: BTreeSet<Vec<Value>>,
}

impl LiveGroups {
    /// Nothing is known yet.
    pub(super) fn new(levels: Vec<Reading>, summaries: Vec<Summary>) -> Self {
        Self { levels, summaries, groups: BTreeMap::new(), innermost: 0, held: 0, touched: BTreeSet::new() }
    }

    /// Whether what is grouped by and summarised is read as it was, and from now on as it is; an error if some of it is gone.
    pub(super) fn is_of(&mut self, view: &TenantView) -> Result<bool, Refusal> {
        let mut same = true;
        for reading in self.levels.iter_mut().chain(self.summaries.iter_mut().flat_map(Summary::readings)) {
            let newest = reading.renewed(&view.schema)?;
            same &= newest == *reading;
            *reading = newest;
        }
        Ok(same)
    }

    /// Counts out all entities.
    fn clear(&mut self) {
        for state in self.groups.values_mut() {
            (state.count, state.kept) = (0, new_kept(&self.summaries));
        }
        (self.innermost, self.held) = (0, 0);
        self.touched = self.groups.keys().cloned().collect();
        // There is always the one of all entities.
        self.group(Vec::new());
    }

    /// Counts in these and no others.
    pub(super) fn fill_from<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) -> Result<(), Refusal> {
        self.clear();
        for row in rows {
            self.count(row, true);
            self.affordable()?;
        }
        Ok(())
    }

    /// Counts entities out as they were, and in as they are.
    pub(super) fn take_in<'a>(&mut self, changes: impl Iterator<Item = (Option<&'a Row>, Option<&'a Row>)>) -> Result<(), Refusal> {
        for (old, new) in changes {
            old.into_iter().for_each(|row| self.count(row, false));
            new.into_iter().for_each(|row| self.count(row, true));
        }
        self.affordable()
    }

    fn fill(&mut self, view: &TenantView, listener: &Listener, filter: Option<&Program>) -> Result<(), Refusal> {
        self.clear();
        let mut trouble = Ok(());
        let selection = view.select(listener.collection(), filter);
        view.arranged.scan_selected(listener.collection(), &selection, None, |row| {
            if !view.budget.take() {
                trouble = Err(ScanBudget::exhausted());
            } else if view.matches_by_clock(row, filter) {
                self.count(row, true);
                trouble = self.affordable();
            }
            trouble.is_ok()
        });
        trouble
    }

    fn group(&mut self, path: Vec<Value>) -> &mut State {
        self.touched.insert(path.clone());
        let summaries = &self.summaries;
        self.groups.entry(path).or_insert_with(|| State { count: 0, kept: new_kept(summaries), told: None })
    }

    /// Counts an entity in or out.
    fn count(&mut self, row: &Row, is_in: bool) {
        let path: Vec<Value> = self.levels.iter().map(|reading| reading.group(row)).collect();
        let values: Vec<Value> = self.summaries.iter().map(|summary| summary.value(row)).collect();
        for depth in 0..=path.len() {
            let (mut before, mut after) = (0, 0);
            let state = self.group(path[..depth].to_vec());
            state.count += if is_in { 1 } else { -1 };
            for (kept, value) in state.kept.iter_mut().zip(&values) {
                before += kept.held();
                kept.change(row.entity.id, value, is_in);
                after += kept.held();
            }
            let count = state.count;
            self.held = self.held + after - before;
            if depth == path.len() {
                match (count, is_in) {
                    (1, true) => self.innermost += 1,
                    (0, false) => self.innermost -= 1,
                    _ => {}
                }
            }
        }
    }

    /// Whether there are not too many groups, and not too much is kept of them. In the midst of a change there may be.
    fn affordable(&self) -> Result<(), Refusal> {
        let message = if self.innermost > GROUPS_MAX {
            format!("there are more than {GROUPS_MAX} groups; group by something else, or filter")
        } else if self.held > VALUES_MAX {
            format!("the summaries keep more than {VALUES_MAX} values in all groups together; ask for fewer, or filter")
        } else {
            return Ok(());
        };
        Err(Refusal::new("TOO_LARGE", message))
    }

    /// What there is to tell of the groups that were touched. Those that are gone come first: one that is shown like it may have come.
    pub(super) fn ops(&mut self) -> Vec<GroupOp> {
        let (mut ops, mut others) = (Vec::new(), Vec::new());
        for path in std::mem::take(&mut self.touched) {
            let Some(state) = self.groups.get_mut(&path) else { continue };
            let cells = path.iter().map(|value| Cell::of(json(value))).collect();
            if state.count == 0 && !path.is_empty() {
                if state.told.is_some() {
                    ops.push(GroupOp { op: OpKind::Delete, path: cells, count: 0, summaries: vec![] });
                }
                self.groups.remove(&path);
                continue;
            }
            let summarised = |(kept, summary): (&Kept, &Summary)| match kept {
                Kept::Kernel(kernel) => kernel.summary(),
                Kept::InOrder(values) => {
                    let values: Vec<Value> = values.values().cloned().collect();
                    summary.summary(&values)
                }
            };
            let now = (state.count, state.kept.iter().zip(&self.summaries).map(summarised).collect());
            if state.told.as_ref() != Some(&now) {
                let op = if state.told.is_some() { OpKind::Update } else { OpKind::Insert };
                let summaries = now.1.iter().map(|value| Cell::of(json(value))).collect();
                others.push(GroupOp { op, path: cells, count: now.0, summaries });
                state.told = Some(now);
            }
        }
        ops.append(&mut others);
        ops
    }
}

fn new_kept(summaries: &[Summary]) -> Vec<Kept> {
    let kept = |summary: &Summary| match summary.rollup.order_matters {
        true => Kept::InOrder(BTreeMap::new()),
        false => Kept::Kernel(RollupGroup::new(summary.rollup, &summary.argument)),
    };
    summaries.iter().map(kept).collect()
}

impl Maintained for LiveGroups {
    type Op = GroupOp;

    fn begin(&mut self, listener: &Listener, beginning: &Beginning) -> Result<Vec<GroupOp>, Refusal> {
        self.groups.clear();
        self.is_of(&beginning.view)?;
        self.fill(&beginning.view, listener, beginning.filter.as_ref())?;
        Ok(self.ops())
    }

    fn change(&mut self, listener: &mut Listener, view: &TenantView, changes: &Changes) -> Result<Vec<GroupOp>, Refusal> {
        if !self.is_of(view)? {
            // What was counted in was read otherwise: everything is counted anew.
            let (view, filter) = listener.newest()?;
            self.is_of(&view)?;
            self.fill(&view, listener, filter.as_ref())?;
            return Ok(self.ops());
        }
        self.take_in(changes.ops.iter().map(|op| (op.old.as_ref(), op.row.as_ref())))?;
        Ok(self.ops())
    }
}

//! Everything computed anew for each batch, in plain loops over plain arrays: what incremental computation must beat.

use crate::workload::{Batch, Peer, Tables, Update, Workload};

struct Recompute {
    workload: Workload,
    made: Vec<Option<i64>>,
    tables: Tables,
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let made = vec![None; workload.rows.len()];
    let tables = Tables::from_scratch(workload, &made);
    Ok(Box::new(Recompute { workload: workload.clone(), made, tables }))
}

impl Peer for Recompute {
    fn prepare(&mut self, updates: &[Update]) -> Batch {
        Batch::Updates(updates.to_vec())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch::Updates(updates) = batch else { anyhow::bail!("a batch of another peer") };
        for update in updates {
            self.made[update.row] = Some(update.amount);
        }
        self.tables = Tables::from_scratch(&self.workload, &self.made);
        Ok(())
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.clone())
    }
}

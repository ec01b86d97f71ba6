//! Differential dataflow, typed by hand: sums travel in the diffs, the look-up is a join of two arrangements.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use differential_dataflow::input::InputSession;
use differential_dataflow::operators::CountTotal as _;
use timely::dataflow::operators::probe::Handle as ProbeHandle;

use crate::workload::{Batch, Order, Peer, Tables, Update, Workload, score};

/// A worker on a thread of its own, as the others have theirs.
struct Typed {
    batches: Option<Sender<Vec<Update>>>,
    done: Receiver<()>,
    tables: Receiver<Tables>,
    worker: Option<JoinHandle<()>>,
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let (batches, received) = channel();
    let (finished, done) = channel();
    let (send_tables, tables) = channel();
    let (orders, empty) = (workload.orders.clone(), Tables::empty(workload));
    let worker = std::thread::spawn(move || {
        // What starts the worker may be called from any thread, and is called once.
        let channels = Mutex::new(Some((orders, empty, received, finished)));
        let tables = timely::execute_directly(move |worker| {
            let taken = channels.lock().unwrap_or_else(PoisonError::into_inner).take();
            taken.map(|(orders, empty, received, finished)| work(worker, orders, empty, &received, &finished))
        });
        // Nobody may be there any more who wants them.
        let _ = tables.map(|tables| send_tables.send(tables));
    });
    done.recv()?;
    Ok(Box::new(Typed { batches: Some(batches), done, tables, worker: Some(worker) }))
}

fn work(
    worker: &mut timely::worker::Worker,
    mut orders: Vec<Order>,
    empty: Tables,
    batches: &Receiver<Vec<Update>>,
    done: &Sender<()>,
) -> Tables {
    let mut input = InputSession::<u64, (u64, (u64, i64, i64)), isize>::new();
    let probe = ProbeHandle::new();
    let tables = Rc::new(RefCell::new(empty));
    let total_of = Rc::new(RefCell::new(vec![0; orders.len()]));
    worker.dataflow(|scope| {
        let rows = input.to_collection(scope);
        let take = |table: Rc<RefCell<Tables>>, put: fn(&mut Tables, u64, i64)| {
            move |((key, value), _, diff): &((u64, i64), u64, isize)| {
                if *diff > 0 {
                    put(&mut table.borrow_mut(), *key, *value);
                }
            }
        };
        let totals = rows.clone().map(|(order, (_, amount, quantity))| (order, amount * quantity));
        totals
            .inspect(move |((order, total), _, diff)| {
                if *diff > 0 {
                    total_of.borrow_mut()[*order as usize] = *total;
                }
            })
            .probe_with(&probe);
        let sums = rows.clone().explode(|(_, (customer, amount, quantity))| Some((customer, (amount * quantity) as isize))).count_total();
        let scores = sums.map(|(customer, sum)| (customer, score(sum as i64)));
        scores.clone().inspect(take(tables.clone(), |tables, customer, score| tables.scores[customer as usize] = score)).probe_with(&probe);
        rows.map(|(order, (customer, ..))| (customer, order))
            .join_map(scores, |_, order, score| (*order, *score))
            .inspect(take(tables.clone(), |tables, order, score| tables.looked_up[order as usize] = score))
            .probe_with(&probe);
    });
    let row = |order: &Order| (order.customer as u64, order.amount, order.quantity);
    for (id, order) in orders.iter().enumerate() {
        input.insert((id as u64, row(order)));
    }
    let mut time = 0;
    loop {
        time += 1;
        input.advance_to(time);
        input.flush();
        worker.step_while(|| probe.less_than(&time));
        if done.send(()).is_err() {
            break;
        }
        let Ok(updates) = batches.recv() else { break };
        for Update { order, amount } in updates {
            let old = orders[order];
            orders[order].amount = amount;
            input.remove((order as u64, row(&old)));
            input.insert((order as u64, row(&orders[order])));
        }
    }
    let tables = tables.borrow().clone();
    tables
}

impl Peer for Typed {
    fn prepare(&mut self, updates: &[Update]) -> Batch {
        Batch::Updates(updates.to_vec())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch::Updates(updates) = batch else { anyhow::bail!("a batch of another peer") };
        let batches = self.batches.as_ref().ok_or_else(|| anyhow::anyhow!("it has ended"))?;
        batches.send(updates)?;
        Ok(self.done.recv()?)
    }

    fn tables(&mut self) -> Option<Tables> {
        // Only the worker has them, and it hands them out when it ends.
        drop(self.batches.take());
        let tables = self.tables.recv().ok();
        self.worker.take().map(JoinHandle::join)?.ok()?;
        tables
    }
}

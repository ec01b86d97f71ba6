//! Differential dataflow, typed by hand: what is linear travels in the diffs, the look-up is a join of two arrangements.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use differential_dataflow::VecCollection;
use differential_dataflow::input::InputSession;
use differential_dataflow::operators::CountTotal as _;
use differential_dataflow::trace::TraceReader as _;
use timely::dataflow::operators::Probe as _;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::progress::Antichain;

use crate::workload::{Batch, Peer, Row, Tables, Told, Update, Work, Workload, large, score};

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
    let workload = workload.clone();
    let worker = std::thread::spawn(move || {
        // What starts the worker may be called from any thread, and is called once.
        let channels = Mutex::new(Some((workload, received, finished)));
        let tables = timely::execute_directly(move |worker| {
            let taken = channels.lock().unwrap_or_else(PoisonError::into_inner).take();
            taken.map(|(workload, received, finished)| work(worker, &workload, &received, &finished))
        });
        // Nobody may be there any more who wants them.
        let _ = tables.map(|tables| send_tables.send(tables));
    });
    done.recv()?;
    Ok(Box::new(Typed { batches: Some(batches), done, tables, worker: Some(worker) }))
}

/// By id: owner, amount and quantity.
type Rows<'scope> = VecCollection<'scope, u64, (u64, (u64, i64, i64)), isize>;
/// What is told, in the order of the work's columns.
type Columns<'scope> = Vec<VecCollection<'scope, u64, (u64, i64), isize>>;

fn orders(rows: Rows<'_>) -> Columns<'_> {
    let totals = rows.clone().map(|(order, (_, amount, quantity))| (order, amount * quantity));
    let sums = rows.clone().explode(|(_, (customer, amount, quantity))| Some((customer, (amount * quantity) as isize))).count_total();
    let scores = sums.map(|(customer, sum)| (customer, score(sum as i64)));
    let by_customer = rows.map(|(order, (customer, ..))| (customer, order));
    let looked_up = by_customer.join_map(scores.clone(), |_, order, score| (*order, *score));
    vec![totals, looked_up, scores]
}

/// By account: sum, count and sum of large amounts; and the smallest, the largest and how many are different.
type Parts<'scope> = (Table<'scope, (isize, (isize, isize))>, Table<'scope, (i64, i64, i64)>);

fn ledger_parts(rows: Rows<'_>) -> Parts<'_> {
    let diff = |amount: i64| (amount as isize, (1_isize, large(amount) as isize));
    let linear = rows.clone().explode(move |(_, (account, amount, _))| Some((account, diff(amount)))).count_total();
    let amounts = rows.map(|(_, (account, amount, _))| (account, amount));
    let ordered = amounts.reduce(|_, amounts, summary| {
        let ends = amounts.first().zip(amounts.last());
        summary.extend(ends.map(|(first, last)| ((*first.0, *last.0, amounts.len() as i64), 1)));
    });
    (linear, ordered)
}

fn ledger(rows: Rows<'_>) -> Columns<'_> {
    let (linear, ordered) = ledger_parts(rows);
    vec![
        linear.clone().map(|(account, (sum, _))| (account, sum as i64)),
        linear.clone().map(|(account, (_, (count, _)))| (account, count as i64)),
        linear.clone().map(|(account, (_, (_, large)))| (account, large as i64)),
        linear.map(|(account, (sum, (count, _)))| (account, (sum / count) as i64)),
        ordered.clone().map(|(account, (smallest, ..))| (account, smallest)),
        ordered.clone().map(|(account, (_, largest, _))| (account, largest)),
        ordered.map(|(account, (.., different))| (account, different)),
    ]
}

/// An order: what it was given, its total and the score that it looks up.
type Order = (u64, i64, i64, i64, i64);
/// An account: all columns.
type Account = [i64; 7];

/// By id.
type Table<'scope, V> = VecCollection<'scope, u64, (u64, V), isize>;

fn orders_in_rows(rows: Rows<'_>) -> (Table<'_, Order>, Table<'_, (i64, i64)>) {
    let sums = rows.clone().explode(|(_, (customer, amount, quantity))| Some((customer, (amount * quantity) as isize))).count_total();
    let customers = sums.map(|(customer, sum)| (customer, (sum as i64, score(sum as i64))));
    let by_customer = rows.map(|(order, (customer, amount, quantity))| (customer, (order, amount, quantity)));
    let orders = by_customer.join_map(customers.clone(), |customer, (order, amount, quantity), (_, score)| {
        (*order, (*customer, *amount, *quantity, amount * quantity, *score))
    });
    (orders, customers)
}

fn ledger_in_rows(rows: Rows<'_>) -> Table<'_, Account> {
    let (linear, ordered) = ledger_parts(rows);
    linear.join_map(ordered, |account, (sum, (count, large)), (smallest, largest, different)| {
        (*account, [*sum as i64, *count as i64, *large as i64, (sum / count) as i64, *smallest, *largest, *different])
    })
}

/// Lets a table that is kept forget what was before a time.
type Forget = Box<dyn FnMut(u64)>;

/// Keeps a table so that it may be read, and tells what changed.
fn keep<'scope, V: differential_dataflow::ExchangeData + std::hash::Hash>(
    table: Table<'scope, V>,
    probe: &ProbeHandle<u64>,
    tables: &Rc<RefCell<Tables>>,
    take: impl Fn(&mut Vec<Vec<i64>>, usize, &V) + 'static,
) -> Forget {
    let tables = tables.clone();
    let told = table.inspect(move |((key, row), _, diff)| {
        if *diff > 0 {
            take(&mut tables.borrow_mut().0, *key as usize, row);
        }
    });
    let arranged = told.arrange_by_key();
    arranged.stream.probe_with(probe);
    let mut trace = arranged.trace;
    Box::new(move |time| {
        let frontier = Antichain::from_elem(time);
        trace.set_logical_compaction(frontier.borrow());
        trace.set_physical_compaction(frontier.borrow());
    })
}

fn work(worker: &mut timely::worker::Worker, workload: &Workload, batches: &Receiver<Vec<Update>>, done: &Sender<()>) -> Tables {
    let mut input = InputSession::new();
    let probe = ProbeHandle::new();
    let tables = Rc::new(RefCell::new(Tables::empty(workload)));
    let mut kept = worker.dataflow(|scope| {
        let rows = input.to_collection(scope);
        let told = match (workload.work, workload.told) {
            (Work::Orders, Told::Columns) => orders(rows),
            (Work::Ledger, Told::Columns) => ledger(rows),
            (Work::Orders, Told::Rows) => {
                let (orders, customers) = orders_in_rows(rows);
                let take = |tables: &mut Vec<Vec<i64>>, order: usize, row: &Order| (tables[0][order], tables[1][order]) = (row.3, row.4);
                return vec![
                    keep(orders, &probe, &tables, take),
                    keep(customers, &probe, &tables, |tables, customer, (_, score)| tables[2][customer] = *score),
                ];
            }
            (Work::Ledger, Told::Rows) => {
                let take = |tables: &mut Vec<Vec<i64>>, account: usize, columns: &Account| {
                    tables.iter_mut().zip(columns).for_each(|(table, value)| table[account] = *value);
                };
                return vec![keep(rows.clone(), &probe, &tables, |_, _, _| {}), keep(ledger_in_rows(rows), &probe, &tables, take)];
            }
        };
        for (column, told) in told.into_iter().enumerate() {
            let tables = tables.clone();
            let take = move |((key, value), _, diff): &((u64, i64), u64, isize)| {
                if *diff > 0 {
                    tables.borrow_mut().0[column][*key as usize] = *value;
                }
            };
            told.inspect(take).probe_with(&probe);
        }
        Vec::new()
    });
    let mut rows = workload.rows.clone();
    let of = |id: usize, row: &Row| (id as u64, (row.owner as u64, row.amount, row.quantity));
    for (id, row) in workload.rows.iter().enumerate() {
        input.insert(of(id, row));
    }
    let mut time = 0;
    loop {
        time += 1;
        input.advance_to(time);
        input.flush();
        worker.step_while(|| probe.less_than(&time));
        kept.iter_mut().for_each(|forget| forget(time));
        if done.send(()).is_err() {
            break;
        }
        let Ok(updates) = batches.recv() else { break };
        for Update { row: id, amount } in updates {
            input.remove(of(id, &rows[id]));
            rows[id].amount = amount;
            input.insert(of(id, &rows[id]));
        }
    }
    tables.take()
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

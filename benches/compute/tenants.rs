//! W6: many tenants, of which few do anything.

use std::time::{Duration, Instant};

use benches::recorder::{formula, rollup};
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;

use crate::workloads::{Harness, Latencies, id, resident, to};

/// What many tenants cost.
pub(crate) struct Cost {
    pub(crate) what: String,
    /// Memory of each that does nothing, in bytes.
    pub(crate) bytes: f64,
    /// The share of a processor when nobody does anything.
    pub(crate) idle: f64,
    /// Of updates of those that do something, on a schedule.
    pub(crate) times: Latencies,
}

pub(crate) fn run(smaller: usize, workers: usize) -> anyhow::Result<Cost> {
    let (tenant_count, active) = (10_000 / smaller, (100 / smaller).max(1));
    let mut harness = Harness::new(workers)?;
    let before = resident()?;
    let mut amounts = Vec::new();
    for tenant in 0..tenant_count {
        let log = &mut harness.recorder;
        log.tenant(&format!("tenant{tenant}"))?;
        for collection in 0..5 {
            let (parents, children) = (log.collection(&format!("p{collection}"))?, log.collection(&format!("c{collection}"))?);
            let link = log.link(parents, false, "children", false)?;
            let parent = log.attribute(children, "parent", link)?;
            let amount = log.attribute(children, "amount", DefinitionInput::number())?;
            for n in 0..8 {
                log.attribute(children, &format!("f{n}"), formula(&format!("{{amount}} * {n} + 1")))?;
                log.attribute(parents, &format!("sum{n}"), rollup("children", &format!("f{n}"), "SUM", None)?)?;
            }
            if tenant < active && collection == 0 {
                log.create(id(1, tenant), parents, vec![]);
                let values = vec![(parent, to(id(1, tenant))), (amount, Value::from(1))];
                log.create(id(2, tenant), children, values);
                amounts.push((log.tenant, amount));
            }
        }
        if tenant % 50 == 0 {
            harness.settle()?;
        }
    }
    harness.settle()?;
    let bytes = (resident()?.saturating_sub(before)) as f64 / tenant_count as f64;
    let used = processor_time()?;
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let idle = (processor_time()? - used) / start.elapsed().as_secs_f64();
    let times = harness.on_schedule(500.0, &mut |harness, n| {
        let tenant = harness.random.zipf(amounts.len());
        let amount;
        (harness.recorder.tenant, amount) = amounts[tenant];
        harness.recorder.set(id(2, tenant), amount, n as i64 + 2);
    })?;
    let what = format!("{tenant_count} tenants with 10 collections and 95 attributes each, {active} of them active");
    Ok(Cost { what, bytes, idle, times })
}

/// How long the process has run so far, in seconds of a processor.
fn processor_time() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // In hundredths of a second.
    Ok((ticks(11) + ticks(12)) / 100.0)
}

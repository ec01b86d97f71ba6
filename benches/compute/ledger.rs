//! W2: sums, extremes and counts of lines by account: by ten thousand accounts, by one, and by some that have most.

use benches::recorder::rollup;
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;

use crate::workloads::{BATCHES, Figures, Harness, Sql, id, to};

const ACCOUNTS: u64 = 1;
const LINES: u64 = 2;

/// How lines are spread over accounts.
#[derive(Clone, Copy)]
pub(crate) enum Spread {
    Even,
    One,
    Zipf,
}

pub(crate) async fn run(smaller: usize, workers: usize, spread: Spread) -> anyhow::Result<(String, Figures)> {
    let line_count = 1_000_000 / smaller;
    let account_count = if matches!(spread, Spread::One) { 1 } else { 10_000 / smaller };
    let mut harness = Harness::new(workers)?;
    let log = &mut harness.recorder;
    let (accounts, lines) = (log.collection("accounts")?, log.collection("lines")?);
    let link = log.link(accounts, false, "lines", false)?;
    let account = log.attribute(lines, "account", link)?;
    let amount = log.attribute(lines, "amount", DefinitionInput::number())?;
    let mut summaries = Vec::new();
    for (key, function, filter) in [
        ("sum", "SUM", None),
        ("count", "COUNT", None),
        ("smallest", "MIN", None),
        ("largest", "MAX", None),
        ("different", "COUNT_UNIQUE", None),
        ("large", "SUM", Some("{amount} > 500000")),
    ] {
        summaries.push((key, log.attribute(accounts, key, rollup("lines", "amount", function, filter)?)?));
    }
    let mean = log.attribute(accounts, "mean", rollup("lines", "amount", "AVERAGE", None)?)?;
    let (sum, count) = (summaries[0].1, summaries[1].1);
    for n in 0..account_count {
        log.create(id(ACCOUNTS, n), accounts, vec![]);
    }
    let mut of: Vec<(usize, i64, bool)> = Vec::with_capacity(line_count);
    for n in 0..line_count {
        let to_account = match spread {
            Spread::Zipf => harness.random.zipf(account_count),
            _ => harness.random.below(account_count),
        };
        let one = 1 + harness.random.below(1_000_000) as i64;
        harness.recorder.create(id(LINES, n), lines, vec![(account, to(id(ACCOUNTS, to_account))), (amount, Value::from(one))]);
        of.push((to_account, one, true));
        if n % 100_000 == 0 {
            harness.settle()?;
        }
    }
    harness.settle()?;
    let check = async |harness: &Harness, of: &[(usize, i64, bool)]| {
        let mut sql = Sql::new("CREATE TABLE line (account, amount)").await?;
        sql.fill("line", of.iter().filter(|(.., there)| *there).map(|(account, amount, _)| vec![*account as i64, *amount])).await?;
        let query = "SELECT account, CAST(SUM(amount) AS TEXT), CAST(COUNT(*) AS TEXT), CAST(MIN(amount) AS TEXT), CAST(MAX(amount) AS TEXT), \
                     CAST(COUNT(DISTINCT amount) AS TEXT), CAST(SUM(CASE WHEN amount > 500000 THEN amount ELSE 0 END) AS TEXT) FROM line GROUP BY account";
        let arranged = harness.arranged();
        // SQLite has no quotient of so many digits; sum and count are compared with what it makes of them.
        for account in 0..account_count {
            let number = |attribute| match arranged.row(id(ACCOUNTS, account)).map(|row| row.computed(attribute).clone()) {
                Some(Value::Number(number)) => Some(number),
                _ => None,
            };
            let quotient = number(sum).zip(number(count)).and_then(|(sum, count)| sum.checked_div(count));
            anyhow::ensure!(number(mean) == quotient, "the mean of account {account} is {:?} and not {quotient:?}", number(mean));
        }
        sql.compare(&arranged, ACCOUNTS, &summaries, query).await
    };
    check(&harness, &of).await?;
    // The largest first: what is taken away are extremes.
    let mut by_size: Vec<usize> = (0..line_count).collect();
    by_size.sort_unstable_by_key(|n| of[*n].1);
    let figures = harness.measure(&BATCHES, &mut |harness| {
        // Half of them stay, to be compared.
        if harness.random.below(10) == 0
            && by_size.len() > line_count / 2
            && let Some(line) = by_size.pop()
        {
            of[line].2 = false;
            return harness.recorder.archive(id(LINES, line));
        }
        let line = harness.random.below(line_count);
        of[line].1 = 1 + harness.random.below(1_000_000) as i64;
        harness.recorder.set(id(LINES, line), amount, of[line].1);
    })?;
    let compared = check(&harness, &of).await?;
    Ok((format!("{line_count} lines of {account_count} accounts, the largest lines taken away; {compared} compared"), figures))
}

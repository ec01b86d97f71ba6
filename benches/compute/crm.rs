//! W1: contacts with a formula, a text of a formula and a look-up, and the company that it comes from.

use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;

use benches::recorder::formula;

use crate::workloads::{BATCHES, Figures, Harness, Sql, id, to};

const COMPANIES: u64 = 1;
const CONTACTS: u64 = 2;

pub(crate) async fn run(smaller: usize, workers: usize) -> anyhow::Result<(String, Figures)> {
    let (contact_count, company_count) = (1_000_000 / smaller, 10_000 / smaller);
    let mut harness = Harness::new(workers)?;
    let log = &mut harness.recorder;
    let (companies, contacts) = (log.collection("companies")?, log.collection("contacts")?);
    let name = log.attribute(companies, "name", DefinitionInput::text())?;
    let tier = log.attribute(companies, "tier", DefinitionInput::number())?;
    let link = log.link(companies, false, "contacts", false)?;
    let company = log.attribute(contacts, "company", link)?;
    let amount = log.attribute(contacts, "amount", DefinitionInput::number())?;
    let quantity = log.attribute(contacts, "quantity", DefinitionInput::number())?;
    let total = log.attribute(contacts, "total", formula("{amount} * {quantity}"))?;
    let company_name = log.attribute(contacts, "company_name", DefinitionInput::lookup("company", "name"))?;
    log.attribute(contacts, "company_tier", DefinitionInput::lookup("company", "tier"))?;
    let label = log.attribute(contacts, "label", formula("{company_name} & '/' & {company_tier}"))?;
    // What there is, to make updates of and to compare with.
    let mut names: Vec<i64> = (0..company_count as i64).collect();
    let mut of: Vec<(usize, i64, i64, bool)> = Vec::with_capacity(contact_count);
    for n in 0..company_count {
        log.create(id(COMPANIES, n), companies, vec![(name, Value::text(n.to_string())), (tier, Value::from(n as i64 % 4))]);
    }
    let add = |harness: &mut Harness, of: &mut Vec<(usize, i64, i64, bool)>| {
        let random = &mut harness.random;
        let (to_company, one, two) = (random.below(company_count), 1 + random.below(1_000) as i64, 1 + random.below(9) as i64);
        let values = vec![(company, to(id(COMPANIES, to_company))), (amount, Value::from(one)), (quantity, Value::from(two))];
        harness.recorder.create(id(CONTACTS, of.len()), contacts, values);
        of.push((to_company, one, two, true));
    };
    for n in 0..contact_count {
        add(&mut harness, &mut of);
        if n % 100_000 == 0 {
            harness.settle()?;
        }
    }
    harness.settle()?;
    let check = async |harness: &Harness, names: &[i64], of: &[(usize, i64, i64, bool)]| {
        let mut sql = Sql::new("CREATE TABLE company (n, name, tier); CREATE TABLE contact (n, company, amount, quantity)").await?;
        sql.fill("company", names.iter().enumerate().map(|(n, name)| vec![n as i64, *name, n as i64 % 4])).await?;
        let row =
            |(n, (company, amount, quantity, _)): (usize, &(usize, i64, i64, bool))| vec![n as i64, *company as i64, *amount, *quantity];
        sql.fill("contact", of.iter().enumerate().map(row)).await?;
        let query = "SELECT contact.n, CAST(amount * quantity AS TEXT), CAST(name AS TEXT), name || '/' || tier \
                     FROM contact JOIN company ON contact.company = company.n";
        let attributes = [("total", total), ("company_name", company_name), ("label", label)];
        sql.compare(&harness.arranged(), CONTACTS, &attributes, query).await
    };
    check(&harness, &names, &of).await?;
    let figures = harness.measure(&BATCHES, &mut |harness| {
        let contact = harness.random.below(of.len());
        match harness.random.below(100) {
            0..80 => {
                let new = 1 + harness.random.below(1_000) as i64;
                of[contact].1 = new;
                harness.recorder.set(id(CONTACTS, contact), amount, new);
            }
            80..90 => {
                let company = harness.random.below(company_count);
                names[company] += company_count as i64;
                harness.recorder.set(id(COMPANIES, company), name, Value::text(names[company].to_string()));
            }
            90..95 => {
                let new = harness.random.below(company_count);
                harness.recorder.relink(id(CONTACTS, contact), company, id(COMPANIES, of[contact].0), id(COMPANIES, new));
                of[contact].0 = new;
            }
            95..97 if of[contact].3 => {
                of[contact].3 = false;
                harness.recorder.archive(id(CONTACTS, contact));
            }
            _ => add(harness, &mut of),
        }
    })?;
    let compared = check(&harness, &names, &of).await?;
    Ok((format!("{contact_count} contacts of {company_count} companies; {compared} compared"), figures))
}

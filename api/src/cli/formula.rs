//! `decidr formula`

use std::io::{BufRead, BufWriter, Read, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use decidr_domain::formula::coerce::text;
use decidr_domain::formula::{
    Attributes, Context, FormulaError, FormulaErrorKind, Resolved, Scope, Span, Type, check, dates, parse, reference,
};
use decidr_domain::id::{AttributeId, Key};
use decidr_domain::schema::{Catalog, input, resolve};
use decidr_domain::value::{ErrorKind, Value};
use decidr_ingest::EventLog;
use decidr_ingest::log::SqliteLog;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::Data;

#[derive(Args)]
pub(super) struct Formula {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Evaluate formulas: one JSON object a line in, one out.
    #[command(after_help = EVAL_EXAMPLE)]
    Eval,
    /// Check formulas against the attributes of a collection, without storing them.
    Check(Check),
    /// Print the language reference, in Markdown.
    Reference,
}

const EVAL_EXAMPLE: &str = r#"A line: {"expr": "{a} + 1", "fields": {"a": 2}, "tz": "Europe/Berlin"}
Types follow from the values; a date is {"$date": "2024-01-31"}, an instant {"$datetime": "2024-01-31T10:00:00Z"}, blank null.
An answer: {"value": 3}, or {"error": {"kind": "div0", "message": "…", "span": [0, 3]}}; the span counts bytes."#;

#[derive(Args)]
struct Check {
    #[command(flatten)]
    data: Data,
    /// The key of the tenant.
    #[arg(long)]
    tenant: String,
    /// The key of the collection.
    #[arg(long)]
    collection: String,
    /// The formulas; if none is given, one a line on standard input.
    formulas: Vec<String>,
}

impl Formula {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Subcommands::Eval => tokio::task::block_in_place(eval),
            Subcommands::Check(check) => check.run().await,
            Subcommands::Reference => {
                print!("{}", reference::markdown());
                Ok(())
            }
        }
    }
}

/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 8 * 1024 * 1024;

fn eval() -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lock();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(out.flush()?);
        }
        let answer = if line.last() != Some(&b'\n') && read as u64 == LINE_MAX {
            lines.skip_until(b'\n')?;
            refused("input", &format!("a line has {LINE_MAX} bytes at most"), None)
        } else {
            match serde_json::from_slice::<Json>(&line) {
                Ok(request) => evaluated(&request),
                Err(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Err(error) => refused("input", &not_json(&line, &error), None),
            }
        };
        writeln!(out, "{answer}")?;
        // Whoever waits for an answer before asking on gets it.
        out.flush()?;
    }
}

/// What is wrong with a line, and at which of its bytes.
fn not_json(line: &[u8], error: &serde_json::Error) -> String {
    match std::str::from_utf8(line) {
        Err(at) => format!("the line is not UTF-8 from byte {} on", at.valid_up_to()),
        Ok(text) if text.starts_with('\u{feff}') => "the line begins with a byte order mark (U+FEFF), which JSON does not have".to_owned(),
        Ok(_) if error.is_eof() => "the line ends before its JSON does".to_owned(),
        Ok(_) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            format!("the line is not JSON: {what}, at byte {}", error.column())
        }
    }
}

fn refused(kind: &str, message: &str, span: Option<Span>) -> Json {
    json!({ "error": { "kind": kind, "message": message, "span": span.map(|span| [span.start, span.end]) } })
}

fn mistaken(error: &FormulaError) -> Json {
    let kind = match error.kind {
        FormulaErrorKind::Syntax => "syntax",
        FormulaErrorKind::Type => "type",
        FormulaErrorKind::UnknownAttribute => "unknown_attribute",
        FormulaErrorKind::TooLarge => "too_large",
    };
    refused(kind, &error.message, Some(error.span))
}

fn evaluated(request: &Json) -> Json {
    let expr = match (request, request.get("expr")) {
        (_, Some(Json::String(expr))) => expr,
        (_, Some(_)) => return refused("input", "`expr` is not a string", None),
        (Json::Object(_), None) => return refused("input", "`expr` is missing: the formula, as a string", None),
        _ => return refused("input", "the line is not a JSON object, as {\"expr\": \"1 + 1\"}", None),
    };
    let zone = match request.get("tz") {
        None | Some(Json::Null) => Ok(TimeZone::UTC),
        Some(Json::String(name)) => dates::zone(name).map_err(|error| error.message.to_string()),
        Some(_) => Err("`tz` is not a string".to_owned()),
    };
    let fields = match request.get("fields") {
        None | Some(Json::Null) => Ok(Fields(Vec::new())),
        Some(Json::Object(fields)) => Fields::of(fields),
        Some(_) => Err("`fields` is not an object".to_owned()),
    };
    let (zone, fields) = match (zone, fields) {
        (Ok(zone), Ok(fields)) => (zone, fields),
        (Err(message), _) | (_, Err(message)) => return refused("input", &message, None),
    };
    let program = match parse::parse(expr, &[]).and_then(|tree| check(&tree, Scope::of(&fields))) {
        Ok(program) => program,
        Err(error) => return mistaken(&error),
    };
    let context = Context { zone, now: Some(jiff::Timestamp::now()), ..Context::utc().clone() };
    let cell = |id: AttributeId| fields.0.get(id.0.as_u128() as usize).map_or(Value::Blank, |(_, value)| value.clone());
    match program.outcome(&cell, &context, Vec::new()) {
        Ok(value) => json!({ "value": to_json(&value) }),
        Err((error, span)) => refused(error.kind.as_str(), &error.message, span),
    }
}

/// Named values, whose places are their ids.
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn of(fields: &Map<String, Json>) -> Result<Self, String> {
        fields.iter().map(|(name, value)| Ok((name.clone(), from_json(name, value)?))).collect::<Result<_, _>>().map(Fields)
    }
}

impl Attributes for Fields {
    fn resolve(&self, name: &str) -> Resolved {
        match self.0.iter().position(|(known, _)| known == name) {
            Some(place) => Resolved::Attribute(AttributeId(Uuid::from_u128(place as u128)), type_of(&self.0[place].1)),
            None => Resolved::Unknown,
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Blank => Type::Blank,
        Value::Bool(_) => Type::Bool,
        Value::Number(_) => Type::Number,
        Value::Text(_) | Value::Link(_) => Type::Text,
        Value::Date(_) => Type::Date,
        Value::DateTime(_) => Type::DateTime,
        Value::List(items) => Type::List(Box::new(items.iter().map(type_of).reduce(Type::union).unwrap_or(Type::Blank))),
        Value::Links(_) => Type::List(Box::new(Type::Text)),
        Value::Error(_) => Type::Any,
    }
}

fn from_json(name: &str, json: &Json) -> Result<Value, String> {
    let unreadable = |what: &str| format!("`{name}` is not {what}");
    Ok(match json {
        Json::Null => Value::Blank,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::number(input::decimal(n.as_str()).ok_or_else(|| unreadable("a number of up to 28 digits"))?),
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(|item| from_json(name, item)).collect::<Result<_, _>>()?),
        Json::Object(fields) => match fields.iter().next() {
            Some((kind, other)) if fields.len() == 1 && matches!(kind.as_str(), "$date" | "$datetime") && !other.is_string() => {
                return Err(format!("`{name}`: what {kind} is must be a string"));
            }
            Some((kind, Json::String(text))) if fields.len() == 1 && kind == "$date" => {
                Value::Date(text.parse().map_err(|_| unreadable("a date as \"2024-01-31\""))?)
            }
            Some((kind, Json::String(text))) if fields.len() == 1 && kind == "$datetime" => {
                Value::DateTime(text.parse().map_err(|_| unreadable("an instant as \"2024-01-31T10:00:00Z\""))?)
            }
            Some((kind, Json::Object(error))) if fields.len() == 1 && kind == "error" => {
                let message = error.get("message").and_then(Json::as_str).unwrap_or("an error was given");
                Value::error(ErrorKind::User, message)
            }
            _ => return Err(unreadable("a value; objects are {\"$date\": …} and {\"$datetime\": …}")),
        },
    })
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Blank => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Number(n) => n.to_string().parse().map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::String(text.to_string()),
        Value::Date(date) => json!({ "$date": date.to_string() }),
        Value::DateTime(at) => json!({ "$datetime": at.to_string() }),
        Value::List(items) => items.iter().map(to_json).collect(),
        other => Json::String(text(other).to_string()),
    }
}

impl Check {
    async fn run(self) -> anyhow::Result<()> {
        let log = SqliteLog::open_for_reading(&self.data.existing()?.log()).await?;
        let catalog = catalog(&log).await?;
        let schema = catalog
            .tenant_by_key(&Key::new(&self.tenant)?)
            .ok_or_else(|| anyhow::anyhow!("there is no tenant of key `{}`", self.tenant))?;
        let collection = schema.collection_by_key(&self.collection);
        let collection = collection.ok_or_else(|| anyhow::anyhow!("there is no collection of key `{}`", self.collection))?.id();
        let formulas = match self.formulas {
            formulas if formulas.is_empty() => std::io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?,
            formulas => formulas,
        };
        let mut wrong = 0;
        for formula in formulas {
            let answer = match resolve::checked_formula(schema, collection, &formula) {
                Ok(program) => {
                    let reads: Vec<_> = program.references.iter().map(|id| schema.path(*id)).collect();
                    json!({ "expr": formula, "type": program.result.to_string(), "reads": reads })
                }
                Err(error) => {
                    wrong += 1;
                    let mut answer = mistaken(&error);
                    answer["expr"] = formula.into();
                    answer
                }
            };
            println!("{answer}");
        }
        anyhow::ensure!(wrong == 0, "{wrong} of the formulas cannot be stored");
        Ok(())
    }
}

/// The schema of every tenant, without computing anything.
async fn catalog(log: &SqliteLog) -> anyhow::Result<Catalog> {
    let (mut catalog, mut after) = (Catalog::default(), 0);
    loop {
        let events = log.read_all(after, 8192).await?;
        let Some(last) = events.last() else { return Ok(catalog) };
        after = last.position;
        for event in &events {
            catalog.apply(event.tenant, &event.event);
        }
        // Others may want the thread.
        tokio::time::sleep(Duration::ZERO).await;
    }
}

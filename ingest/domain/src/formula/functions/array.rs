//! Lists: what a lookup through a link to many gives, a multi select, or a function makes.

use ecow::EcoString;
use rust_decimal::prelude::ToPrimitive;

use super::{Call, Function, Kind, Parameters, any_of, flattened};
use crate::formula::coerce::{bounded, compare, equal, list, number, text, truth};
use crate::formula::eval::{Evaluation, Expr};
use crate::formula::outcome::{Outcome, error, excerpt};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const LIST: Parameters = Parameters::with_rest(&[Kind::Any], Kind::Any);
const ITEMS: Parameters = Parameters::with_rest(&[Kind::Any, Kind::Any], Kind::Any);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "ARRAYJOIN",
        arguments: "list, [separator]",
        parameters: Parameters::with_optional(&[Kind::Any], &[Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Strict(|values| {
            let separator: EcoString = values.get(1).map_or_else(|| ", ".into(), text);
            let (mut out, mut is_first) = (EcoString::new(), true);
            flattened(&values[..1], &mut |value| {
                if !std::mem::take(&mut is_first) {
                    out.push_str(&separator);
                }
                out.push_str(&text(value));
                bounded(out.len())
            })?;
            Ok(Value::Text(out))
        }),
        doc: "The items as one text, with commas or what is given between.",
        examples: &[("ARRAYJOIN({nums}, \"; \")", "\"3; 1; 2\""), ("ARRAYJOIN({tags})", "\"red, blue, red\"")],
    },
    Function {
        name: "ARRAYUNIQUE",
        arguments: "list, [list …]",
        parameters: LIST,
        returns: list_of,
        call: Call::Strict(|values| {
            let (mut seen, mut out) = (std::collections::BTreeSet::new(), Vec::new());
            flattened(values, &mut |value| {
                if seen.insert(value) {
                    out.push(value.clone());
                }
                Ok(())
            })?;
            list(out)
        }),
        doc: "Each item once, where it comes first.",
        examples: &[("ARRAYUNIQUE({tags})", "[\"red\", \"blue\"]")],
    },
    Function {
        name: "ARRAYCOMPACT",
        arguments: "list, [list …]",
        parameters: LIST,
        returns: list_of,
        call: Call::Strict(|values| picked(values, |value| !equal(value, &Value::Blank))),
        doc: "The items that are neither blank nor empty text.",
        examples: &[("ARRAYCOMPACT(SPLIT(\"a,,b\", \",\"))", "[\"a\", \"b\"]")],
    },
    Function {
        name: "ARRAYFLATTEN",
        arguments: "list, [list …]",
        parameters: LIST,
        returns: list_of,
        call: Call::Strict(|values| picked(values, |value| !equal(value, &Value::Blank))),
        doc: "The items of all lists, and of the lists in them, in one list, without blanks and empty texts.",
        examples: &[("ARRAYFLATTEN({nums}, 4, {tags})", "[3, 1, 2, 4, \"red\", \"blue\", \"red\"]")],
    },
    Function {
        name: "ARRAYSLICE",
        arguments: "list, start, [end]",
        parameters: Parameters::with_optional(&[Kind::Any, Kind::Number], &[Kind::Number]),
        returns: |types| list_of(&types[..1]),
        call: Call::Strict(|values| {
            let mut items = Vec::new();
            flattened(&values[..1], &mut |value| {
                items.push(value.clone());
                Ok(())
            })?;
            let place =
                |value: &Value| number(value).map(|n| n.trunc().clamp(i32::MIN.into(), i32::MAX.into()).to_i64().unwrap_or(i64::MAX));
            let length = items.len() as i64;
            let from_end = |n: i64| if n < 0 { (length + n + 1).max(0) } else { n };
            let start = from_end(place(&values[1])?).max(1);
            let end = values.get(2).filter(|end| !end.is_blank()).map_or(Ok(length), place).map(from_end)?.min(length);
            list(if start > end { Vec::new() } else { items[start as usize - 1..end as usize].to_vec() })
        }),
        doc: "The items from a place to another, both included, counted from 1; negative places count from the end.",
        examples: &[("ARRAYSLICE({nums}, 2)", "[1, 2]"), ("ARRAYSLICE({nums}, 1, 2)", "[3, 1]"), ("ARRAYSLICE({nums}, -1)", "[2]")],
    },
    Function {
        name: "ARRAYSORT",
        arguments: "list, [descending]",
        parameters: Parameters::with_optional(&[Kind::Any], &[Kind::Condition]),
        returns: |types| list_of(&types[..1]),
        call: Call::Strict(|values| {
            let mut items = Vec::new();
            flattened(&values[..1], &mut |value| {
                items.push(value.clone());
                Ok(())
            })?;
            // A total order: values that cannot be compared by meaning stand by type.
            items.sort();
            items.sort_by(|a, b| {
                if std::mem::discriminant(a) == std::mem::discriminant(b) { compare(a, b).unwrap_or(a.cmp(b)) } else { a.cmp(b) }
            });
            let descending = match values.get(1) {
                Some(Value::Text(way)) if way.eq_ignore_ascii_case("asc") => false,
                Some(Value::Text(way)) if !way.is_empty() && !way.eq_ignore_ascii_case("desc") => {
                    let message =
                        format!("\"{}\" is no way to sort: write \"asc\" or \"desc\", or whether the largest comes first", excerpt(way));
                    return Err(error(ErrorKind::Value, message));
                }
                way => way.is_some_and(truth),
            };
            if descending {
                items.reverse();
            }
            list(items)
        }),
        doc: "The items in order, the largest first if `descending` is true or \"desc\".",
        examples: &[
            ("ARRAYSORT({nums})", "[1, 2, 3]"),
            ("ARRAYSORT({nums}, TRUE())", "[3, 2, 1]"),
            ("ARRAYSORT({nums}, \"asc\")", "[1, 2, 3]"),
        ],
    },
    Function {
        name: "FILTER",
        arguments: "list, condition",
        parameters: Parameters::exactly(&[Kind::Any, Kind::Condition]),
        returns: |types| list_of(&types[..1]),
        call: Call::Lazy(|evaluation, arguments| {
            let value = evaluation.expr(&arguments[0])?;
            let mut items = Vec::new();
            flattened(std::slice::from_ref(&value), &mut |item| {
                items.push(item.clone());
                Ok(())
            })?;
            let mut out = Vec::new();
            for item in items {
                evaluation.variables.push(item.clone());
                let outcome = evaluation.expr(&arguments[1]);
                evaluation.variables.pop();
                if truth(&outcome?) {
                    out.push(item);
                }
            }
            list(out)
        }),
        doc: "The items for which a condition is true; in it an item goes by the name `value`.",
        examples: &[("FILTER({nums}, value >= 2)", "[3, 2]"), ("COUNTALL(FILTER({tags}, value = \"red\"))", "2")],
    },
    about_items(
        "HAS_ANY",
        Call::Lazy(|evaluation, arguments| Ok(Value::Bool(compared(evaluation, arguments)?.there > 0))),
        "Whether the list has one of the items, or more. The items of a link are the ids of the entities that it leads to.",
        &[("HAS_ANY({tags}, \"red\", \"green\")", "true"), ("HAS_ANY({tags}, \"green\")", "false")],
    ),
    about_items(
        "HAS_ALL",
        Call::Lazy(|evaluation, arguments| {
            let compared = compared(evaluation, arguments)?;
            Ok(Value::Bool(compared.there == compared.asked))
        }),
        "Whether the list has all of the items.",
        &[("HAS_ALL({tags}, \"red\", \"blue\")", "true"), ("HAS_ALL({tags}, \"red\", \"green\")", "false")],
    ),
    about_items(
        "HAS_NONE",
        Call::Lazy(|evaluation, arguments| Ok(Value::Bool(compared(evaluation, arguments)?.there == 0))),
        "Whether the list has none of the items.",
        &[("HAS_NONE({tags}, \"green\")", "true"), ("HAS_NONE({tags}, \"red\", \"green\")", "false")],
    ),
    about_items(
        "HAS_EXACTLY",
        Call::Lazy(|evaluation, arguments| {
            let compared = compared(evaluation, arguments)?;
            Ok(Value::Bool(compared.there == compared.asked && compared.others == 0))
        }),
        "Whether the list has all of the items and no others, in whichever order.",
        &[("HAS_EXACTLY({tags}, \"blue\", \"red\")", "true"), ("HAS_EXACTLY({tags}, \"red\")", "false")],
    ),
    Function {
        name: "FIRST",
        arguments: "list",
        parameters: Parameters::exactly(&[Kind::Any]),
        returns: |types| types[0].item().clone(),
        call: Call::Strict(|values| edge(values, |items| items.first().cloned())),
        doc: "The first item; blank of none.",
        examples: &[("FIRST({nums})", "3")],
    },
    Function {
        name: "LAST",
        arguments: "list",
        parameters: Parameters::exactly(&[Kind::Any]),
        returns: |types| types[0].item().clone(),
        call: Call::Strict(|values| edge(values, |items| items.last().cloned())),
        doc: "The last item; blank of none.",
        examples: &[("LAST({nums})", "2")],
    },
];

/// A function of a list and of items that it has or has not.
const fn about_items(name: &'static str, call: Call, doc: &'static str, examples: &'static [(&'static str, &'static str)]) -> Function {
    Function { name, arguments: "list, item, [item …]", parameters: ITEMS, returns: |_| Type::Bool, call, doc, examples }
}

/// What a list is compared with: how many of the items that are asked for are in it, how many these are, and how many items of
/// the list are not among them.
struct Compared {
    there: usize,
    asked: usize,
    others: usize,
}

/// Compares a list with items, which may be lists of them; what stands in either several times counts once.
fn compared(evaluation: &mut Evaluation<'_>, arguments: &[Expr]) -> Outcome<Compared> {
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        values.push(evaluation.expr(argument)?);
    }
    let items = |values: &[Value]| {
        let mut items = Vec::new();
        let picked = flattened(values, &mut |value| {
            if !equal(value, &Value::Blank) {
                items.push(value.clone());
            }
            Ok(())
        });
        picked.map(|()| items)
    };
    let (list, asked) = (items(&values[..1])?, items(&values[1..])?);
    evaluation.step(list.len().saturating_mul(asked.len()))?;
    let is_among = |value: &Value, others: &[Value]| others.iter().any(|other| equal(value, other));
    Ok(Compared {
        there: asked.iter().filter(|value| is_among(value, &list)).count(),
        asked: asked.len(),
        others: list.iter().filter(|value| !is_among(value, &asked)).count(),
    })
}

fn list_of(types: &[Type]) -> Type {
    Type::List(Box::new(any_of(types)))
}

fn picked(values: &[Value], picks: fn(&Value) -> bool) -> Outcome {
    let mut out = Vec::new();
    flattened(values, &mut |value| {
        if picks(value) {
            out.push(value.clone());
        }
        Ok(())
    })?;
    list(out)
}

fn edge(values: &[Value], pick: fn(&[Value]) -> Option<Value>) -> Outcome {
    let mut items = Vec::new();
    flattened(values, &mut |value| {
        items.push(value.clone());
        Ok(())
    })?;
    Ok(pick(&items).unwrap_or_default())
}

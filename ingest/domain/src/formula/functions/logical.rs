//! What chooses, and what is true.

use super::{Call, Function, Kind, Parameters, any_of, flattened};
use crate::formula::coerce::{equal, text, truth};
use crate::formula::eval::{Evaluation, Expr};
use crate::formula::outcome::{Outcome, error};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

const CONDITIONS: Parameters = Parameters::with_rest(&[Kind::Condition], Kind::Condition);
const NOTHING: Parameters = Parameters::exactly(&[]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "IF",
        arguments: "condition, value, [otherwise]",
        parameters: Parameters::with_optional(&[Kind::Condition, Kind::Any], &[Kind::Any]),
        returns: |types| types[1].clone().union(types.get(2).cloned().unwrap_or(Type::Blank)),
        call: Call::Lazy(|evaluation, arguments| match (truth(&evaluation.expr(&arguments[0])?), arguments.get(2)) {
            (true, _) => evaluation.expr(&arguments[1]),
            (false, Some(otherwise)) => evaluation.expr(otherwise),
            (false, None) => Ok(Value::Blank),
        }),
        doc: "One of two values. False, zero, blank and empty text count as false, everything else as true. Only the branch that is taken is evaluated. Without an `otherwise` the result is blank.",
        examples: &[
            ("IF(2 > 1, \"yes\", \"no\")", "\"yes\""),
            ("IF(\"\", 1)", "blank"),
            ("IF(TRUE(), 1, 1/0)", "1"),
            ("IF(1/0, 1, 2)", "#div0"),
        ],
    },
    Function {
        name: "IFS",
        arguments: "condition, value, [condition, value …]",
        parameters: Parameters::in_pairs(&[Kind::Condition, Kind::Any], Kind::Any),
        returns: |types| types.iter().skip(1).step_by(2).cloned().reduce(Type::union).unwrap_or(Type::Blank),
        call: Call::Lazy(|evaluation, arguments| {
            for pair in arguments.chunks_exact(2) {
                if truth(&evaluation.expr(&pair[0])?) {
                    return evaluation.expr(&pair[1]);
                }
            }
            Ok(Value::Blank)
        }),
        doc: "The value of the first condition that is true; blank if none is.",
        examples: &[
            ("IFS({a} > 5, \"much\", {a} > 1, \"some\")", "\"much\""),
            ("IFS(FALSE(), 1)", "blank"),
            ("IFS({a} > 5, 1, 2)", "refused"),
        ],
    },
    Function {
        name: "SWITCH",
        arguments: "expression, [case, value …], [otherwise]",
        parameters: Parameters::with_rest(&[Kind::Any, Kind::Any], Kind::Any),
        returns: |types| {
            let values = types.iter().skip(2).step_by(2);
            let otherwise = types.len().is_multiple_of(2).then(|| types.last()).flatten();
            values.chain(otherwise).cloned().reduce(Type::union).unwrap_or(Type::Blank)
        },
        call: Call::Lazy(|evaluation, arguments| {
            let value = evaluation.expr(&arguments[0])?;
            for pair in arguments[1..].chunks(2) {
                match pair {
                    [case, result] if equal(&value, &evaluation.expr(case)?) => return evaluation.expr(result),
                    [otherwise] => return evaluation.expr(otherwise),
                    _ => {}
                }
            }
            Ok(Value::Blank)
        }),
        doc: "The value of the first case that equals the expression; else `otherwise`; else blank. Nothing behind it is evaluated.",
        examples: &[
            ("SWITCH(2, 1, \"one\", 2, \"two\", \"many\")", "\"two\""),
            ("SWITCH(9, 1, \"one\", \"many\")", "\"many\""),
            ("SWITCH(9, 1, \"one\")", "blank"),
            ("SWITCH(9, \"many\")", "\"many\""),
        ],
    },
    Function {
        name: "AND",
        arguments: "condition, [condition …]",
        parameters: CONDITIONS,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| conditions(values).map(|all| Value::Bool(all.iter().all(|c| *c)))),
        doc: "Whether all are true. Lists are taken apart; blank counts as false, and so does a list without items, where the rollup AND is true of nothing.",
        examples: &[("AND(1, \"x\", TRUE())", "true"), ("AND(1, BLANK())", "false"), ("AND(1, FILTER({nums}, value > 9))", "false")],
    },
    Function {
        name: "OR",
        arguments: "condition, [condition …]",
        parameters: CONDITIONS,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| conditions(values).map(|all| Value::Bool(all.iter().any(|c| *c)))),
        doc: "Whether any is true. Lists are taken apart; blank counts as false.",
        examples: &[("OR(0, \"x\")", "true"), ("OR(0, \"\")", "false")],
    },
    Function {
        name: "XOR",
        arguments: "condition, [condition …]",
        parameters: CONDITIONS,
        returns: |_| Type::Bool,
        call: Call::Strict(|values| conditions(values).map(|all| Value::Bool(all.iter().filter(|c| **c).count() % 2 == 1))),
        doc: "Whether an odd number of them is true.",
        examples: &[("XOR(TRUE(), FALSE(), TRUE())", "false"), ("XOR(1, 1, 1)", "true")],
    },
    Function {
        name: "NOT",
        arguments: "condition",
        parameters: Parameters::exactly(&[Kind::Condition]),
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(!truth(&values[0])))),
        doc: "The opposite.",
        examples: &[("NOT(1 = 2)", "true"), ("NOT(\"0\")", "false")],
    },
    Function {
        name: "TRUE",
        arguments: "",
        parameters: NOTHING,
        returns: |_| Type::Bool,
        call: Call::Strict(|_| Ok(Value::Bool(true))),
        doc: "True. May be written without brackets.",
        examples: &[("TRUE()", "true")],
    },
    Function {
        name: "FALSE",
        arguments: "",
        parameters: NOTHING,
        returns: |_| Type::Bool,
        call: Call::Strict(|_| Ok(Value::Bool(false))),
        doc: "False. May be written without brackets.",
        examples: &[("FALSE", "false")],
    },
    Function {
        name: "BLANK",
        arguments: "",
        parameters: NOTHING,
        returns: |_| Type::Blank,
        call: Call::Strict(|_| Ok(Value::Blank)),
        doc: "Nothing: 0 where a number is wanted, empty where text is, false as a condition. It equals empty text, and not 0.",
        examples: &[("BLANK()", "blank"), ("BLANK() + 1", "1"), ("BLANK() = \"\"", "true"), ("BLANK() = 0", "false")],
    },
    Function {
        name: "ISBLANK",
        arguments: "value",
        parameters: Parameters::exactly(&[Kind::Any]),
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(equal(&values[0], &Value::Blank)))),
        doc: "Whether it equals blank, as empty text does.",
        examples: &[("ISBLANK(\"\")", "true"), ("ISBLANK(0)", "false")],
    },
    Function {
        name: "COALESCE",
        arguments: "value, [value …]",
        parameters: Parameters::with_rest(&[Kind::Any], Kind::Any),
        returns: |types| types.iter().cloned().reduce(Type::union).unwrap_or(Type::Blank),
        call: Call::Lazy(|evaluation, arguments| {
            for argument in arguments {
                let value = evaluation.expr(argument)?;
                if !equal(&value, &Value::Blank) {
                    return Ok(value);
                }
            }
            Ok(Value::Blank)
        }),
        doc: "The first value that is not blank.",
        examples: &[("COALESCE(BLANK(), \"\", 3, 4)", "3"), ("COALESCE(BLANK())", "blank")],
    },
    Function {
        name: "ERROR",
        arguments: "[message]",
        parameters: Parameters::with_optional(&[], &[Kind::Text]),
        returns: |_| Type::Any,
        call: Call::Strict(|values| {
            let message = values.first().map(text).filter(|message| !message.is_empty());
            Err(error(ErrorKind::User, message.unwrap_or_else(|| "the formula says so".into())))
        }),
        doc: "An error.",
        examples: &[("ERROR()", "#error"), ("ISERROR(ERROR(\"no\"))", "true")],
    },
    Function {
        name: "ISERROR",
        arguments: "value",
        parameters: Parameters::exactly(&[Kind::Any]),
        returns: |_| Type::Bool,
        call: Call::Lazy(|evaluation, arguments| {
            Ok(Value::Bool(match evaluation.caught(&arguments[0]) {
                Value::List(items) => items.iter().any(Value::is_error),
                other => other.is_error(),
            }))
        }),
        doc: "Whether it is an error. With IFERROR the only function that an error does not pass through.",
        examples: &[("ISERROR(1/0)", "true"), ("ISERROR(1)", "false")],
    },
    Function {
        name: "IFERROR",
        arguments: "value, otherwise",
        parameters: Parameters::exactly(&[Kind::Any, Kind::Any]),
        returns: |types| types[0].clone().union(types[1].clone()),
        call: Call::Lazy(|evaluation, arguments| match evaluation.caught(&arguments[0]) {
            Value::Error(_) => evaluation.expr(&arguments[1]),
            value => Ok(value),
        }),
        doc: "The value, or `otherwise` if it is an error.",
        examples: &[("IFERROR(1/0, \"none\")", "\"none\""), ("IFERROR(6/2, 0)", "3")],
    },
    Function {
        name: "LET",
        arguments: "name, value, [name, value …], formula",
        parameters: Parameters::with_rest(&[Kind::Any], Kind::Any),
        returns: any_of,
        call: Call::Lazy(bindings),
        doc: "Names for values that the last argument uses. A name is known behind its value; it is written without braces.",
        examples: &[("LET(x, 2, y, x + 1, x * y)", "6"), ("LET(gross, {a} * 1.19, ROUND(gross, 1))", "8.3")],
    },
];

fn bindings(evaluation: &mut Evaluation<'_>, arguments: &[Expr]) -> Outcome {
    let Some((body, values)) = arguments.split_last() else { return Ok(Value::Blank) };
    let known = evaluation.variables.len();
    for value in values {
        // A value that is not used may be an error.
        let value = evaluation.caught(value);
        evaluation.variables.push(value);
    }
    let outcome = evaluation.expr(body);
    evaluation.variables.truncate(known);
    outcome
}

/// The truth of every argument, lists taken apart.
fn conditions(values: &[Value]) -> Outcome<Vec<bool>> {
    let mut out = Vec::with_capacity(values.len());
    for value in values {
        if value.is_blank() {
            // Of a list without items too.
            out.push(false);
        } else {
            flattened(std::slice::from_ref(value), &mut |value| {
                out.push(truth(value));
                Ok(())
            })?;
        }
    }
    Ok(out)
}

//! IF, AND, OR, NOT, ISERROR: what chooses.

use super::{Call, Function, Kind, Parameters};
use crate::formula::eval::{Evaluation, Expr, Outcome, truth};
use crate::formula::types::Type;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    // The branch not taken is not evaluated; without an else the result is blank.
    Function {
        name: "IF",
        parameters: Parameters::with_optional(&[Kind::Condition, Kind::Any], &[Kind::Any]),
        returns: |types| types[1].clone().union(types.get(2).cloned().unwrap_or(Type::Blank)),
        call: Call::Lazy(|evaluation, arguments| match (truth(&evaluation.expr(&arguments[0])?), arguments.get(2)) {
            (true, _) => evaluation.expr(&arguments[1]),
            (false, Some(otherwise)) => evaluation.expr(otherwise),
            (false, None) => Ok(Value::Blank),
        }),
    },
    Function {
        name: "AND",
        parameters: Parameters::at_least_one(Kind::Condition, &[Kind::Condition]),
        returns: |_| Type::Bool,
        call: Call::Strict(|values| conditions(values).map(|all| Value::Bool(all.iter().all(|c| *c)))),
    },
    Function {
        name: "OR",
        parameters: Parameters::at_least_one(Kind::Condition, &[Kind::Condition]),
        returns: |_| Type::Bool,
        call: Call::Strict(|values| conditions(values).map(|all| Value::Bool(all.iter().any(|c| *c)))),
    },
    Function {
        name: "NOT",
        parameters: Parameters::exactly(&[Kind::Condition]),
        returns: |_| Type::Bool,
        call: Call::Strict(|values| Ok(Value::Bool(!truth(&values[0])))),
    },
    Function { name: "ISERROR", parameters: Parameters::exactly(&[Kind::Any]), returns: |_| Type::Bool, call: Call::Lazy(is_error) },
];

fn is_error(evaluation: &mut Evaluation<'_>, arguments: &[Expr]) -> Outcome {
    Ok(Value::Bool(match evaluation.expr(&arguments[0]) {
        Ok(Value::List(items)) => items.iter().any(Value::is_error),
        other => other.is_err(),
    }))
}

/// The truth of every argument, lists taken apart.
fn conditions(values: &[Value]) -> Outcome<Vec<bool>> {
    let mut out = Vec::with_capacity(values.len());
    super::flattened(values, &mut |value| {
        out.push(truth(value));
        Ok(())
    })?;
    Ok(out)
}

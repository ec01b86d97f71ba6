//! Tree to typed program: finds attributes and functions, and refuses what could never work.

use ecow::EcoString;

use super::ast::{HOST, Node, NodeKind, Operator};
use super::cells::MODIFIED;
use super::coerce::truth;
use super::eval::{Expr, Program};
use super::functions::{self, Call, Function, Kind};
use super::outcome::excerpt;
use super::time::exact_if_it_flips;
use super::types::Type;
use super::{FormulaError, FormulaErrorKind, Span, did_you_mean};
use crate::id::AttributeId;
use crate::value::{ErrorKind, Value};

/// The attributes that a formula may refer to.
pub trait Attributes {
    /// What goes by this name: an attribute's id, key or display name.
    fn resolve(&self, name: &str) -> Resolved;
    /// All names, to suggest one.
    fn names(&self) -> Vec<String>;
}

/// What a name in a formula stands for.
pub enum Resolved {
    /// An attribute whose cells have this type.
    Attribute(AttributeId, Type),
    /// A link that may lead to many: the ids of those that it leads to.
    Links(AttributeId),
    /// One whose cells are instants, that are looked at in the zone of this name.
    Zoned(AttributeId, EcoString),
    /// An attribute that is there but cannot be used so; says why.
    Unusable(String),
    /// An attribute that was deleted: evaluates to an error.
    Gone,
    /// Nothing.
    Unknown,
}

/// A variable that a formula may use from the start, and the type of its values.
pub type Variable<'a> = (&'a str, Type);

/// What a formula may refer to.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The attributes of its entity.
    pub attributes: &'a dyn Attributes,
    /// In a filter over linked entities: the attributes of the entity that they are linked to.
    pub host: Option<&'a dyn Attributes>,
    /// The variables that it may use from the start.
    pub variables: &'a [Variable<'a>],
}

impl<'a> Scope<'a> {
    /// The attributes of one entity.
    pub fn of(attributes: &'a dyn Attributes) -> Self {
        Self { attributes, host: None, variables: &[] }
    }

    /// The names of the variables.
    pub(super) fn variable_names(&self) -> Vec<&'a str> {
        self.variables.iter().map(|(name, _)| *name).collect()
    }
}

/// The typed program of a syntax tree.
pub fn check(node: &Node, scope: Scope<'_>) -> Result<Program, FormulaError> {
    let variables = scope.variables.iter().map(|(name, ty)| (EcoString::from(*name), ty.clone())).collect();
    let mut checker = Checker {
        scope,
        references: Vec::new(),
        host_references: Vec::new(),
        variables,
        is_timed: false,
        takes_links: false,
        takes_attributes: false,
    };
    let (expr, result) = checker.node(node)?;
    let (mut references, mut host_references) = (checker.references, checker.host_references);
    for list in [&mut references, &mut host_references] {
        list.sort_unstable();
        list.dedup();
    }
    Ok(Program { expr, result, references, host_references, is_timed: checker.is_timed })
}

struct Checker<'a> {
    scope: Scope<'a>,
    references: Vec<AttributeId>,
    host_references: Vec<AttributeId>,
    /// The variables that are known here, innermost last.
    variables: Vec<(EcoString, Type)>,
    is_timed: bool,
    /// Whether what is looked at is an argument that may be the list of those that a link leads to.
    takes_links: bool,
    /// Whether it is an argument that means the attribute itself, and not what it holds.
    takes_attributes: bool,
}

impl Checker<'_> {
    fn node(&mut self, node: &Node) -> Result<(Expr, Type), FormulaError> {
        match &node.kind {
            NodeKind::Number(number) => Ok((Expr::Constant(Value::number(*number)), Type::Number)),
            NodeKind::Text(text) => Ok((Expr::Constant(Value::Text(text.clone())), Type::Text)),
            NodeKind::Attribute(name) => self.attribute(name, node.span, false),
            NodeKind::Variable(name) => {
                let known = self.variables.iter().rposition(|(known, _)| known.eq_ignore_ascii_case(name));
                let place = known.ok_or_else(|| {
                    FormulaError::new(FormulaErrorKind::Syntax, node.span, format!("`{}` is not known here", excerpt(name)))
                })?;
                Ok((Expr::Variable(place), self.variables[place].1.clone()))
            }
            NodeKind::Negate(operand) => {
                let (expr, ty) = self.node(operand)?;
                expect_number(&ty, "-", operand.span)?;
                let expr = match expr {
                    Expr::Fraction(inner) => Expr::Fraction(Box::new(Expr::Negate(inner, node.span))),
                    other => Expr::Negate(Box::new(other), node.span),
                };
                Ok((expr, Type::Number))
            }
            NodeKind::Binary(operator, left, right) => self.binary(*operator, left, right, node.span),
            NodeKind::Call(name, arguments) if name == HOST => match &arguments[..] {
                [Node { kind: NodeKind::Attribute(name), span, .. }] => self.attribute(name, *span, true),
                _ => Err(FormulaError::new(FormulaErrorKind::Type, node.span, "HOST wants one attribute of the host, as in HOST({limit})")),
            },
            NodeKind::Call(name, arguments) if name == "LET" => self.bindings(arguments, node.span),
            NodeKind::Call(name, arguments) => self.call(name, arguments, node.span),
        }
    }

    fn cell(&mut self, id: AttributeId, of_host: bool) -> Expr {
        if of_host {
            self.host_references.push(id);
            return Expr::HostAttribute(id);
        }
        self.references.push(id);
        Expr::Attribute(id)
    }

    fn attribute(&mut self, name: &str, span: Span, of_host: bool) -> Result<(Expr, Type), FormulaError> {
        let attributes = match (of_host, self.scope.host) {
            (false, _) => self.scope.attributes,
            (true, Some(host)) => host,
            (true, None) => {
                let message = "HOST means something only in the filter of a rollup or lookup: the entity that has it";
                return Err(FormulaError::new(FormulaErrorKind::Type, span, message));
            }
        };
        match attributes.resolve(name) {
            Resolved::Attribute(id, ty) => Ok((self.cell(id, of_host), ty)),
            Resolved::Links(_) if !self.takes_links => {
                let takers = functions::OF_LINKS.join(", ");
                let message = format!(
                    "{{{name}}} leads to many entities: make a rollup or lookup through it, and refer to that; or ask {takers} of it"
                );
                Err(FormulaError::new(FormulaErrorKind::Type, span, message))
            }
            Resolved::Links(id) => {
                self.cell(id, of_host);
                Ok((Expr::Links { link: id, of_host }, Type::List(Box::new(Type::Text))))
            }
            Resolved::Zoned(id, _) if self.takes_attributes => Ok((self.cell(id, of_host), Type::DateTime)),
            Resolved::Zoned(id, zone) => {
                // As if one had written so each time.
                let set = functions::find("SET_TIMEZONE").expect("the function is in the list");
                let arguments = [self.cell(id, of_host), Expr::Constant(Value::Text(zone))];
                Ok((Expr::Call(set, arguments.into(), span), Type::DateTime))
            }
            Resolved::Gone => {
                Ok((Expr::Constant(Value::error(ErrorKind::Reference, "an attribute that the formula refers to was deleted")), Type::Any))
            }
            Resolved::Unusable(why) => Err(FormulaError::new(FormulaErrorKind::Type, span, why)),
            Resolved::Unknown => {
                let names = attributes.names();
                let near = || did_you_mean(name, names.iter().map(String::as_str)).map(|near| format!("; did you mean {{{near}}}?"));
                let function = functions::find(&name.to_uppercase()).map(|f| format!("; the function is {}({})", f.name, f.arguments));
                let hint = function.or_else(near);
                let message = format!("unknown attribute {{{}}}{}", excerpt(name), hint.unwrap_or_default());
                Err(FormulaError::new(FormulaErrorKind::UnknownAttribute, span, message))
            }
        }
    }

    fn binary(&mut self, operator: Operator, left: &Node, right: &Node, span: Span) -> Result<(Expr, Type), FormulaError> {
        use Operator::*;
        let (l, left_type) = self.node(left)?;
        let (r, right_type) = self.node(right)?;
        let (operator, ty) = match operator {
            Add if *left_type.item() == Type::Text || *right_type.item() == Type::Text => {
                // A text attribute that meets `+` is nearly always a mistake; literals are meant to be joined.
                for (node, ty) in [(left, &left_type), (right, &right_type)] {
                    if *ty.item() == Type::Text && matches!(node.kind, NodeKind::Attribute(_)) {
                        let message = "`+` adds numbers, and this attribute is text: join texts with `&`";
                        return Err(FormulaError::new(FormulaErrorKind::Type, node.span, message));
                    }
                }
                (Join, Type::Text)
            }
            Join => (Join, Type::Text),
            Power | Multiply | Divide | Modulo | Add | Subtract => {
                expect_number(&left_type, operator.symbol(), left.span)?;
                expect_number(&right_type, operator.symbol(), right.span)?;
                // What is not known to be no text may be joined.
                let may_join = operator == Add && (*left_type.item() == Type::Any || *right_type.item() == Type::Any);
                if operator.is_of_fractions() && !may_join && (goes_on_with_quotient(&l) || goes_on_with_quotient(&r)) {
                    let chain = Expr::Binary(operator, Box::new((without_rounding(l), without_rounding(r))), span);
                    return Ok((Expr::Fraction(Box::new(chain)), Type::Number));
                }
                (operator, Type::Number)
            }
            Equal | NotEqual => {
                let is_left = may_be_unticked(&l, &left_type) && may_be_false(&r, &right_type);
                let is_right = may_be_unticked(&r, &right_type) && may_be_false(&l, &left_type);
                let l = if is_left { as_condition(l, span) } else { l };
                let r = if is_right { as_condition(r, span) } else { r };
                return Ok((exact_if_it_flips(Expr::Binary(operator, Box::new((l, r)), span)), Type::Bool));
            }
            And | Or => (operator, Type::Bool),
            Less | LessEqual | Greater | GreaterEqual => {
                if !left_type.is_comparable(&right_type) {
                    let message = format!("`{}` cannot put {left_type} and {right_type} in order", operator.symbol());
                    return Err(FormulaError::new(FormulaErrorKind::Type, span, message));
                }
                (operator, Type::Bool)
            }
        };
        Ok((exact_if_it_flips(Expr::Binary(operator, Box::new((l, r)), span)), ty))
    }

    /// LET: each name has the type of its value in what comes behind it.
    fn bindings(&mut self, arguments: &[Node], span: Span) -> Result<(Expr, Type), FormulaError> {
        let Some(function) = functions::find("LET") else {
            return Err(FormulaError::new(FormulaErrorKind::Type, span, "LET is not there"));
        };
        let known = self.variables.len();
        let mut exprs = Vec::with_capacity(arguments.len() / 2 + 1);
        let mut pairs = arguments.chunks_exact(2);
        for pair in pairs.by_ref() {
            let NodeKind::Variable(name) = &pair[0].kind else {
                return Err(FormulaError::new(FormulaErrorKind::Syntax, pair[0].span, "LET wants a name here"));
            };
            let (expr, ty) = self.node(&pair[1])?;
            exprs.push(expr);
            self.variables.push((name.clone(), ty));
        }
        let [body] = pairs.remainder() else {
            return Err(FormulaError::new(FormulaErrorKind::Syntax, span, "LET ends with a formula that uses its names"));
        };
        let (body, ty) = self.node(body)?;
        exprs.push(body);
        self.variables.truncate(known);
        Ok((Expr::Lazy(function, exprs.into_boxed_slice(), span), ty))
    }

    fn call(&mut self, name: &str, arguments: &[Node], span: Span) -> Result<(Expr, Type), FormulaError> {
        let Some(function) = functions::find(name) else {
            let near = || did_you_mean(name, functions::all().map(|f| f.name)).map(|near| format!("; did you mean {near}?"));
            let hint = functions::advice(name).map(|advice| format!("; {advice}")).or_else(near);
            return Err(FormulaError::new(
                FormulaErrorKind::Type,
                span,
                format!("unknown function {}{}", excerpt(name), hint.unwrap_or_default()),
            ));
        };
        expect_count(function, arguments.len(), span)?;
        if function.parameters.come_in_pairs && !arguments.len().is_multiple_of(2) {
            let message = format!("{name} wants its arguments in pairs ({}), and this one is alone", function.arguments);
            let last = arguments.last().map_or(span, |last| last.span);
            return Err(FormulaError::new(FormulaErrorKind::Type, last, message));
        }
        self.is_timed |= functions::TIMED.contains(&function.name);
        if functions::OF_CHANGES.contains(&function.name) {
            if arguments.is_empty() {
                self.references.push(MODIFIED);
            }
            if let Some(other) = arguments.iter().find(|argument| !matches!(argument.kind, NodeKind::Attribute(_))) {
                let message = format!("{name} wants attributes, as in {name}({{price}})");
                return Err(FormulaError::new(FormulaErrorKind::Type, other.span, message));
            }
        }
        let mut exprs = Vec::with_capacity(arguments.len());
        let mut types = Vec::with_capacity(arguments.len());
        for (i, argument) in arguments.iter().enumerate() {
            let known = self.variables.len();
            if let Some(variable) = super::parse::variable_of(name, i) {
                let item = types.first().map_or(Type::Any, |list: &Type| list.item().clone());
                self.variables.push((variable.into(), item));
            }
            let is_attribute = match &argument.kind {
                NodeKind::Attribute(_) => true,
                NodeKind::Call(name, _) => name == HOST,
                _ => false,
            };
            self.takes_links = is_attribute && functions::OF_LINKS.contains(&function.name);
            self.takes_attributes = is_attribute && functions::OF_CHANGES.contains(&function.name);
            let checked = self.node(argument);
            (self.takes_links, self.takes_attributes) = (false, false);
            let (expr, ty) = checked?;
            self.variables.truncate(known);
            let kind = function.parameters.kind(i);
            if !kind.accepts(&ty) {
                let message = format!("{name} wants {kind} as argument {}, and this is of type {ty}", i + 1);
                return Err(FormulaError::new(FormulaErrorKind::Type, argument.span, message));
            }
            if let Expr::Constant(value) = &expr {
                kind.check_constant(value).map_err(|e| FormulaError::new(FormulaErrorKind::Type, argument.span, &e.message))?;
            }
            // What asks when attributes were written to is about them, and not about what they hold.
            let may_be_blank_list =
                matches!(ty, Type::List(_)) && !matches!(expr, Expr::Constant(_)) && !functions::OF_CHANGES.contains(&function.name);
            exprs.push(if may_be_blank_list { Expr::Listed(Box::new(expr)) } else { expr });
            types.push(ty);
        }
        if name == "SWITCH" {
            // What is compared: the expression and the cases.
            let compared = || std::iter::once(0).chain((1..types.len() - 1).step_by(2));
            if compared().all(|i| matches!(types[i], Type::Bool | Type::Number)) {
                for i in compared() {
                    if may_be_unticked(&exprs[i], &types[i]) {
                        let expr = std::mem::replace(&mut exprs[i], Expr::Constant(Value::Blank));
                        exprs[i] = as_condition(expr, span);
                    }
                }
            }
        }
        let ty = (function.returns)(&types);
        let arguments = exprs.into_boxed_slice();
        let lazy = matches!(function.call, Call::Lazy(_));
        Ok((if lazy { Expr::Lazy(function, arguments, span) } else { exact_if_it_flips(Expr::Call(function, arguments, span)) }, ty))
    }
}

/// Whether it is a condition that may be blank, as a box is that was never ticked. Beside another condition or a number it is
/// then as one that is not ticked.
fn may_be_unticked(expr: &Expr, ty: &Type) -> bool {
    *ty == Type::Bool && !matches!(expr, Expr::Constant(_) | Expr::Binary(..))
}

/// Whether it is a condition or a number that may equal one that is not ticked. Beside one that does not it may stay known
/// which cell is compared.
fn may_be_false(expr: &Expr, ty: &Type) -> bool {
    matches!(ty, Type::Bool | Type::Number) && !matches!(expr, Expr::Constant(value) if truth(value))
}

/// Whether it is a quotient, or made of one, that would be rounded before it is calculated with.
fn goes_on_with_quotient(expr: &Expr) -> bool {
    match expr {
        Expr::Fraction(_) | Expr::Binary(Operator::Divide, ..) => true,
        Expr::Negate(operand, _) => goes_on_with_quotient(operand),
        _ => false,
    }
}

fn without_rounding(expr: Expr) -> Expr {
    match expr {
        Expr::Fraction(inner) => *inner,
        other => other,
    }
}

/// True or false, and never blank.
fn as_condition(expr: Expr, span: Span) -> Expr {
    match functions::find("AND") {
        Some(and) => Expr::Call(and, Box::new([expr]), span),
        None => expr,
    }
}

fn expect_number(ty: &Type, what: &str, span: Span) -> Result<(), FormulaError> {
    if Kind::Number.accepts(ty) {
        return Ok(());
    }
    let hint = if ty.is_moment() { "; DATEADD and DATETIME_DIFF calculate with dates" } else { "" };
    Err(FormulaError::new(FormulaErrorKind::Type, span, format!("`{what}` wants a number, and this is of type {ty}{hint}")))
}

fn expect_count(function: &Function, count: usize, span: Span) -> Result<(), FormulaError> {
    let (least, most) = (function.parameters.required.len(), function.parameters.most());
    if count >= least && most.is_none_or(|most| count <= most) {
        return Ok(());
    }
    let wanted = match most {
        Some(most) if most == least => format!("{least}"),
        Some(most) => format!("{least} to {most}"),
        None => format!("at least {least}"),
    };
    let plural = if wanted == "1" || wanted == "at least 1" { "argument" } else { "arguments" };
    Err(FormulaError::new(FormulaErrorKind::Type, span, format!("{} wants {wanted} {plural} and got {count}", function.name)))
}

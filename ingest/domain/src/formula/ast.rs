//! The syntax tree of a formula. Every node knows its place in the text; printing a tree gives a formula that reads as it.

use std::fmt;

use ecow::EcoString;
use rust_decimal::Decimal;

use super::Span;
use super::token::in_braces;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its place in the text.
    pub span: Span,
    /// How many nodes lie on the longest way down, itself included.
    pub depth: usize,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// `12.5`
    Number(Decimal),
    /// `"text"` or `'text'`
    Text(EcoString),
    /// `{key}`, or `key` where no variable goes by that name.
    Attribute(EcoString),
    /// A name that LET gave, or that a function gives to an argument; as it was written.
    Variable(EcoString),
    /// `-x`
    Negate(Box<Node>),
    /// `a + b`
    Binary(Operator, Box<Node>, Box<Node>),
    /// `NAME(a, b)`; the name in capitals.
    Call(EcoString, Vec<Node>),
}

/// The operators between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `^`
    Power,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`: the remainder, with the sign of the divisor.
    Modulo,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `&`: joins texts.
    Join,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `=`
    Equal,
    /// `!=` or `<>`
    NotEqual,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// The word that makes a reference one to the host of a crossing: `HOST({limit})`.
pub const HOST: &str = "HOST";

impl Operator {
    /// How it is written.
    pub fn symbol(self) -> &'static str {
        use Operator::*;
        match self {
            Power => "^",
            Multiply => "*",
            Divide => "/",
            Modulo => "%",
            Add => "+",
            Subtract => "-",
            Join => "&",
            Less => "<",
            LessEqual => "<=",
            Greater => ">",
            GreaterEqual => ">=",
            Equal => "=",
            NotEqual => "!=",
            And => "&&",
            Or => "||",
        }
    }

    /// Whether it does not matter how a chain of it is bracketed. Sums do: a decimal may round, a date is no number.
    pub(super) fn is_associative(self) -> bool {
        matches!(self, Operator::Join | Operator::And | Operator::Or)
    }

    /// Whether it makes a fraction of two fractions.
    pub(super) fn is_of_fractions(self) -> bool {
        matches!(self, Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide)
    }

    /// How tightly it binds; all operators group from the left. Unary minus binds tighter than any.
    pub fn precedence(self) -> u8 {
        use Operator::*;
        match self {
            Power => 8,
            Multiply | Divide | Modulo => 7,
            Add | Subtract => 6,
            Join => 5,
            Less | LessEqual | Greater | GreaterEqual => 4,
            Equal | NotEqual => 3,
            And => 2,
            Or => 1,
        }
    }
}

impl Node {
    /// Calls `visit` with every attribute reference, in the order of the text; `true` for those to the host of a crossing.
    pub fn each_attribute(&self, visit: &mut impl FnMut(Span, &str, bool)) {
        self.each_attribute_of(false, visit);
    }

    fn each_attribute_of(&self, of_host: bool, visit: &mut impl FnMut(Span, &str, bool)) {
        match &self.kind {
            NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Variable(_) => {}
            NodeKind::Attribute(name) => visit(self.span, name, of_host),
            NodeKind::Negate(operand) => operand.each_attribute_of(of_host, visit),
            NodeKind::Binary(_, left, right) => {
                left.each_attribute_of(of_host, visit);
                right.each_attribute_of(of_host, visit);
            }
            NodeKind::Call(name, arguments) => {
                let of_host = of_host || name == HOST;
                arguments.iter().for_each(|argument| argument.each_attribute_of(of_host, visit));
            }
        }
    }

    /// Calls `visit` with the place of every call of this function, in the order of the text.
    pub fn each_call(&self, function: &str, visit: &mut impl FnMut(Span)) {
        match &self.kind {
            NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Variable(_) | NodeKind::Attribute(_) => {}
            NodeKind::Negate(operand) => operand.each_call(function, visit),
            NodeKind::Binary(_, left, right) => {
                left.each_call(function, visit);
                right.each_call(function, visit);
            }
            NodeKind::Call(name, _) if name == function => visit(self.span),
            NodeKind::Call(_, arguments) => arguments.iter().for_each(|argument| argument.each_call(function, visit)),
        }
    }

    /// Whether both are the same formula, wherever it stands in a text.
    pub fn means_the_same(&self, other: &Node) -> bool {
        use NodeKind::*;
        match (&self.kind, &other.kind) {
            (Negate(a), Negate(b)) => a.means_the_same(b),
            (Binary(o, a, b), Binary(p, c, d)) => o == p && a.means_the_same(c) && b.means_the_same(d),
            (Call(f, xs), Call(g, ys)) => f == g && xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| x.means_the_same(y)),
            (a, b) => a == b,
        }
    }

    /// How tightly its outermost operator binds.
    fn precedence(&self) -> u8 {
        match &self.kind {
            NodeKind::Binary(operator, ..) => operator.precedence(),
            NodeKind::Negate(_) => 9,
            _ => 10,
        }
    }
}

/// The formula, with no more brackets than it needs.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Number(number) => write!(f, "{number}"),
            NodeKind::Text(text) => write!(f, "\"{}\"", escaped(text)),
            NodeKind::Attribute(name) => f.write_str(&in_braces(name)),
            NodeKind::Variable(name) => f.write_str(name),
            NodeKind::Negate(operand) => {
                f.write_str("-")?;
                bracketed(operand, 9, f)
            }
            NodeKind::Binary(operator, left, right) => {
                bracketed(left, operator.precedence(), f)?;
                write!(f, " {} ", operator.symbol())?;
                bracketed(right, operator.precedence() + u8::from(!operator.is_associative()), f)
            }
            NodeKind::Call(name, arguments) => {
                write!(f, "{name}(")?;
                for (i, argument) in arguments.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{argument}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// `node`, in brackets if it binds less tightly than `floor`.
fn bracketed(node: &Node, floor: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if node.precedence() < floor { write!(f, "({node})") } else { write!(f, "{node}") }
}

/// `text` as it stands between double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out
}

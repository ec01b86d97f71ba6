//! The syntax tree of a formula. Every node knows its place in the text.

use ecow::EcoString;
use rust_decimal::Decimal;

use super::Span;

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
    /// `{key}`: what stands between the braces.
    Attribute(EcoString),
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
}

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
        }
    }

    /// How tightly it binds; all operators group from the left. Unary minus binds tighter than any.
    pub fn precedence(self) -> u8 {
        use Operator::*;
        match self {
            Power => 6,
            Multiply | Divide | Modulo => 5,
            Add | Subtract => 4,
            Join => 3,
            Less | LessEqual | Greater | GreaterEqual => 2,
            Equal | NotEqual => 1,
        }
    }
}

impl Node {
    /// Calls `visit` with every attribute reference, in the order of the text.
    pub fn each_attribute(&self, visit: &mut impl FnMut(Span, &str)) {
        match &self.kind {
            NodeKind::Number(_) | NodeKind::Text(_) => {}
            NodeKind::Attribute(name) => visit(self.span, name),
            NodeKind::Negate(operand) => operand.each_attribute(visit),
            NodeKind::Binary(_, left, right) => {
                left.each_attribute(visit);
                right.each_attribute(visit);
            }
            NodeKind::Call(_, arguments) => arguments.iter().for_each(|argument| argument.each_attribute(visit)),
        }
    }
}

//! Tokens to tree, by precedence climbing (Pratt 1973): one loop for all binary operators.

use super::ast::{Node, NodeKind, Operator};
use super::token::{Token, tokens};
use super::{DEPTH_MAX, EXPRESSION_LENGTH_MAX, FormulaError, FormulaErrorKind, STORED_LENGTH_MAX, Span};

/// The syntax tree of what a user wrote.
pub fn parse(text: &str) -> Result<Node, FormulaError> {
    parse_bounded(text, EXPRESSION_LENGTH_MAX)
}

/// The syntax tree of a formula in its stored form.
pub fn parse_stored(text: &str) -> Result<Node, FormulaError> {
    parse_bounded(text, STORED_LENGTH_MAX)
}

fn parse_bounded(text: &str, length_max: usize) -> Result<Node, FormulaError> {
    let tokens = tokens(text, length_max)?;
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, end: text.len() };
    let node = parser.expression(0)?;
    match parser.peek() {
        None => Ok(node),
        Some((token, span)) => {
            Err(FormulaError::new(FormulaErrorKind::Syntax, *span, format!("{} was not expected here", describe(token))))
        }
    }
}

struct Parser<'a> {
    tokens: &'a [(Token, Span)],
    next: usize,
    /// Open brackets and signs: bounds the recursion.
    depth: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a (Token, Span)> {
        self.tokens.get(self.next)
    }

    fn advance(&mut self) -> Option<&'a (Token, Span)> {
        let token = self.tokens.get(self.next);
        self.next += 1;
        token
    }

    /// An expression whose operators bind tighter than `floor`.
    fn expression(&mut self, floor: u8) -> Result<Node, FormulaError> {
        let mut left = self.operand()?;
        while let Some((Token::Operator(operator), _)) = self.peek() {
            if operator.precedence() <= floor {
                break;
            }
            self.next += 1;
            let right = self.expression(operator.precedence())?;
            let (span, depth) = (left.span.to(right.span), 1 + left.depth.max(right.depth));
            left = node(span, depth, NodeKind::Binary(*operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Node, FormulaError> {
        let Some((token, span)) = self.advance() else {
            let end = Span { start: self.end, end: self.end };
            return Err(FormulaError::new(FormulaErrorKind::Syntax, end, "the formula ends where a value was expected"));
        };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(*span));
        }
        let out = match token {
            Token::Number(number) => node(*span, 1, NodeKind::Number(*number)),
            Token::Text(text) => node(*span, 1, NodeKind::Text(text.clone())),
            Token::Attribute(name) => node(*span, 1, NodeKind::Attribute(name.clone())),
            Token::Operator(Operator::Subtract) => {
                let operand = self.operand()?;
                node(span.to(operand.span), operand.depth + 1, NodeKind::Negate(Box::new(operand)))
            }
            Token::Operator(Operator::Add) => self.operand(),
            Token::Open => {
                let inner = self.expression(0)?;
                self.close(*span)?;
                Ok(inner)
            }
            Token::Name(name) => {
                let (arguments, end) = match self.peek() {
                    Some((Token::Open, open)) => {
                        self.next += 1;
                        self.arguments(*open)?
                    }
                    // TRUE and FALSE may be written without brackets.
                    _ if name == "TRUE" || name == "FALSE" => (Vec::new(), *span),
                    _ => {
                        let message =
                            format!("`{name}` is not followed by `(`; attributes stand in braces, as in {{{}}}", name.to_lowercase());
                        return Err(FormulaError::new(FormulaErrorKind::Syntax, *span, message));
                    }
                };
                let depth = 1 + arguments.iter().map(|a| a.depth).max().unwrap_or(0);
                node(span.to(end), depth, NodeKind::Call(name.clone(), arguments))
            }
            other => {
                Err(FormulaError::new(FormulaErrorKind::Syntax, *span, format!("{} stands where a value was expected", describe(other))))
            }
        };
        self.depth -= 1;
        out
    }

    fn arguments(&mut self, open: Span) -> Result<(Vec<Node>, Span), FormulaError> {
        let mut arguments = Vec::new();
        if let Some((Token::Close, end)) = self.peek() {
            self.next += 1;
            return Ok((arguments, *end));
        }
        loop {
            arguments.push(self.expression(0)?);
            match self.peek() {
                Some((Token::Comma, _)) => self.next += 1,
                _ => return self.close(open).map(|end| (arguments, end)),
            }
        }
    }

    fn close(&mut self, open: Span) -> Result<Span, FormulaError> {
        match self.advance() {
            Some((Token::Close, span)) => Ok(*span),
            Some((other, span)) => Err(FormulaError::new(
                FormulaErrorKind::Syntax,
                *span,
                format!("{} was not expected here; `)` or `,` would be", describe(other)),
            )),
            None => Err(FormulaError::new(FormulaErrorKind::Syntax, open, "this `(` is not closed")),
        }
    }
}

fn node(span: Span, depth: usize, kind: NodeKind) -> Result<Node, FormulaError> {
    if depth > DEPTH_MAX { Err(too_deep(span)) } else { Ok(Node { span, depth, kind }) }
}

fn too_deep(span: Span) -> FormulaError {
    FormulaError::new(FormulaErrorKind::TooLarge, span, format!("the formula is nested more than {DEPTH_MAX} deep"))
}

fn describe(token: &Token) -> String {
    match token {
        Token::Number(number) => format!("the number {number}"),
        Token::Text(_) => "this text".into(),
        Token::Attribute(name) => format!("{{{name}}}"),
        Token::Name(name) => format!("`{name}`"),
        Token::Operator(operator) => format!("`{}`", operator.symbol()),
        Token::Open => "`(`".into(),
        Token::Close => "`)`".into(),
        Token::Comma => "`,`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in prefix form.
    fn show(node: &Node) -> String {
        match &node.kind {
            NodeKind::Number(n) => n.to_string(),
            NodeKind::Text(t) => format!("{t:?}"),
            NodeKind::Attribute(a) => format!("{{{a}}}"),
            NodeKind::Negate(x) => format!("(neg {})", show(x)),
            NodeKind::Binary(o, a, b) => format!("({} {} {})", o.symbol(), show(a), show(b)),
            NodeKind::Call(f, xs) => format!("({f}{})", xs.iter().map(|x| format!(" {}", show(x))).collect::<String>()),
        }
    }

    #[test]
    fn precedence() {
        for (text, tree) in [
            ("1 + 2 * 3", "(+ 1 (* 2 3))"),
            ("1 - 2 - 3", "(- (- 1 2) 3)"),
            ("-2 ^ 2", "(^ (neg 2) 2)"),
            ("2 * 3 ^ 2", "(* 2 (^ 3 2))"),
            ("'a' & 1 = 'a1'", "(= (& \"a\" 1) \"a1\")"),
            ("1 < 2 = TRUE", "(= (< 1 2) (TRUE))"),
            ("1 <> 2", "(!= 1 2)"),
            ("if({a b}, round({c}*60/{d},1))", "(IF {a b} (ROUND (/ (* {c} 60) {d}) 1))"),
            (r#""a\"b\n""#, r#""a\"b\n""#),
            ("1.5e3", "1500"),
            (".5", "0.5"),
        ] {
            assert_eq!(parse(text).map(|n| show(&n)).unwrap(), tree, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, start, says) in [
            ("", 0, "ends where"),
            ("1 + (", 5, "ends where"),
            ("1 + (2", 4, "not closed"),
            ("1 2", 2, "not expected"),
            ("SUM(1,)", 6, "`)` stands"),
            ("'abc", 0, "not closed"),
            ("{abc", 0, "not closed"),
            ("{ }", 0, "between braces"),
            ("abc", 0, "{abc}"),
            ("1 ! 2", 2, "`!=`"),
            ("1 # 2", 2, "no meaning"),
            ("1 + é", 4, "not followed"),
            ("99999999999999999999999999999999999", 0, "28 digits"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind, FormulaErrorKind::Syntax, "{text}");
            assert_eq!(error.span.start, start, "{text}: {error}");
            assert!(error.message.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        for text in [
            format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000)),
            format!("{}1", "-".repeat(10_000)),
            format!("1{}", "+1".repeat(10_000)),
            "1".repeat(1_000_000),
            format!("{}1{}", "ABS(".repeat(5_000), ")".repeat(5_000)),
        ] {
            assert_eq!(parse(&text).unwrap_err().kind, FormulaErrorKind::TooLarge);
        }
        assert!(parse(&format!("{}1{}", "(".repeat(300), ")".repeat(300))).is_ok());
    }
}

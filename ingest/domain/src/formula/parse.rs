//! Tokens to tree, by precedence climbing (Pratt 1973): one loop for all binary operators.

use ecow::EcoString;

use super::ast::{Node, NodeKind, Operator};
use super::token::{Token, tokens};
use super::{DEPTH_MAX, EXPRESSION_LENGTH_MAX, FormulaError, FormulaErrorKind, STORED_LENGTH_MAX, Span};

/// The syntax tree of what a user wrote, in which `variables` are known.
pub fn parse(text: &str, variables: &[&str]) -> Result<Node, FormulaError> {
    parse_bounded(text, variables, EXPRESSION_LENGTH_MAX)
}

/// The syntax tree of a formula in its stored form.
pub fn parse_stored(text: &str, variables: &[&str]) -> Result<Node, FormulaError> {
    parse_bounded(text, variables, STORED_LENGTH_MAX)
}

fn parse_bounded(text: &str, variables: &[&str], length_max: usize) -> Result<Node, FormulaError> {
    let tokens = tokens(text, length_max)?;
    let variables = variables.iter().copied().map(EcoString::from).collect();
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, end: text.len(), variables };
    let (node, _) = parser.expression(0)?;
    match parser.peek() {
        None => Ok(node),
        Some((token, span)) => Err(unexpected(token, *span, "")),
    }
}

struct Parser<'a> {
    tokens: &'a [(Token, Span)],
    next: usize,
    /// Open brackets and signs: bounds the recursion.
    depth: usize,
    end: usize,
    /// The variables that are known here, innermost last.
    variables: Vec<EcoString>,
}

/// A node, and its place with the brackets around it.
type Placed = (Node, Span);

/// The variable that a function gives to one of its arguments, counted from 0.
pub(super) fn variable_of(function: &str, argument: usize) -> Option<&'static str> {
    (function == "FILTER" && argument == 1).then_some("value")
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
    fn expression(&mut self, floor: u8) -> Result<Placed, FormulaError> {
        let mut left = self.operand()?;
        while let Some((Token::Operator(operator), _)) = self.peek() {
            if operator.precedence() <= floor {
                break;
            }
            self.next += 1;
            let right = self.expression(operator.precedence())?;
            left = if operator.is_associative() {
                let (start, mut end, mut chain) = (left.1, right.1, Vec::new());
                links(left, *operator, &mut chain);
                links(right, *operator, &mut chain);
                while matches!(self.peek(), Some((Token::Operator(next), _)) if next == operator) {
                    self.next += 1;
                    let next = self.expression(operator.precedence())?;
                    end = next.1;
                    links(next, *operator, &mut chain);
                }
                let (mut whole, _) = balanced(*operator, chain)?;
                whole.span = start.to(end);
                (whole, start.to(end))
            } else {
                binary(*operator, left, right)?
            };
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Placed, FormulaError> {
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
                let (operand, place) = self.operand()?;
                node(span.to(place), operand.depth + 1, NodeKind::Negate(Box::new(operand)))
            }
            Token::Operator(Operator::Add) => {
                let (operand, place) = self.operand()?;
                self.depth -= 1;
                return Ok((operand, span.to(place)));
            }
            Token::Not => {
                let (operand, place) = self.operand()?;
                node(span.to(place), operand.depth + 1, NodeKind::Call("NOT".into(), vec![operand]))
            }
            Token::Open => {
                let (inner, _) = self.expression(0)?;
                let end = self.close(*span)?;
                self.depth -= 1;
                return Ok((inner, span.to(end)));
            }
            Token::Name(name) => {
                let capitals: EcoString = name.to_uppercase();
                let (arguments, end) = match self.peek() {
                    Some((Token::Open, open)) => {
                        self.next += 1;
                        match capitals.as_str() {
                            "LET" => self.bindings(*open)?,
                            _ => self.arguments(&capitals, *open)?,
                        }
                    }
                    _ if self.knows(name) => {
                        self.depth -= 1;
                        return node(*span, 1, NodeKind::Variable(name.clone())).map(|node| (node, *span));
                    }
                    // TRUE and FALSE may be written without brackets.
                    _ if capitals == "TRUE" || capitals == "FALSE" => (Vec::new(), *span),
                    _ => {
                        self.depth -= 1;
                        return node(*span, 1, NodeKind::Attribute(name.clone())).map(|node| (node, *span));
                    }
                };
                let depth = 1 + arguments.iter().map(|a| a.depth).max().unwrap_or(0);
                node(span.to(end), depth, NodeKind::Call(capitals, arguments))
            }
            other => {
                Err(FormulaError::new(FormulaErrorKind::Syntax, *span, format!("{} stands where a value was expected", describe(other))))
            }
        };
        self.depth -= 1;
        out.map(|node| {
            let span = node.span;
            (node, span)
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.variables.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The arguments of LET: names with their values, then what uses them.
    fn bindings(&mut self, open: Span) -> Result<(Vec<Node>, Span), FormulaError> {
        let (known, mut arguments) = (self.variables.len(), Vec::new());
        while let Some((Token::Name(name), span)) = self.peek()
            && let Some((Token::Comma, _)) = self.tokens.get(self.next + 1)
        {
            self.next += 2;
            arguments.push(node(*span, 1, NodeKind::Variable(name.clone()))?);
            arguments.push(self.expression(0)?.0);
            match self.advance() {
                Some((Token::Comma, _)) => {}
                None | Some((Token::Close, _)) => {
                    let message = "LET ends with a formula that uses its names, as in LET(x, 2, x * x)";
                    return Err(FormulaError::new(FormulaErrorKind::Syntax, *span, message));
                }
                Some((other, span)) => return Err(unexpected(other, *span, "`,` would be")),
            }
            self.variables.push(name.clone());
        }
        if arguments.is_empty() {
            let found = self.peek().map_or(open, |(_, span)| *span);
            let message = "LET wants a name, its value, and a formula that uses it, as in LET(x, 2, x * x)";
            return Err(FormulaError::new(FormulaErrorKind::Syntax, found, message));
        }
        arguments.push(self.expression(0)?.0);
        self.variables.truncate(known);
        self.close(open).map(|end| (arguments, end))
    }

    fn arguments(&mut self, function: &str, open: Span) -> Result<(Vec<Node>, Span), FormulaError> {
        let mut arguments = Vec::new();
        if let Some((Token::Close, end)) = self.peek() {
            self.next += 1;
            return Ok((arguments, *end));
        }
        loop {
            let known = self.variables.len();
            self.variables.extend(variable_of(function, arguments.len()).map(EcoString::from));
            arguments.push(self.expression(0)?.0);
            self.variables.truncate(known);
            match self.peek() {
                Some((Token::Comma, _)) => self.next += 1,
                _ => return self.close(open).map(|end| (arguments, end)),
            }
        }
    }

    fn close(&mut self, open: Span) -> Result<Span, FormulaError> {
        match self.advance() {
            Some((Token::Close, span)) => Ok(*span),
            Some((other, span)) => Err(unexpected(other, *span, "`)` or `,` would be")),
            None => Err(FormulaError::new(FormulaErrorKind::Syntax, open, "this `(` is not closed")),
        }
    }
}

/// Appends what `operator` has between it in this tree, from left to right.
fn links((tree, place): Placed, operator: Operator, chain: &mut Vec<Placed>) {
    match tree.kind {
        NodeKind::Binary(its, left, right) if its == operator => {
            for inner in [*left, *right] {
                let place = inner.span;
                links((inner, place), operator, chain);
            }
        }
        _ => chain.push((tree, place)),
    }
}

/// The tree of a chain, as low as it can be, so that long chains are not deep.
fn balanced(operator: Operator, mut chain: Vec<Placed>) -> Result<Placed, FormulaError> {
    while chain.len() > 1 {
        let (mut links, mut pairs) = (chain.into_iter(), Vec::new());
        while let Some(left) = links.next() {
            pairs.push(match links.next() {
                Some(right) => binary(operator, left, right)?,
                None => left,
            });
        }
        chain = pairs;
    }
    Ok(chain.pop().expect("a chain has at least the two operands that its operator was found between"))
}

fn binary(operator: Operator, (left, start): Placed, (right, end): Placed) -> Result<Placed, FormulaError> {
    let (span, depth) = (start.to(end), 1 + left.depth.max(right.depth));
    node(span, depth, NodeKind::Binary(operator, Box::new(left), Box::new(right))).map(|node| (node, span))
}

fn node(span: Span, depth: usize, kind: NodeKind) -> Result<Node, FormulaError> {
    if depth > DEPTH_MAX { Err(too_deep(span)) } else { Ok(Node { span, depth, kind }) }
}

fn too_deep(span: Span) -> FormulaError {
    FormulaError::new(FormulaErrorKind::TooLarge, span, format!("the formula is nested more than {DEPTH_MAX} deep"))
}

/// The error of a token where none of its kind can be, with what to write for it or else what could be there.
fn unexpected(token: &Token, span: Span, wanted: &str) -> FormulaError {
    let advice = match token {
        Token::Name(name) => match name.to_uppercase().as_str() {
            "AND" => "`&&` is the operator, and AND(…) the function",
            "OR" => "`||` is the operator, and OR(…) the function",
            "NOT" => "NOT(…) is the function",
            "MOD" => "`%` is the operator, and MOD(…) the function",
            _ => wanted,
        },
        _ => wanted,
    };
    let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
    FormulaError::new(FormulaErrorKind::Syntax, span, format!("{} was not expected here{advice}", describe(token)))
}

fn describe(token: &Token) -> String {
    match token {
        Token::Number(number) => format!("the number {number}"),
        Token::Text(_) => "this text".into(),
        Token::Attribute(name) => format!("{{{name}}}"),
        Token::Name(name) => format!("`{name}`"),
        Token::Operator(operator) => format!("`{}`", operator.symbol()),
        Token::Not => "`!`".into(),
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
            NodeKind::Variable(v) => v.to_string(),
            NodeKind::Negate(x) => format!("(neg {})", show(x)),
            NodeKind::Binary(o, a, b) => format!("({} {} {})", o.symbol(), show(a), show(b)),
            NodeKind::Call(f, xs) => format!("({f}{})", xs.iter().map(|x| format!(" {}", show(x))).collect::<String>()),
        }
    }

    #[test]
    fn names_may_have_braces_in_them() {
        let eats = |text: &str, name: &str| {
            let tree = parse(text, &[]).unwrap();
            assert_eq!(show(&tree), format!("{{{name}}}"), "{text}");
            assert_eq!(show(&parse(&tree.to_string(), &[]).unwrap()), show(&tree), "{text}");
        };
        eats(r"{a\}b}", "a}b");
        eats(r#"{f" \{\}}"#, "f\" {}");
        eats(r"{b{}", "b{");
        eats(r"{ a\b }", r"a\b");
        eats(r"{a\\}", r"a\");
        assert!(parse(r"{a\}", &[]).is_err(), "it is not closed");
    }

    #[test]
    fn precedence() {
        for (text, tree) in [
            ("1 + 2 * 3", "(+ 1 (* 2 3))"),
            ("1 & 2 & 3 & 4 & 5", "(& (& (& 1 2) (& 3 4)) 5)"),
            ("1 & (2 & (3 & 4)) & 5", "(& (& (& 1 2) (& 3 4)) 5)"),
            ("1 && 2 || (3 || 4) && 5", "(|| (&& 1 2) (&& (|| 3 4) 5))"),
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
            ("1 = 2 && 3 || 4 & 5 && 6", "(|| (&& (= 1 2) 3) (&& (& 4 5) 6))"),
            ("1 // one\n + /* two */ 2", "(+ 1 2)"),
            ("'it''s' & \"a\"\"b\"", "(& \"it's\" \"a\\\"b\")"),
            ("price * Values", "(* {price} Values)"),
            ("let(x, 2, y, x * {x}, X + y)", "(LET x 2 y (* x {x}) (+ X y))"),
            ("filter({xs}, value > 3) & value", "(& (FILTER {xs} (> value 3)) {value})"),
            ("!{a} && !({b} = 1)", "(&& (NOT {a}) (NOT (= {b} 1)))"),
            (r#""\d+\.\\""#, r#""\\d+\\.\\""#),
            ("--1 - -(2 - 3)", "(- (neg (neg 1)) (neg (- 2 3)))"),
        ] {
            let node = parse(text, &["values"]).unwrap();
            assert_eq!(show(&node), tree, "{text}");
            let again = parse(&node.to_string(), &["values"]).unwrap();
            assert!(again.means_the_same(&node), "{text} printed is {node}");
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
            ("1 /* 2", 2, "not closed"),
            ("1 | 2", 2, "`||`"),
            ("LET(x, 1)", 4, "LET ends"),
            ("LET(x, 1 y, 2, x)", 9, "`y` was not expected here; `,` would be"),
            ("LET()", 4, "LET wants a name"),
            ("LET({x}, 2, 3)", 4, "LET wants a name"),
            ("LET(x)", 4, "LET wants a name"),
            ("{a} AND {b}", 4, "`&&` is the operator"),
            ("IF(1; 2)", 4, "arguments are separated by `,`"),
            ("1 =< 2", 2, "`<=`"),
            ("2 ** 3", 2, "`^`"),
            ("{s}.length", 3, "`.` has no meaning here"),
            ("\u{201c}a\u{201d}", 0, "quotes are"),
            ("1 \u{feff}+ 2", 2, "U+FEFF"),
            ("1 ! 2", 2, "`!` was not"),
            ("1 # 2", 2, "no meaning"),
            ("99999999999999999999999999999999999", 0, "28 digits"),
        ] {
            let error = parse(text, &[]).unwrap_err();
            assert_eq!(error.kind, FormulaErrorKind::Syntax, "{text}");
            assert_eq!(error.span.start, start, "{text}: {error}");
            assert!(error.message.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn brackets_belong_to_the_operands_that_they_are_around() {
        for (text, start, end) in [("(1+2)/(3-3)", 0, 11), ("((1)/(0))", 1, 8), ("-(2) * +(3)", 0, 11), ("('a')&((1)&(2))", 0, 15)] {
            assert_eq!(parse(text, &[]).unwrap().span, Span { start, end }, "{text}");
        }
        let attribute = parse("(({a}))", &[]).unwrap();
        assert_eq!(attribute.span, Span { start: 2, end: 5 }, "what is put in the place of an attribute leaves the brackets");
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
            assert_eq!(parse(&text, &[]).unwrap_err().kind, FormulaErrorKind::TooLarge);
        }
        assert!(parse(&format!("{}1{}", "(".repeat(200), ")".repeat(200)), &[]).is_ok());
        for chained in ["&1", "&&1", "||1", "&(1&1)"] {
            let tree = parse(&format!("1{}", chained.repeat(4_000)), &[]).unwrap();
            assert!(parse(&tree.to_string(), &[]).unwrap().means_the_same(&tree), "{chained}");
        }
    }
}

//! Tokens to parse trees, with the errors of Go's `text/template/parse`.

use std::collections::BTreeMap;

use super::TemplateError;
use super::lexer::{Keyword, Token, TokenKind, tokens};
use super::node::{Branch, Command, Node, Number, Operand, OperandKind, Pipe, TemplateCall};
use super::quote::{quote, unquote, unquote_char};

/// How deep control structures and parentheses may nest.
const DEPTH_MAX: usize = 100;

/// The templates of one text by name; the text itself is under the name given to [`parse`].
pub(super) type Trees = BTreeMap<String, Vec<Node>>;

/// Parses `text`; `is_function` knows the names that may be called.
pub(super) fn parse(
    name: &str,
    text: &str,
    is_function: &dyn Fn(&str) -> bool,
) -> Result<Trees, TemplateError> {
    let mut parser = Parser {
        name,
        tokens: tokens(text),
        index: 0,
        farthest: 0,
        is_function,
        trees: Trees::new(),
        depth: 0,
    };
    let root = parser.root()?;
    parser.add(name.to_owned(), root)?;
    Ok(parser.trees)
}

struct Parser<'a> {
    name: &'a str,
    tokens: Vec<Token>,
    index: usize,
    /// The last token read so far: the line that errors name.
    farthest: usize,
    is_function: &'a dyn Fn(&str) -> bool,
    trees: Trees,
    depth: usize,
}

/// What belongs to one template body and not to the text as a whole.
#[derive(Default)]
struct Scope {
    variables: Vec<String>,
    range_depth: usize,
    action_line: usize,
}

impl Scope {
    fn new() -> Self {
        Self {
            variables: vec!["$".to_owned()],
            range_depth: 0,
            action_line: 0,
        }
    }
}

/// What ended a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
}

impl Ending {
    fn text(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

enum Item {
    Node(Node),
    Ending(Ending),
}

/// A control structure that has a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    If,
    Range,
    With,
}

impl Control {
    fn name(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::Range => "range",
            Self::With => "with",
        }
    }

    fn node(self, branch: Branch) -> Node {
        match self {
            Self::If => Node::If(branch),
            Self::Range => Node::Range(branch),
            Self::With => Node::With(branch),
        }
    }
}

impl Parser<'_> {
    fn error<T>(&self, message: impl AsRef<str>) -> Result<T, TemplateError> {
        let line = self.tokens.get(self.farthest).map_or(1, |token| token.line);
        Err(TemplateError(format!(
            "template: {}:{line}: {}",
            self.name,
            message.as_ref()
        )))
    }

    /// The token at the cursor; past the end it is the end of file again.
    fn peek(&mut self) -> Token {
        let index = self.index.min(self.tokens.len() - 1);
        self.farthest = self.farthest.max(index);
        self.tokens[index].clone()
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.index += 1;
        token
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    /// The next token that is no space; spaces before it are consumed.
    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.index -= 1;
        token
    }

    fn unexpected<T>(
        &self,
        token: &Token,
        context: &str,
        scope: &Scope,
    ) -> Result<T, TemplateError> {
        if token.kind != TokenKind::Error {
            return self.error(format!("unexpected {} in {context}", token.describe()));
        }
        if scope.action_line == 0 || scope.action_line == token.line {
            return self.error(&token.text);
        }
        let place = format!("started at {}:{}", self.name, scope.action_line);
        if token.text.ends_with(" action") {
            self.error(format!("{} {place}", token.text))
        } else {
            self.error(format!("{} in action {place}", token.text))
        }
    }

    fn expect(
        &mut self,
        kind: TokenKind,
        context: &str,
        scope: &Scope,
    ) -> Result<(), TemplateError> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(())
        } else {
            self.unexpected(&token, context, scope)
        }
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error(format!("exceeded maximum nesting depth ({DEPTH_MAX})"));
        }
        Ok(())
    }

    fn add(&mut self, name: String, body: Vec<Node>) -> Result<(), TemplateError> {
        match self.trees.get(&name) {
            Some(old) if !is_blank(old) => {
                if !is_blank(&body) {
                    return self.error(format!(
                        "template: multiple definition of template {}",
                        quote(&name)
                    ));
                }
            }
            _ => {
                self.trees.insert(name, body);
            }
        }
        Ok(())
    }

    fn root(&mut self) -> Result<Vec<Node>, TemplateError> {
        let mut scope = Scope::new();
        let mut nodes = Vec::new();
        loop {
            let token = self.peek();
            if token.kind == TokenKind::Eof {
                return Ok(nodes);
            }
            if token.kind == TokenKind::LeftDelim {
                let mark = self.index;
                self.next();
                if self.next_non_space().kind == TokenKind::Keyword(Keyword::Define) {
                    self.definition()?;
                    continue;
                }
                self.index = mark;
            }
            match self.text_or_action(&mut scope)? {
                Item::Node(node) => nodes.push(node),
                Item::Ending(ending) => {
                    return self.error(format!("unexpected {}", ending.text()));
                }
            }
        }
    }

    /// `{{define "name"}} … {{end}}`; the keyword is past.
    fn definition(&mut self) -> Result<(), TemplateError> {
        const CONTEXT: &str = "define clause";
        let mut scope = Scope::new();
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT, &scope)?;
        self.expect(TokenKind::RightDelim, CONTEXT, &scope)?;
        let body = self.body(CONTEXT, &mut scope)?;
        self.add(name, body)
    }

    /// The body of a definition or block, up to its end.
    fn body(&mut self, context: &str, scope: &mut Scope) -> Result<Vec<Node>, TemplateError> {
        match self.list(scope)? {
            (body, Ending::End) => Ok(body),
            (_, ending) => self.error(format!("unexpected {} in {context}", ending.text())),
        }
    }

    fn template_name(
        &self,
        token: &Token,
        context: &str,
        scope: &Scope,
    ) -> Result<String, TemplateError> {
        if !matches!(token.kind, TokenKind::String | TokenKind::RawString) {
            return self.unexpected(token, context, scope);
        }
        match unquote(&token.text) {
            Some(name) => Ok(name),
            None => self.error("invalid syntax"),
        }
    }

    fn list(&mut self, scope: &mut Scope) -> Result<(Vec<Node>, Ending), TemplateError> {
        self.deeper()?;
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != TokenKind::Eof {
            match self.text_or_action(scope)? {
                Item::Node(node) => nodes.push(node),
                Item::Ending(ending) => {
                    self.depth -= 1;
                    return Ok((nodes, ending));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self, scope: &mut Scope) -> Result<Item, TemplateError> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Text => Ok(Item::Node(Node::Text(token.text))),
            TokenKind::LeftDelim => {
                scope.action_line = token.line;
                let item = self.action(scope)?;
                scope.action_line = 0;
                Ok(item)
            }
            _ => self.unexpected(&token, "input", scope),
        }
    }

    fn action(&mut self, scope: &mut Scope) -> Result<Item, TemplateError> {
        let token = self.next_non_space();
        let TokenKind::Keyword(keyword) = token.kind else {
            self.index -= 1;
            return Ok(Item::Node(Node::Action(
                self.pipeline("command", false, scope)?,
            )));
        };
        let node = match keyword {
            Keyword::Block => self.block(scope)?,
            Keyword::Break => self.leave_range("{{break}}", Node::Break, scope)?,
            Keyword::Continue => self.leave_range("{{continue}}", Node::Continue, scope)?,
            Keyword::Else => {
                // "{{else if" and "{{else with" leave their keyword for the caller.
                let next = self.peek_non_space();
                if !matches!(next.kind, TokenKind::Keyword(Keyword::If | Keyword::With)) {
                    self.expect(TokenKind::RightDelim, "else", scope)?;
                }
                return Ok(Item::Ending(Ending::Else));
            }
            Keyword::End => {
                self.expect(TokenKind::RightDelim, "end", scope)?;
                return Ok(Item::Ending(Ending::End));
            }
            Keyword::If => self.control(Control::If, scope)?,
            Keyword::Range => self.control(Control::Range, scope)?,
            Keyword::With => self.control(Control::With, scope)?,
            Keyword::Template => self.template_call(scope)?,
            Keyword::Define | Keyword::Nil => {
                self.index -= 1;
                Node::Action(self.pipeline("command", false, scope)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn leave_range(
        &mut self,
        name: &str,
        node: Node,
        scope: &Scope,
    ) -> Result<Node, TemplateError> {
        self.expect(TokenKind::RightDelim, name, scope)?;
        if scope.range_depth == 0 {
            return self.error(format!("{name} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn control(&mut self, control: Control, scope: &mut Scope) -> Result<Node, TemplateError> {
        self.deeper()?;
        let mark = scope.variables.len();
        let pipe = self.pipeline(control.name(), false, scope)?;
        let in_range = usize::from(control == Control::Range);
        scope.range_depth += in_range;
        let (body, ending) = self.list(scope)?;
        scope.range_depth -= in_range;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else => Some(self.alternative(control, scope)?),
        };
        scope.variables.truncate(mark);
        self.depth -= 1;
        Ok(control.node(Branch {
            pipe,
            body,
            otherwise,
        }))
    }

    fn alternative(
        &mut self,
        control: Control,
        scope: &mut Scope,
    ) -> Result<Vec<Node>, TemplateError> {
        let next = self.peek().kind;
        let chained = matches!(
            (control, next),
            (Control::If, TokenKind::Keyword(Keyword::If))
                | (Control::With, TokenKind::Keyword(Keyword::With))
        );
        if chained {
            // "{{else if x}} … {{end}}" is "{{else}}{{if x}} … {{end}}{{end}}" with one end less.
            self.next();
            return Ok(vec![self.control(control, scope)?]);
        }
        match self.list(scope)? {
            (body, Ending::End) => Ok(body),
            (_, ending) => self.error(format!("expected end; found {}", ending.text())),
        }
    }

    fn block(&mut self, scope: &mut Scope) -> Result<Node, TemplateError> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT, scope)?;
        let pipe = self.pipeline(CONTEXT, false, scope)?;
        let body = self.body(CONTEXT, &mut Scope::new())?;
        self.add(name.clone(), body)?;
        Ok(Node::Template(TemplateCall {
            pos: token.pos,
            name,
            pipe: Some(pipe),
        }))
    }

    fn template_call(&mut self, scope: &mut Scope) -> Result<Node, TemplateError> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT, scope)?;
        let mut pipe = None;
        if self.next_non_space().kind != TokenKind::RightDelim {
            self.index -= 1;
            pipe = Some(self.pipeline(CONTEXT, false, scope)?);
        }
        Ok(Node::Template(TemplateCall {
            pos: token.pos,
            name,
            pipe,
        }))
    }

    /// `declarations? command ('|' command)*`, up to the delimiter or the closing parenthesis.
    fn pipeline(
        &mut self,
        context: &str,
        in_parens: bool,
        scope: &mut Scope,
    ) -> Result<Pipe, TemplateError> {
        self.deeper()?;
        let pos = self.peek_non_space().pos;
        let mut pipe = Pipe {
            pos,
            is_assign: false,
            variables: vec![],
            commands: vec![],
        };
        self.declarations(&mut pipe, context, scope)?;
        let end = if in_parens {
            TokenKind::RightParen
        } else {
            TokenKind::RightDelim
        };
        loop {
            let token = self.next_non_space();
            if token.kind == end {
                break;
            }
            if !starts_operand(token.kind) {
                return self.unexpected(&token, context, scope);
            }
            self.index -= 1;
            let command = self.command(scope)?;
            pipe.commands.push(command);
        }
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        // Only the first command of a pipeline may be no function.
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.args[0].kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(_)
                    | OperandKind::String { .. }
            ) {
                let stage = index + 1;
                return self.error(format!("non executable command in pipeline stage {stage}"));
            }
        }
        self.depth -= 1;
        Ok(pipe)
    }

    fn declarations(
        &mut self,
        pipe: &mut Pipe,
        context: &str,
        scope: &mut Scope,
    ) -> Result<(), TemplateError> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != TokenKind::Variable {
                return Ok(());
            }
            let mark = self.index;
            self.next();
            let after = self.next_non_space();
            match after.kind {
                TokenKind::Assign | TokenKind::Declare => {
                    pipe.is_assign = after.kind == TokenKind::Assign;
                    pipe.variables.push(variable.text.clone());
                    scope.variables.push(variable.text);
                    return Ok(());
                }
                TokenKind::Char if after.text == "," => {
                    pipe.variables.push(variable.text.clone());
                    scope.variables.push(variable.text);
                    if context != "range" || pipe.variables.len() >= 2 {
                        return self.error(format!("too many declarations in {context}"));
                    }
                    let next = self.peek_non_space();
                    if !matches!(
                        next.kind,
                        TokenKind::Variable | TokenKind::RightDelim | TokenKind::RightParen
                    ) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ => {
                    self.index = mark;
                    return Ok(());
                }
            }
        }
    }

    fn command(&mut self, scope: &mut Scope) -> Result<Command, TemplateError> {
        let pos = self.peek_non_space().pos;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            args.extend(self.operand(scope)?);
            let token = self.next();
            match token.kind {
                TokenKind::Space => continue,
                TokenKind::RightDelim | TokenKind::RightParen => self.index -= 1,
                TokenKind::Pipe => {}
                _ => return self.unexpected(&token, "operand", scope),
            }
            break;
        }
        if args.is_empty() {
            return self.error("empty command");
        }
        Ok(Command { pos, args })
    }

    /// A term with the fields that follow it.
    fn operand(&mut self, scope: &mut Scope) -> Result<Option<Operand>, TemplateError> {
        let Some(term) = self.term(scope)? else {
            return Ok(None);
        };
        let first = self.peek();
        if first.kind != TokenKind::Field {
            return Ok(Some(term));
        }
        let mut fields = Vec::new();
        while self.peek().kind == TokenKind::Field {
            fields.push(field_name(&self.next().text));
        }
        let kind = match term.kind {
            OperandKind::Field(mut names) => {
                names.extend(fields);
                OperandKind::Field(names)
            }
            OperandKind::Variable(mut names) => {
                names.extend(fields);
                OperandKind::Variable(names)
            }
            OperandKind::Identifier(_) | OperandKind::Pipe(_) | OperandKind::Chain(..) => {
                OperandKind::Chain(Box::new(term), fields)
            }
            _ => {
                let term = quote(&term.to_string());
                return self.error(format!("unexpected . after term {term}"));
            }
        };
        Ok(Some(Operand {
            pos: first.pos,
            kind,
        }))
    }

    fn term(&mut self, scope: &mut Scope) -> Result<Option<Operand>, TemplateError> {
        let token = self.next_non_space();
        let kind = match token.kind {
            TokenKind::Identifier => {
                if !(self.is_function)(&token.text) {
                    return self.error(format!("function {} not defined", quote(&token.text)));
                }
                OperandKind::Identifier(token.text)
            }
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Keyword(Keyword::Nil) => OperandKind::Nil,
            TokenKind::Variable => {
                if !scope.variables.contains(&token.text) {
                    return self.error(format!("undefined variable {}", quote(&token.text)));
                }
                OperandKind::Variable(vec![token.text])
            }
            TokenKind::Field => OperandKind::Field(vec![field_name(&token.text)]),
            TokenKind::Bool => OperandKind::Bool(token.text == "true"),
            TokenKind::CharConstant | TokenKind::Complex | TokenKind::Number => {
                match number(&token) {
                    Ok(number) => OperandKind::Number(number),
                    Err(message) => return self.error(message),
                }
            }
            TokenKind::LeftParen => {
                let pipe = self.pipeline("parenthesized pipeline", true, scope)?;
                return Ok(Some(Operand {
                    pos: pipe.pos,
                    kind: OperandKind::Pipe(pipe),
                }));
            }
            TokenKind::String | TokenKind::RawString => match unquote(&token.text) {
                Some(text) => OperandKind::String {
                    quoted: token.text,
                    text,
                },
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.index -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand {
            pos: token.pos,
            kind,
        }))
    }
}

fn field_name(text: &str) -> String {
    text.strip_prefix('.').unwrap_or(text).to_owned()
}

fn starts_operand(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Bool
            | TokenKind::CharConstant
            | TokenKind::Complex
            | TokenKind::Dot
            | TokenKind::Field
            | TokenKind::Identifier
            | TokenKind::Number
            | TokenKind::Keyword(Keyword::Nil)
            | TokenKind::RawString
            | TokenKind::String
            | TokenKind::Variable
            | TokenKind::LeftParen
    )
}

fn is_blank(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// The types that a constant may take, by the syntax of Go.
fn number(token: &Token) -> Result<Number, String> {
    let text = token.text.clone();
    if token.kind == TokenKind::CharConstant {
        let code = unquote_char(&text)?;
        let uint = u64::try_from(code).ok();
        return Ok(Number {
            text,
            int: Some(code),
            uint,
            float: Some(code as f64),
        });
    }
    if token.kind == TokenKind::Complex || text.ends_with('i') {
        return Err(format!("complex number {} is not supported", quote(&text)));
    }
    if let Some(value) = parse_integer(&text) {
        let int = i64::try_from(value).ok();
        let uint = u64::try_from(value).ok();
        if int.is_some() || uint.is_some() {
            return Ok(Number {
                text,
                int,
                uint,
                float: Some(value as f64),
            });
        }
    }
    let Some(float) = parse_float(&text) else {
        return Err(format!("illegal number syntax: {}", quote(&text)));
    };
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {}", quote(&text)));
    }
    let whole = float.fract() == 0.0 && float.abs() < i64::MAX as f64;
    let int = whole.then_some(float as i64);
    Ok(Number {
        text,
        int,
        uint: int.and_then(|int| u64::try_from(int).ok()),
        float: Some(float),
    })
}

/// An integer with Go's prefixes; underscores only between digits or after the prefix.
fn parse_integer(text: &str) -> Option<i128> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let (radix, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?, true)
    } else {
        (10, lower.as_str(), false)
    };
    let misplaced =
        digits.ends_with('_') || digits.contains("__") || (!prefixed && digits.starts_with('_'));
    if misplaced {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn parse_float(text: &str) -> Option<f64> {
    // Underscores need a base prefix in Go, hexadecimal floats are too rare to be worth code.
    if text.contains(['_', 'x', 'X']) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(value)
}

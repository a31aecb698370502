//! Tokens to parse trees, with the errors of Go's `text/template/parse`.

use std::collections::BTreeMap;

use super::TemplateError;
use super::lexer::{Keyword, Token, TokenKind, tokens};
use super::node::{Branch, Node, TemplateCall};
use super::quote::{quote, unquote};

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

pub(super) struct Parser<'a> {
    name: &'a str,
    tokens: Vec<Token>,
    pub(super) index: usize,
    /// The last token read so far: the line that errors name.
    farthest: usize,
    pub(super) is_function: &'a dyn Fn(&str) -> bool,
    trees: Trees,
    pub(super) depth: usize,
}

/// What belongs to one template body and not to the text as a whole.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) variables: Vec<String>,
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
    pub(super) fn error<T>(&self, message: impl AsRef<str>) -> Result<T, TemplateError> {
        let line = self.tokens.get(self.farthest).map_or(1, |token| token.line);
        Err(TemplateError(format!(
            "template: {}:{line}: {}",
            self.name,
            message.as_ref()
        )))
    }

    /// The token at the cursor; past the end it is the end of file again.
    pub(super) fn peek(&mut self) -> Token {
        let index = self.index.min(self.tokens.len() - 1);
        self.farthest = self.farthest.max(index);
        self.tokens[index].clone()
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek();
        self.index += 1;
        token
    }

    pub(super) fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    /// The next token that is no space; spaces before it are consumed.
    pub(super) fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.index -= 1;
        token
    }

    pub(super) fn unexpected<T>(
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

    pub(super) fn deeper(&mut self) -> Result<(), TemplateError> {
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
}

fn is_blank(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

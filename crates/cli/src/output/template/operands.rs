//! The inner half of the parser: pipelines, commands and operands between the delimiters.

use super::TemplateError;
use super::lexer::{Keyword, TokenKind};
use super::node::{Command, Operand, OperandKind, Pipe};
use super::number::number;
use super::parser::{Parser, Scope};
use super::quote::{quote, unquote};

impl Parser<'_> {
    /// `declarations? command ('|' command)*`, up to the delimiter or the closing parenthesis.
    pub(super) fn pipeline(
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

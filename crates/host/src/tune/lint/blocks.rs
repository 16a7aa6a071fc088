//! The structure of a script: which commands stand in which group, loop or choice.
//!
//! Groups matter for what is behind them: `{ echo 1; echo 2; } > file` opens the file once. What is not
//! closed ends with the text, what closes nothing is passed, and what is too deep stays where it is, as
//! if it had no group of its own.

use super::command::{Item, Simple, literal};

/// How many groups may stand in one another.
const DEEPEST: usize = 24;

/// One thing that a script does.
#[derive(Debug)]
pub(super) enum Node {
    Command(Simple),
    /// A line as sysctl.conf(5) has it.
    Setting {
        line: usize,
        text: String,
    },
    Block(Block),
}

/// What groups commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{ }`, also of a function.
    Brace,
    /// `( )`.
    Paren,
    For,
    /// `while`, `until`, and `select`.
    Loop,
    If,
    Case,
}

/// Commands in a group, loop or choice.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) shape: Shape,
    /// The command that begins it: of `for` its words count.
    pub(super) head: Simple,
    pub(super) nodes: Vec<Node>,
    /// What stands behind its end: redirections, a pipe.
    pub(super) tail: Simple,
}

/// The structure of commands.
pub(super) fn tree(items: Vec<Item>) -> Vec<Node> {
    let mut builder = Builder { nodes: Vec::new(), open: Vec::new(), too_deep: Vec::new() };
    for item in items {
        match item {
            Item::Command(command) if command.is_end => builder.close_paren(command),
            Item::Command(command) => builder.command(command),
            Item::Setting { line, text } => builder.push(Node::Setting { line, text }),
            Item::Open { is_conditional } => {
                builder.open(Shape::Paren, Simple { is_conditional, ..Simple::default() });
            }
            Item::Inside => builder.close_all(),
        }
    }
    builder.close_all();
    builder.nodes
}

struct Builder {
    nodes: Vec<Node>,
    /// Blocks that are not closed yet, the innermost last.
    open: Vec<Block>,
    /// What was opened below the deepest that is kept.
    too_deep: Vec<Shape>,
}

impl Builder {
    fn push(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(block) => block.nodes.push(node),
            None => self.nodes.push(node),
        }
    }

    fn open(&mut self, shape: Shape, head: Simple) {
        if self.open.len() < DEEPEST {
            self.open.push(Block { shape, head, nodes: Vec::new(), tail: Simple::default() });
        } else {
            self.too_deep.push(shape);
        }
    }

    /// Ends the innermost block of these shapes, and those in it.
    fn close(&mut self, shapes: &[Shape], tail: Simple) {
        if let Some(last) = self.too_deep.last() {
            if shapes.contains(last) {
                self.too_deep.pop();
            }
            if !tail.redirects.is_empty() {
                self.push(Node::Command(tail));
            }
            return;
        }
        let Some(at) = self.open.iter().rposition(|block| shapes.contains(&block.shape)) else {
            return;
        };
        while self.open.len() > at + 1 {
            self.close_last(Simple::default());
        }
        self.close_last(tail);
    }

    fn close_last(&mut self, tail: Simple) {
        if let Some(block) = self.open.pop() {
            self.push(Node::Block(Block { tail, ..block }));
        }
    }

    fn close_all(&mut self) {
        self.too_deep.clear();
        while !self.open.is_empty() {
            self.close_last(Simple::default());
        }
    }

    /// Ends a `( )`, or a pattern of a choice, which is no command.
    fn close_paren(&mut self, tail: Simple) {
        let is_pattern = |block: &&mut Block| block.shape == Shape::Case;
        match self.open.last_mut().filter(|_| self.too_deep.is_empty()).filter(is_pattern) {
            Some(block) => {
                block.nodes.pop();
                let is_piped =
                    |node: &Node| matches!(node, Node::Command(command) if command.piped);
                while block.nodes.last().is_some_and(is_piped) {
                    block.nodes.pop();
                }
            }
            None => self.close(&[Shape::Paren], tail),
        }
    }

    /// A command behind the words of the shell's own that stand in front of it.
    fn command(&mut self, mut command: Simple) {
        let mut taken = 0;
        while let Some(word) = command.words.get(taken).and_then(literal) {
            let opened = match word {
                "{" => Some(Shape::Brace),
                "if" => Some(Shape::If),
                "while" | "until" => Some(Shape::Loop),
                "for" => Some(Shape::For),
                "select" => Some(Shape::Loop),
                "case" => Some(Shape::Case),
                _ => None,
            };
            let closed: &[Shape] = match word {
                "}" => &[Shape::Brace],
                "done" => &[Shape::For, Shape::Loop],
                "fi" => &[Shape::If],
                "esac" => &[Shape::Case],
                _ => &[],
            };
            if word == "function" {
                if command.words.get(taken + 2).and_then(literal) != Some("{") {
                    return;
                }
                taken += 2;
                continue;
            }
            taken += 1;
            if let Some(shape) = opened {
                let is_conditional = command.is_conditional;
                if matches!(word, "for" | "select" | "case") {
                    command.words.drain(..taken);
                    return self.open(shape, command);
                }
                self.open(shape, Simple { is_conditional, ..Simple::default() });
            } else if !closed.is_empty() {
                if command.words.len() == taken {
                    command.words.clear();
                    return self.close(closed, command);
                }
                self.close(closed, Simple::default());
            } else if !matches!(word, "then" | "else" | "elif" | "do" | "!" | "time") {
                taken -= 1;
                break;
            }
        }
        command.words.drain(..taken);
        let is_empty = command.words.is_empty() && command.redirects.is_empty();
        if !is_empty || command.body.is_some() {
            self.push(Node::Command(command));
        }
    }
}

//! The structure of a script: which commands stand in which group, loop or choice.
//!
//! Groups matter for what is behind them: `{ echo 1; echo 2; } > file` opens the file once. What is not
//! closed ends with the text, what closes nothing is passed, and what is too deep stays where it is, as
//! if it had no group of its own.

use super::command::{Item, Simple, UNKNOWN, literal};

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
    /// Another branch of a choice begins: `else`, a pattern.
    Branch,
    /// What follows runs where nobody knows: it stood in a word, or too deep.
    Lost,
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
    /// The function that it is the body of.
    pub(super) function: Option<String>,
    pub(super) shape: Shape,
    /// The command that begins it: of `for` its words count.
    pub(super) head: Simple,
    pub(super) nodes: Vec<Node>,
    /// What stands behind its end: redirections, a pipe.
    pub(super) tail: Simple,
}

/// The structure of commands.
pub(super) fn tree(items: Vec<Item>) -> Vec<Node> {
    let mut builder = Builder::default();
    for item in items {
        match item {
            Item::Command(command) if command.is_end => builder.close_paren(command),
            Item::Command(command) => builder.command(command),
            Item::Setting { line, text } => builder.push(Node::Setting { line, text }),
            Item::Open { joint } => {
                builder.open(Shape::Paren, Simple { joint, ..Simple::default() });
            }
            Item::Inside => {
                builder.close_all();
                builder.push(Node::Lost);
            }
        }
    }
    builder.close_all();
    builder.nodes
}

#[derive(Debug, Default)]
struct Builder {
    nodes: Vec<Node>,
    /// The function whose body is next.
    function: Option<String>,
    /// Blocks that are not closed yet, the innermost last.
    open: Vec<Block>,
    /// What was opened below the deepest that is kept.
    too_deep: Vec<Shape>,
}

impl Builder {
    fn push(&mut self, node: Node) {
        self.function = None;
        match self.open.last_mut() {
            Some(block) => block.nodes.push(node),
            None => self.nodes.push(node),
        }
    }

    fn open(&mut self, shape: Shape, head: Simple) {
        let function = self.function.take();
        if self.open.len() < DEEPEST {
            let (nodes, tail) = (Vec::new(), Simple::default());
            self.open.push(Block { function, shape, head, nodes, tail });
        } else {
            self.too_deep.push(shape);
            self.push(Node::Lost);
        }
    }

    /// Ends the innermost block of these shapes, and those in it.
    fn close(&mut self, shapes: &[Shape], tail: Simple) {
        if let Some(last) = self.too_deep.last() {
            if shapes.contains(last) {
                self.too_deep.pop();
                self.push(Node::Lost);
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
        let is_of_function = self.is_of_function();
        let is_pattern = |block: &&mut Block| block.shape == Shape::Case;
        match self.open.last_mut().filter(|_| self.too_deep.is_empty()).filter(is_pattern) {
            Some(block) => {
                block.nodes.pop();
                let is_piped =
                    |node: &Node| matches!(node, Node::Command(command) if command.piped);
                while block.nodes.last().is_some_and(is_piped) {
                    block.nodes.pop();
                }
                block.nodes.push(Node::Branch);
            }
            None if is_of_function => self.name_function(),
            None => self.close(&[Shape::Paren], tail),
        }
    }

    /// Whether the innermost brackets are those behind a function's name: nothing stands in them.
    fn is_of_function(&self) -> bool {
        let last = self.open.last().filter(|_| self.too_deep.is_empty());
        last.is_some_and(|block| block.shape == Shape::Paren && block.nodes.is_empty())
    }

    /// Takes the name before the innermost brackets for that of a function.
    fn name_function(&mut self) {
        self.function = self.open.pop().and_then(|block| block.function);
        // Behind `function` the name is told already.
        if self.function.is_some() {
            return;
        }
        let nodes = self.open.last_mut().map_or(&mut self.nodes, |block| &mut block.nodes);
        let Some(Node::Command(command)) = nodes.last() else { return };
        let name = match &command.words[..] {
            [name] if command.redirects.is_empty() => literal(name),
            _ => None,
        };
        if let Some(name) = name.filter(|name| !name.contains(['=', UNKNOWN])) {
            self.function = Some(name.to_owned());
            nodes.pop();
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
                self.function = command.words.get(taken + 1).and_then(literal).map(str::to_owned);
                if command.words.get(taken + 2).and_then(literal) != Some("{") {
                    return;
                }
                taken += 2;
                continue;
            }
            taken += 1;
            if let Some(shape) = opened {
                let joint = command.joint;
                if matches!(word, "for" | "select" | "case") {
                    command.words.drain(..taken);
                    return self.open(shape, command);
                }
                self.open(shape, Simple { joint, ..Simple::default() });
            } else if !closed.is_empty() {
                if command.words.len() == taken {
                    command.words.clear();
                    return self.close(closed, command);
                }
                self.close(closed, Simple::default());
            } else if matches!(word, "else" | "elif") {
                self.push(Node::Branch);
            } else if !matches!(word, "then" | "do" | "!" | "time") {
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

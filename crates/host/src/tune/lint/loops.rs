//! Groups, choices and loops: what is done in them, how often, and where what they print goes.
//!
//! A loop over words that are known is gone through once a word, its variable having that word. Its rounds
//! are bounded; beyond that, and where the words are not known, it is gone through once with no value.

use std::collections::BTreeSet;

use super::blocks::{Block, Node, Shape};
use super::command::{Direction, Joint, Part, Redirect, Simple, UNKNOWN, Word, is_name, literal};
use super::events::{Event, Kind, Script};
use super::output::{Output, Pipe};
use super::place::Place;
use super::variables::Variables;
use crate::sysctl::KEYS;

/// Words of one loop; more are not followed.
const MOST_WORDS: usize = 64;
/// How deep functions are followed that call each other, for where they go.
const DEEPEST_CALLS: usize = 8;
/// What the rounds of all loops behind their first, scripts in arguments and on standard input, and texts for
/// several files may cost, in letters.
pub(super) const ALL_ROUNDS: usize = 1 << 20;

impl Script {
    /// Does what stands in a block.
    pub(super) fn block(&mut self, block: &Block, pipe: Pipe, depth: usize) -> Pipe {
        let stdin = self.group_input(block, pipe);
        let around = self.place.clone();
        if block.function.is_some() {
            self.place = self.elsewhere();
        }
        let mut outputs = match block.shape {
            Shape::For => self.each(block, depth),
            Shape::Loop => self.repeatedly(block, depth),
            _ => self.run(&block.nodes, depth),
        };
        if let Some(stdin) = stdin {
            self.stdin = stdin;
        }
        let is_choice = matches!(block.shape, Shape::If | Shape::Case | Shape::Loop);
        if is_choice || block.head.joint != Joint::First {
            outputs.iter_mut().for_each(|output| output.is_certain = false);
        }
        self.variables.begin_command();
        // The shell opens files before it begins.
        let end = std::mem::replace(&mut self.place, around.clone());
        self.reads(&block.tail, "", &[]);
        self.redirected(&block.tail, "}", Some(&outputs), false);
        match (&block.function, block.shape) {
            (Some(_), _) | (None, Shape::Paren) => {}
            (None, Shape::Brace) => self.place = end,
            _ => self.place = around.or(&end),
        }
        let is_output = |to: &Redirect| to.direction == Direction::Output;
        let is_kept = block.tail.redirects.iter().any(is_output);
        let outputs = Some(if is_kept { Vec::new() } else { outputs });
        Pipe { outputs, read: None, is_there: false }
    }

    /// What a loop has that goes round as often as it wants: where one round ends the next begins.
    fn repeatedly(&mut self, block: &Block, depth: usize) -> Vec<Output> {
        if has_moves(&block.nodes, &self.movers) {
            self.place = Place::lost();
        }
        self.run(&block.nodes, depth)
    }

    /// A `for` loop.
    fn each(&mut self, block: &Block, depth: usize) -> Vec<Output> {
        let name = block.head.words.first().and_then(literal).filter(|name| is_name(name));
        let Some(name) = name else {
            let mut outputs = self.repeatedly(block, depth);
            outputs.iter_mut().for_each(|output| output.is_certain = false);
            return outputs;
        };
        let Some(words) = self.rounds(block, name) else {
            self.variables.begin_round(name, None);
            let mut outputs = self.repeatedly(block, depth);
            self.variables.end_round();
            outputs.iter_mut().for_each(|output| output.is_certain = false);
            return outputs;
        };
        let (first, mut outputs) = (self.events.len(), Vec::<Output>::new());
        let mut printed = BTreeSet::new();
        for word in words {
            self.variables.begin_round(name, Some(word));
            let round = self.run(&block.nodes, depth);
            self.variables.end_round();
            outputs.extend(
                round
                    .into_iter()
                    .filter(|output| printed.insert((output.line, output.text.clone()))),
            );
        }
        self.without_repeated(first);
        outputs
    }

    /// The words of a loop, if they are known, few, and all that changes its variable.
    fn rounds(&mut self, block: &Block, name: &str) -> Option<Vec<String>> {
        let list = block.head.words.get(2..)?;
        if block.head.words.get(1).and_then(literal) != Some("in") {
            return None;
        }
        self.variables.begin_command();
        let mut words = Vec::new();
        for field in list.iter().flat_map(|word| self.variables.fields(word)) {
            words.extend(expanded(field)?);
            if words.len() > MOST_WORDS {
                return None;
            }
        }
        let mut assigned = Variables::default();
        assigned_in(&block.nodes, &mut assigned);
        let cost = (words.len().checked_sub(1)?).saturating_mul(cost(&block.nodes));
        if assigned.assigns(name) || cost > ALL_ROUNDS - self.repeated {
            return None;
        }
        self.repeated += cost;
        Some(words)
    }

    /// Leaves out what a later round does just as one before it.
    fn without_repeated(&mut self, first: usize) {
        let mut seen = BTreeSet::new();
        let done = self.events.split_off(first);
        self.events.extend(done.into_iter().filter(|event| {
            let mut event: Event = event.clone();
            if let Kind::Write { opened, .. } = &mut event.kind {
                *opened = None;
            }
            seen.insert(event)
        }));
    }
}

/// The words of a loop that one becomes: files of settings for a pattern of such.
fn expanded(field: String) -> Option<Vec<String>> {
    if field.contains(UNKNOWN) {
        return None;
    }
    if !field.contains(['*', '?', '[']) {
        return Some(vec![field]);
    }
    let pattern = field.strip_prefix('/')?;
    let Some(pattern) = pattern.strip_prefix("proc/sys/") else { return Some(vec![field]) };
    let names = KEYS.iter().map(|key| key.name.replace('.', "/"));
    let files: Vec<_> = names
        .filter(|name| fits(pattern.as_bytes(), name.as_bytes()))
        .map(|name| format!("/proc/sys/{name}"))
        .collect();
    Some(if files.is_empty() { vec![field] } else { files })
}

/// Whether a name fits a pattern of `*` and `?`, neither of which stands for a slash.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut behind) = (0, 0);
    // The last `*`, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while behind < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, behind));
                at += 1;
            }
            Some(b'?') if name[behind] != b'/' => (at, behind) = (at + 1, behind + 1),
            Some(letter) if *letter == name[behind] => (at, behind) = (at + 1, behind + 1),
            _ => match star {
                Some((from, until)) if name[until] != b'/' => {
                    star = Some((from, until + 1));
                    (at, behind) = (from + 1, until + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// Adds what commands assign.
fn assigned_in(nodes: &[Node], variables: &mut Variables) {
    for node in nodes {
        match node {
            Node::Command(command) => variables.command(command),
            Node::Setting { .. } | Node::Branch | Node::Lost => {}
            Node::Block(block) => {
                if block.shape == Shape::For {
                    let mut words = vec![vec![Part::Text("for".to_owned())]];
                    words.extend(block.head.words.iter().take(1).cloned());
                    variables.command(&Simple { words, ..Simple::default() });
                }
                assigned_in(&block.nodes, variables);
            }
        }
    }
}

/// Adds functions that may go to another folder: those with a command that does, and those that call one of
/// them. Beyond a depth of calls each may.
pub(super) fn add_movers(nodes: &[Node], movers: &mut BTreeSet<String>) {
    for round in 0.. {
        let before = movers.len();
        movers_in(nodes, round >= DEEPEST_CALLS, movers);
        if movers.len() == before || round > DEEPEST_CALLS {
            return;
        }
    }
}

fn movers_in(nodes: &[Node], is_any: bool, movers: &mut BTreeSet<String>) {
    for node in nodes {
        let Node::Block(block) = node else { continue };
        movers_in(&block.nodes, is_any, movers);
        let Some(name) = block.function.as_ref().filter(|_| block.shape != Shape::Paren) else {
            continue;
        };
        if is_any || (!movers.contains(name) && has_moves(&block.nodes, movers)) {
            movers.insert(name.clone());
        }
    }
}

/// Whether commands go to another folder, so that a later round may begin there.
fn has_moves(nodes: &[Node], movers: &BTreeSet<String>) -> bool {
    let is_move = |word: &Word| {
        let word = literal(word).unwrap_or_default();
        matches!(word, "cd" | "chdir" | "pushd" | "popd" | "eval" | "source" | ".")
            || movers.contains(word)
    };
    nodes.iter().any(|node| match node {
        Node::Command(command) => command.words.iter().any(is_move),
        Node::Block(block) => block.shape != Shape::Paren && has_moves(&block.nodes, movers),
        Node::Lost => true,
        Node::Setting { .. } | Node::Branch => false,
    })
}

/// What one round costs.
fn cost(nodes: &[Node]) -> usize {
    fn of_word(word: &Word) -> usize {
        let letters = word.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Variable { .. } | Part::Arithmetic(_) | Part::Elements { .. } => 64,
            Part::Array(elements) => elements.iter().map(of_word).sum(),
        });
        letters.sum::<usize>() + 1
    }
    let of_command = |command: &Simple| {
        let body = command.body.iter().map(|body| of_word(&body.text)).sum::<usize>();
        let targets = command.redirects.iter().map(|to| of_word(&to.target)).sum::<usize>();
        command.words.iter().map(of_word).sum::<usize>() + body + targets + 16
    };
    let of_node = |node: &Node| match node {
        Node::Command(command) => of_command(command),
        Node::Setting { text, .. } => text.len() + 16,
        Node::Branch | Node::Lost => 1,
        Node::Block(block) => {
            cost(&block.nodes) + of_command(&block.head) + of_command(&block.tail)
        }
    };
    nodes.iter().map(of_node).sum()
}

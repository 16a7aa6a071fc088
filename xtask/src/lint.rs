//! `xtask lint`: rustfmt, clippy, rustdoc, and the house rules that no tool knows.
//!
//! A rule is a function from the tree of files to findings, `path:line: what is wrong`; it sees
//! strings only, so its tests need no files. The words a rule looks for are put together at run
//! time, because the rules read this crate as well.

mod layers;
mod manifest;
mod source;
mod unsafety;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::report::Report;
use crate::workspace::Workspace;
use source::line_of;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask lint

Runs cargo fmt --check, clippy and rustdoc with warnings denied, then our own
rules over the files git tracks or would track:
  unsafe files    unsafe only in the files ARCHITECTURE.md lists, all of them
                  real; none in examples
  crate layers    wire and bpf know no other crate of ours, netmem and host
                  not each other, wire and xtask depend on nothing
  module layers   the directions inside netmem: sys, mem, the backends
  file length     500 lines outside tests
  left-overs      no ignored test, no unfinished code, no note to finish it
  hosts           no package registry named outside Cargo.lock
  paths           no folder of one developer's machine
  lint table      every crate takes the workspace's lints
";

/// Most lines of a source file, tests not counted.
const MAX_LINES: usize = 500;

/// A rule of the house: its name in the table, and what finds its violations.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: &[Rule] = &[
    ("lint unsafe files", unsafety::check),
    ("lint crate layers", layers::crates),
    ("lint module layers", layers::modules),
    ("lint file length", file_length),
    ("lint left-overs", words::left_overs),
    ("lint hosts", words::registry_hosts),
    ("lint paths", words::developer_paths),
    ("lint lint table", manifest::lint_table),
];

/// Runs the tools, then the rules.
///
/// # Errors
/// When arguments are given: there are none.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    if let Some(argument) = arguments.first() {
        return Err(format!("unexpected argument `{argument}`"));
    }
    report.step("lint fmt", &mut workspace.cargo(&["fmt", "--all", "--check"]));
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked"];
    report.step("lint clippy", workspace.cargo(&clippy).args(["--", "-D", "warnings"]));
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--all-features"];
    let mut doc = workspace.cargo(&doc);
    report.step("lint doc", doc.arg("--locked").env("RUSTDOCFLAGS", "-Dwarnings"));
    println!();
    match Tree::read(workspace) {
        Ok(tree) => {
            for (name, rule) in RULES {
                report.check(name, || rule(&tree).iter().map(Finding::to_string).collect());
            }
        }
        Err(message) => report.check("lint rules", || vec![message]),
    }
    Ok(())
}

/// One violation of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1.
    line: usize,
    what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The files that the rules read, sorted by path.
#[derive(Debug)]
struct Tree {
    files: Vec<File>,
}

/// One file. For Rust the two derived texts have the length and the lines of the first.
#[derive(Debug)]
struct File {
    /// Relative to the workspace's root.
    path: String,
    /// The content; what is no UTF-8 is replaced.
    text: String,
    /// Whether the content is no UTF-8, that is, data.
    binary: bool,
    /// Rust with comments and literals blanked; empty for other files.
    code: String,
    /// `code` with items under `#[cfg(test)]` blanked too; empty for a file that is all test.
    product: String,
}

impl Tree {
    fn read(workspace: &Workspace) -> Result<Self, String> {
        let mut files = Vec::new();
        for path in workspace.files()? {
            let content = fs::read(workspace.root.join(&path));
            files.push(File::new(path.clone(), content.map_err(|e| format!("read {path}: {e}"))?));
        }
        Ok(Self::new(files))
    }

    fn new(mut files: Vec<File>) -> Self {
        let modules = |file: &File| source::test_modules(&file.path, &file.code);
        let tests: BTreeSet<String> = files.iter().flat_map(modules).collect();
        for file in files.iter_mut().filter(|file| tests.contains(&file.path)) {
            file.product.clear();
        }
        Self { files }
    }

    fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The files with product code in Rust.
    fn products(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| !file.product.is_empty())
    }
}

impl File {
    fn new(path: String, content: Vec<u8>) -> Self {
        let (text, binary) = match String::from_utf8(content) {
            Ok(text) => (text, false),
            Err(e) => (String::from_utf8_lossy(e.as_bytes()).into_owned(), true),
        };
        let code = if path.ends_with(".rs") { source::code_only(&text) } else { String::new() };
        let product =
            if is_test_path(&path) { String::new() } else { source::without_tests(&code) };
        Self { path, text, binary, code, product }
    }

    /// A finding at a byte offset into `text`, `code` or `product`.
    fn finding(&self, offset: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: line_of(&self.text, offset), what: what.into() }
    }

    /// A finding at a line, counted from 1.
    fn finding_at(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }
}

/// Whether cargo takes the file for a test, a benchmark or an example.
fn is_test_path(path: &str) -> bool {
    let folders = Path::new(path).parent().into_iter().flat_map(Path::components);
    folders
        .map(|part| part.as_os_str())
        .any(|part| part == "tests" || part == "benches" || part == "examples")
}

/// Source files stay readable in one sitting.
fn file_length(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.products() {
        let tests: usize = source::test_ranges(&file.code)
            .into_iter()
            .map(|range| file.code[range].lines().count())
            .sum();
        let lines = file.text.lines().count().saturating_sub(tests);
        if lines > MAX_LINES {
            let what = format!("{lines} lines outside tests, more than {MAX_LINES}");
            findings.push(file.finding_at(lines, what));
        }
    }
    findings
}

#[cfg(test)]
fn tree(files: &[(&str, &str)]) -> Tree {
    let file = |&(path, text): &(&str, &str)| File::new(path.to_owned(), text.as_bytes().to_vec());
    Tree::new(files.iter().map(file).collect())
}

#[cfg(test)]
fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_outside_tests_only() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(600));
        let short = "// x\n".repeat(500) + &tests;
        let long = "// x\n".repeat(501) + &tests;
        let other = "x\n".repeat(900);
        let tree = tree(&[
            ("crates/a/src/short.rs", &short),
            ("crates/a/src/long.rs", &long),
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod checks;\n"),
            ("crates/a/src/checks.rs", &other),
            ("crates/a/tests/big.rs", &other),
            ("README.md", &other),
        ]);
        let found = shown(&file_length(&tree));
        assert_eq!(found, ["crates/a/src/long.rs:501: 501 lines outside tests, more than 500"]);
    }

    #[test]
    fn data_is_told_from_text() {
        assert!(File::new("a.pcap".to_owned(), vec![0xd4, 0xc3, 0xb2, 0xa1]).binary);
        assert!(!File::new("a.md".to_owned(), "µs".as_bytes().to_vec()).binary);
    }
}

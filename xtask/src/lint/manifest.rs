//! The little of Cargo.toml that the rules need: sections, keys and values, line by line.

use super::{File, Finding, Tree};

/// One `key = value` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    /// The header without its brackets; empty above the first.
    pub(super) section: &'t str,
    pub(super) key: &'t str,
    pub(super) value: &'t str,
    /// Counted from 1.
    pub(super) line: usize,
}

/// Whom a dependency serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The crate itself or its build script.
    Product,
    /// Tests, examples and benchmarks.
    Dev,
}

/// A package that a manifest names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency<'t> {
    pub(super) kind: Kind,
    pub(super) name: &'t str,
    pub(super) line: usize,
}

/// Every crate takes the workspace's lint table. (A manifest with a `[workspace]` of its own, as
/// fuzzing needs, has no table to take.)
pub(super) fn lint_table(tree: &Tree) -> Vec<Finding> {
    let is_crate = |file: &&File| {
        let headers = |header| file.text.lines().any(|line| line.trim() == header);
        file.path.ends_with("Cargo.toml") && headers("[package]") && !headers("[workspace]")
    };
    let takes_lints = |entry: &Entry<'_>| {
        let place = (entry.section, entry.key);
        matches!(place, ("lints", "workspace") | ("", "lints.workspace")) && entry.value == "true"
    };
    let crates = tree.files.iter().filter(is_crate);
    let without = crates.filter(|file| !entries(&file.text).iter().any(takes_lints));
    without.map(|file| file.finding_at(1, "no `[lints] workspace = true`")).collect()
}

/// The entries of a manifest; lines that continue a list have none.
pub(super) fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut section = "";
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = header.trim_matches(['[', ']', ' ']);
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry { section, key: key.trim(), value: value.trim(), line: index + 1 });
        }
    }
    entries
}

/// The packages a manifest depends on, renamed ones under both names.
pub(super) fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut dependencies = Vec::new();
    for entry in entries(text) {
        let Some((kind, table)) = dependency_section(entry.section) else { continue };
        let line = entry.line;
        let name =
            table.or_else(|| entry.key.split('.').next()).unwrap_or(entry.key).trim_matches('"');
        dependencies.push(Dependency { kind, name, line });
        let field = entry.key.rsplit('.').next();
        let renamed = match entry.value.split_once("package") {
            Some((_, rest)) => Some(rest),
            None => (field == Some("package")).then_some(entry.value),
        };
        if let Some(name) = renamed.and_then(|rest| rest.split('"').nth(1)) {
            dependencies.push(Dependency { kind, name, line });
        }
    }
    dependencies
}

/// What a header says of dependencies: `[target.'..'.dependencies]` or `[dependencies.name]`.
fn dependency_section(section: &str) -> Option<(Kind, Option<&str>)> {
    if section.starts_with("workspace.") {
        return None;
    }
    let tables = [
        ("dependencies", Kind::Product),
        ("build-dependencies", Kind::Product),
        ("dev-dependencies", Kind::Dev),
    ];
    tables.into_iter().find_map(|(table, kind)| {
        let at = section.rfind(table)?;
        let (before, after) = (&section[..at], &section[at + table.len()..]);
        if !before.is_empty() && !before.ends_with('.') {
            return None;
        }
        match after.strip_prefix('.') {
            Some(name) => Some((kind, Some(name))),
            None => after.is_empty().then_some((kind, None)),
        }
    })
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (offset, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') => return &line[..offset],
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree};
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"x\" # = a comment\n\n[dependencies]\nlibc.workspace = true\n\
        io = { version = \"1\", package = \"netmem-host\" }\n# none = \"1\"\nlist = { features = [\n  \"a\",\n] }\n\n\
        [target.'cfg(target_os = \"linux\")'.dependencies]\nlinux = \"1\"\n\n[dev-dependencies]\nproptest.workspace = true\n\n\
        [build-dependencies.cc]\nversion = \"1\"\n\n[workspace.dependencies]\nnot = \"1\"\n";

    #[test]
    fn reads_dependencies_of_every_form() {
        let found = dependencies(MANIFEST);
        let product: Vec<_> =
            found.iter().filter(|d| d.kind == Kind::Product).map(|d| d.name).collect();
        assert_eq!(product, ["libc", "io", "netmem-host", "list", "linux", "cc"]);
        let dev: Vec<_> =
            found.iter().filter(|d| d.kind == Kind::Dev).map(|d| (d.name, d.line)).collect();
        assert_eq!(dev, [("proptest", 16)]);
        let table = dependencies("[dependencies.a]\npackage = \"b\"\n");
        assert_eq!(table.iter().map(|d| d.name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn comments_end_at_no_quoted_hash() {
        assert_eq!(without_comment("a = \"#1\" # x"), "a = \"#1\" ");
    }

    #[test]
    fn every_crate_takes_the_lint_table() {
        let tree = tree(&[
            ("Cargo.toml", "[workspace]\n[workspace.lints.rust]\n"),
            ("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"),
            ("crates/b/Cargo.toml", "[package]\n[lints]\nworkspace = false\n"),
            ("crates/c/Cargo.toml", "lints.workspace = true\n[package]\n"),
            ("fuzz/Cargo.toml", "[package]\n[workspace]\n"),
        ]);
        assert_eq!(
            shown(&lint_table(&tree)),
            ["crates/b/Cargo.toml:1: no `[lints] workspace = true`"]
        );
    }
}

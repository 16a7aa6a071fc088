//! The record: figures by case and batch, and the facts they depend on, as a small part of TOML.
//!
//! ```text
//! rustc = "1.95.0 (59807616e 2026-04-14)"      facts, each a quoted text
//! [receive]                                    a case
//! 64 = 11.72                                   batch = instructions per packet
//! ```

use std::collections::BTreeMap;
use std::fmt;

/// How far a figure may be off its record, as a part of it.
pub(super) const TOLERANCE: f64 = 0.01;

const HEAD: &str = "\
# User-space instructions per packet, by case and batch. Compared, and rewritten with
# `--bless`, by `cargo xtask gate`, whose help says more.
";

/// Instructions per packet, and what they were counted with.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// In the order of the file.
    facts: Vec<(String, String)>,
    /// The cases in the order of the file; figures by batch.
    cases: Vec<(String, BTreeMap<u32, f64>)>,
}

impl Figures {
    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// Says the line that is something else.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut figures = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let read = figures.read_line(line);
                read.ok_or_else(|| format!("line {}: neither fact nor figure: {line}", index + 1))?;
            }
        }
        Ok(figures)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        if let Some(case) = line.strip_prefix('[') {
            self.cases.push((case.strip_suffix(']')?.to_owned(), BTreeMap::new()));
            return Some(());
        }
        let (name, value) = line.split_once(" = ")?;
        match self.cases.last_mut() {
            None => {
                let value = value.strip_prefix('"')?.strip_suffix('"')?;
                self.add_fact(name, value);
            }
            Some((_, by_batch)) => {
                let figure: f64 = value.parse().ok()?;
                let batch = name.parse().ok().filter(|_| figure.is_finite() && figure > 0.0)?;
                by_batch.insert(batch, figure).is_none().then_some(())?;
            }
        }
        Some(())
    }

    /// Notes something that figures depend on; quotation marks are left out.
    pub(super) fn add_fact(&mut self, name: &str, value: &str) {
        self.facts.push((name.to_owned(), value.trim().replace('"', "")));
    }

    /// The fact of this name.
    pub(super) fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names the facts that differ: the name, ours, theirs.
    pub(super) fn other_facts<'f>(
        &'f self,
        other: &'f Self,
    ) -> impl Iterator<Item = (&'f str, &'f str, &'f str)> {
        self.facts.iter().filter_map(|(name, value)| {
            let theirs = other.fact(name).unwrap_or("unknown");
            (theirs != value).then_some((name.as_str(), value.as_str(), theirs))
        })
    }

    /// Adds a figure, rounded as it will be written.
    pub(super) fn add(&mut self, case: &str, batch: u32, figure: f64) {
        let figure = (figure * 100.0).round() / 100.0;
        match self.cases.iter_mut().find(|(known, _)| known == case) {
            Some((_, by_batch)) => _ = by_batch.insert(batch, figure),
            None => self.cases.push((case.to_owned(), BTreeMap::from([(batch, figure)]))),
        }
    }

    /// The figure of a case at a batch.
    pub(super) fn get(&self, case: &str, batch: u32) -> Option<f64> {
        self.cases.iter().find(|(known, _)| known == case)?.1.get(&batch).copied()
    }

    /// Every case and batch that has a figure.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, u32)> {
        self.cases
            .iter()
            .flat_map(|(case, by_batch)| by_batch.keys().map(|&batch| (case.as_str(), batch)))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        for (name, value) in &self.facts {
            writeln!(f, "{name} = \"{value}\"")?;
        }
        for (case, by_batch) in &self.cases {
            writeln!(f, "\n[{case}]")?;
            for (batch, figure) in by_batch {
                writeln!(f, "{batch} = {figure:.2}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut figures = Figures::default();
        figures.add_fact("rustc", "1.95.0 (5980 \"x\" 2026-04-14)\n");
        figures.add("receive", 64, 11.7207);
        figures.add("receive", 1, 179.0);
        figures.add("reflect", 64, 41.56);
        let text = figures.to_string();
        assert!(
            text.ends_with("14)\"\n\n[receive]\n1 = 179.00\n64 = 11.72\n\n[reflect]\n64 = 41.56\n")
        );
        assert_eq!(Figures::parse(&text), Ok(figures));
    }

    #[test]
    fn what_is_no_figure_is_refused() {
        for bad in ["[receive", "[a]\n64", "[a]\n64 = x", "[a]\nx = 1.0", "[a]\n64 = -1.0"] {
            let line = bad.lines().count();
            let message = Figures::parse(bad).unwrap_err();
            assert!(message.starts_with(&format!("line {line}: ")), "{bad}: {message}");
        }
        for bad in ["[a]\n64 = NaN", "[a]\n64 = 0", "[a]\n8 = 1.0\n8 = 2.0", "rustc = 1.95"] {
            assert!(Figures::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn facts_that_differ_are_named() {
        let theirs = Figures::parse("rustc = \"1.95.0\"\nlibc = \"2.36\"\n").unwrap();
        let ours = Figures::parse("rustc = \"1.96.0\"\nlibc = \"2.36\"\n").unwrap();
        let found: Vec<_> = theirs.other_facts(&ours).collect();
        assert_eq!(found, [("rustc", "1.95.0", "1.96.0")]);
    }
}

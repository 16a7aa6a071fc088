//! The recorded results of the kernel's cases as a page for people: `docs/kernel-cases.md`.
//!
//! It reads what [`super::results::json`] wrote, which has a line for each machine and each case, and
//! nothing else. A test holds the page against the record that it names.

use std::collections::BTreeMap;

/// Where the page is, from the workspace's root.
pub(super) const PAGE: &str = "docs/kernel-cases.md";

/// A column: a kernel with a device, in a mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    /// The machine's place in the record.
    machine: usize,
    mode: String,
}

#[derive(Debug, Default)]
struct Machine {
    kernel: String,
    device: String,
    qemu: String,
    findings: bool,
}

/// What a record says.
#[derive(Debug, Default)]
struct Record {
    machines: Vec<Machine>,
    /// The cases in the order of their first appearance.
    cases: Vec<String>,
    columns: Vec<Column>,
    /// Result and reason by case, column and busy polling.
    results: BTreeMap<(String, Column, bool), (String, String)>,
}

/// Makes the page of the record `text`, which is at `path` from the workspace's root.
///
/// # Errors
/// When it is no record of `xtask vm --json`, with the line.
pub(super) fn page(path: &str, text: &str) -> Result<String, String> {
    let record = Record::read(text).map_err(|line| format!("{path}:{line}: cannot be read"))?;
    let mut notes = Vec::new();
    let matrix = record.matrix(&mut notes);
    let mut page = format!(
        "# The kernel's AF_XDP cases\n\n\
         Made from `{path}` by `cargo xtask vm --table {path}`; `cargo xtask vm --test kernel_cases --json \
         {path}` makes that. Do not edit.\n\n\
         The 36 cases of the kernel's own suite (xskxceiver), and `fault_*`, which are ours, in machines \
         emulated by QEMU without hardware support: behaviour, not speed. Every case runs twice, without \
         and with busy polling.\n\n"
    );
    page += &record.legend();
    page += "\n`ok` is a case that passed both ways. A number is the note that says why it is impossible \
             there; where the two ways differ, both are named, without busy polling first.\n\n";
    page += &matrix;
    if !notes.is_empty() {
        page += "\n## Why it is impossible\n\n";
        for (number, note) in (1..).zip(&notes) {
            page += &format!("{number}. {note}\n");
        }
    }
    Ok(page)
}

impl Record {
    /// Reads it line by line; an error is the number of the line that makes no sense.
    fn read(text: &str) -> Result<Self, usize> {
        let mut record = Self::default();
        for (number, line) in (1_usize..).zip(text.lines()) {
            if line.contains("{\"case\":") {
                record.case(line).ok_or(number)?;
            } else if line.contains("{\"series\":") {
                let machine = Machine {
                    kernel: string(line, "kernel").ok_or(number)?,
                    device: string(line, "device").ok_or(number)?,
                    qemu: string(line, "qemu").ok_or(number)?,
                    findings: !line.contains("\"findings\":[]"),
                };
                record.machines.push(machine);
            }
        }
        if record.machines.is_empty() { Err(1) } else { Ok(record) }
    }

    fn case(&mut self, line: &str) -> Option<()> {
        let case = string(line, "case")?;
        let column =
            Column { machine: self.machines.len().checked_sub(1)?, mode: string(line, "mode")? };
        let busy_poll = line.contains("\"busy_poll\":true");
        if !self.cases.contains(&case) {
            self.cases.push(case.clone());
        }
        if !self.columns.contains(&column) {
            self.columns.push(column.clone());
        }
        let outcome = (string(line, "result")?, string(line, "why")?);
        self.results.insert((case, column, busy_poll), outcome);
        Some(())
    }

    /// What each column is, and how many of its cases passed.
    fn legend(&self) -> String {
        let mut text = String::from(
            "| | kernel | device | mode | QEMU | passed | impossible | failed |\n\
             | --- | --- | --- | --- | --- | ---: | ---: | ---: |\n",
        );
        for (letter, column) in letters().zip(&self.columns) {
            let Machine { kernel, device, qemu, findings } = &self.machines[column.machine];
            let count = |wanted: &str| {
                let own = self.results.iter().filter(|((_, of, _), _)| of == column);
                own.filter(|(_, (result, _))| result == wanted).count()
            };
            let (pass, impossible) = (count("pass"), count("impossible"));
            let failed = count("fail") + count("skip");
            let mark = if *findings { ", and the machine had trouble" } else { "" };
            text += &format!(
                "| {letter} | {kernel} | {device} | {} | {qemu} | {pass} | {impossible} | \
                 {failed}{mark} |\n",
                column.mode
            );
        }
        text
    }

    /// One row per case; reasons go to `notes`.
    fn matrix(&self, notes: &mut Vec<String>) -> String {
        let count = self.columns.len();
        let heads: Vec<String> = letters().take(count).map(String::from).collect();
        let mut text = format!("| case | {} |\n| --- |", heads.join(" | "));
        text += &" :---: |".repeat(count);
        text += "\n";
        for case in &self.cases {
            text += &format!("| {case} |");
            for column in &self.columns {
                let mut cell = |busy_poll| {
                    let outcome = self.results.get(&(case.clone(), column.clone(), busy_poll));
                    outcome.map_or_else(|| "-".to_owned(), |outcome| told(outcome, notes))
                };
                let (plain, polled) = (cell(false), cell(true));
                let both = if plain == polled { plain } else { format!("{plain}, {polled}") };
                text += &format!(" {both} |");
            }
            text += "\n";
        }
        text
    }
}

fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// One cell.
fn told((result, why): &(String, String), notes: &mut Vec<String>) -> String {
    match result.as_str() {
        "pass" => "ok".to_owned(),
        "impossible" => {
            let known = notes.iter().position(|note| note == why);
            let index = known.unwrap_or_else(|| {
                notes.push(why.clone());
                notes.len() - 1
            });
            (index + 1).to_string()
        }
        other => format!("**{other}**"),
    }
}

/// The value of a key whose value is a string, as `results::string` writes one.
fn string(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    let mut text = String::new();
    let mut rest = rest.chars();
    loop {
        match rest.next()? {
            '"' => return Some(text),
            '\\' => match rest.next()? {
                // A control character: none is worth keeping on a page.
                'u' => {
                    rest.nth(3)?;
                    text.push(' ');
                }
                quoted => text.push(quoted),
            },
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const RECORD: &str = r#"{"machines":[
 {"series":"7.3","kernel":"7.3.4","device":"igb","qemu":"10.0.2","boot_seconds":1.000,"seconds":2.000,"findings":[],"cases":[
  {"case":"a","mode":"zero-copy","driver":"igb","busy_poll":false,"result":"pass","why":"","seconds":1.000},
  {"case":"a","mode":"zero-copy","driver":"igb","busy_poll":true,"result":"impossible","why":"no \"x\"","seconds":1.000},
  {"case":"b","mode":"zero-copy","driver":"igb","busy_poll":false,"result":"fail","why":"","seconds":1.000},
  {"case":"b","mode":"zero-copy","driver":"igb","busy_poll":true,"result":"fail","why":"","seconds":1.000}]}
]}
"#;

    #[test]
    fn a_page_has_a_row_per_case_and_a_note_per_reason() {
        let page = page("r.json", RECORD).unwrap();
        for line in [
            "| A | 7.3.4 | igb | zero-copy | 10.0.2 | 1 | 1 | 2 |",
            "| a | ok, 1 |",
            "| b | **fail** |",
            "1. no \"x\"",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}: {page}");
        }
        assert_eq!(super::page("r.json", "{}").unwrap_err(), "r.json:1: cannot be read");
        let cut = RECORD.replace("\"why\":\"no", "\"whi\":\"no");
        assert_eq!(super::page("r.json", &cut).unwrap_err(), "r.json:4: cannot be read");
    }

    #[test]
    fn the_page_is_that_of_the_record_which_it_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found = fs::read_to_string(root.join(PAGE)).unwrap();
        let path = found.split('`').nth(1).unwrap();
        let record = fs::read_to_string(root.join(path)).unwrap();
        assert!(found == page(path, &record).unwrap(), "cargo xtask vm --table {path}");
    }
}

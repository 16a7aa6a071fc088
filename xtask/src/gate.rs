//! `xtask gate`: user-space instructions per packet against limits and the figures in git.
//!
//! The `gate` benches run the real port on the fake kernel's rings under callgrind, which collects
//! inside of their `gate_*` functions only. Each case runs with two numbers of packets; the slope is
//! what one more packet costs, and start and end cancel. Instructions repeat to the digit where
//! seconds do not, so a change of 1 % is a change of the code, or of what compiled it.

mod figures;
pub(crate) mod measure;

use std::fs;

use crate::report::Report;
use crate::skips;
use crate::workspace::Workspace;
use figures::{Figures, TOLERANCE};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask gate [--bless]

Counts the user-space instructions per packet of the release build's wire
engine, and of its port and responder on the fake kernel's rings, with
valgrind's callgrind. Fails where a
limit is passed, and where a figure is more than 1 % off bench/gates.toml in
either direction: a better one wants to be recorded. `--bless` rewrites that
file and shows what changed. Profiles stay in target/gate. Skipped without
valgrind; with CI=true that fails.
";

/// The recorded figures, from the root.
const RECORD: &str = "bench/gates.toml";
/// What a skip is called in `.ci/impossible`.
const NAME: &str = "gate";

/// What is counted: one function of a `gate` bench.
#[derive(Debug)]
struct Case {
    name: &'static str,
    /// The folder of the bench's package, under `crates`.
    package: &'static str,
    function: &'static str,
    /// Most instructions per packet at [`LIMIT_BATCH`].
    limit: Option<f64>,
}

const CASES: &[Case] = &[
    Case { name: "flow-ipv4-udp", package: "wire", function: "gate_flow", limit: Some(42.0) },
    Case { name: "flow-vlan-ipv6-tcp", package: "wire", function: "gate_flow", limit: Some(60.0) },
    Case {
        name: "dissect-ipv4-udp",
        package: "wire",
        function: "gate_dissect",
        limit: Some(140.0),
    },
    Case { name: "dissect-vlan-ipv6-tcp", package: "wire", function: "gate_dissect", limit: None },
    Case { name: "checksum64", package: "wire", function: "gate_checksum", limit: Some(64.0) },
    Case { name: "checksum1500", package: "wire", function: "gate_checksum", limit: None },
    Case { name: "receive", package: "netmem", function: "gate_receive", limit: Some(12.0) },
    Case { name: "receive-byte", package: "netmem", function: "gate_receive_byte", limit: None },
    Case { name: "receive-table", package: "netmem", function: "gate_receive_table", limit: None },
    Case { name: "reflect", package: "netmem", function: "gate_reflect", limit: Some(46.0) },
    Case { name: "forward", package: "netmem", function: "gate_forward", limit: None },
    Case { name: "answer98", package: "cli", function: "gate_answer", limit: Some(120.0) },
    Case { name: "echo98", package: "cli", function: "gate_echo", limit: Some(160.0) },
    Case { name: "echo1514", package: "cli", function: "gate_echo", limit: None },
];

/// Packets per call; every case is counted with each.
const BATCHES: [u32; 4] = [1, 8, 64, 256];
/// The batch that the limits are for.
const LIMIT_BATCH: u32 = 64;

/// One figure beside its record.
#[derive(Debug)]
struct Row {
    case: &'static str,
    batch: u32,
    figure: f64,
    recorded: Option<f64>,
    limit: Option<f64>,
}

/// Counts, compares, and records if asked to.
///
/// # Errors
/// When an argument is unknown.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let bless = arguments == ["--bless"];
    match arguments.first() {
        Some(argument) if !bless => return Err(format!("unexpected argument `{argument}`")),
        _ => {}
    }
    let recorded = match fs::read_to_string(workspace.root.join(RECORD)) {
        Ok(text) => Figures::parse(&text),
        Err(e) => Err(e.to_string()),
    };
    let valgrind = match measure::valgrind() {
        Ok(version) => version,
        Err(reason) => {
            skip(workspace, report, &reason);
            return Ok(());
        }
    };
    let facts = match measure::facts(workspace, &valgrind) {
        Ok(facts) => facts,
        Err(message) => {
            report.check(NAME, || vec![message]);
            return Ok(());
        }
    };
    // The figures are of one instruction set: another one's are no better and no worse.
    if let Ok(recorded) = &recorded
        && let (Some(theirs), Some(ours)) = (recorded.fact("target"), facts.fact("target"))
        && theirs != ours
        && !bless
    {
        skip(workspace, report, &format!("{RECORD} is of {theirs}, this is {ours}"));
        return Ok(());
    }
    if !report.step("gate build", &mut measure::build(workspace)).ok {
        return Ok(());
    }
    println!();
    report.check(NAME, || {
        let mut figures = facts;
        match measure::all(workspace, &mut figures) {
            Err(message) => vec![message],
            Ok(()) if bless => record(workspace, &figures, recorded.as_ref().ok()),
            Ok(()) => match recorded {
                Ok(recorded) => judge(&figures, &recorded),
                Err(e) => vec![format!("read {RECORD}: {e}; `cargo xtask gate --bless` writes it")],
            },
        }
    });
    Ok(())
}

/// Notes that nothing was counted: forgiven here, in CI only if the list says why.
fn skip(workspace: &Workspace, report: &mut Report, reason: &str) {
    let findings = match skips::impossible(workspace) {
        Ok(listed) if !workspace.in_ci || listed.contains_key(NAME) => Vec::new(),
        Ok(_) => vec![format!("{NAME} did not run and is not in .ci/impossible: {reason}")],
        Err(message) => vec![message],
    };
    let forgiven = findings.is_empty();
    report.check(NAME, || findings);
    if forgiven {
        report.excuse_last(reason);
    }
}

/// Prints the table and says what does not pass.
fn judge(figures: &Figures, recorded: &Figures) -> Vec<String> {
    let rows = rows(figures, recorded);
    print!("{}", table(&rows));
    let mut findings: Vec<String> = rows.iter().filter_map(Row::finding).collect();
    let is_measured = |(case, batch): &(&str, u32)| figures.get(case, *batch).is_some();
    for (case, batch) in recorded.keys().filter(|key| !is_measured(key)) {
        findings.push(format!("{case} batch {batch}: in {RECORD}, but no such case"));
    }
    if !findings.is_empty() {
        findings.extend(recorded.other_facts(figures).map(|(name, theirs, ours)| {
            format!("{RECORD} was recorded with {name} {theirs}, this is {ours}: `--bless` if that is the reason")
        }));
    }
    findings
}

/// Writes the figures, shows what changed, and still says which limits are passed.
fn record(workspace: &Workspace, figures: &Figures, old: Option<&Figures>) -> Vec<String> {
    let none = Figures::default();
    let rows = rows(figures, old.unwrap_or(&none));
    print!("{}", table(&rows));
    for row in &rows {
        match row.recorded {
            Some(old) if same(old, row.figure) => {}
            Some(old) => {
                println!("{} batch {}: {old:.2} -> {:.2}", row.case, row.batch, row.figure)
            }
            None => println!("{} batch {}: new, {:.2}", row.case, row.batch, row.figure),
        }
    }
    let path = workspace.root.join(RECORD);
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(e) = folder.and_then(|()| fs::write(&path, figures.to_string())) {
        return vec![format!("write {RECORD}: {e}")];
    }
    rows.iter().filter(|row| row.is_above_limit()).filter_map(Row::finding).collect()
}

fn rows(figures: &Figures, recorded: &Figures) -> Vec<Row> {
    let each = CASES.iter().flat_map(|case| BATCHES.map(|batch| (case, batch)));
    let row = |(case, batch): (&Case, u32)| {
        Some(Row {
            case: case.name,
            batch,
            figure: figures.get(case.name, batch)?,
            recorded: recorded.get(case.name, batch),
            limit: case.limit.filter(|_| batch == LIMIT_BATCH),
        })
    };
    each.filter_map(row).collect()
}

fn table(rows: &[Row]) -> String {
    let mut text = "case          batch   figure  recorded  limit  verdict\n".to_owned();
    for row in rows {
        let recorded = row.recorded.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"));
        let limit = row.limit.map_or_else(|| "-".to_owned(), |limit| format!("{limit}"));
        let Row { case, batch, figure, .. } = row;
        let verdict = row.problem().unwrap_or_else(|| "ok".to_owned());
        text += &format!("{case:13} {batch:5} {figure:8.2} {recorded:>9} {limit:>6}  {verdict}\n");
    }
    text
}

/// Whether two figures print alike.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.005
}

impl Row {
    fn is_above_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.figure > limit)
    }

    /// What is wrong, in a few words.
    fn problem(&self) -> Option<String> {
        if self.is_above_limit() {
            return Some("above the limit".to_owned());
        }
        let Some(recorded) = self.recorded else { return Some("not recorded".to_owned()) };
        let change = (self.figure - recorded) / recorded;
        (change.abs() > TOLERANCE).then(|| {
            let direction = if change > 0.0 { "worse" } else { "better" };
            format!("{:.1} % {direction}", change.abs() * 100.0)
        })
    }

    /// What is wrong, and what to do about it.
    fn finding(&self) -> Option<String> {
        let problem = self.problem()?;
        let Self { case, batch, figure, recorded, limit } = self;
        let advice = match (limit, recorded) {
            (Some(limit), _) if self.is_above_limit() => format!("at most {limit}"),
            (_, Some(recorded)) if figure > recorded => {
                format!(
                    "recorded {recorded:.2}; make it as good as it was, or `--bless` with the reason in the commit"
                )
            }
            (_, Some(recorded)) => format!("recorded {recorded:.2}; record it with `--bless`"),
            (_, None) => "record it with `cargo xtask gate --bless`".to_owned(),
        };
        Some(format!("{case} batch {batch}: {figure:.2}, {problem}: {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: f64, recorded: Option<f64>, limit: Option<f64>) -> Row {
        Row { case: "receive", batch: 64, figure, recorded, limit }
    }

    #[test]
    fn one_per_cent_either_way_passes_and_more_does_not() {
        let problem = |figure| row(figure, Some(200.0), None).problem();
        assert_eq!(problem(200.0), None);
        assert_eq!(problem(202.0), None);
        assert_eq!(problem(198.0), None);
        assert_eq!(problem(202.2).as_deref(), Some("1.1 % worse"));
        assert_eq!(problem(197.0).as_deref(), Some("1.5 % better"));
    }

    #[test]
    fn a_better_figure_asks_to_be_recorded() {
        let finding = row(10.0, Some(12.0), Some(12.0)).finding().unwrap();
        assert!(finding.ends_with("16.7 % better: recorded 12.00; record it with `--bless`"));
        assert!(row(1.0, None, None).finding().unwrap().contains("not recorded: record it"));
    }

    #[test]
    fn a_limit_holds_whatever_is_recorded() {
        assert_eq!(row(12.0, Some(12.0), Some(12.0)).problem(), None);
        let finding = row(12.01, Some(12.01), Some(12.0)).finding().unwrap();
        assert_eq!(finding, "receive batch 64: 12.01, above the limit: at most 12");
    }

    #[test]
    fn findings_name_another_compiler_and_stale_figures() {
        let figures = Figures::parse("rustc = \"1.95.0\"\n[receive]\n64 = 11.72\n").unwrap();
        let recorded = |compiler: &str, figure: &str| {
            let text =
                format!("rustc = \"{compiler}\"\n[receive]\n64 = {figure}\n[gone]\n8 = 1.00\n");
            judge(&figures, &Figures::parse(&text).unwrap())
        };
        let findings = recorded("1.96.0", "11.00");
        assert!(findings[0].starts_with("receive batch 64: 11.72, 6.5 % worse"), "{findings:?}");
        assert_eq!(findings[1], "gone batch 8: in bench/gates.toml, but no such case");
        assert!(findings[2].contains("recorded with rustc 1.96.0, this is 1.95.0"));
        assert_eq!(recorded("1.95.0", "11.00").len(), 2);
        let fine = Figures::parse("rustc = \"1.96.0\"\n[receive]\n64 = 11.70\n").unwrap();
        assert_eq!(judge(&figures, &fine), Vec::<String>::new());
    }

    #[test]
    fn a_skip_fails_in_ci_unless_listed() {
        let root = std::env::temp_dir().join(format!("xtask-gate-{}", std::process::id()));
        fs::create_dir_all(root.join(".ci")).unwrap();
        let sum = |in_ci, listed| {
            fs::write(root.join(".ci/impossible"), listed).unwrap();
            let mut report = Report::default();
            skip(&Workspace { root: root.clone(), in_ci }, &mut report, "no valgrind");
            report.sum()
        };
        assert_eq!(sum(false, ""), "0 passed, 0 failed, 1 skipped");
        assert_eq!(sum(true, ""), "0 passed, 1 failed, 0 skipped");
        assert_eq!(sum(true, "gate: no port of valgrind\n"), "0 passed, 0 failed, 1 skipped");
        fs::remove_dir_all(root).unwrap();
    }
}

//! The project's own tasks: `cargo xtask ci` and the steps it is made of.
//!
//! Plain cargo and the standard library, so that a machine with Rust and nothing else can run every
//! check. A task adds rows to one [`Report`]; the report prints the table and decides the exit code:
//! 0 all passed, 1 something failed, 2 the command line was wrong.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a terminal program")]

mod bench;
mod ci;
mod differential;
mod fuzz;
mod gate;
mod lab;
mod lint;
mod loom;
mod report;
mod skips;
mod soak;
mod test;
mod vm;
mod workspace;

use std::env;
use std::process::ExitCode;

use report::Report;
use workspace::Workspace;

/// One task of the command line.
struct Task {
    name: &'static str,
    /// One line for the overview.
    summary: &'static str,
    /// What `--help` says below the summary: arguments, then what is run.
    help: &'static str,
    /// Adds rows to the report; an error is a wrong command line.
    run: fn(&Workspace, &[String], &mut Report) -> Result<(), String>,
}

/// All tasks, in the order of the overview.
const TASKS: &[Task] = &[
    Task { name: "ci", summary: "everything that must pass", help: ci::HELP, run: ci::run },
    Task {
        name: "lint",
        summary: "format, clippy, docs, own rules",
        help: lint::HELP,
        run: lint::run,
    },
    Task {
        name: "test",
        summary: "unit, integration and doc tests",
        help: test::HELP,
        run: test::run,
    },
    Task {
        name: "fuzz",
        summary: "random bytes into what parses them",
        help: fuzz::HELP,
        run: fuzz::run,
    },
    Task {
        name: "differential",
        summary: "captures, field by field beside tshark",
        help: differential::HELP,
        run: differential::run,
    },
    Task { name: "lab", summary: "scenarios in own namespaces", help: lab::HELP, run: lab::run },
    Task { name: "gate", summary: "instructions per packet", help: gate::HELP, run: gate::run },
    Task { name: "soak", summary: "rings past 2^32", help: soak::HELP, run: soak::run },
    Task {
        name: "bench",
        summary: "programs beside their peers",
        help: bench::HELP,
        run: bench::run,
    },
    Task {
        name: "loom",
        summary: "model checks of rings and pool",
        help: loom::HELP,
        run: loom::run,
    },
    Task { name: "vm", summary: "other kernels and drivers", help: vm::HELP, run: vm::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else { return wrong_usage("no task given") };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", overview());
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        return wrong_usage(&format!("unknown task `{name}`"));
    };
    if rest.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h")) {
        println!("cargo xtask {}: {}\n\n{}", task.name, task.summary, task.help.trim_end());
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    let done =
        Workspace::discover().and_then(|workspace| (task.run)(&workspace, rest, &mut report));
    match done {
        Ok(()) => report.finish(),
        Err(message) => wrong_usage(&format!("{name}: {message}")),
    }
}

/// Says what is wrong with the command line, and what would be right.
fn wrong_usage(message: &str) -> ExitCode {
    eprint!("xtask: {message}\n\n{}", overview());
    ExitCode::from(2)
}

fn overview() -> String {
    let mut text = String::from("usage: cargo xtask TASK [ARGUMENT..]\n\n");
    for task in TASKS {
        text += &format!("  {:12} {}\n", task.name, task.summary);
    }
    text + "\n`cargo xtask TASK --help` says what a task runs and which arguments it takes.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_in_the_overview_and_has_help_that_fits_a_terminal() {
        let overview = overview();
        for task in TASKS {
            assert!(overview.contains(&format!("  {} ", task.name)), "{}", task.name);
            assert!(task.help.starts_with("usage: cargo xtask "), "{}", task.name);
            assert!(task.help.lines().all(|line| line.len() <= 79), "{}", task.name);
        }
    }

    #[test]
    fn task_names_are_unique() {
        let mut names: Vec<_> = TASKS.iter().map(|task| task.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TASKS.len());
    }
}

//! User-space instructions per frame of a whole program on real sockets, by callgrind.
//!
//! The program runs with two numbers of frames. The slope is what one more frame costs: start and end
//! cancel, idle polls count as far as they come with frames.

use std::fs;

use super::{Candidate, Failure, bench};
use crate::gate::measure::{slope, total, valgrind};
use crate::report::Report;
use crate::workspace::Workspace;

/// Most instructions per frame.
const LIMIT: f64 = 61.0;
/// The two numbers of frames.
const LENGTHS: [u64; 2] = [1_000_000, 2_000_000];
const NAME: &str = "bench instructions";

/// Counts, and fails above the limit. Skipped without valgrind, or without the privilege.
pub(super) fn check(workspace: &Workspace, report: &mut Report, candidate: &Candidate) {
    let mut skipped = valgrind().err();
    report.check(NAME, || {
        if skipped.is_some() {
            return Vec::new();
        }
        match count(workspace, candidate) {
            Ok(figure) => {
                println!("{}: {figure:.2} user-space instructions per frame", candidate.name);
                let finding = format!("{figure:.2} instructions per frame, at most {LIMIT}");
                if figure > LIMIT { vec![finding] } else { Vec::new() }
            }
            Err(Failure::NoPrivilege(reason)) if !workspace.in_ci => {
                skipped = Some(reason);
                Vec::new()
            }
            Err(Failure::NoPrivilege(reason) | Failure::Broken(reason)) => vec![reason],
        }
    });
    if let Some(reason) = skipped {
        report.excuse_last(&reason);
    }
}

fn count(workspace: &Workspace, candidate: &Candidate) -> Result<f64, Failure> {
    let [few, many] = LENGTHS;
    let short = (few, collect(workspace, candidate, few)?);
    let long = (many, collect(workspace, candidate, many)?);
    slope(short, long).ok_or_else(|| Failure::Broken(format!("no slope: {short:?}, {long:?}")))
}

/// Runs the program for some frames and returns the instructions collected. The number of frames is
/// its last argument.
fn collect(workspace: &Workspace, candidate: &Candidate, frames: u64) -> Result<u64, Failure> {
    let profile = workspace.target_dir().join(format!("reflect.{frames}.callgrind"));
    let out = format!("--callgrind-out-file={}", profile.display());
    let frames = frames.to_string();
    let mut arguments =
        vec!["until-end", "valgrind", "-q", "--tool=callgrind", &out, &candidate.program];
    arguments.extend(candidate.arguments.iter().map(String::as_str));
    arguments.push(&frames);
    let said = bench(workspace, &arguments)?;
    if said.lines().find(|line| line.starts_with("wrong ")) != Some("wrong 0") {
        return Err(Failure::Broken(format!("{}: frames were not swapped right", candidate.name)));
    }
    let text = fs::read_to_string(&profile)
        .map_err(|e| Failure::Broken(format!("read {}: {e}", profile.display())))?;
    let nothing = || Failure::Broken(format!("no total in {}", profile.display()));
    total(&text).filter(|total| *total > 0).ok_or_else(nothing)
}

//! Workers for real: each test starts this program again as a worker, which confines itself and
//! then tries exactly one thing. What it may not do ends it, or is refused, and the parent sees
//! which.
//!
//! Planted bugs, each seen to fail the test named: `setgroups` left out (`credentials`);
//! `no_new_privs` and the filters left out (`credentials`, `forbidden`, others); bounding set left
//! as it is, process dumpable (`credentials`); capabilities kept (`stays_root`); `SYS_socket` not
//! among the killed (`forbidden`); `PR_SET_PDEATHSIG` left out, and not repeated after the change of
//! user (`parent_killed`); parent not compared (`wrong_parent`); foreign descriptors not closed
//! (`descriptors`, others); `clone3` answered with EPERM (`allowed`); no kill after the grace
//! (`terminate`). Not seen: `no_new_privs` alone left out, as seccompiler sets it once more.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how the programs started here speak"
)]

#[path = "sandbox/child.rs"]
mod child;
#[path = "sandbox/parent.rs"]
mod parent;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some(netmem_cli::sandbox::SUBCOMMAND) => child::work(&words[1..]),
        Some(parent::HOLD) => parent::hold(&words[1..]),
        _ => {
            let tests = parent::TESTS.iter().map(|(name, test)| {
                Trial::test(*name, move || {
                    test();
                    Ok(())
                })
            });
            // They change the groups of this process, run a program that another may have open for
            // writing in a child, and leave descriptors to whoever is started: one at a time.
            let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
            libtest_mimic::run(&arguments, tests.collect()).exit_code()
        }
    }
}

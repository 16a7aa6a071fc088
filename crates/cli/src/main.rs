//! The `netmem` command.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let (mut out, mut notes) = (io::stdout(), io::stderr());
    match netmem_cli::run(std::env::args_os(), &mut out, &mut notes) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            // Nothing is left to tell when standard error is gone too.
            let _ = failure.print(&mut notes).and_then(|()| notes.flush());
            failure.outcome().into()
        }
    }
}

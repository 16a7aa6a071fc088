//! `netmem read` as a process: pipes at both ends, and signals.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

fn capture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/pcaps").join(name)
}

fn start(words: &[&str], file: PathBuf) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmem"));
    command.arg("read").arg(file).args(words).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The exit code and what stands on standard error.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut notes = String::new();
    child.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
    (child.wait().unwrap().code(), notes)
}

/// The reader goes after a line, as `head -1` does.
#[test]
fn a_reader_that_goes_ends_it_quietly() {
    // Much longer than what a pipe holds.
    let mut child = start(&["--json"], capture("arp-oobr.pcap"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"number\":1,"), "{line}");
    assert_eq!(end(child), (Some(0), String::new()));
}

/// Standard input, slow: each packet is printed when it is there, and Ctrl-C ends it with a summary.
#[test]
fn a_pipe_that_waits_is_interrupted() {
    let bytes = std::fs::read(capture("802.1ad_QinQ.pcap")).unwrap();
    let first = 24 + 16 + usize::from(bytes[32]);
    let mut child = start(&[], "-".into());
    let mut input = child.stdin.take().unwrap();
    input.write_all(&bytes[..first]).unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(line.contains("vlan 200, vlan 2001"), "{line}");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let expected = format!("1 packets read, 1 matched; interrupted at byte {first}\n");
    assert_eq!(end(child), (Some(0), expected));
    drop(input);
}

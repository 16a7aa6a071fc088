//! Planted and caught: findings that end with 0; an unreadable file that ends with 3; a write without its value.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use std::{fs, path::PathBuf};

use super::*;
use crate::run;

/// A file that is gone with its owner.
struct Text(PathBuf);

impl Text {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("netmem-tune-lint-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // A file that is gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}

fn lint(words: &[&str]) -> (Result<Outcome, Failure>, String) {
    let mut out = Vec::new();
    let arguments = ["netmem", "tune", "lint"].iter().chain(words).map(Into::into);
    let outcome = run(arguments, &mut out, &mut Vec::new());
    (outcome, String::from_utf8(out).unwrap())
}

#[test]
fn findings_are_printed_and_told_by_the_exit_code() {
    let text = Text::new(
        "wrong",
        "net.ipv4.udp_wmem_min = 8192\nnet.ipv4.udp_rmem_min = 1 2\nethtool -G eth0 rx 64\n\
         cat /proc/net/sockstat\nsysctl -w net.core.rmem_max=$1\n",
    );
    let path = text.0.to_str().unwrap();
    let (outcome, printed) = lint(&[path]);
    assert_eq!(outcome.unwrap(), Outcome::Finding);
    for part in [
        "\nline 1         net.ipv4.udp_wmem_min = 8192\nno-effect           without effect: ",
        "\nline 2         net.ipv4.udp_rmem_min = 1 2\nsilently-truncated  it is one number: ",
        "\nline 3         ethtool -G eth0 rx 64\nunknown             not a setting of /proc/sys",
        "\nline 5         net.core.rmem_max = *\nunknown ",
        "see Documentation/networking/ip-sysctl.rst\n",
        "findings       2 in 3 writes and 1 reads; 1 other commands not judged\n",
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
    let (outcome, json) = lint(&["--json", path]);
    assert_eq!(outcome.unwrap(), Outcome::Finding);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "netmem.tune.lint/1");
    assert_eq!(json["findings"], 2);
    assert_eq!(json["verdicts"].as_array().unwrap().len(), 5);
    assert_eq!(json["verdicts"][4]["value"], serde_json::Value::Null);
}

#[test]
fn what_the_text_has_does_nothing_to_the_terminal() {
    let text = Text::new(
        "control",
        "ethtool -G eth0\u{1b}[2J rx 64\nsysctl -w net.core.\u{9b}1m=\u{7}1\nnet.core.a\u{8} = \u{1b}]0;x\n\
         sysctl -w net.core.rmem_max='1\u{1b}c2'\ncat /proc/net/\u{1b}snmp\n",
    );
    let (_, printed) = lint(&[text.0.to_str().unwrap()]);
    let bad: Vec<_> = printed.chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert_eq!(bad, [], "{printed:?}");
    assert!(printed.contains("ethtool -G eth0\u{fffd}[2J rx 64"), "{printed}");
}

#[test]
fn nothing_wrong_ends_with_0_and_what_cannot_be_read_with_2() {
    let text = Text::new("right", "net.ipv4.tcp_mtu_probing = 1\nvm.swappiness = 10\n");
    let (outcome, printed) = lint(&[text.0.to_str().unwrap()]);
    assert_eq!(outcome.unwrap(), Outcome::Done, "{printed}");
    let (outcome, _) = lint(&["/no/such/file"]);
    let failure = outcome.unwrap_err();
    assert_eq!(failure.outcome(), Outcome::Usage);
    assert_eq!(failure.to_string(), "lint /no/such/file: no such file or directory");
}

//! Which program a command runs, and whether that sets something beside `/proc/sys`.

use super::command::{Part, assignment};

/// A command behind what only says as whom, where and how it runs; and whether that is by sudo.
pub(super) fn program(fields: &[String]) -> (bool, &[String]) {
    let mut is_sudo = false;
    let mut rest = fields;
    while let Some((first, behind)) = rest.split_first() {
        let name = first.rsplit('/').next().unwrap_or(first);
        let is_option = |word: &&String| {
            word.starts_with('-') || word.trim_end_matches('s').bytes().all(|b| b.is_ascii_digit())
        };
        rest = match name {
            "sudo" | "doas" => {
                is_sudo = true;
                let with_user = ["-u", "-g", "--user", "--group"];
                match behind {
                    [option, _, command @ ..] if with_user.contains(&&option[..]) => command,
                    _ => &behind[behind.iter().take_while(is_option).count()..],
                }
            }
            "env" | "nice" | "nohup" | "command" | "exec" | "busybox" | "stdbuf" | "timeout" => {
                &behind[behind.iter().take_while(is_option).count()..]
            }
            "ip" if matches!(behind, [a, b, ..] if a == "netns" && b == "exec") => {
                behind.get(3..).unwrap_or_default()
            }
            _ if assignment(&vec![Part::Text(first.clone())]).is_some() => behind,
            _ => break,
        };
    }
    (is_sudo, rest)
}

/// Whether a command sets something that is no file of /proc/sys.
pub(super) fn sets_something_else(name: &str, fields: &[String]) -> bool {
    let has = |words: &[&str]| fields.iter().any(|field| words.contains(&&field[..]));
    match name {
        "ethtool" => has(&[
            "-G",
            "-K",
            "-C",
            "-L",
            "-X",
            "-A",
            "-N",
            "-U",
            "-s",
            "--set-ring",
            "--offload",
            "--features",
            "--coalesce",
            "--set-channels",
            "--rxfh",
            "--pause",
            "--config-ntuple",
            "--change",
            "--set-priv-flags",
        ]),
        "ip" => {
            has(&["set"]) && has(&["txqueuelen", "txqlen", "mtu", "gso_max_size", "gro_max_size"])
        }
        "ifconfig" => has(&["txqueuelen", "mtu"]),
        "tc" => has(&["add", "replace", "change", "del", "delete"]),
        "tuned-adm" => has(&["profile"]),
        _ => false,
    }
}

/// A name with dots as a path; one with slashes stays.
pub(super) fn slashed(name: &str) -> String {
    let is_dotted = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    if is_dotted { name.replace('.', "/") } else { name.to_owned() }
}

/// Whether a command prints nothing.
pub(super) fn is_silent(name: &str) -> bool {
    let names = [
        "", ":", "true", "false", "[", "[[", "test", "cd", "set", "export", "local", "readonly",
        "declare", "typeset", "unset", "let", "read", "sleep", "shift", "return", "exit", "break",
        "continue", "trap", "wait", "mkdir", "modprobe",
    ];
    names.contains(&name)
}

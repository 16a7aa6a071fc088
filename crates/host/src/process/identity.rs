//! What a process is called, and which control group it is in.

use serde::Serialize;

use crate::source::{Reading, Root, Unavailable, read};

/// What a process says of itself and the kernel of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// The kernel's short name of it, at most 15 bytes (`/proc/PID/comm`).
    pub name: String,
    /// Its arguments, the program first; none of a kernel thread, and a program may change them
    /// (`/proc/PID/cmdline`).
    pub command_line: Vec<String>,
    /// Path of its control group in the hierarchy of version 2, from that hierarchy's root.
    pub cgroup: Option<String>,
    /// Path of its control group in the memory hierarchy of version 1, where there is one.
    pub memory_cgroup_v1: Option<String>,
}

impl Identity {
    /// Reads what a process is.
    ///
    /// # Errors
    /// There is no such process: that is [`Stale`](crate::source::SourceState::Stale), because its
    /// number came from somewhere.
    pub fn read(root: &Root, pid: u32) -> Reading<Self> {
        let file = |name: &str| read(&root.proc(format!("{pid}/{name}")));
        let gone = |_| Unavailable::stale(format!("process {pid}"), "it has ended");
        let name = file("comm").map_err(gone)?;
        // What is refused stays empty.
        let command_line = file("cmdline").unwrap_or_default();
        let (cgroup, memory_cgroup_v1) = parse_cgroups(&file("cgroup").unwrap_or_default());
        Ok(Self {
            pid,
            name: String::from_utf8_lossy(name.trim_ascii_end()).into_owned(),
            command_line: parse_command_line(&command_line),
            cgroup,
            memory_cgroup_v1,
        })
    }
}

/// Splits arguments that end in NUL each.
fn parse_command_line(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Reads `hierarchy:controllers:path` of each line: the path in the hierarchy of version 2, which has
/// number 0 and no controllers, and that in the memory hierarchy of version 1.
fn parse_cgroups(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(bytes);
    let (mut unified, mut memory) = (None, None);
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if number == "0" && controllers.is_empty() {
            unified = Some(path.to_owned());
        } else if controllers.split(',').any(|controller| controller == "memory") {
            memory = Some(path.to_owned());
        }
    }
    (unified, memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceState;

    #[test]
    fn this_process_is_told() {
        let own = Identity::read(&Root::live(), std::process::id()).unwrap();
        let expected: Vec<_> = std::env::args().collect();
        assert_eq!(own.command_line, expected);
        assert!(expected[0].contains(own.name.get(..5).unwrap()), "{own:?}");
    }

    #[test]
    fn one_that_is_gone_is_stale() {
        let unavailable = Identity::read(&Root::live(), u32::MAX).unwrap_err();
        assert_eq!(unavailable.state, SourceState::Stale);
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let text = b"9:name=systemd:/x\n4:cpu,memory:/a:b\n0::/user.slice\nbroken\n1:\n";
        let expected = (Some("/user.slice".to_owned()), Some("/a:b".to_owned()));
        assert_eq!(parse_cgroups(text), expected);
        assert_eq!(parse_cgroups(b"\xff:\xff:\xff\n0:x:/"), (None, None));
    }

    #[test]
    fn empty_arguments_are_arguments() {
        assert_eq!(parse_command_line(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert!(parse_command_line(b"").is_empty(), "a kernel thread");
    }
}

//! A guest's `/proc` and `/sys` as a folder, for the tests of readers: fixtures of kernels that run on no
//! machine at hand.
//!
//! ```text
//!   guest: /vm/record FOLDER; tar | gzip | base64 --second serial line--> console
//!                                                                             |
//!   DIR/SERIES <-- tar <-- base64 <-- the lines between the two marks <-------'
//! ```

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::debs::output;

/// What runs in the guest, with a folder to write into.
pub(super) const SCRIPT: &str = include_str!("../../../crates/host/tests/fixtures/record");
/// In front of what was recorded, and behind it, each a line that `init.sh` writes.
const MARKS: [&str; 2] = ["record: begin", "record: end"];

/// Unpacks what the guest recorded, by what its console says, into a folder that is made.
///
/// # Errors
/// When the guest did not end its record, the folder is there already, or `base64` or `tar` fails.
pub(super) fn unpack(console: &Path, folder: &Path) -> Result<(), String> {
    let said = fs::read(console).map_err(|e| format!("read {}: {e}", console.display()))?;
    let said = String::from_utf8_lossy(&said);
    let lines = recorded(&said).ok_or("the machine's record has no end")?;
    let packed = console.with_extension("base64");
    fs::write(&packed, lines).map_err(|e| format!("write {}: {e}", packed.display()))?;
    let archive = console.with_extension("tar.gz");
    let failed = |e| format!("write {}: {e}", archive.display());
    let decode = Command::new("base64")
        .arg("-d")
        .arg(&packed)
        .stdout(File::create(&archive).map_err(failed)?)
        .stdin(Stdio::null())
        .status();
    if !decode.map_err(|e| format!("run base64: {e}"))?.success() {
        return Err("the machine's record is damaged".to_owned());
    }
    let parent = folder.parent().map_or(Ok(()), fs::create_dir_all);
    let made = parent.and_then(|()| fs::create_dir(folder));
    made.map_err(|e| format!("make {}: {e}", folder.display()))?;
    output(
        Command::new("tar").args(["--no-same-owner", "-xzf"]).arg(&archive).arg("-C").arg(folder),
    )
    .map(|_| println!("vm: recorded {}", folder.display()))
}

/// The encoded lines between the marks. The kernel's own messages, which share the file, are no such
/// lines: they begin with a time in brackets.
fn recorded(said: &str) -> Option<String> {
    let is_code = |line: &&str| {
        !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    };
    let mut lines = said.lines().map(str::trim_end).skip_while(|line| *line != MARKS[0]).skip(1);
    let mut code = String::new();
    loop {
        match lines.next()? {
            end if end == MARKS[1] => return Some(code),
            line => code.extend(Some(line).filter(is_code).map(|line| format!("{line}\n"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_stands_between_its_marks() {
        let said = "AAAA\r\nrecord: begin\r\naGVs\r\n[   17.2] clocksource: tsc\nbG8=\r\nrecord: end\r\nBBBB\n";
        assert_eq!(recorded(said).unwrap(), "aGVs\nbG8=\n");
        assert_eq!(recorded(&said.replace("end", "en")), None);
        assert_eq!(recorded(&said.replace("begin", "x")), None);
    }

    #[test]
    fn a_record_is_unpacked_once() {
        let base = std::env::temp_dir().join(format!("xtask-record-{}", std::process::id()));
        fs::create_dir_all(base.join("from/proc")).unwrap();
        fs::write(base.join("from/proc/meminfo"), "MemTotal: 1 kB\n").unwrap();
        let tar = format!("tar -C {0}/from -c . | gzip | base64", base.display());
        let code = output(Command::new("sh").args(["-c", &tar])).unwrap();
        let console = base.join("console");
        fs::write(&console, format!("x\nrecord: begin\n{code}record: end\n")).unwrap();
        let to = base.join("to/7.3");
        unpack(&console, &to).unwrap();
        let read = fs::read_to_string(to.join("proc/meminfo")).unwrap();
        assert_eq!(read, "MemTotal: 1 kB\n");
        assert!(unpack(&console, &to).is_err(), "nothing is recorded over");
        fs::remove_dir_all(base).unwrap();
    }
}

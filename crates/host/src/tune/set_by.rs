//! Who else sets the kernel's settings: files that are read at boot, and programs that tune.
//!
//! ```text
//!   /etc/sysctl.d  /run/sysctl.d  /usr/local/lib/sysctl.d  /usr/lib/sysctl.d  /lib/sysctl.d
//!      a name in an earlier folder hides that name in a later one; a link to /dev/null hides it altogether
//!      the files of all folders by name; a later line wins            then /etc/sysctl.conf
//! ```
//! A line is `key = value`; a `-` in front of the key is for errors that do not matter; `/` may stand for
//! `.`, and a pattern for many keys. What the lines give is told in the order in which they are read, and
//! nothing is said of when: somebody may have read them again since boot. What a profile of tuned sets
//! comes behind them.
//! Source: sysctl.d(5) of systemd, sysctl(8) of procps.

mod tuned;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use self::tuned::ProfileLine;
use crate::process::numbered;
use crate::source::{self, Root};

/// The folders, the first one first in hiding names.
const FOLDERS: [&str; 5] =
    ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d"];
const LAST_FILE: &str = "etc/sysctl.conf";
/// Programs that change settings while they run.
const TUNERS: [&str; 2] = ["tuned", "bpftune"];

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetBy {
    /// In the order in which they are read.
    lines: Vec<Line>,
    /// Of the active profile of tuned.
    profile: Vec<ProfileLine>,
    /// Programs that tune: `process 812 (tuned)`.
    programs: Vec<String>,
}

/// A line that sets something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    file: PathBuf,
    number: usize,
    /// With dots.
    key: String,
    value: String,
}

impl SetBy {
    /// Reads the files below `folder`, which is `/` on the live machine, and looks for programs. What
    /// cannot be read is not there.
    pub fn read(folder: &Path, root: &Root) -> Self {
        let (lines, profile) = (lines(folder), tuned::lines(folder));
        Self { lines, profile, programs: tuners(root).collect() }
    }

    /// Who sets a setting: `/etc/sysctl.d/99-net.conf:3 = 8388608`, the profile of tuned, and programs that
    /// may.
    pub fn of(&self, key: &str) -> Vec<String> {
        let lines = self.lines.iter().filter(|line| is_meant(&line.key, key));
        let told =
            lines.map(|line| format!("{}:{} = {}", line.file.display(), line.number, line.value));
        let profile = self.profile.iter().filter(|it| is_meant(&it.line.key, key));
        let profile = profile.map(ProfileLine::told);
        told.chain(profile).chain(self.programs.iter().cloned()).collect()
    }
}

/// Programs that run and set such settings too: `process 812 (tuned)`.
pub(super) fn tuners(root: &Root) -> impl Iterator<Item = String> {
    numbered(&root.proc("")).into_iter().filter_map(|(pid, process)| {
        let name = fs::read_to_string(process.join("comm")).ok()?;
        let name = name.trim_end();
        TUNERS.contains(&name).then(|| format!("process {pid} ({name})"))
    })
}

/// Is a file below `folder` one that is read at boot: by its place, its name, and none of that name before?
pub(super) fn is_read(folder: &Path, file: &Path) -> bool {
    let Some(name) = file.file_name().filter(|name| name.to_string_lossy().ends_with(".conf"))
    else {
        return false;
    };
    let place = FOLDERS.iter().position(|place| file.parent() == Some(&folder.join(place)));
    let is_hidden = |before: &&str| folder.join(before).join(name).symlink_metadata().is_ok();
    place.is_some_and(|at| !FOLDERS[..at].iter().any(is_hidden))
}

/// The lines that set a setting behind those of `file`, so that they win, with its name:
/// `/etc/sysctl.d/99-x.conf:3: net.core.rmem_max = 1`.
pub(super) fn behind(folder: &Path, file: &Path, key: &str) -> Vec<String> {
    let name = file.file_name();
    let is_behind =
        |line: &&Line| line.file.file_name() > name || line.file == folder.join(LAST_FILE);
    let lines = lines(folder);
    let told = lines.iter().filter(|line| is_meant(&line.key, key)).filter(is_behind);
    let told = told.map(|line| {
        format!("{}:{}: {} = {}", line.file.display(), line.number, line.key, line.value)
    });
    told.collect()
}

/// Key, with dots, and value of a line that sets something.
pub(super) fn assignment(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.strip_prefix('-').unwrap_or(line).split_once('=')?;
    Some((dotted(key.trim()), value.trim()))
}

/// All lines that set something, in the order in which they are read.
fn lines(folder: &Path) -> Vec<Line> {
    let lines = files(folder).into_iter().flat_map(|file| {
        let bytes = source::read(&file).unwrap_or_default();
        parse(&file, &String::from_utf8_lossy(&bytes))
    });
    lines.collect()
}

/// The files in the order in which they are read.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
    for place in FOLDERS {
        let Ok(entries) = fs::read_dir(folder.join(place)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".conf") {
                by_name.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    let mut files: Vec<PathBuf> = by_name.into_values().collect();
    let last = folder.join(LAST_FILE);
    // Often a name among the others leads there.
    let real = fs::canonicalize(&last).ok();
    let is_last = |file: &PathBuf| real.is_some() && fs::canonicalize(file).ok() == real;
    if !files.iter().any(is_last) {
        files.push(last);
    }
    files
}

fn parse(file: &Path, text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate().filter_map(|(at, line)| {
        let (key, value) = assignment(line)?;
        let (file, value) = (file.to_owned(), value.to_owned());
        Some(Line { file, number: at + 1, key, value })
    });
    lines.collect()
}

/// A key with dots: if the first separator is a slash, slashes are dots and dots are slashes.
fn dotted(key: &str) -> String {
    if key.find(['.', '/']).map(|at| key.as_bytes()[at]) != Some(b'/') {
        return key.to_owned();
    }
    let swapped = |letter| match letter {
        '/' => '.',
        '.' => '/',
        letter => letter,
    };
    key.chars().map(swapped).collect()
}

/// Tells whether a line's key, in which `*` stands for any letters of a part, means this one.
fn is_meant(pattern: &str, key: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('.'), key.split('.'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_is_meant(pattern, part) => {}
            _ => return false,
        }
    }
}

fn part_is_meant(pattern: &str, part: &str) -> bool {
    let mut pieces: Vec<&str> = pattern.split('*').collect();
    let first = pieces.remove(0);
    let Some(mut rest) = part.strip_prefix(first) else { return false };
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    // What is found soonest leaves most for those behind.
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that goes with this value.
    pub(super) struct Folder(pub(super) PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl Folder {
        pub(super) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("netmem-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(super) fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// Has failed with: folders read one after the other, and `/etc/sysctl.conf` told twice.
    #[test]
    fn files_are_told_in_the_order_of_their_names() {
        let folder = Folder::new("set-by");
        folder.write("usr/lib/sysctl.d/50-a.conf", "net.core.rmem_max = 1\n");
        folder.write("usr/lib/sysctl.d/70-hidden.conf", "net.core.rmem_max = 2\n");
        folder.write("etc/sysctl.d/70-hidden.conf", "# mine\n\n-net/core/rmem_max=3\n");
        folder.write("run/sysctl.d/60-b.conf", "net.core.rmem_max = 4 \n;net.core.rmem_max = 9\n");
        folder.write("usr/lib/sysctl.d/80-off.conf", "net.core.rmem_max = 5\n");
        symlink("/dev/null", folder.0.join("etc/sysctl.d/80-off.conf")).unwrap();
        folder.write("etc/sysctl.d/README", "net.core.rmem_max = 6\n");
        folder.write("etc/sysctl.conf", "net.core.*mem_max = 7\nnet.ipv4.tcp_mem = 1 2 3\n");
        symlink("../sysctl.conf", folder.0.join("etc/sysctl.d/99-sysctl.conf")).unwrap();
        folder.write("proc/812/comm", "tuned\n");
        folder.write("etc/tuned/active_profile", "fast\n");
        folder.write("usr/lib/tuned/fast/tuned.conf", "[sysctl]\nnet.core.rmem_max = 8\n");
        folder.write("proc/813/comm", "tuned-adm\n");
        let found = SetBy::read(&folder.0, &Root::at(&folder.0));
        let prefix = format!("{}/", folder.0.display());
        let of = |key: &str| -> Vec<String> {
            found.of(key).iter().map(|line| line.replace(&prefix, "")).collect()
        };
        assert_eq!(
            of("net.core.rmem_max"),
            [
                "usr/lib/sysctl.d/50-a.conf:1 = 1",
                "run/sysctl.d/60-b.conf:1 = 4",
                "etc/sysctl.d/70-hidden.conf:3 = 3",
                "etc/sysctl.d/99-sysctl.conf:1 = 7",
                "tuned profile fast: usr/lib/tuned/fast/tuned.conf:2 = 8",
                "process 812 (tuned)",
            ]
        );
        assert_eq!(
            of("net.ipv4.tcp_mem"),
            ["etc/sysctl.d/99-sysctl.conf:2 = 1 2 3", "process 812 (tuned)"]
        );
        assert_eq!(of("net.core.somaxconn"), ["process 812 (tuned)"]);
        for (file, is) in [
            ("etc/sysctl.d/70-hidden.conf", true),
            ("usr/lib/sysctl.d/70-hidden.conf", false),
            ("run/sysctl.d/90-netmem.conf", true),
            ("etc/sysctl.d/90-netmem", false),
            ("etc/90-netmem.conf", false),
        ] {
            assert_eq!(is_read(&folder.0, &folder.0.join(file)), is, "{file}");
        }
        fs::remove_file(folder.0.join("etc/sysctl.d/99-sysctl.conf")).unwrap();
        let found = SetBy::read(&folder.0, &Root::at("/no-such-machine"));
        assert_eq!(found.of("net.ipv4.tcp_mem").len(), 1, "it is read last");
    }

    #[test]
    fn patterns_mean_letters_of_one_part() {
        for (pattern, key, is) in [
            ("net.core.rmem_max", "net.core.rmem_max", true),
            ("net.core.*", "net.core.rmem_max", true),
            ("net.*.rmem_max", "net.core.rmem_max", true),
            ("net.core.*mem*max", "net.core.rmem_max", true),
            ("net.core.*mem*x_", "net.core.rmem_max", false),
            ("net.core.r*mem*mem_max", "net.core.rmem_max", false),
            ("net.core.************************x", "net.core.rmem_max", true),
            ("net.core.************************y", "net.core.rmem_max", false),
            ("net.*", "net.core.rmem_max", false),
            ("net.core.rmem", "net.core.rmem_max", false),
            ("", "net.core.rmem_max", false),
        ] {
            assert_eq!(is_meant(pattern, key), is, "{pattern}");
        }
        assert_eq!(dotted("net/ipv4/conf/eth0.5/mtu"), "net.ipv4.conf.eth0/5.mtu");
        assert_eq!(dotted("net.ipv4.conf.eth0/5.mtu"), "net.ipv4.conf.eth0/5.mtu");
    }
}

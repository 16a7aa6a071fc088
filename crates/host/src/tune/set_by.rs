//! Who else sets the kernel's settings: files that are read at boot, and programs that tune.
//!
//! ```text
//!   /etc/sysctl.d  /run/sysctl.d  /usr/local/lib/sysctl.d  /usr/lib/sysctl.d  /lib/sysctl.d
//!      a name in an earlier folder hides that name in a later one; a link to /dev/null hides it altogether
//!      the files of all folders by name
//!   key = value       the later line wins; a `-` in front is for errors that do not matter
//!   pattern = value   for the keys that no line names; of patterns the later wins
//!   -key              no pattern sets it
//! ```
//! `/` may stand for `.` in a key. Two programs read these files, and they differ ([`Reader`]):
//!
//! ```text
//!                      systemd-sysctl                        sysctl --system of procps 4
//!   /etc/sysctl.conf   where a name in a folder leads there, last, behind all others
//!                      in that name's place
//!   -key               undoes what was said of it before     leaves lines that name it
//!   -pattern           undoes that very pattern              no pattern sets what it means, and its
//!                                                            * goes over dots; nothing before 4.0.5
//! ```
//! What counts here is what systemd makes of them; where procps comes to another value, that is told too, with
//! its name. Nothing is said of when: somebody may have read them again since boot. What a profile of tuned
//! sets comes behind them, and behind that what tuned then applies of them again.
//! Source: sysctl.d(5) and src/sysctl/sysctl.c of systemd, src/sysctl.c of procps 4.0.4 and 4.0.6.

mod tuned;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use self::tuned::ProfileLine;
use super::place::is_same;
use crate::netns::namespace_inode;
use crate::process::numbered;
use crate::source::{self, Root};

/// The folders, the first one first in hiding names.
const FOLDERS: [&str; 5] =
    ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d"];
const LAST_FILE: &str = "etc/sysctl.conf";
/// Changes settings while it runs, of the network namespace that it runs in.
const TUNED: &str = "tuned";
/// Changes settings while it runs, in every network namespace.
const BPFTUNE: &str = "bpftune";

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetBy {
    files: Files,
    /// Of the active profile of tuned.
    profile: Vec<ProfileLine>,
    /// What tuned applies behind its profile.
    again: Vec<Line>,
    programs: Vec<Tuner>,
}

/// A program that runs as root and sets such settings too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tuner {
    pid: u32,
    name: String,
    /// The number of its network namespace, if it is told.
    netns_inode: Option<u64>,
}

/// The lines of the files of settings, in the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Files {
    lines: Vec<Line>,
    /// Those of `/etc/sysctl.conf`, which procps reads last.
    last: Vec<Line>,
}

/// Who reads the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Systemd,
    /// Before 4.0.5.
    OldProcps,
    Procps,
}

/// A line that says something of a setting, or of many.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    file: PathBuf,
    number: usize,
    /// With dots; a pattern, perhaps.
    key: String,
    /// None where it is to be left alone.
    value: Option<String>,
}

impl SetBy {
    /// Reads the files below `folder`, which is `/` on the live machine, and looks for programs. What
    /// cannot be read is not there.
    pub fn read(folder: &Path, root: &Root) -> Self {
        let (profile, again) = (tuned::lines(folder), tuned::again(folder));
        Self { files: Files::read(folder), profile, again, programs: tuners(root).collect() }
    }

    /// Who sets a setting, the last one winning: `/etc/sysctl.d/99-net.conf:3 = 8388608`, the profile of tuned,
    /// what tuned applies again behind that, and programs that may.
    pub fn of(&self, key: &str) -> Vec<String> {
        let by_systemd = self.files.written(Reader::Systemd, key);
        let of_systemd = by_systemd.last().map(|line| line.value());
        let is_other = |line: &&Line| of_systemd.is_none_or(|it| !is_same(it, line.value()));
        let by = |reader| self.files.written(reader, key).pop().filter(is_other);
        let others = match (by(Reader::OldProcps), by(Reader::Procps)) {
            (Some(old), Some(new)) if old == new => {
                vec![(old, &[Reader::OldProcps, Reader::Procps][..])]
            }
            (old, new) => {
                let old = old.into_iter().map(|line| (line, &[Reader::OldProcps][..]));
                let new = new.into_iter().map(|line| (line, &[Reader::Procps][..]));
                old.chain(new).collect()
            }
        };
        let told = |line: &Line| format!("{} = {}", line.place(), line.value());
        let files = by_systemd.into_iter().map(told);
        let others = others.into_iter().map(|(line, readers)| marked(told(line), readers));
        let files = files.chain(others);
        let profile = self.profile.iter().filter(|it| is_meant(&it.line.key, key));
        let mut profile: Vec<_> = profile.map(ProfileLine::told).collect();
        let again = self.again.iter().rfind(|line| line.key == key && !profile.is_empty());
        profile.extend(again.map(|line| format!("tuned again: {}", told(line))));
        files.chain(profile).chain(self.programs.iter().map(Tuner::to_string)).collect()
    }
}

impl Tuner {
    /// May it write a setting of that network namespace? Where one of them is not told, it may.
    pub(super) fn reaches(&self, netns_inode: Option<u64>) -> bool {
        let is_elsewhere = self.netns_inode.zip(netns_inode).is_some_and(|(own, it)| own != it);
        self.name != TUNED || !is_elsewhere
    }
}

impl fmt::Display for Tuner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// The programs that run and set such settings too. Anybody may give a process of his such a name, and a program
/// that root's rights come with gets it from who starts it: those that root runs himself are believed. One of a
/// user who got the rights otherwise, or has `CAP_NET_ADMIN` alone, is not seen.
pub(super) fn tuners(root: &Root) -> impl Iterator<Item = Tuner> {
    numbered(&root.proc("")).into_iter().filter_map(|(pid, process)| {
        let name = fs::read_to_string(process.join("comm")).ok()?.trim_end().to_owned();
        if ![TUNED, BPFTUNE].contains(&name.as_str()) || !is_roots(&process) {
            return None;
        }
        let netns = fs::read_link(process.join("ns/net")).ok();
        let netns_inode = netns.and_then(|link| namespace_inode(&link.to_string_lossy()));
        Some(Tuner { pid, name, netns_inode })
    })
}

/// Is a file below `folder` one that is read at boot: by its place, its name, and none of that name before?
pub(super) fn is_read(folder: &Path, file: &Path) -> bool {
    let Some(name) = file.file_name().filter(|name| name.to_string_lossy().ends_with(".conf"))
    else {
        return false;
    };
    let own = real(file);
    let is_place = |place: &&str| real(&folder.join(place).join(name)) == own;
    let place = FOLDERS.iter().position(is_place);
    let is_hidden = |before: &&str| folder.join(before).join(name).symlink_metadata().is_ok();
    place.is_some_and(|at| !FOLDERS[..at].iter().any(is_hidden))
}

/// The lines by which a setting gets another value than by those of `file`, or none, because they are read
/// behind it: `/etc/sysctl.d/99-x.conf:3: net.core.rmem_max = 1`.
pub(super) fn behind(folder: &Path, file: &Path, key: &str) -> Vec<String> {
    let files = Files::read(folder);
    let file = real(file);
    let is_own = |line: &&Line| real(&line.file) == file;
    let sets = |line: &&Line| line.key == key && line.value.is_some() && is_own(line);
    let own = files.lines.iter().rfind(sets);
    let mut told: Vec<(&Line, Vec<Reader>)> = Vec::new();
    for reader in Reader::ALL {
        let written = files.written(reader, key);
        let is_other = |line: &&Line| own.is_none_or(|own| !is_same(line.value(), own.value()));
        // One of them may come back to the value.
        if !written.last().map_or_else(|| own.is_some(), is_other) {
            continue;
        }
        let undone = own.filter(|_| reader == Reader::Systemd);
        let undone = undone.and_then(|own| files.undone(own));
        let behind = written.iter().rposition(is_own).map_or(0, |own| own + 1);
        let behind = written[behind..].iter().copied().filter(is_other);
        for line in undone.into_iter().chain(behind) {
            match told.iter_mut().find(|(before, _)| *before == line) {
                // Under its own name and as the last file.
                Some((_, readers)) if readers.contains(&reader) => {}
                Some((_, readers)) => readers.push(reader),
                None => told.push((line, vec![reader])),
            }
        }
    }
    let text = |line: &Line| match &line.value {
        Some(value) => format!("{}: {} = {value}", line.place(), line.key),
        None => format!("{}: -{}", line.place(), line.key),
    };
    told.into_iter().map(|(line, readers)| marked(text(line), &readers)).collect()
}

/// A file by the folder that it is really in: one folder may have several names. A link in the file's own place
/// is that link.
pub(super) fn real(file: &Path) -> PathBuf {
    let folder = file.parent().and_then(|folder| fs::canonicalize(folder).ok());
    let real = folder.zip(file.file_name()).map(|(folder, name)| folder.join(name));
    real.unwrap_or_else(|| file.to_owned())
}

/// Key, with dots, and value of a line that sets something.
pub(super) fn assignment(line: &str) -> Option<(String, &str)> {
    let (key, value) = said(line)?;
    Some((key, value?))
}

impl Files {
    fn read(folder: &Path) -> Self {
        let files = files(folder, &FOLDERS);
        let last = folder.join(LAST_FILE);
        // Often a name among the others leads there: then that is its name.
        let real = fs::canonicalize(&last).ok();
        let is_last = |file: &&PathBuf| real.is_some() && fs::canonicalize(file).ok() == real;
        let last = files.iter().find(is_last).unwrap_or(&last);
        Self { lines: files.iter().flat_map(|file| lines(file)).collect(), last: lines(last) }
    }

    /// The line by which systemd leaves alone what one of the lines sets.
    fn undone(&self, own: &Line) -> Option<&Line> {
        let exact: Vec<_> = self.lines.iter().filter(|line| line.key == own.key).collect();
        let own = exact.iter().rposition(|line| *line == own)?;
        exact[own + 1..].iter().rfind(|line| line.value.is_none()).copied()
    }

    /// The lines that a setting is written by, in the order in which that happens: the last one wins.
    fn written(&self, reader: Reader, key: &str) -> Vec<&Line> {
        let last = self.last.iter().filter(|_| reader != Reader::Systemd);
        let lines = || self.lines.iter().chain(last.clone());
        let exact: Vec<_> = lines().filter(|line| line.key == key).collect();
        let patterns = lines().filter(|line| line.key != key && is_meant(&line.key, key));
        let sets = |line: &&Line| line.value.is_some();
        match reader {
            Reader::Systemd if exact.is_empty() => last_of_each(patterns),
            Reader::Systemd => {
                let undone = exact.iter().rposition(|line| !sets(line));
                exact[undone.map_or(0, |at| at + 1)..].to_vec()
            }
            _ if !exact.is_empty() => exact.into_iter().filter(sets).collect(),
            Reader::OldProcps => patterns.filter(sets).collect(),
            Reader::Procps => {
                let is_left_out = |line: &Line| line.value.is_none() && goes_over(&line.key, key);
                match lines().any(is_left_out) {
                    true => Vec::new(),
                    false => patterns.filter(sets).collect(),
                }
            }
        }
    }
}

impl Reader {
    const ALL: [Self; 3] = [Self::Systemd, Self::OldProcps, Self::Procps];
}

/// A line as it is told: what systemd makes of it needs no word.
fn marked(told: String, readers: &[Reader]) -> String {
    let which = match readers {
        [Reader::OldProcps, Reader::Procps] => "procps",
        [Reader::OldProcps] => "procps before 4.0.5",
        [Reader::Procps] => "procps from 4.0.5",
        _ => return told,
    };
    format!("{told} (sysctl --system of {which} only)")
}

impl Line {
    fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// Of each pattern the last line, if it sets something; one that says the same again stays in its place.
fn last_of_each<'a>(patterns: impl Iterator<Item = &'a Line>) -> Vec<&'a Line> {
    let mut kept: Vec<&Line> = Vec::new();
    for line in patterns {
        match kept.iter().position(|before| before.key == line.key) {
            Some(at) if kept[at].value == line.value => continue,
            Some(at) => drop(kept.remove(at)),
            None => {}
        }
        kept.push(line);
    }
    kept.retain(|line| line.value.is_some());
    kept
}

/// Key, with dots, and value of a line; none of a line that wants a key left alone.
fn said(line: &str) -> Option<(String, Option<&str>)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (bare, is_marked) = line.strip_prefix('-').map_or((line, false), |bare| (bare, true));
    match bare.split_once('=') {
        Some((key, value)) => Some((dotted(key.trim()), Some(value.trim()))),
        None => is_marked.then(|| (dotted(bare.trim()), None)),
    }
}

/// The files of folders in the order in which they are read; a name in an earlier folder hides it in a later one.
fn files(folder: &Path, places: &[&str]) -> Vec<PathBuf> {
    let mut by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
    for place in places {
        let Ok(entries) = fs::read_dir(folder.join(place)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".conf") {
                by_name.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    by_name.into_values().collect()
}

fn lines(file: &Path) -> Vec<Line> {
    let bytes = source::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().enumerate().filter_map(|(at, line)| {
        let (key, value) = said(line)?;
        Some(Line { file: file.to_owned(), number: at + 1, key, value: value.map(str::to_owned) })
    });
    lines.collect()
}

/// A key with dots: if the first separator is a slash, slashes are dots and dots are slashes.
fn dotted(key: &str) -> String {
    let key = key.trim_start_matches('/');
    if key.find(['.', '/']).map(|at| key.as_bytes()[at]) != Some(b'/') {
        return key.to_owned();
    }
    swapped(key)
}

/// A key with its dots and slashes in each other's place: the path of its file, or back.
fn swapped(key: &str) -> String {
    let swap = |letter| match letter {
        '/' => '.',
        '.' => '/',
        letter => letter,
    };
    key.chars().map(swap).collect()
}

/// Tells whether a line's key means this one: itself, or as a pattern of glob(7), whose `*` ends at a dot.
fn is_meant(pattern: &str, key: &str) -> bool {
    matches(pattern, key, true)
}

/// The same of a pattern whose `*` does not.
fn goes_over(pattern: &str, key: &str) -> bool {
    matches(pattern, key, false)
}

fn matches(pattern: &str, key: &str, require_literal_separator: bool) -> bool {
    if pattern == key {
        return true;
    }
    // Several stars mean what one does, but for the crate, and `^` what `!` does.
    let mut plain = swapped(pattern).replace("[^", "[!");
    while plain.contains("**") {
        plain = plain.replace("**", "*");
    }
    let options = MatchOptions { require_literal_separator, ..MatchOptions::default() };
    Pattern::new(&plain).is_ok_and(|it| it.matches_with(&swapped(key), options))
}

/// Is a process root's, by who started it and by the user that the kernel asks for?
fn is_roots(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The real one, and the effective one.
    ids.is_some_and(|ids| ids.split_ascii_whitespace().take(2).eq(["0", "0"]))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that goes with this value.
    pub(in crate::tune) struct Folder(pub(in crate::tune) PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl Folder {
        pub(in crate::tune) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("netmem-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(in crate::tune) fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// Has failed with: folders read one after the other; `/etc/sysctl.conf` told twice, and as systemd's where
    /// no name leads there; a pattern told of a key that a line names; a user's process told.
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
        let process = |pid: u32, name: &str, uid: u32| {
            folder.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
            let status = format!("Name:\t{name}\nUid:\t{uid}\t{uid}\t0\t0\n");
            folder.write(&format!("proc/{pid}/status"), &status);
        };
        process(812, "tuned", 0);
        folder.write("etc/tuned/active_profile", "fast\n");
        folder.write("usr/lib/tuned/fast/tuned.conf", "[sysctl]\nnet.core.rmem_max = 8\n");
        process(813, "tuned-adm", 0);
        process(814, "bpftune", 1000);
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
                "tuned profile fast: usr/lib/tuned/fast/tuned.conf:2 = 8",
                "tuned again: run/sysctl.d/60-b.conf:1 = 4",
                "process 812 (tuned)",
            ]
        );
        assert_eq!(
            of("net.ipv4.tcp_mem"),
            ["etc/sysctl.d/99-sysctl.conf:2 = 1 2 3", "process 812 (tuned)"]
        );
        assert_eq!(
            of("net.core.wmem_max"),
            ["etc/sysctl.d/99-sysctl.conf:1 = 7", "process 812 (tuned)"]
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
        let last = format!("{prefix}etc/sysctl.conf:2 = 1 2 3 (sysctl --system of procps only)");
        assert_eq!(found.of("net.ipv4.tcp_mem"), [last]);
    }

    /// Files of /etc/sysctl.d without `.conf`, `sysctl` being /etc/sysctl.conf and `->` a link to it; who sets
    /// `net.core.rmem_max`, without the value's `= `; and of them what overrides 50-own. A `~` is for procps only,
    /// a `<` for that before 4.0.5, a `>` for that from 4.0.5 on.
    type Case =
        (&'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);
    const OWN: (&str, &str) = ("50-own", "net.core.rmem_max = 5");
    const LAST: (&str, &str) = ("sysctl", "net.core.rmem_max = 7");
    const LINK: (&str, &str) = ("99-sysctl", "->");
    const ALL: (&str, &str) = ("70-y", "net.core.* = 9");
    const CASES: [Case; 20] = [
        (&[OWN, ("60-x", "net.core.* = 9")], &["50-own:1 5"], &[]),
        (&[OWN, ("60-x", "net/core/rmem_ma[w-y] = 9")], &["50-own:1 5"], &[]),
        (&[OWN, ("40-x", "net.core.rmem_m?x=9")], &["50-own:1 5"], &[]),
        (&[("60-x", "net.core.rmem_m?x=9")], &["60-x:1 9"], &["60-x:1"]),
        (&[OWN, ("60-x", "net/core/rmem_max = 6")], &["50-own:1 5", "60-x:1 6"], &["60-x:1"]),
        (
            &[OWN, ("60-x", "-/net/core/rmem_max = 6\n#\nnet.core.rmem_max = 05")],
            &["50-own:1 5", "60-x:1 6", "60-x:3 05"],
            &[],
        ),
        // The key itself left alone: for systemd whatever was said before, for procps by patterns only.
        (&[OWN, ("60-x", "-net.core.rmem_max")], &["~50-own:1 5"], &["60-x:1"]),
        (&[("60-x", "-net.core.rmem_max"), ALL], &[], &[]),
        // Said again behind it.
        (
            &[OWN, ("60-x", "-net.core.rmem_max"), ("70-z", "net.core.rmem_max = 5")],
            &["70-z:1 5"],
            &[],
        ),
        (
            &[OWN, ("60-x", "-net.core.rmem_max"), ("70-z", "net.core.rmem_max = 6")],
            &["70-z:1 6"],
            &["60-x:1", "70-z:1"],
        ),
        (&[("40-x", "- net.core.rmem_max"), OWN], &["50-own:1 5"], &[]),
        // A pattern left alone is that pattern for systemd, and all that it means for procps.
        (&[ALL, ("80-z", "-net.*.rmem_max")], &["70-y:1 9"], &["70-y:1"]),
        (&[ALL, ("80-z", "-net.*max")], &["70-y:1 9"], &["70-y:1"]),
        (&[ALL, ("80-z", "-net.core.*")], &["<70-y:1 9"], &["<70-y:1"]),
        (
            &[("69-y", "net.core.rmem_m?x = 8"), ALL, ("80-z", "-net.core.*")],
            &["69-y:1 8", "<70-y:1 9"],
            &["69-y:1", "<70-y:1"],
        ),
        // What is said again stays in its place for systemd.
        (
            &[ALL, ("71-z", "net.core.r* = 8"), ("72-z", "net.core.* = 9")],
            &["70-y:1 9", "71-z:1 8", "~72-z:1 9"],
            &["70-y:1", "71-z:1", "~72-z:1"],
        ),
        (
            &[ALL, ("71-z", "net.core.r* = 8"), ("72-z", "net.core.* = 7")],
            &["71-z:1 8", "72-z:1 7"],
            &["71-z:1", "72-z:1", "~70-y:1"],
        ),
        (&[OWN, LAST], &["50-own:1 5", "~sysctl:1 7"], &["~sysctl:1"]),
        (&[OWN, LAST, LINK], &["50-own:1 5", "99-sysctl:1 7"], &["99-sysctl:1"]),
        (
            &[OWN, LAST, LINK, ("99-z", "net.core.rmem_max = 5")],
            &["50-own:1 5", "99-sysctl:1 7", "99-z:1 5", "~99-sysctl:1 7"],
            &["~99-sysctl:1"],
        ),
    ];

    /// Has failed with: a pattern that counts for a key that a line names; `-key` without a value left out, and
    /// left to patterns by systemd; `-pattern` taken by systemd for each key that it means, and by procps for
    /// none; a pattern that is said again moved to the end; `/etc/sysctl.conf` taken by procps in the place of
    /// its name; a line told that a later one takes back; one told that leaves the value alone before it is said
    /// again; a pattern left alone by every procps.
    #[test]
    fn what_boot_makes_of_a_setting_is_told_by_the_rules_of_who_reads() {
        for (number, (files, set_by, behind_own)) in CASES.into_iter().enumerate() {
            let folder = Folder::new(&format!("readers-{number}"));
            for (name, text) in files {
                let place = if *name == "sysctl" { "etc" } else { "etc/sysctl.d" };
                match *text {
                    "->" => {
                        let link = folder.0.join(format!("{place}/{name}.conf"));
                        symlink("../sysctl.conf", link).unwrap();
                    }
                    text => folder.write(&format!("{place}/{name}.conf"), text),
                }
            }
            let of_mark = |which: &str| match which {
                " only)" => "~",
                " before 4.0.5 only)" => "<",
                " from 4.0.5 only)" => ">",
                _ => "?",
            };
            let short = |line: &String| {
                let (bare, mark) = match line.split_once(" (sysctl --system of procps") {
                    Some((bare, which)) => (bare, of_mark(which)),
                    None => (line.as_str(), ""),
                };
                let name = bare.rsplit('/').find(|part| part.contains(".conf:")).unwrap();
                format!("{mark}{}", name.replace(".conf:", ":").replace(" = ", " "))
            };
            let key = "net.core.rmem_max";
            let found = SetBy::read(&folder.0, &Root::at("/no-such-machine")).of(key);
            assert_eq!(found.iter().map(short).collect::<Vec<_>>(), set_by, "{files:?}");
            let own = folder.0.join("etc/sysctl.d/50-own.conf");
            let behind = behind(&folder.0, &own, key);
            let places = behind.iter().map(|line| {
                let (place, _) = line.split_once(": ").unwrap();
                let mark = line.split_once("of procps").map_or("", |(_, which)| of_mark(which));
                format!("{mark}{}", short(&place.to_owned()))
            });
            assert_eq!(places.collect::<Vec<_>>(), behind_own, "{files:?}: {behind:?}");
        }
        let folder = Folder::new("readers");
        folder.write("etc/sysctl.d/50-own.conf", OWN.1);
        folder.write("etc/sysctl.d/60-x.conf", "net/core/rmem_max=6\n-net/core/rmem_max\n");
        folder.write("etc/sysctl.conf", LAST.1);
        let own = folder.0.join("etc/sysctl.d/50-own.conf");
        let told = behind(&folder.0, &own, "net.core.rmem_max");
        let prefix = format!("{}/etc/", folder.0.display());
        let told: Vec<_> = told.iter().map(|line| line.replace(&prefix, "")).collect();
        let only = "(sysctl --system of procps only)";
        let x = format!("sysctl.d/60-x.conf:1: net.core.rmem_max = 6 {only}");
        let last = format!("sysctl.conf:1: net.core.rmem_max = 7 {only}");
        assert_eq!(told, ["sysctl.d/60-x.conf:2: -net.core.rmem_max", &x, &last]);
    }

    /// Has failed with: names compared, by who asks whether the file is read, and by who asks what is behind it.
    #[test]
    fn a_folder_of_two_names_is_one() {
        let folder = Folder::new("names");
        folder.write("usr/lib/sysctl.d/50-own.conf", OWN.1);
        folder.write("run/sysctl.d/60-own.conf", OWN.1);
        folder.write("etc/sysctl.d/10-x.conf", OWN.1);
        symlink("usr/lib", folder.0.join("lib")).unwrap();
        fs::create_dir(folder.0.join("var")).unwrap();
        symlink("../run", folder.0.join("var/run")).unwrap();
        for name in [
            "usr/lib/sysctl.d/50-own.conf",
            "lib/sysctl.d/50-own.conf",
            "var/run/sysctl.d/60-own.conf",
            "etc/../run/sysctl.d/./60-own.conf",
        ] {
            let file = folder.0.join(name);
            assert!(is_read(&folder.0, &file), "{name}");
            assert_eq!(behind(&folder.0, &file, "net.core.rmem_max"), [""; 0], "{name}");
        }
        folder.write("run/sysctl.d/70-z.conf", "net.core.rmem_max = 6\n");
        let own = folder.0.join("lib/sysctl.d/50-own.conf");
        assert_eq!(behind(&folder.0, &own, "net.core.rmem_max").len(), 1);
        // A name of the folder that is read is not hidden by another name of it.
        assert!(!is_read(&folder.0, &folder.0.join("usr/lib/sysctl.d/10-x.conf")));
        assert!(!is_read(&folder.0, &folder.0.join("no/sysctl.d/50-own.conf")));
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
            ("net.core.[!r]mem_max", "net.core.rmem_max", false),
            ("net.core.[^w]mem_max", "net.core.rmem_max", true),
            ("net.core?rmem_max", "net.core.rmem_max", false),
            ("net.core.[rmem_max", "net.core.rmem_max", false),
            ("net.ipv4.conf.eth*.mtu", "net.ipv4.conf.eth0/5.mtu", true),
            ("", "net.core.rmem_max", false),
        ] {
            assert_eq!(is_meant(pattern, key), is, "{pattern}");
        }
        assert!(goes_over("net.*_max", "net.core.rmem_max"));
        assert_eq!(dotted("/net/core/rmem_max"), "net.core.rmem_max");
        assert_eq!(dotted("net/ipv4/conf/eth0.5/mtu"), "net.ipv4.conf.eth0/5.mtu");
        assert_eq!(dotted("net.ipv4.conf.eth0/5.mtu"), "net.ipv4.conf.eth0/5.mtu");
    }
}

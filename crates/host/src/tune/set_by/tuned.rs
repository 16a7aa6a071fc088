//! What the active profile of tuned sets.
//!
//! ```text
//!   /etc/tuned/active_profile        names of profiles; the later wins, and /etc/tuned/post_loaded_profile over all
//!   /etc/tuned, /etc/tuned/profiles, /usr/lib/tuned, /usr/lib/tuned/profiles
//!      NAME/tuned.conf, in the first of these folders that has it
//!      [main] include=NAME           what it includes is set first; its own name means the file of the next folder
//!      [sysctl] KEY=VALUE            or any section with type=sysctl; a value of `>N` raises only, `<N` lowers only
//! ```
//! A file is read once, so that profiles that include each other come to an end, and a later one wins over
//! an earlier one setting by setting. Variables are left as they stand, and conditions on when a section
//! counts are not asked: nothing of a profile is run. `active_profile` stays when tuned ends.
//!
//! Behind the sysctl settings of its profile tuned applies again, so that these win:
//!
//! ```text
//!   /run/sysctl.d  /etc/sysctl.d     by name; one in the first hides that name in the second
//!   /etc/sysctl.conf                 last; of all these the last KEY = VALUE, no patterns, no `-`
//!   /etc/tuned/tuned-main.conf       reapply_sysctl = 0: nothing; reapply_sysctl_exclude = PATTERN, ...: but those
//! ```
//! Source: loader.py, locator.py and merger.py in tuned/profiles, base.py and plugin_sysctl.py in tuned/plugins,
//! tuned/consts.py and tuned/utils/global_config.py of tuned 2.28.

use std::path::{Path, PathBuf};

use glob::Pattern;

use super::Line;
use crate::source;

/// Files with names of profiles, in the order in which these count.
const ACTIVE: [&str; 2] = ["etc/tuned/active_profile", "etc/tuned/post_loaded_profile"];
/// The folders of profiles, the first one first.
const FOLDERS: [&str; 4] =
    ["etc/tuned", "etc/tuned/profiles", "usr/lib/tuned", "usr/lib/tuned/profiles"];
/// The folders that are applied again, the first one first in hiding names; and the file behind them.
const AGAIN: [&str; 2] = ["run/sysctl.d", "etc/sysctl.d"];
const AGAIN_LAST: &str = "etc/sysctl.conf";
/// Says whether they are; they are, where it says nothing.
const MAIN: &str = "etc/tuned/tuned-main.conf";
/// More files than that are not read.
const FILES_MAX: usize = 64;

/// A setting of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProfileLine {
    /// The profile whose file it is.
    profile: String,
    pub(super) line: Line,
}

/// All settings of the active profile, in the order in which they count, below `folder`.
pub(super) fn lines(folder: &Path) -> Vec<ProfileLine> {
    let mut profiles = Profiles { folder, files: Vec::new(), lines: Vec::new() };
    for file in ACTIVE {
        let names = source::read(&folder.join(file)).unwrap_or_default();
        for name in String::from_utf8_lossy(&names).split_ascii_whitespace() {
            profiles.add(name);
        }
    }
    profiles.lines
}

/// What is applied again behind the profile, the last line winning, below `folder`.
pub(super) fn again(folder: &Path) -> Vec<Line> {
    let main = text(&folder.join(MAIN));
    let main = options(&main);
    let said = |key: &str| main.iter().rfind(|it| it.key == key).map_or("", |it| it.value.as_str());
    if ["0", "no", "false", "off"].contains(&said("reapply_sysctl").to_lowercase().as_str()) {
        return Vec::new();
    }
    let excluded = said("reapply_sysctl_exclude").split([',', ';']);
    let excluded: Vec<_> = excluded.filter_map(|it| Pattern::new(it.trim()).ok()).collect();
    let mut files = super::files(folder, &AGAIN);
    files.push(folder.join(AGAIN_LAST));
    let of_file = |file: PathBuf| {
        let text = text(&file);
        let lines = text.lines().enumerate().filter_map(|(at, line)| {
            let (key, value) = line.trim().split_once('=')?;
            let key = key.trim();
            let is_none =
                key.starts_with(['#', ';', '-']) || excluded.iter().any(|it| it.matches(key));
            let (key, value) = (super::dotted(key), Some(value.trim().to_owned()));
            (!is_none).then(|| Line { file: file.clone(), number: at + 1, key, value })
        });
        lines.collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of_file).collect()
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&source::read(file).unwrap_or_default()).into_owned()
}

impl ProfileLine {
    /// `tuned profile balanced: /usr/lib/tuned/balanced/tuned.conf:7 = 4096`.
    pub(super) fn told(&self) -> String {
        let (profile, line) = (&self.profile, &self.line);
        let place = format!("tuned profile {profile}: {}:{}", line.file.display(), line.number);
        match line.value().split_at_checked(1) {
            Some((">", number)) => format!("{place} = {number}, if that is more"),
            Some(("<", number)) => format!("{place} = {number}, if that is less"),
            _ => format!("{place} = {}", line.value()),
        }
    }
}

/// The profiles that were read.
struct Profiles<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
    lines: Vec<ProfileLine>,
}

impl Profiles<'_> {
    /// Reads a profile, behind those that it includes.
    fn add(&mut self, name: &str) {
        // A name is one part of a path.
        if name.contains('/') || name.starts_with('.') || self.files.len() >= FILES_MAX {
            return;
        }
        let mut files =
            FOLDERS.iter().map(|place| self.folder.join(place).join(name).join("tuned.conf"));
        let Some(file) = files.find(|file| !self.files.contains(file) && file.is_file()) else {
            return;
        };
        self.files.push(file.clone());
        let bytes = source::read(&file).unwrap_or_default();
        let options = options(&String::from_utf8_lossy(&bytes));
        let mut includes = options.iter().filter(|it| it.section == "main" && it.key == "include");
        // Of options that are there twice, the last one counts.
        for name in includes.next_back().iter().flat_map(|it| it.value.split([',', ';'])) {
            self.add(name.trim());
        }
        let is_sysctl = |section: &str| {
            let mut own = options.iter().filter(|it| it.section == section && it.key == "type");
            own.next_back().map_or(section, |it| &it.value) == "sysctl"
        };
        let set = options.iter().filter(|it| it.key.contains(['.', '/']) && is_sysctl(&it.section));
        self.lines.extend(set.map(|option| ProfileLine {
            profile: name.to_owned(),
            line: Line {
                file: file.clone(),
                number: option.number,
                key: super::dotted(&option.key),
                value: Some(option.value.clone()),
            },
        }));
    }
}

/// An assignment of a file.
struct Assigned {
    section: String,
    number: usize,
    key: String,
    value: String,
}

/// The assignments of a file, as Python's `configparser` reads them: a line that stands further in than its
/// option goes on with its value, and is left out here.
fn options(text: &str) -> Vec<Assigned> {
    let (mut section, mut options, mut indent) = (String::new(), Vec::new(), None);
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        if indent.is_some_and(|indent| depth > indent) {
            continue;
        }
        if let Some((name, _)) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            (section, indent) = (name.to_owned(), None);
            continue;
        }
        let Some((key, value)) = bare.split_once('=') else { continue };
        indent = Some(depth);
        let (section, number, key) = (section.clone(), at + 1, key.trim().to_owned());
        options.push(Assigned { section, number, key, value: unquoted(value) });
    }
    options
}

/// A value without the comment behind it and the quotes around it.
fn unquoted(value: &str) -> String {
    let value = [" #", "\t#"].iter().fold(value, |value, mark| match value.split_once(mark) {
        Some((value, _)) => value,
        None => value,
    });
    let value = value.trim();
    let quoted = ['"', '\''].iter().find_map(|mark| value.strip_prefix(*mark)?.strip_suffix(*mark));
    quoted.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    fn told(folder: &Folder) -> Vec<String> {
        let prefix = format!("{}/", folder.0.display());
        lines(&folder.0).iter().map(|line| line.told().replace(&prefix, "")).collect()
    }

    /// Has failed with: a profile's own settings before those that it includes; the folders from the last;
    /// each section taken for settings; the sign of a value that only raises left in it.
    #[test]
    fn a_profile_and_what_it_includes_is_told() {
        let folder = Folder::new("tuned-profile");
        assert_eq!(told(&folder), [""; 0]);
        folder.write("etc/tuned/active_profile", "fast\n");
        folder.write("etc/tuned/post_loaded_profile", "mine\n");
        let fast = "# for speed\n[main]\nsummary=Fast\ninclude=base\n\n[sysctl]\n\
            net.core.rmem_max=>16777216\nnet.ipv4.tcp_rmem=\"4096 131072 16777216\"   # three\n\
            net.core.busy_read=<50\n  net.core.hidden=1\n[cpu]\nnet.core.x=1\n";
        folder.write("usr/lib/tuned/fast/tuned.conf", fast);
        folder.write(
            "usr/lib/tuned/profiles/base/tuned.conf",
            "[buffers]\ntype=sysctl\nnet/core/rmem_max = ${large} ;x\n; no\n[sysctl]\nenabled=1\n",
        );
        folder.write("etc/tuned/profiles/mine/tuned.conf", "[sysctl]\nnet.core.rmem_max='1'\n");
        folder.write("usr/lib/tuned/mine/tuned.conf", "[sysctl]\nnet.core.rmem_max=2\n");
        assert_eq!(
            told(&folder),
            [
                "tuned profile base: usr/lib/tuned/profiles/base/tuned.conf:3 = ${large} ;x",
                "tuned profile fast: usr/lib/tuned/fast/tuned.conf:7 = 16777216, if that is more",
                "tuned profile fast: usr/lib/tuned/fast/tuned.conf:8 = 4096 131072 16777216",
                "tuned profile fast: usr/lib/tuned/fast/tuned.conf:9 = 50, if that is less",
                "tuned profile mine: etc/tuned/profiles/mine/tuned.conf:2 = 1",
            ]
        );
        let keys: Vec<_> = lines(&folder.0).into_iter().map(|line| line.line.key).collect();
        assert_eq!(keys[..2], ["net.core.rmem_max", "net.core.rmem_max"]);
    }

    /// Has failed with: what the file says of it not read; the folders the other way round; a line with `-` taken
    /// for a setting; what is left out not left out.
    #[test]
    fn files_are_applied_again_behind_the_profile() {
        let folder = Folder::new("tuned-again");
        let told = || -> Vec<_> {
            let prefix = format!("{}/", folder.0.display());
            let lines = again(&folder.0);
            let line = |line: &Line| format!("{} {}={}", line.place(), line.key, line.value());
            lines.iter().map(|one| line(one).replace(&prefix, "")).collect()
        };
        assert_eq!(told(), [""; 0]);
        folder.write("usr/lib/sysctl.d/10-a.conf", "net.core.rmem_max=1\n");
        folder.write("etc/sysctl.d/50-b.conf", "net.core.rmem_max=2\n");
        folder.write(
            "run/sysctl.d/50-b.conf",
            "# x=1\n-net.core.wmem_max = 3\nnet/core/rmem_max = 3\n",
        );
        folder.write("etc/sysctl.d/60-c.conf", "net.core.somaxconn = 4\nnet.core.x\n");
        folder.write("etc/sysctl.conf", ";a=1\nnet.core.optmem_max = 5 6\n");
        let b = "run/sysctl.d/50-b.conf:3 net.core.rmem_max=3";
        let (c, last) = (
            "etc/sysctl.d/60-c.conf:1 net.core.somaxconn=4",
            "etc/sysctl.conf:2 net.core.optmem_max=5 6",
        );
        assert_eq!(told(), [b, c, last]);
        let main = |text: &str| folder.write("etc/tuned/tuned-main.conf", text);
        main(
            "daemon = 1\nreapply_sysctl = 1 # as it comes\nreapply_sysctl_exclude = net.core.s*; *.x,\n",
        );
        assert_eq!(told(), [b, last]);
        for off in ["0", "False", "no", "off # not here"] {
            main(&format!("reapply_sysctl = 1\nreapply_sysctl={off}\n"));
            assert_eq!(told(), [""; 0], "{off}");
        }
    }

    /// Has failed with: files read as often as they are named, until the stack was full.
    #[test]
    fn profiles_that_include_each_other_come_to_an_end() {
        let folder = Folder::new("tuned-cycle");
        folder.write("etc/tuned/active_profile", "a");
        folder.write("etc/tuned/a/tuned.conf", "[main]\ninclude = b, a ;../c\n[sysctl]\nx.y=1\n");
        // What hides a file of its name may include it.
        folder.write("usr/lib/tuned/a/tuned.conf", "[main]\ninclude=a\n[sysctl]\nx.y=2\n");
        folder.write("usr/lib/tuned/b/tuned.conf", "[main]\ninclude=a;b\n[sysctl]\nx.y=3\n");
        folder.write("etc/c/tuned.conf", "[sysctl]\nx.y=4\n");
        assert_eq!(
            told(&folder),
            [
                "tuned profile a: usr/lib/tuned/a/tuned.conf:4 = 2",
                "tuned profile b: usr/lib/tuned/b/tuned.conf:4 = 3",
                "tuned profile a: etc/tuned/a/tuned.conf:4 = 1",
            ]
        );
        for file in ["", "[", "=\n[sysctl\n=1", "x.y=1\n[sysctl]\n=\n"] {
            folder.write("etc/tuned/a/tuned.conf", file);
            assert!(told(&folder).iter().all(|line| !line.contains("etc/")), "{file}");
        }
    }
}

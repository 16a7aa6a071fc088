//! Files that the text makes, and that it loads or puts among the files of settings.
//!
//! Lines of settings that go into a file of another name are kept until the text ends: sysctl(8) may load the
//! file, or cp(1) and its like may put it into place, before or behind the lines that write it, as functions
//! are called. A file is known by its name as it is written, from the folder of the shell. One that is written
//! more than once is not told what it has in the end. Behaviour: procps 4.0, coreutils 9.

use std::collections::BTreeMap;

use super::command::{UNKNOWN, is_setting};
use super::events::{Kind, Script};
use super::indirect::{is_not_loaded, is_of_settings};
use super::output::{self, Output};
use super::program::Netns;
use super::trouble::Trouble;

/// How much of outputs is looked at for lines of settings where they go to several files, in letters.
const ALL_LOOKED_AT: usize = 1 << 20;
/// What is said of a file that sysctl(8) loads.
const NOT_IN_TEXT: &str =
    "sysctl loads settings from a file that the text does not tell: not judged";

/// Files that a text makes and loads, by their names.
#[derive(Debug, Default)]
pub(super) struct Made {
    files: BTreeMap<String, File>,
    /// In which network namespace each is loaded; [`None`]: nobody knows whether it is.
    loaded: BTreeMap<String, Option<Netns>>,
    /// How often a command has opened a file so far.
    opened: usize,
    looked_at: usize,
}

/// A file that a text makes.
#[derive(Debug)]
struct File {
    outputs: Vec<Output>,
    /// The number of the command that has opened it last.
    opened: usize,
    is_written_again: bool,
}

impl Made {
    /// A command opens a file.
    pub(super) fn open(&mut self) {
        self.opened += 1;
    }

    /// Whether what goes to several files is looked at for this one.
    pub(super) fn may_look(&mut self, outputs: &[Output]) -> bool {
        if self.looked_at < ALL_LOOKED_AT {
            self.looked_at = self.looked_at.saturating_add(output::cost(outputs));
        }
        self.looked_at < ALL_LOOKED_AT
    }

    /// A text goes into a file.
    pub(super) fn write(&mut self, path: &str, output: &Output) {
        let opened = self.opened;
        let again = self.files.get_mut(path).filter(|file| file.opened != opened);
        if let Some(file) = again {
            (file.opened, file.is_written_again) = (opened, true);
        }
        if !output.text.lines().any(is_setting) {
            return;
        }
        let file = self.files.entry(path.to_owned()).or_insert_with(|| File {
            outputs: Vec::new(),
            opened,
            is_written_again: false,
        });
        file.outputs.push(output.clone());
    }

    fn load(&mut self, path: String, netns: Option<Netns>) {
        let before = self.loaded.entry(path).or_insert(netns);
        if *before != netns {
            *before = None;
        }
    }
}

impl Script {
    /// sysctl(8) loads files.
    pub(super) fn loads(&mut self, line: usize, words: &[String]) {
        let is_untold = self.made.looked_at >= ALL_LOOKED_AT;
        for word in words {
            if let Some((key, value)) = word.split_once('=').filter(|_| is_setting(word)) {
                self.write(line, key, value, Some(Trouble::NamesOfFiles));
                continue;
            }
            let letters = word.strip_prefix('-').filter(|word| !word.starts_with('-'));
            let behind = letters.and_then(|word| word.split_once(['p', 'f']).map(|(_, file)| file));
            let long = word.strip_prefix("--load=");
            let file = long.or(behind).unwrap_or(word);
            if file.is_empty() || file.starts_with('-') || file == "/dev/stdin" {
                continue;
            }
            if file.contains(UNKNOWN) || (is_untold && !is_of_settings(file)) {
                let text = format!("sysctl -p {file}");
                self.push(line, Kind::Other { text, why: NOT_IN_TEXT });
            } else if letters.is_none_or(|_| behind.is_some()) {
                let (path, netns) = (self.place.file(file), self.netns);
                self.made.load(path, Some(netns));
            }
        }
    }

    /// A copy may put a file among those of settings.
    pub(super) fn placed(&mut self, name: &str, fields: &[String]) {
        if !matches!(name, "cp" | "mv" | "install" | "ln" | "rsync") {
            return;
        }
        let is_place = |path: &String| {
            is_of_settings(path) || path.trim_end_matches('/').ends_with("sysctl.d")
        };
        let is_known = fields.iter().any(is_place);
        if !is_known && !fields.iter().any(|field| field.contains(UNKNOWN)) {
            return;
        }
        for file in fields.iter().skip(1).filter(|field| !is_place(field)) {
            let path = self.place.file(file);
            self.made.load(path, is_known.then_some(Netns::Initial));
        }
    }

    /// Judges what has gone into files that are loaded.
    pub(super) fn made(&mut self) {
        let Made { mut files, loaded, .. } = std::mem::take(&mut self.made);
        for (path, netns) in loaded {
            let Some(file) = files.remove(&path) else { continue };
            let is_told = netns.is_some() && !file.is_written_again;
            self.netns = netns.unwrap_or_default();
            for output in output::joined(&file.outputs) {
                self.settings(&output, (!is_told).then_some(Trouble::FileNotTold));
            }
        }
        // Something in the text may load those that no loader reads by itself.
        files.retain(|path, _| self.loads_others && is_not_loaded(path));
        for file in files.values() {
            for output in output::joined(&file.outputs) {
                self.settings(&output, Some(Trouble::FileNotTold));
            }
        }
    }
}

//! Words that do not belong: unfinished code, hosts of registries, folders of one machine.

use super::source::{closing, word_offsets};
use super::{File, Finding, Tree};

/// No ignored test, no unfinished code, no note to finish it later.
pub(super) fn left_overs(tree: &Tree) -> Vec<Finding> {
    let notes = [["FIX", "ME"], ["X", "XX"]].map(|halves| halves.concat());
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        for offset in ignored_tests(&file.code) {
            findings.push(file.finding(offset, "an ignored test: skip it with a reason instead"));
        }
        for name in ["todo", "unimplemented"] {
            let calls = word_offsets(&file.code, name);
            let calls = calls.filter(|at| file.code[at + name.len()..].starts_with('!'));
            findings
                .extend(calls.map(|at| file.finding(at, format!("`{name}!`: unfinished code"))));
        }
        for note in &notes {
            let places = word_offsets(&file.text, note);
            findings
                .extend(places.map(|at| file.finding(at, format!("`{note}`: unfinished work"))));
        }
    }
    findings
}

/// A mirror or a proxy serves as well as the registry itself: only the lock file names one.
pub(super) fn registry_hosts(tree: &Tree) -> Vec<Finding> {
    let hosts = [
        &["crates", "io"][..],
        &["pypi", "org"],
        &["pythonhosted", "org"],
        &["npmjs", "org"],
        &["npmjs", "com"],
        &["yarnpkg", "com"],
        &["rubygems", "org"],
        &["proxy", "golang", "org"],
        &["repo", "maven", "apache", "org"],
        &["deb", "debian", "org"],
        &["security", "debian", "org"],
        &["snapshot", "debian", "org"],
        &["archive", "ubuntu", "com"],
        &["docker", "io"],
    ];
    let hosts: Vec<String> = hosts.into_iter().map(|parts| parts.join(".")).collect();
    let files = tree.files.iter().filter(|file| !file.path.ends_with("Cargo.lock"));
    let mut findings = Vec::new();
    for file in files {
        for host in &hosts {
            let places = word_offsets(&file.text, host);
            let what = |at| file.finding(at, format!("names the package registry {host}"));
            findings.extend(places.map(what));
        }
    }
    findings
}

/// A path that exists on one developer's machine only. (Captured data may hold anything.)
pub(super) fn developer_paths(tree: &Tree) -> Vec<Finding> {
    let folders = ["work", "home", "root"].map(|folder| format!("/{folder}/"));
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.binary) {
        for folder in &folders {
            let places = file.text.match_indices(folder).map(|(at, _)| at);
            let places = places.filter(|&at| is_absolute(file, at));
            findings
                .extend(places.map(|at| file.finding(at, format!("an absolute {folder} path"))));
        }
    }
    findings
}

/// Whether the slash at `at` starts a path rather than going on with one.
fn is_absolute(file: &File, at: usize) -> bool {
    let before = file.text[..at].chars().next_back().unwrap_or(' ');
    !(before.is_alphanumeric() || "_-.~*}])>".contains(before))
}

/// Offsets of `#[ignore]` in all its forms.
fn ignored_tests(code: &str) -> Vec<usize> {
    let attributes = code.match_indices("#[").map(|(at, _)| at);
    let ignores = |at: &usize| {
        let attribute = &code[at + 2..closing(code, at + 1)];
        let conditional = attribute.trim_start().starts_with("cfg_attr");
        let mut words = word_offsets(attribute, "ignore");
        words.any(|word| conditional || attribute[..word].trim().is_empty())
    };
    attributes.filter(ignores).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree};
    use super::*;

    #[test]
    fn finds_left_overs_in_code_and_notes_anywhere() {
        let note = ["FIX", "ME"].concat();
        let text = format!(
            "#[ignore]\n#[ignore = \"slow\"]\n#[cfg_attr(miri, ignore)]\n#[rule(ignore)]\n\
             todo!(); unimplemented!(\"x\");\n// todo!() #[ignore]\nlet todo = \"todo!\";\n// {note}: x\n// XX{}X\n",
            "X"
        );
        let found = left_overs(&tree(&[("a.rs", &text), ("a.md", &note)]));
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2, 3, 5, 5, 8], "{:?}", shown(&found));
        let note = ["X", "XX"].concat();
        assert_eq!(left_overs(&tree(&[("a.rs", &format!("\n// {note}\n// a{note}X\n"))])).len(), 1);
    }

    #[test]
    fn finds_registry_hosts_outside_lock_files() {
        let host = ["crates", "io"].join(".");
        let text = format!("a\nhttps://static.{host}/x\n");
        let tree = tree(&[
            ("Cargo.lock", &text),
            ("README.md", &text),
            ("src/a.rs", "map.crates.iodine()"),
        ]);
        assert_eq!(
            shown(&registry_hosts(&tree)),
            [format!("README.md:2: names the package registry {host}")]
        );
    }

    #[test]
    fn finds_absolute_paths_only() {
        let folder = ["", "home", ""].join("/");
        let text = format!("{folder}x\nsrc{folder}\n\"{folder}y\"\nhttps://a.example{folder}\n");
        let data = File::new("a.pcap".to_owned(), [b"\xff ", folder.as_bytes()].concat());
        let mut tree = tree(&[("a.md", &text)]);
        tree.files.push(data);
        let lines: Vec<_> = developer_paths(&tree).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 3]);
    }
}

//! Where `unsafe` may stand: in the files that ARCHITECTURE.md lists, and in no example.

use super::source::word_offsets;
use super::{File, Finding, Tree};

const LIST: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Where unsafe lives";
const KEYWORD: &str = "unsafe";

/// Compares the list with the files, both ways.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let listed = tree.get(LIST).map(|file| listed_paths(&file.text)).unwrap_or_default();
    for file in &tree.files {
        let Some(offset) = first_unsafe(file) else { continue };
        let is_example = file.path.split('/').any(|part| part == "examples");
        if is_example {
            findings.push(file.finding(offset, "unsafe in an example"));
        } else if !listed.iter().any(|(_, path)| *path == file.path) {
            let what = format!("unsafe in a file that {LIST} does not list under `{HEADING}`");
            findings.push(file.finding(offset, what));
        }
    }
    let stale = listed.iter().filter_map(|&(line, path)| {
        let what = match tree.get(path) {
            None => format!("lists {path}, which does not exist"),
            Some(file) if first_unsafe(file).is_none() => {
                format!("lists {path}, which has no unsafe")
            }
            Some(_) => return None,
        };
        Some(Finding { path: LIST.to_owned(), line, what })
    });
    findings.extend(stale);
    findings
}

fn first_unsafe(file: &File) -> Option<usize> {
    word_offsets(&file.code, KEYWORD).next()
}

/// The paths of the list with their lines: bullets that start with a path in backticks.
fn listed_paths(text: &str) -> Vec<(usize, &str)> {
    let is_end = |line: &str| line.starts_with("# ") || line.starts_with("## ");
    let lines = text.lines().enumerate().skip_while(|(_, line)| line.trim_end() != HEADING);
    let section = lines.skip(1).take_while(|(_, line)| !is_end(line));
    let bullets = section.filter_map(|(index, line)| {
        let item = line.trim_start().strip_prefix(['-', '*'])?;
        let (path, _) = item.trim_start().strip_prefix('`')?.split_once('`')?;
        Some((index + 1, path))
    });
    bullets.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree};
    use super::*;

    const ARCHITECTURE: &str = "# House\n\n- `crates/x/src/other.rs`\n\n## Where unsafe lives\n\nOnly here:\n\n\
        - `crates/x/src/sys.rs`: calls\n* `crates/x/src/gone.rs`\n- `crates/x/src/tame.rs` was\n- prose\n\n### Why\n\n\
        - `crates/x/src/mem.rs`\n\n## Next\n\n- `crates/x/src/late.rs`\n";

    #[test]
    fn reads_the_bullets_of_the_section() {
        let paths: Vec<_> = listed_paths(ARCHITECTURE);
        let expected = [
            (9, "crates/x/src/sys.rs"),
            (10, "crates/x/src/gone.rs"),
            (11, "crates/x/src/tame.rs"),
            (16, "crates/x/src/mem.rs"),
        ];
        assert_eq!(paths, expected);
        assert_eq!(listed_paths("see ## Where unsafe lives\n- `a.rs`\n"), []);
    }

    #[test]
    fn compares_both_ways() {
        let block = "fn f() { unsafe { g() } }";
        let tree = tree(&[
            ("ARCHITECTURE.md", ARCHITECTURE),
            ("crates/x/examples/e.rs", block),
            ("crates/x/src/late.rs", block),
            ("crates/x/src/lib.rs", "#![forbid(unsafe_code)]\n// unsafe\n"),
            ("crates/x/src/mem.rs", block),
            ("crates/x/src/sys.rs", block),
            ("crates/x/src/tame.rs", "/// unsafe\nconst S: &str = \"unsafe\";"),
            ("crates/x/tests/t.rs", "\n#[unsafe(no_mangle)] fn f() {}"),
            ("notes.md", "unsafe"),
        ]);
        let not_listed =
            "unsafe in a file that ARCHITECTURE.md does not list under `## Where unsafe lives`";
        let expected = [
            "crates/x/examples/e.rs:1: unsafe in an example".to_owned(),
            format!("crates/x/src/late.rs:1: {not_listed}"),
            format!("crates/x/tests/t.rs:2: {not_listed}"),
            "ARCHITECTURE.md:10: lists crates/x/src/gone.rs, which does not exist".to_owned(),
            "ARCHITECTURE.md:11: lists crates/x/src/tame.rs, which has no unsafe".to_owned(),
        ];
        assert_eq!(shown(&check(&tree)), expected);
    }

    #[test]
    fn without_a_list_no_file_may_have_it() {
        assert_eq!(check(&tree(&[("a.rs", "unsafe fn f() {}")])).len(), 1);
        assert!(check(&tree(&[("a.rs", "fn f() {}")])).is_empty());
    }
}

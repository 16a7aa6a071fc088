//! Who may know whom: between crates by their manifests, inside `netmem` by the paths in its code.
//!
//! ```text
//! crates:   cli -> netmem, host, wire;  netmem -> wire, bpf;  host -> bpf
//! modules:  sys <- mem <- xdp, packet, virtio, loopback, sock   (these do not know each other)
//! ```
//! Manifests are the whole truth about crates: product code cannot name a crate they leave out.

use std::collections::BTreeMap;

use super::manifest::{self, Kind};
use super::source::{closing, tokens};
use super::{File, Finding, Tree};

/// The crates of the workspace, by package name.
const CRATES: [&str; 6] =
    ["netmem", "netmem-bpf", "netmem-cli", "netmem-host", "netmem-wire", "xtask"];

/// The modules of `netmem` that each move packets in one way.
const BACKENDS: [&str; 5] = ["loopback", "packet", "sock", "virtio", "xdp"];

/// The source folder whose modules are layered.
const LAYERED: &str = "crates/netmem/src/";

/// Checks the manifests.
pub(super) fn crates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        for dependency in manifest::dependencies(&file.text) {
            let product = dependency.kind == Kind::Product;
            let ours = CRATES.contains(&dependency.name);
            let wrong = match file.path.as_str() {
                "crates/wire/Cargo.toml" => ours || product,
                "crates/bpf/Cargo.toml" => ours,
                "crates/netmem/Cargo.toml" => {
                    product && matches!(dependency.name, "netmem-host" | "netmem-cli")
                }
                "crates/host/Cargo.toml" => {
                    product && matches!(dependency.name, "netmem" | "netmem-cli")
                }
                "xtask/Cargo.toml" => true,
                _ => false,
            };
            if wrong {
                let what = format!("this crate must not depend on {}", dependency.name);
                findings.push(file.finding_at(dependency.line, what));
            }
        }
    }
    findings
}

/// Checks the modules of `netmem`, tests left out.
pub(super) fn modules(tree: &Tree) -> Vec<Finding> {
    let exports = tree.get(&format!("{LAYERED}lib.rs")).map(root_exports).unwrap_or_default();
    let mut findings = Vec::new();
    for file in tree.products() {
        let Some(place) = file.path.strip_prefix(LAYERED) else { continue };
        let path = place.trim_end_matches(".rs");
        let module = path.split('/').next().unwrap_or(path);
        let depth = path.split('/').count();
        for (offset, name) in root_names(&file.product, depth) {
            let named = exports.get(name).copied().unwrap_or(name);
            if is_forbidden(module, named) {
                let what = format!("`{module}` must not know `{named}`");
                findings.push(file.finding(offset, what));
            }
        }
    }
    findings
}

/// Whether code of one module may not name another of the same crate.
fn is_forbidden(module: &str, named: &str) -> bool {
    let backend = BACKENDS.contains(&named);
    match module {
        "sys" => backend || matches!(named, "mem" | "device" | "fake"),
        "mem" => backend || matches!(named, "device" | "fake"),
        _ => BACKENDS.contains(&module) && backend && named != module,
    }
}

/// What the crate root re-exports: module by exported name, so that `crate::Port` counts as `xdp`.
fn root_exports(root: &File) -> BTreeMap<&str, &str> {
    let mut exports = BTreeMap::new();
    let tokens = tokens(&root.product);
    for start in tokens.iter().enumerate().filter(|(_, token)| token.1 == "use").map(|(at, _)| at) {
        let statement: Vec<_> = tokens[start + 1..].iter().map(|token| token.1).collect();
        let end = statement.iter().position(|token| *token == ";").unwrap_or(statement.len());
        let path = match &statement[..end] {
            ["crate" | "self", "::", path @ ..] => path,
            path => path,
        };
        let [module, "::", ..] = path else { continue };
        for (at, name) in path.iter().enumerate() {
            if is_word(name) && matches!(path.get(at + 1), None | Some(&"," | &"}")) {
                exports.insert(*name, *module);
            }
        }
    }
    exports
}

/// Names right below the crate root that `code` mentions, with their offsets: by `crate::x`, by
/// `crate::{x, y}`, and by chains of `super` that lead from `depth` modules down to the root.
fn root_names(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let tokens = tokens(code);
    let token = |at: usize| tokens.get(at).map_or("", |token| token.1);
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        let mut behind = at;
        if at > 0 && token(at - 1) == "::" {
            continue;
        } else if token(at) == "crate" && token(at + 1) == "::" {
            behind = at + 2;
        } else {
            while token(behind) == "super" && token(behind + 1) == "::" {
                behind += 2;
            }
            if behind == at || (behind - at) / 2 < depth {
                continue;
            }
        }
        let Some(&(offset, name)) = tokens.get(behind) else { continue };
        if name != "{" {
            names.push((offset, name));
            continue;
        }
        let end = closing(code, offset);
        let mut level = 0_usize;
        let group = tokens[behind..].iter().take_while(|token| token.0 < end);
        for (&(_, before), &(offset, name)) in group.clone().zip(group.skip(1)) {
            match before {
                "{" => level += 1,
                "}" => level -= 1,
                _ => {}
            }
            if level == 1 && matches!(before, "{" | ",") && is_word(name) {
                names.push((offset, name));
            }
        }
    }
    names
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first == '_' || first.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::super::{shown, tree};
    use super::*;

    #[test]
    fn crates_keep_their_distance() {
        let tree = tree(&[
            ("Cargo.toml", "[workspace.dependencies]\nnetmem-wire = { path = \"x\" }\n"),
            (
                "crates/bpf/Cargo.toml",
                "[dependencies]\nlibc = \"1\"\n[dev-dependencies]\nnetmem-wire = \"1\"\n",
            ),
            ("crates/cli/Cargo.toml", "[dependencies]\nnetmem = \"1\"\nnetmem-host = \"1\"\n"),
            (
                "crates/host/Cargo.toml",
                "[dependencies]\nnetmem-bpf = \"1\"\nmemory = { package = \"netmem\" }\n",
            ),
            (
                "crates/netmem/Cargo.toml",
                "[dependencies]\nnetmem-wire = \"1\"\n[dev-dependencies]\nnetmem-host = \"1\"\n",
            ),
            (
                "crates/wire/Cargo.toml",
                "[dependencies]\nlibc = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n",
            ),
            ("xtask/Cargo.toml", "[dependencies]\nanyhow = \"1\"\n"),
        ]);
        let expected = [
            "crates/bpf/Cargo.toml:4: this crate must not depend on netmem-wire",
            "crates/host/Cargo.toml:3: this crate must not depend on netmem",
            "crates/wire/Cargo.toml:2: this crate must not depend on libc",
            "xtask/Cargo.toml:2: this crate must not depend on anyhow",
        ];
        assert_eq!(shown(&crates(&tree)), expected);
    }

    #[test]
    fn modules_keep_their_direction() {
        let tree = tree(&[
            (
                "crates/netmem/src/lib.rs",
                "pub mod xdp;\npub use xdp::{Port, socket::Mode as XdpMode};\nuse crate::mem::Pool;",
            ),
            ("crates/netmem/src/fake.rs", "use crate::xdp::ring;"),
            (
                "crates/netmem/src/mem.rs",
                "use crate::sys;\nuse crate::Pool;\nuse crate::Port;\nuse super::packet::Ring;",
            ),
            (
                "crates/netmem/src/mem/pool.rs",
                "use super::packet::Packet;\nuse super::super::XdpMode;",
            ),
            (
                "crates/netmem/src/packet.rs",
                "use crate::{mem::{Pool, xdp}, sys};\n#[cfg(test)]\nmod tests { use crate::xdp; }",
            ),
            ("crates/netmem/src/sock.rs", "// crate::xdp\nfn f() -> crate::virtio::Queue {}"),
            (
                "crates/netmem/src/sys/mmap.rs",
                "use crate::{\n    error::Error,\n    mem::Region,\n};",
            ),
            (
                "crates/netmem/src/xdp/ring.rs",
                "use super::umem;\nuse crate::xdp::umem;\nuse crate::device;",
            ),
            ("crates/netmem/tests/all.rs", "use crate::xdp;"),
            ("crates/host/src/sys.rs", "use crate::mem;"),
        ]);
        let expected = [
            "crates/netmem/src/mem.rs:3: `mem` must not know `xdp`",
            "crates/netmem/src/mem.rs:4: `mem` must not know `packet`",
            "crates/netmem/src/mem/pool.rs:2: `mem` must not know `xdp`",
            "crates/netmem/src/sock.rs:2: `sock` must not know `virtio`",
            "crates/netmem/src/sys/mmap.rs:3: `sys` must not know `mem`",
        ];
        assert_eq!(shown(&modules(&tree)), expected);
    }

    #[test]
    fn finds_names_in_nested_groups() {
        let names = |code, depth| {
            root_names(code, depth).into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("use crate::{a::{b, c::{d}}, e, f as g};", 1), ["a", "e", "f"]);
        assert_eq!(names("pub(crate) fn f(x: crate::a::B) { super::c() }", 1), ["a", "c"]);
        assert_eq!(names("use super::{a, b}; use super::super::c;", 2), ["c"]);
        assert_eq!(names("use super::*; use crate::", 1), ["*"]);
    }
}

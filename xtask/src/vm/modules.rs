//! A kernel's modules in the order in which they can be loaded.
//!
//! Packages come without `modules.dep`, which `depmod` makes on installation: each module says itself
//! what it depends on, as `depends=a,b` in its section `.modinfo`. A name that is no file is part of
//! the kernel. Files and names differ in `-` and `_`; names have `_` only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module as the guest loads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    /// The ELF file, decompressed.
    pub(super) bytes: Vec<u8>,
}

/// Reads the modules `wanted` and all that they depend on, each behind its dependencies.
///
/// # Errors
/// When a file cannot be read or decompressed (by `busybox`).
pub(super) fn load(folder: &Path, wanted: &[&str], busybox: &Path) -> Result<Vec<Module>, String> {
    let mut files = BTreeMap::new();
    index(folder, &mut files)?;
    let mut read = |name: &str| match files.get(name) {
        Some(path) => decompressed(path, busybox).map(Some),
        None => Ok(None),
    };
    let mut modules = Vec::new();
    let mut visited = Vec::new();
    for name in wanted {
        visit(name, &mut read, &mut visited, &mut modules)?;
    }
    Ok(modules)
}

/// Adds a module behind its dependencies. Those that depend on each other come in any order.
fn visit(
    name: &str,
    read: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, String>,
    visited: &mut Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<(), String> {
    let name = name.replace('-', "_");
    if visited.contains(&name) {
        return Ok(());
    }
    visited.push(name.clone());
    let Some(bytes) = read(&name)? else { return Ok(()) };
    for dependency in dependencies(&bytes) {
        visit(&dependency, read, visited, modules)?;
    }
    modules.push(Module { name, bytes });
    Ok(())
}

/// The value of `depends=` among the strings of a module.
fn dependencies(bytes: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = bytes.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = bytes[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(String::from).collect()
}

/// Finds the files below a folder, by module name.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), String> {
    let failed = |e| format!("read {}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Links lead out of the package.
        if entry.file_type().map_err(failed)?.is_dir() {
            index(&entry.path(), files)?;
        } else if let Some((name, "" | ".xz" | ".gz" | ".zst")) =
            entry.file_name().to_string_lossy().split_once(".ko")
        {
            files.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

fn decompressed(path: &Path, busybox: &Path) -> Result<Vec<u8>, String> {
    let mut command = Command::new(busybox);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => _ = command.arg("xzcat"),
        Some("gz") => _ = command.arg("zcat"),
        Some("zst") => command = Command::new("zstdcat"),
        _ => return fs::read(path).map_err(|e| format!("read {}: {e}", path.display())),
    }
    let failed = |why: String| format!("decompress {}: {}", path.display(), why.trim());
    let output = command.arg(path).output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(wanted: &[&str], known: &[(&str, &str)]) -> Vec<String> {
        let mut read = |name: &str| {
            let depends = known.iter().find(|(known, _)| *known == name);
            Ok(depends.map(|(_, depends)| {
                format!("ELF\0alias=depends=x\0depends={depends}\0name=y\0").into_bytes()
            }))
        };
        let (mut visited, mut modules) = (Vec::new(), Vec::new());
        for name in wanted {
            visit(name, &mut read, &mut visited, &mut modules).unwrap();
        }
        modules.into_iter().map(|module| module.name).collect()
    }

    #[test]
    fn dependencies_come_first_and_each_module_once() {
        let known = [
            ("igb", "i2c-algo-bit,dca,ptp"),
            ("i2c_algo_bit", "i2c-core"),
            ("ptp", "pps_core"),
            ("pps_core", ""),
            ("veth", "ptp"),
        ];
        // dca and i2c-core are parts of this kernel.
        let expected = ["pps_core", "ptp", "veth", "i2c_algo_bit", "igb"];
        assert_eq!(order(&["veth", "igb", "veth", "no-such"], &known), expected);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(order(&["a"], &[("a", "b"), ("b", "c"), ("c", "a")]), ["c", "b", "a"]);
    }

    #[test]
    fn strings_that_only_look_alike_are_no_dependencies() {
        assert_eq!(dependencies(b""), Vec::<String>::new());
        assert_eq!(dependencies(b"softdepends=a\0"), Vec::<String>::new());
        assert_eq!(dependencies(b"x\0depends="), Vec::<String>::new());
        assert_eq!(dependencies(b"x\0depends=a,,b"), ["a", "b"]);
    }

    #[test]
    fn files_are_found_by_the_names_of_modules() {
        let folder = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        fs::create_dir_all(folder.join("net/deep")).unwrap();
        for name in ["net/veth.ko", "net/deep/i2c-algo-bit.ko.xz", "net/order.kore", "Module.ko.bz"]
        {
            fs::write(folder.join(name), "x").unwrap();
        }
        let mut files = BTreeMap::new();
        index(&folder, &mut files).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["i2c_algo_bit", "veth"]);
        let modules = load(&folder, &["veth"], Path::new("busybox")).unwrap();
        assert_eq!(modules, [Module { name: "veth".into(), bytes: b"x".to_vec() }]);
        fs::remove_dir_all(folder).unwrap();
    }
}

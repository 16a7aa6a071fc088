//! Which packages hold the newest kernel of a series, and where its parts are in them.

use std::path::{Path, PathBuf};

/// A kernel of the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    pub(super) packages: Vec<String>,
}

impl Kernel {
    /// Picks the newest of a series, "6.1", among the names of packages. The flavour is "amd64", with
    /// the drivers of all devices, or "cloud-amd64", with few.
    pub(super) fn newest(names: &[String], series: &str, flavour: &str) -> Option<Self> {
        let release = |name: &String| {
            let image = name.strip_prefix("linux-image-");
            let name = image.or_else(|| name.strip_prefix("linux-binary-"))?;
            let version = name.strip_suffix(flavour)?.strip_suffix('-')?;
            let minor = version.strip_prefix(series)?;
            // What has other letters is another flavour, or not signed.
            let is_plain = !minor.replace("deb", "").contains(|c: char| c.is_alphabetic());
            (minor.starts_with('.') && is_plain).then(|| (numbers(version), name.to_owned()))
        };
        let (_, release) = names.iter().filter_map(release).max()?;
        let known = |prefix: &str| {
            let name = format!("linux-{prefix}-{release}");
            names.contains(&name).then_some(name)
        };
        let image = known("binary").or_else(|| known("image"));
        let packages = image.into_iter().chain(known("modules")).collect();
        Some(Self { release, packages })
    }

    /// The compressed image in a tree of unpacked packages.
    pub(super) fn image(&self, tree: &Path) -> Option<PathBuf> {
        let beside_modules = self.modules(tree).map(|folder| folder.join("vmlinuz"));
        let in_boot = tree.join(format!("boot/vmlinuz-{}", self.release));
        beside_modules.into_iter().chain([in_boot]).find(|path| path.is_file())
    }

    /// The folder of modules in a tree of unpacked packages.
    pub(super) fn modules(&self, tree: &Path) -> Option<PathBuf> {
        let folders = ["usr/lib/modules", "lib/modules"];
        folders
            .iter()
            .map(|folder| tree.join(folder).join(&self.release))
            .find(|path| path.is_dir())
    }
}

/// The numbers of a version, for comparison.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_newest_of_a_series_and_a_flavour() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-51-rt-amd64",
            "linux-image-6.1.0-52-cloud-amd64-dbg",
            "linux-image-6.12.95+deb12-cloud-amd64",
            "linux-binary-7.3.4+deb13-amd64",
            "linux-binary-7.3.10+deb13-amd64",
            "linux-image-7.3.10+deb13-amd64",
            "linux-modules-7.3.10+deb13-amd64",
            "linux-binary-unsigned-7.3.11+deb13-amd64",
            "linux-headers-7.3.12+deb13-amd64",
        ];
        let names = names.map(String::from);
        let newest = |series, flavour| {
            Kernel::newest(&names, series, flavour).map(|kernel| kernel.packages.join(" "))
        };
        assert_eq!(newest("6.1", "cloud-amd64").unwrap(), "linux-image-6.1.0-50-cloud-amd64");
        assert_eq!(newest("6.1", "amd64").unwrap(), "linux-image-6.1.0-50-amd64");
        assert_eq!(newest("6.12", "cloud-amd64").unwrap(), "linux-image-6.12.95+deb12-cloud-amd64");
        let both = "linux-binary-7.3.10+deb13-amd64 linux-modules-7.3.10+deb13-amd64";
        assert_eq!(newest("7.3", "amd64").unwrap(), both);
        assert_eq!(newest("6", "amd64").unwrap(), "linux-image-6.1.0-50-amd64");
        assert_eq!(newest("7.1", "amd64"), None);
        assert_eq!(newest("7.3", "cloud-amd64"), None);
    }
}

//! Packages of the machine's own Debian archive, unpacked below `target/vm` and never installed.
//!
//! The archive's address comes from the machine's apt configuration at run time. apt gets lists and
//! caches of its own, so that suites which the machine does not use can be asked for, and the
//! machine's apt sees nothing of it. Lists are fetched once a day; without a network those at hand
//! serve, and what was unpacked once is not fetched again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How old the lists may be.
const LISTS_AGE: Duration = Duration::from_hours(24);
/// Where kernels are looked for: the suites of Debian 12 and 13 that have them.
const KERNEL_SUITES: [&str; 3] = ["bookworm", "bookworm-backports", "trixie-backports"];

/// The machine's archive with apt folders of our own.
#[derive(Debug)]
pub(super) struct Debs {
    folder: PathBuf,
    /// The suite of the machine itself, by its code name.
    suite: String,
}

/// A version of a package in a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) version: String,
    pub(super) suite: String,
}

/// Why something cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// It, or the lists that name it, could not be downloaded.
    Download(String),
    Other(String),
}

impl From<String> for Lack {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<&str> for Lack {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

/// Where an archive is and which keys sign it.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    uri: String,
    signed_by: Option<String>,
}

impl Debs {
    /// Prepares the folders and fetches lists that are missing or old.
    ///
    /// # Errors
    /// When this is no Debian, or lists can neither be fetched nor are there.
    pub(super) fn open(folder: PathBuf) -> Result<Self, Lack> {
        let release = read(Path::new("/etc/os-release"))?;
        let value = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        if value("ID=").as_deref() != Some("debian") {
            return Err("packages come from a Debian archive, and this is no Debian".into());
        }
        let suite = value("VERSION_CODENAME=").ok_or("this Debian has no code name")?;
        let origin = origin(&configured()?, &suite)
            .ok_or_else(|| format!("apt knows no archive with the suite {suite}"))?;
        let debs = Self { folder, suite };
        debs.refresh(&origin)?;
        Ok(debs)
    }

    /// The names of all packages that start so.
    ///
    /// # Errors
    /// When apt cannot be asked.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, String> {
        let names = output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(String::from).collect())
    }

    /// Which versions there are of a package, the highest first.
    ///
    /// # Errors
    /// When apt cannot be asked.
    pub(super) fn offers(&self, package: &str) -> Result<Vec<Offer>, String> {
        Ok(offers(&output(self.apt("apt-cache").args(["madison", package]))?))
    }

    /// The suites that fit the machine's own libraries, its own first.
    pub(super) fn own_suites(&self) -> [String; 2] {
        [self.suite.clone(), format!("{}-backports", self.suite)]
    }

    /// The package and all that it needs and is not installed here, as `name=version`.
    ///
    /// # Errors
    /// When apt finds no solution.
    pub(super) fn closure(&self, package: &str, offer: &Offer) -> Result<Vec<String>, String> {
        let mut command = self.apt("apt-get");
        command.args(["--simulate", "--no-install-recommends", "-t", &offer.suite, "install"]);
        let plan = output(command.arg(format!("{package}={}", offer.version)))?;
        Ok(plan.lines().filter_map(to_install).collect())
    }

    /// Fetches the packages, each `name` or `name=version`, into one tree; returns where it is. A tree
    /// that is there already is used as it is: the label names its version.
    ///
    /// # Errors
    /// When a package cannot be fetched or unpacked.
    pub(super) fn unpack(&self, label: &str, packages: &[String]) -> Result<PathBuf, Lack> {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "+-._".contains(c) { c } else { '_' };
        let tree = self.folder.join(label.chars().map(safe).collect::<String>());
        if tree.is_dir() {
            return Ok(tree);
        }
        println!("vm: fetching {label}");
        let fetched = tree.with_extension("fetching");
        empty_folder(&fetched)?;
        let mut download = self.apt("apt-get");
        download.current_dir(&fetched).arg("download").args(packages);
        output(&mut download).map_err(|why| {
            // The archive may have dropped this version: the next run asks what there is now.
            let _ = fs::remove_file(self.folder.join("apt/fetched"));
            Lack::Download(why)
        })?;
        let root = fetched.join("root");
        let failed = |e| format!("read {}: {e}", fetched.display());
        for entry in fs::read_dir(&fetched).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                output(Command::new("dpkg").arg("-x").args([&path, &root]))?;
            }
        }
        // Whole or not at all, whenever this is interrupted.
        fs::rename(&root, &tree).map_err(|e| format!("rename {}: {e}", root.display()))?;
        fs::remove_dir_all(&fetched).map_err(|e| format!("remove {}: {e}", fetched.display()))?;
        Ok(tree)
    }

    fn refresh(&self, origin: &Origin) -> Result<(), Lack> {
        let mut suites: Vec<&str> = KERNEL_SUITES.to_vec();
        let own = self.own_suites();
        suites.extend(own.iter().map(String::as_str).filter(|own| !KERNEL_SUITES.contains(own)));
        let key = origin.signed_by.as_ref().map(|key| format!("[signed-by={key}] "));
        let key = key.unwrap_or_default();
        let lines = suites.iter().map(|suite| format!("deb {key}{} {suite} main\n", origin.uri));
        let sources = lines.collect::<String>();
        let (list, stamp) = (self.folder.join("apt/sources.list"), self.folder.join("apt/fetched"));
        let age = fs::metadata(&stamp).and_then(|file| file.modified());
        let age = age.ok().and_then(|fetched| fetched.elapsed().ok());
        let is_known = fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == sources);
        if is_known && age.is_some_and(|age| age < LISTS_AGE) {
            return Ok(());
        }
        println!("vm: fetching the lists of packages");
        for folder in ["apt/lists/partial", "apt/cache/archives/partial"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).map_err(|e| format!("make {}: {e}", folder.display()))?;
        }
        write(&list, sources.as_bytes())?;
        match output(self.apt("apt-get").arg("update")) {
            Ok(_) => Ok(write(&stamp, sources.as_bytes())?),
            Err(why) if is_known => {
                println!("vm: the lists at hand are used: {why}");
                Ok(())
            }
            Err(why) => Err(Lack::Download(why)),
        }
    }

    /// Prepares a program of apt with our folders, bounded in time where it uses the network.
    fn apt(&self, program: &str) -> Command {
        let folder = self.folder.join("apt");
        let set = |key: &str, path: &str| format!("{key}={}", folder.join(path).display());
        let mut command = Command::new(program);
        for option in [
            set("Dir::Etc::sourcelist", "sources.list"),
            set("Dir::Etc::sourceparts", "none"),
            set("Dir::State::Lists", "lists"),
            set("Dir::Cache", "cache"),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=2".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            // The folder is the caller's, and another user may not reach it.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Makes a folder with nothing in it.
///
/// # Errors
/// When it cannot be made.
pub(super) fn empty_folder(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|e| format!("remove {}: {e}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|e| format!("make {}: {e}", folder.display()))
}

/// Runs a command for its output.
///
/// # Errors
/// When it cannot be started or fails, with its last words.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(|e| format!("run {program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().filter(|line| !line.starts_with("W:")).collect::<Vec<_>>();
    Err(format!("run {program}: {}", words.join("; ")))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("read {}: {e}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|e| format!("write {}: {e}", path.display()))
}

/// The texts of the machine's own source lists.
fn configured() -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    if let Ok(text) = fs::read_to_string("/etc/apt/sources.list") {
        texts.push(text);
    }
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut parts: Vec<_> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    for path in parts {
        if path.extension().is_some_and(|extension| extension == "list" || extension == "sources") {
            texts.push(read(&path)?);
        }
    }
    Ok(texts)
}

/// Finds the archive that has a suite, in either form of a source list (sources.list(5)).
fn origin(texts: &[String], suite: &str) -> Option<Origin> {
    texts.iter().flat_map(|text| text.split("\n\n")).find_map(|stanza| {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim)
        };
        if let (Some(uris), Some(suites)) = (field("URIs:"), field("Suites:")) {
            let has_it = suites.split_whitespace().any(|listed| listed == suite);
            let uri = uris.split_whitespace().next().filter(|_| has_it)?.to_owned();
            let key = field("Signed-By:").filter(|key| key.starts_with('/'));
            return Some(Origin { uri, signed_by: key.map(String::from) });
        }
        stanza.lines().find_map(|line| one_line_origin(line, suite))
    })
}

/// `deb [signed-by=KEY] URI SUITE COMPONENT..`
fn one_line_origin(line: &str, suite: &str) -> Option<Origin> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    words.next().filter(|listed| *listed == suite)?;
    let key = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Origin { uri, signed_by: key.map(String::from) })
}

/// Lines ` name | version | URI suite/component arch Packages`.
fn offers(madison: &str) -> Vec<Offer> {
    let offer = |line: &str| {
        let mut columns = line.split(" | ").skip(1);
        let version = columns.next()?.trim().to_owned();
        let suite = columns.next()?.split_whitespace().nth(1)?.split('/').next()?.to_owned();
        Some(Offer { version, suite })
    };
    madison.lines().filter_map(offer).collect()
}

/// `Inst name [old] (version suite [arch])`, what would be installed, as `name=version`.
fn to_install(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let version = rest.split_once('(')?.1.split_whitespace().next()?;
    Some(format!("{name}={version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_archive_of_a_suite_in_both_forms() {
        let stanzas = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: x x-updates\n\
                       Components: main\nSigned-By: /keys/a.gpg\n\nTypes: deb\nURIs: http://b.example\nSuites: y\n";
        let lines = "# deb http://no.example x main\ndeb-src http://no.example z main\n\
                     deb [arch=amd64 signed-by=/keys/c.gpg] http://c.example/debian z main\ndeb http://d.example w main";
        let texts = [lines.to_owned(), stanzas.to_owned()];
        let found = |suite| {
            let Origin { uri, signed_by } = origin(&texts, suite)?;
            Some(format!("{uri} {}", signed_by.unwrap_or_default()))
        };
        assert_eq!(found("x").unwrap(), "http://mirror.example/debian /keys/a.gpg");
        assert_eq!(found("x-updates").unwrap(), "http://mirror.example/debian /keys/a.gpg");
        assert_eq!(found("y").unwrap(), "http://b.example ");
        assert_eq!(found("z").unwrap(), "http://c.example/debian /keys/c.gpg");
        assert_eq!(found("w").unwrap(), "http://d.example ");
        assert_eq!(found("main"), None);
    }

    #[test]
    fn reads_what_apt_prints() {
        let madison = "      qemu | 1:10.0.2+ds-2 | http://a.example/debian x-backports/main amd64 Packages\n\
                       qemu | 1:7.2 | http://a.example/debian x/main amd64 Packages\nnonsense\n";
        let offer =
            |version: &str, suite: &str| Offer { version: version.into(), suite: suite.into() };
        assert_eq!(offers(madison), [offer("1:10.0.2+ds-2", "x-backports"), offer("1:7.2", "x")]);
        let plan = "Reading package lists...\nInst liba (1.0-1 Debian:12/x [amd64])\n\
                    Inst libb [0.9] (1:2.0 Debian:12/x [amd64]) []\nConf liba (1.0-1 x [amd64])\n";
        let wanted: Vec<_> = plan.lines().filter_map(to_install).collect();
        assert_eq!(wanted, ["liba=1.0-1", "libb=1:2.0"]);
    }
}

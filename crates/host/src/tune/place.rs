//! Where the files of settings are, and one setting read, written and read back.
//!
//! ```text
//!   Reach::Global     the calling thread's /proc/sys
//!   Reach::Namespace  the same path on a thread inside the namespace: a path below /proc/sys/net is
//!                     looked up in the namespace of the thread that opens it (fs/proc/proc_sysctl.c)
//! ```
//! The kernel takes a value from one write(2), and may take a part of it: three numbers for a setting of
//! one are five bytes taken and no error (`proc_dointvec` in kernel/sysctl.c). Programs that write by loops
//! or do not look at the count cannot see that; so a value here is one write, its count is looked at,
//! and what the file reads afterwards is compared as numbers.
//!
//! Kernel: any; the cookie of a namespace 5.14.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Reach;
use crate::error::{Cause, Error, Result};
use crate::lab::NetNs;
use crate::netns::{Namespaces, namespace_inode};
use crate::source::{self, Root, SourceState, Unavailable};
use crate::sysctl::{self, Mode, Value};

/// Where settings are read and written: the global ones, and those of a network namespace.
#[derive(Debug)]
pub struct Place {
    root: Root,
    /// Another namespace than the calling thread's.
    namespace: Option<NetNs>,
}

/// What became of a network namespace.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It is there.
    There(T),
    /// It has gone, and its settings with it.
    Gone,
    /// No way leads to it, and not every process lets itself be looked into: why.
    Unknown(Unavailable),
}

/// A running kernel, and a network namespace of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Identity {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel_release: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The namespace's number, as in `net:[4026531840]`; a later one may get it.
    pub netns_inode: u64,
    /// Its number that no other ever gets (`SO_NETNS_COOKIE`, kernel 5.14); null if it is not known.
    pub netns_cookie: Option<u64>,
    /// Whether it is the namespace that the machine boots with, for which files of sysctl.d are.
    #[serde(default)]
    pub is_initial: bool,
}

impl Place {
    /// The machine of `root`, and the calling thread's namespace.
    pub fn here(root: Root) -> Self {
        Self { root, namespace: None }
    }

    /// The machine of `root`, and another namespace, by its name for `ip netns` or by a process in it.
    ///
    /// # Errors
    /// There is no such namespace, or it may not be entered.
    pub fn named(root: Root, name: &str) -> Result<Self, Unavailable> {
        let opened = Namespaces::scan(&root)?.named(name)?.open()?;
        Ok(Self { root, namespace: Some(opened) })
    }

    /// The machine of `root`, and the namespace that its first process is in.
    ///
    /// # Errors
    /// That may not be looked at, or not be entered.
    pub(super) fn initial(root: Root) -> Result<Self, Unavailable> {
        let place = Self::here(root);
        if place.identity()?.is_initial {
            return Ok(place);
        }
        // In a container the first process is the container's.
        let first = Self::named(place.root, "1")?;
        match first.identity()?.is_initial {
            true => Ok(first),
            false => {
                Err(Unavailable::absent("the initial network namespace", "not found from here"))
            }
        }
    }

    /// The place of an application's namespace.
    ///
    /// # Errors
    /// It may not be entered, or not be looked for.
    pub(super) fn of(root: Root, identity: &Identity) -> Result<Found<Self>, Unavailable> {
        let place = Self::here(root);
        if place.is(identity)? {
            return Ok(Found::There(place));
        }
        if !place.root.is_live() {
            return Ok(Found::Gone);
        }
        let scan = || Namespaces::scan(&place.root);
        let namespace = match found(scan, identity.netns_inode)? {
            Found::There(namespace) => namespace,
            Found::Gone => return Ok(Found::Gone),
            // Who may look into processes may insist on what he has seen.
            Found::Unknown(gap) if may_look(&place.root) => return Ok(Found::Unknown(gap)),
            Found::Unknown(gap) => return Err(gap),
        };
        let place = Self { namespace: Some(namespace), ..place };
        Ok(if place.is(identity)? { Found::There(place) } else { Found::Gone })
    }

    /// What is here.
    ///
    /// # Errors
    /// `/proc` does not tell, or the namespace may not be entered.
    pub fn identity(&self) -> Result<Identity, Unavailable> {
        let line = |path: &str| {
            source::read_with(&self.root.proc(path), |bytes| {
                Some(std::str::from_utf8(bytes).ok()?.trim_end().to_owned())
            })
        };
        let of_thread = || {
            let path = self.root.proc("thread-self/ns/net");
            let source = path.display().to_string();
            let link =
                fs::read_link(&path).map_err(|error| Unavailable::by_io(source.clone(), &error))?;
            let inode = namespace_inode(&link.to_string_lossy());
            inode.ok_or_else(|| Unavailable::malformed(source, "not net:[number]"))
        };
        let inside =
            |root: &Root| (of_thread(), root.is_live().then(cookie).flatten(), is_initial(root));
        let (inode, cookie, is_initial) =
            self.run(Reach::Namespace, inside).map_err(|error| Unavailable::from(&error))?;
        Ok(Identity {
            kernel_release: line("sys/kernel/osrelease")?,
            boot_id: line("sys/kernel/random/boot_id")?,
            netns_inode: inode?,
            netns_cookie: cookie,
            is_initial,
        })
    }

    /// The number of the namespace that settings are written in, if it is told.
    pub(super) fn netns_inode(&self, reach: Reach) -> Option<u64> {
        let link = |root: &Root| fs::read_link(root.proc("thread-self/ns/net")).ok();
        namespace_inode(&self.run(reach, link).ok()??.to_string_lossy())
    }

    /// The machine.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The file of a setting.
    pub(super) fn path(&self, key: &str) -> Result<PathBuf> {
        sysctl::path(&self.root, key).map_err(error_of)
    }

    /// Reads the bytes of a setting's file.
    pub(super) fn read(&self, reach: Reach, path: &Path) -> Result<String> {
        self.run(reach, |_| {
            let bytes = source::read(path).map_err(error_of)?;
            String::from_utf8(bytes)
                .map_err(|_| unmet("read", path, "not text, so it could not be restored"))
        })?
    }

    /// Says why a setting cannot be written here, without writing it.
    pub(super) fn why_not(&self, reach: Reach, key: &str) -> Result<Option<Unavailable>> {
        self.run(reach, |root| {
            let mode = sysctl::mode(root, key);
            let path = sysctl::path(root, key);
            let (mode, path) = match (mode, path) {
                (Ok(mode), Ok(path)) => (mode, path),
                (Err(why), _) | (_, Err(why)) => return Some(why),
            };
            let name = path.display().to_string();
            if mode == Mode::ReadOnly {
                let why = "it is to read only here; a global setting is so in every network namespace \
                    but the initial one";
                return Some(Unavailable::absent(name, why));
            }
            let opened = OpenOptions::new().write(true).open(&path);
            opened.err().map(|error| Unavailable::by_io(name, &error))
        })
    }

    /// Are settings of that reach written in the namespace that the machine boots with?
    pub(super) fn is_initial(&self, reach: Reach) -> bool {
        self.run(reach, is_initial).unwrap_or(false)
    }

    /// Is a setting's file not there any more? Its module may be unloaded.
    pub(super) fn lacks(&self, reach: Reach, path: &Path) -> Result<bool> {
        self.run(reach, |_| path.try_exists().is_ok_and(|is_there| !is_there))
    }

    /// Writes a setting by one write(2), and returns what its file reads then, which may be another value.
    ///
    /// # Errors
    /// The kernel refused it or took a part of it, or the file cannot be read afterwards.
    pub(super) fn write(&self, reach: Reach, path: &Path, text: &str) -> Result<String> {
        self.run(reach, |_| write_once(path, text))??;
        self.read(reach, path)
    }

    fn is(&self, identity: &Identity) -> Result<bool, Unavailable> {
        Ok(self.identity()?.is_namespace_of(identity))
    }

    fn run<T: Send>(&self, reach: Reach, work: impl FnOnce(&Root) -> T + Send) -> Result<T> {
        match (&self.namespace, reach) {
            (Some(namespace), Reach::Namespace) => namespace.run(|| work(&self.root)),
            _ => Ok(work(&self.root)),
        }
    }
}

impl Identity {
    /// Is it the same namespace, if the boot is the same?
    pub(super) fn is_namespace_of(&self, other: &Self) -> bool {
        let is_same_cookie = match (self.netns_cookie, other.netns_cookie) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.netns_inode == other.netns_inode && is_same_cookie
    }
}

/// Is the calling thread's namespace the one that the machine boots with? Only that has the limits of all
/// sockets; the first process may be a container's, or not to be looked at.
pub(super) fn is_initial(root: &Root) -> bool {
    sysctl::path(root, "net.ipv4.tcp_mem").is_ok_and(|path| path.exists())
}

/// Do two texts mean the same value?
pub(super) fn is_same(one: &str, other: &str) -> bool {
    Value::parse(one.as_bytes()) == Value::parse(other.as_bytes())
}

/// Does a file read what the kernel left of `old` when it took a part of `new`: its first numbers, one at
/// least? So it does with more numbers than the setting has, with fewer, and with one that it refuses behind
/// others (`__do_proc_dointvec` and `__do_proc_doulongvec_minmax` in kernel/sysctl.c).
pub(super) fn is_part(now: &str, old: &str, new: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<i64>> {
        text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
    };
    let (Some(now), Some(old)) = (numbers(now), numbers(old)) else { return false };
    let taken = new.split_ascii_whitespace().map_while(|word| word.parse::<i64>().ok());
    let taken: Vec<_> = taken.take(old.len()).collect();
    let is_left = |count| now.iter().eq(taken[..count].iter().chain(&old[count..]));
    (1..=taken.len()).any(is_left)
}

/// Says if a file reads as another value than was written.
pub(super) fn kept(path: &Path, reads: &str, text: &str) -> Result<()> {
    if is_same(reads, text) {
        return Ok(());
    }
    let what = format!("it reads {:?} after {text:?} was written", reads.trim_end());
    Err(unmet("write", path, what))
}

pub(super) fn unmet(operation: &'static str, path: &Path, what: impl Into<String>) -> Error {
    Error::new(operation, path.display().to_string(), Cause::Unmet(what.into()))
}

/// One write(2), of which the kernel takes all.
fn write_once(path: &Path, text: &str) -> Result<()> {
    let failed = |error| Error::new("write", path.display().to_string(), Cause::from(error));
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).map_err(failed)?;
    let taken = file.write(text.as_bytes()).map_err(failed)?;
    if taken == text.len() {
        return Ok(());
    }
    Err(unmet("write", path, format!("{taken} of {} bytes were taken of {text:?}", text.len())))
}

/// Opens the namespace of that number. A way that has gone since it was found may have had another beside it:
/// so they are looked for once more.
fn found(
    scan: impl Fn() -> Result<Namespaces, Unavailable>,
    inode: u64,
) -> Result<Found<NetNs>, Unavailable> {
    let look = || {
        let all = scan()?;
        match all.of(inode) {
            Some(found) => found.open().map(Found::There),
            None => Ok(all.gap.map_or(Found::Gone, Found::Unknown)),
        }
    };
    match look() {
        Err(why) if why.state == SourceState::Stale => look(),
        found => found,
    }
}

/// Has the calling thread what it takes to look into other users' processes, `CAP_SYS_PTRACE`?
fn may_look(root: &Root) -> bool {
    const CAP_SYS_PTRACE: u32 = 19;
    let status = fs::read_to_string(root.proc("thread-self/status")).unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << CAP_SYS_PTRACE) != 0)
}

fn error_of(why: Unavailable) -> Error {
    let cause = match why.state {
        SourceState::Malformed => Cause::Malformed(why.reason),
        _ => Cause::Unmet(why.reason),
    };
    Error::new("read", why.source, cause)
}

fn cookie() -> Option<u64> {
    crate::sys::netns_cookie(UnixDatagram::unbound().ok()?.as_fd()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_or_not_kept_is_an_error() {
        let place = Place::here(Root::live());
        let full = place.write(Reach::Global, Path::new("/dev/full"), "1").unwrap_err();
        assert_eq!(full.to_string(), "write /dev/full: no space left on device (ENOSPC)");
        let lost = place.write(Reach::Global, Path::new("/dev/null"), "1").unwrap();
        let error = kept(Path::new("/dev/null"), &lost, "1").unwrap_err();
        assert_eq!(error.to_string(), "write /dev/null: it reads \"\" after \"1\" was written");
    }

    /// Has failed with: anything taken for a part; no number taken for one; nothing taken for a part.
    #[test]
    fn a_part_of_a_value_is_its_first_numbers() {
        let triple = |now| is_part(now, "4096\t131072\t33554432\n", "8192 65536 x");
        for now in ["8192\t131072\t33554432\n", "8192\t65536\t33554432\n"] {
            assert!(triple(now), "{now:?}");
        }
        for now in [
            "4096\t131072\t33554432\n",
            "4096\t65536\t33554432\n",
            "8192\t65536\t1\n",
            "8192\t1\t33554432\n",
            "8192\t65536\n",
            "8192\n",
            "8192\t65536\tx\n",
            "",
        ] {
            assert!(!triple(now), "{now:?}");
        }
        assert!(is_part("8192\n", "4096\n", "8192 87380 16777216"));
        assert!(!is_part("87380\n", "4096\n", "8192 87380 16777216"));
        assert!(!is_part("cubic\n", "reno\n", "cubic 1") && !is_part("\n", "\n", "1"));
    }

    /// Has failed with: one look.
    #[test]
    fn lab_a_way_that_has_gone_is_looked_for_again() {
        let test = "lab_a_way_that_has_gone_is_looked_for_again";
        if let Some(reason) = crate::lab::missing_privilege() {
            return crate::lab::skip(test, &reason);
        }
        let (namespace, looks) = (NetNs::create().unwrap(), std::cell::Cell::new(0));
        // The first look finds a way that leads elsewhere by now.
        let scan = |stale: u32| {
            looks.set(looks.get() + 1);
            let mut all = Namespaces::scan(&Root::live())?;
            let one = all.all.iter_mut().find(|one| one.inode == namespace.inode()).unwrap();
            if looks.get() <= stale {
                one.way = PathBuf::from("/proc/thread-self/ns/net");
            }
            Ok(all)
        };
        let Found::There(opened) = found(|| scan(1), namespace.inode()).unwrap() else {
            panic!("it is there");
        };
        assert_eq!((opened.inode(), looks.replace(0)), (namespace.inode(), 2));
        let gone = found(|| scan(9), namespace.inode()).unwrap_err();
        assert_eq!((gone.state, looks.get()), (SourceState::Stale, 2));
    }

    #[test]
    fn values_are_compared_as_numbers() {
        assert!(is_same("4096\t131072\t33554432\n", "4096 131072 33554432"));
        assert!(is_same("8192\n", " 8192"));
        assert!(!is_same("8192\n", "8192 1 2") && !is_same("1-3\n", "1,2,3"));
    }
}

//! Whom a setting rules, asked of this kernel: how its file looks in a new network namespace.
//!
//! The namespace is made on a thread of its own, has no link that is up, and is gone with the thread.
//! Nothing is written, and the calling thread stays where it is.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Serialize;

use super::{KEYS, Mode, mode};
use crate::lab::NetNs;
use crate::proc::Scope;
use crate::source::{Reading, Root, Unavailable};

/// How a setting looks in a new network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenInChild {
    /// It can be written there: each namespace has its own.
    OwnValue,
    /// It is there to read only, and can be written here: it is global.
    ReadOnly,
    /// It is not there, and it is here: it is global.
    Absent,
    /// It is to read only there and here, which tells nothing.
    Unknown,
}

impl SeenInChild {
    /// Whom the setting rules, if that shows.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::OwnValue => Some(Scope::Namespace),
            Self::ReadOnly | Self::Absent => Some(Scope::Global),
            Self::Unknown => None,
        }
    }
}

/// How each of [`KEYS`] that the calling thread's namespace has looks in a new one. Asked once per
/// process.
///
/// From within a namespace that is not the initial one the global settings that are absent here are
/// absent from the answer, and a mirror that is to read only here is unknown.
///
/// # Errors
/// A network namespace cannot be made: that needs `CAP_SYS_ADMIN`.
pub fn scopes() -> &'static Reading<BTreeMap<&'static str, SeenInChild>> {
    static SCOPES: OnceLock<Reading<BTreeMap<&'static str, SeenInChild>>> = OnceLock::new();
    SCOPES.get_or_init(|| {
        let here = modes();
        let child = NetNs::create().and_then(|child| child.run(modes));
        let child = child.map_err(|error| Unavailable::from(&error))?;
        Ok(compare(&here, &child))
    })
}

type Modes = BTreeMap<&'static str, Mode>;

/// The modes of the settings that the calling thread's namespace has.
fn modes() -> Modes {
    let root = Root::live();
    KEYS.iter().filter_map(|key| Some((key.name, mode(&root, key.name).ok()?))).collect()
}

fn compare(here: &Modes, child: &Modes) -> BTreeMap<&'static str, SeenInChild> {
    let seen = |name: &&'static str, here: &Mode| match (here, child.get(name)) {
        (_, Some(Mode::ReadWrite)) => SeenInChild::OwnValue,
        (Mode::ReadWrite, Some(Mode::ReadOnly)) => SeenInChild::ReadOnly,
        (Mode::ReadOnly, Some(Mode::ReadOnly)) => SeenInChild::Unknown,
        (_, None) => SeenInChild::Absent,
    };
    here.iter().map(|(name, mode)| (*name, seen(name, mode))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_an_absence_and_a_value_of_its_own_are_told_apart() {
        use Mode::{ReadOnly, ReadWrite};
        let here = [("a", ReadWrite), ("b", ReadWrite), ("c", ReadWrite), ("d", ReadOnly)];
        let child = [("a", ReadWrite), ("b", ReadOnly), ("d", ReadOnly)];
        let seen: Vec<_> = compare(&here.into(), &child.into()).into_iter().collect();
        let expected = [
            ("a", SeenInChild::OwnValue),
            ("b", SeenInChild::ReadOnly),
            ("c", SeenInChild::Absent),
            ("d", SeenInChild::Unknown),
        ];
        assert_eq!(seen, expected);
        let scopes = seen.iter().map(|(_, seen)| seen.scope());
        let (own, global) = (Some(Scope::Namespace), Some(Scope::Global));
        assert!(scopes.eq([own, global, global, None]));
    }
}

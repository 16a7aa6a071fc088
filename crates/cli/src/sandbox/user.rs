//! The user that a worker becomes, by name or number.
//!
//! Looked up by the parent: the name service may load libraries and read files, which a worker
//! should not do.

use std::{fmt, str::FromStr};

use nix::unistd;

use crate::Failure;

/// A user and group, neither of them root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id, above 0.
    pub uid: u32,
    /// Group id, above 0.
    pub gid: u32,
}

impl User {
    /// The user that owns nothing: `nobody`, as the machine numbers it.
    ///
    /// # Errors
    /// When there is no such user, or its numbers are root's.
    pub fn nobody() -> Result<Self, Failure> {
        "nobody".parse()
    }
}

impl FromStr for User {
    type Err = Failure;

    /// Reads `NAME` or `UID[:GID]`. Without a group it is the user's own; a number that no user has
    /// is its group as well. Fails when no user has that name, or user or group is root's.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let failed = |error| Failure::refused(format!("look up user \"{text}\": {error}"));
        let (uid, gid) = if let Some((uid, gid)) = text.split_once(':') {
            (number(text, uid)?, number(text, gid)?)
        } else if text.starts_with(|first: char| first.is_ascii_digit()) {
            let uid = number(text, text)?;
            let known = unistd::User::from_uid(uid.into()).map_err(failed)?;
            (uid, known.map_or(uid, |user| user.gid.as_raw()))
        } else {
            let known = unistd::User::from_name(text).map_err(failed)?;
            let known = known.ok_or_else(|| {
                Failure::usage(format!("look up user \"{text}\": no such user"))
                    .with_hint("name one of /etc/passwd, or numbers: --user 65534:65534")
            })?;
            (known.uid.as_raw(), known.gid.as_raw())
        };
        // 2^32 - 1 means "leave it" to setresuid(2).
        if [uid, gid].iter().any(|id| matches!(*id, 0 | u32::MAX)) {
            return Err(Failure::usage(format!(
                "user \"{text}\" is {uid}:{gid}: no less privilege"
            ))
            .with_hint("name a user that owns nothing, as nobody does"));
        }
        Ok(Self { uid, gid })
    }
}

impl fmt::Display for User {
    /// `UID:GID`, which [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

fn number(text: &str, part: &str) -> Result<u32, Failure> {
    part.parse().map_err(|_| Failure::usage(format!("user \"{text}\": {part:?} is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_as_they_are() {
        let user = "1234567:7654321".parse::<User>().unwrap();
        assert_eq!(user, User { uid: 1_234_567, gid: 7_654_321 });
        assert_eq!(user.to_string().parse::<User>().unwrap(), user);
        // Nobody has that number, so that it is the group's too.
        assert_eq!("3999999999".parse::<User>().unwrap().gid, 3_999_999_999);
    }

    #[test]
    fn root_and_unknown_names_are_refused() {
        for text in ["root", "0", "0:0", "5:0", "0:5", "4294967295:5"] {
            let failure = text.parse::<User>().unwrap_err();
            assert!(failure.to_string().contains("no less privilege"), "{text}: {failure}");
        }
        for text in ["no-such-user-here", "", ":", "5:", "5:x", "99999999999", "-1:1"] {
            let failure = text.parse::<User>().unwrap_err();
            assert_eq!(failure.outcome(), crate::Outcome::Usage, "{text}: {failure}");
        }
    }
}

//! The right to change settings and journals.
//!
//! ```text
//!   STATE         mode 0700, made by who comes first
//!   STATE/lock    mode 0600, flock(2) of who changes settings; its process id is in it
//! ```
//! What stands in the folder becomes settings of the kernel, so it has to be its user's alone to write: one
//! that is a link, is owned by somebody else or lets others write is refused. The lock is its owner's alone to
//! read too: whoever may read a file may hold a lock on it.
//!
//! Keeps J3 ([`journal`](super::journal)): the kernel gives the lock back when its owner dies. Kernel: any.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::process::geteuid;

use super::journal::NO_LINK;
use super::place::unmet;
use crate::error::{Cause, Error, Result};

/// How long a lock may be held without a refusal: a process that is being started holds its parent's for a
/// moment, until it has its program.
pub(super) const MOMENT: Duration = Duration::from_secs(1);
/// What the folder lets its owner do, and nobody else.
const FOLDER_MODE: u32 = 0o700;
/// What the lock lets its owner do, and nobody else.
const LOCK_MODE: u32 = 0o600;
/// What lets others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// How often a lock that is held is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// The right to change settings and journals; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    /// Locked while it is open.
    _file: File,
}

impl Lock {
    /// Makes the folder or looks whose it is, and takes its lock; waits for that at most so long.
    pub(super) fn take(folder: &Path, patience: Duration) -> Result<Self> {
        own(folder)?;
        let path = folder.join("lock");
        let failed = |error| Error::new("lock", path.display().to_string(), error);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(NO_LINK);
        let made =
            options.clone().write(true).create(true).truncate(false).mode(LOCK_MODE).open(&path);
        let mut file = match made {
            Ok(file) => {
                // One that is there may have been made for all to read.
                file.set_permissions(Permissions::from_mode(LOCK_MODE)).map_err(failed)?;
                file
            }
            // What was begun before the file system became read-only must be undone all the same.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                options.open(&path).map_err(|_| failed(error))?
            }
            Err(error) => return Err(failed(error)),
        };
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // A holder that is not told is no worse than one that is.
                    let _ = file.read_to_string(&mut holder);
                    let what = format!("process {} holds it", holder.trim());
                    return Err(unmet("lock", &path, what));
                }
            }
        }
        // Who holds it is only told: on a full disk what was begun must be undone all the same.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Makes the folder where it is not there, and refuses one that is not its user's alone to write.
fn own(folder: &Path) -> Result<()> {
    let failed = |cause| Error::new("use state folder", folder.display().to_string(), cause);
    let unmade =
        |error: io::Error| Error::new("make state folder", folder.display().to_string(), error);
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(unmade)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unmade(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(folder).map_err(unmade)?;
    let user = geteuid().as_raw();
    let why = if found.is_symlink() {
        "it is a symbolic link".to_owned()
    } else if !found.is_dir() {
        "it is no folder".to_owned()
    } else if found.uid() != user {
        let why = format!("user {} owns it, and this is user {user}", found.uid());
        if !geteuid().is_root() {
            // Root, or its owner, may: what is missing is a privilege.
            let errno = Errno::EACCES as i32;
            return Err(failed(Cause::Kernel { errno, explanation: Some(why) }));
        }
        why
    } else if found.mode() & OTHERS_WRITE != 0 {
        let mode = found.mode() & 0o7777;
        format!("others than its owner may write to it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    Err(unmet("use state folder", folder, why))
}

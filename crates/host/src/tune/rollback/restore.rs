//! One setting, or the file of sysctl.d, put back; and what boot made of it.
//!
//! The caller owns the lock and the journal, and notes there what was put back (J4 in
//! [`journal`](super::super::journal)). Whose a value is by now is told by what its file reads: as it read after the
//! write, or where that is not known, as written or as a part of that.
//!
//! Kernel: any.

use super::super::Reach;
use super::super::journal::{Application, Entry, Journal, PersistEntry, Record};
use super::super::persist::{self, written};
use super::super::place::{Place, is_part, is_same};
use super::Trust;
use crate::error::Error;
use crate::source::Unavailable;

/// What a new network namespace gets from the initial one (`tcp_sk_init` in net/ipv4/tcp_ipv4.c, kernel 6.18).
const INHERITED: [&str; 3] =
    ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_congestion_control"];

/// Restores a setting, and returns what there is to note.
pub(super) fn restore(
    place: &Place,
    entry: &Entry,
    reads: Option<&str>,
    is_forced: bool,
) -> Result<Option<String>, String> {
    let told = |error: Error| error.to_string();
    // By its name: a journal must not lead to a file that is no setting.
    let path = place.path(&entry.key).map_err(told)?;
    if is_forced && place.lacks(entry.reach, &path).map_err(told)? {
        return Ok(Some(format!("{} is not there any more", entry.key)));
    }
    let now = place.read(entry.reach, &path).map_err(told)?;
    if now == entry.old {
        return Ok(None);
    }
    let is_what_was_written = match reads {
        Some(reads) => now == reads,
        // The process was killed before its mark: the kernel may have taken a part, and not said so.
        None => is_same(&now, &entry.new) || is_part(&now, &entry.old, &entry.new),
    };
    if !is_forced && !is_what_was_written {
        let (key, now, new) = (&entry.key, now.trim_end(), &entry.new);
        let was = if reads.is_some() { "was written" } else { "was to be written" };
        return Err(format!(
            "{key} reads {now:?}, and {new:?} {was}: somebody else has changed it"
        ));
    }
    let now = place.write(entry.reach, &path, &entry.old).map_err(told)?;
    if now == entry.old {
        let is_inherited = INHERITED.contains(&&*entry.key) && place.is_initial(entry.reach);
        return Ok(is_inherited.then(|| {
            format!("{}: network namespaces made meanwhile keep the value that it had", entry.key)
        }));
    }
    Err(format!("{} reads {now:?}, and {:?} was restored", entry.key, entry.old))
}

/// Puts the file of sysctl.d back, once.
pub(super) fn restore_file(journal: &mut Journal, trust: Trust<'_>) -> Result<(), String> {
    let Some(file) = written(&journal.application) else { return Ok(()) };
    persist::restore(file, trust == Trust::All)?;
    journal.append(Record::FileRestored).map_err(|error| error.to_string())
}

/// The file that a boot may have read; one that was never written has set nothing.
pub(super) fn read_at_boot(application: &Application) -> Option<&PersistEntry> {
    let is_there = application.is_file_restored || written(application).is_some();
    application.persist.as_ref().filter(|_| is_there)
}

/// Says if boot has set a setting again, by the file that it was persisted in.
pub(super) fn not_set_again(
    file: &PersistEntry,
    (initial, here): (&Result<Place, Unavailable>, &Place),
    entry: &Entry,
) -> Result<(), String> {
    match (initial, entry.reach) {
        _ if !persist::sets(file, &entry.key) => Ok(()),
        (Err(_), Reach::Global) => is_gone(here, entry),
        (Ok(initial), _) => is_gone(initial, entry),
        (Err(why), _) => Err(format!("{}: whether boot set it: {why}", entry.key)),
    }
}

/// Says if a setting that was persisted reads what was written: boot set it again.
fn is_gone(place: &Place, entry: &Entry) -> Result<(), String> {
    let key = &entry.key;
    let told = |error: Error| error.to_string();
    let path = place.path(key).map_err(told)?;
    if place.lacks(Reach::Namespace, &path).map_err(told)? {
        return Ok(());
    }
    let now = place.read(Reach::Namespace, &path).map_err(told)?;
    if !is_same(&now, &entry.new) {
        return Ok(());
    }
    let one_line = |text: &str| text.trim_end().replace('\t', " ");
    let (now, old) = (one_line(&now), one_line(&entry.old));
    Err(format!("{key} still reads {now}: boot set it by the file; sysctl -w {key}='{old}'"))
}

//! Maps: the memory that a program and user space share.
//!
//! A counter map is written by the program and read here; an XSKMAP is written here and read by
//! `redirect_map`. The [`Map`] owns its descriptor; each loaded program that names the map holds it
//! in the kernel. Values of per-CPU maps are moved for all possible CPUs at once
//! ([`possible_cpus`](crate::possible_cpus)); one CPU's 64-bit counter is read without tearing, the
//! counters of several CPUs are not one moment's.
//!
//! Kernel: all kinds exist since Linux 5.4; XSKMAP entries go when their socket closes.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use crate::{
    Error,
    sys::{self, MapFd, ObjectName, RawMapInfo},
};

/// Kind of a map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// Hash table, allocated in advance.
    Hash = 1,
    /// Array with `u32` keys; entries always exist and start as zeros.
    Array = 2,
    /// Hash table with one value per possible CPU.
    PerCpuHash = 5,
    /// Array with one value per possible CPU: counters without atomic operations.
    PerCpuArray = 6,
    /// Hash table that forgets the least recently used entry when full.
    LruHash = 9,
    /// Longest-prefix match; keys are `u32` prefix bits followed by the address bytes.
    LpmTrie = 11,
    /// Interfaces by index, for `redirect_map`; `u32` keys, values are an interface index.
    DevMap = 14,
    /// CPUs by index, for `redirect_map`.
    CpuMap = 16,
    /// AF_XDP sockets by queue, for `redirect_map`; `u32` keys and values.
    XskMap = 17,
    /// Interfaces by any `u32`, for `redirect_map`.
    DevMapHash = 25,
}

impl MapKind {
    /// Tells whether the map has one value per possible CPU.
    pub fn is_per_cpu(self) -> bool {
        matches!(self, Self::PerCpuHash | Self::PerCpuArray)
    }
}

/// Describes a map to be created.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec<'a> {
    /// Kind of the map.
    pub kind: MapKind,
    /// Length of a key in bytes; 4 for arrays and the maps of `redirect_map`.
    pub key_bytes: u32,
    /// Length of a value in bytes; of one CPU's value for per-CPU maps.
    pub value_bytes: u32,
    /// Most entries the map can hold, at least 1.
    pub max_entries: u32,
    /// Name shown by the kernel: at most 15 letters, digits, `_` and `.`; may be empty.
    pub name: &'a str,
}

/// What the kernel says of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// Id, unique among maps since boot.
    pub id: u32,
    /// Name; empty if it has none.
    pub name: String,
    /// Kind, as the kernel numbers it (`enum bpf_map_type`).
    pub map_type: u32,
    /// Length of a key in bytes.
    pub key_bytes: u32,
    /// Length of one value in bytes.
    pub value_bytes: u32,
    /// Most entries the map can hold.
    pub max_entries: u32,
}

/// A map, open in this process.
#[derive(Debug)]
pub struct Map {
    fd: MapFd,
    name: String,
    kind: MapKind,
    value_bytes: u32,
}

impl Map {
    /// Creates a map.
    ///
    /// # Errors
    /// If the name is not one, `/sys` does not list the possible CPUs (per-CPU kinds), or the
    /// kernel refuses: `EINVAL` for lengths that do not suit the kind, `EPERM`, `ENOMEM`, `E2BIG`.
    pub fn create(spec: &MapSpec<'_>) -> Result<Self, Error> {
        let failed = |e| Error::new("create map", spec.name, e);
        let name = object_name(spec.name).map_err(failed)?;
        let fd = match sys::map_create(spec, name) {
            Err(e) if may_be_the_name(&e, name) => sys::map_create(spec, ObjectName::default()),
            result => result,
        };
        Ok(Self {
            fd: fd.map_err(failed)?,
            name: spec.name.to_owned(),
            kind: spec.kind,
            value_bytes: spec.value_bytes,
        })
    }

    /// Returns the bytes that [`lookup`](Self::lookup) and [`update`](Self::update) move: one
    /// value, or in per-CPU maps the values of all possible CPUs, each rounded up to 8 bytes.
    pub fn transfer_bytes(&self) -> usize {
        self.fd.transfer_bytes()
    }

    /// Copies the value of `key` into `value`; `false` means there is none.
    ///
    /// # Errors
    /// If `key` has not the map's key length or `value` not [`transfer_bytes`](Self::transfer_bytes);
    /// `EOPNOTSUPP` for an XSKMAP, whose sockets cannot be read back.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Error> {
        self.found("look up in map", sys::map_lookup_elem(&self.fd, key, value))
    }

    /// Sets the value of `key`, whether or not it had one.
    ///
    /// # Errors
    /// If `key` has not the map's key length or `value` not [`transfer_bytes`](Self::transfer_bytes);
    /// `E2BIG` past the last entry or in a full map.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        sys::map_update_elem(&self.fd, key, value).map_err(|e| self.error("update map", e))
    }

    /// Deletes the entry of `key`; `false` means there was none.
    ///
    /// # Errors
    /// If `key` has not the map's key length; `EINVAL` for arrays, whose entries always exist.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.found("delete from map", sys::map_delete_elem(&self.fd, key))
    }

    /// Reads the 64-bit values of entry `index` of a per-CPU array, one per possible CPU in the
    /// order of [`possible_cpus`](crate::possible_cpus).
    ///
    /// # Errors
    /// If the map is no [`MapKind::PerCpuArray`] with values of 8 bytes, or `index` (`ENOENT`) is
    /// past its end.
    pub fn lookup_per_cpu_u64(&self, index: u32) -> Result<Vec<u64>, Error> {
        const OPERATION: &str = "read counters of map";
        if self.kind != MapKind::PerCpuArray || self.value_bytes != 8 {
            let cause = format!(
                "wants a PerCpuArray with values of 8 bytes, this is a {:?} with {}",
                self.kind, self.value_bytes
            );
            return Err(Error::invalid(OPERATION, &*self.name, cause));
        }
        let mut values = vec![0; self.transfer_bytes()];
        sys::map_lookup_elem(&self.fd, &index.to_ne_bytes(), &mut values)
            .map_err(|e| self.error(OPERATION, e))?;
        Ok(values.as_chunks().0.iter().map(|&value| u64::from_ne_bytes(value)).collect())
    }

    /// Sums the 64-bit values of entry `index` over all CPUs, wrapping.
    ///
    /// # Errors
    /// As for [`lookup_per_cpu_u64`](Self::lookup_per_cpu_u64).
    pub fn sum_u64(&self, index: u32) -> Result<u64, Error> {
        Ok(self.lookup_per_cpu_u64(index)?.into_iter().fold(0, u64::wrapping_add))
    }

    /// Makes `queue` of an XSKMAP lead to an AF_XDP socket; [`delete`](Self::delete) ends it.
    ///
    /// # Errors
    /// If the map is no [`MapKind::XskMap`]; `EOPNOTSUPP` for a socket that is not AF_XDP or has
    /// no umem and receive ring yet, `E2BIG` for a queue past the map's end.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), Error> {
        const OPERATION: &str = "set socket in map";
        if self.kind != MapKind::XskMap {
            let cause = format!("wants an XskMap, this is a {:?}", self.kind);
            return Err(Error::invalid(OPERATION, &*self.name, cause));
        }
        let fd = socket.as_raw_fd().to_ne_bytes();
        sys::map_update_elem(&self.fd, &queue.to_ne_bytes(), &fd)
            .map_err(|e| Error::new(OPERATION, format!("{} queue {queue}", self.name), e))
    }

    /// Asks the kernel about the map.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn info(&self) -> Result<MapInfo, Error> {
        let raw: RawMapInfo = sys::obj_get_info_by_fd(self.fd.as_fd())
            .map_err(|e| self.error("read info of map", e))?;
        Ok(MapInfo {
            id: raw.id,
            name: name_text(&raw.name),
            map_type: raw.map_type,
            key_bytes: raw.key_size,
            value_bytes: raw.value_size,
            max_entries: raw.max_entries,
        })
    }

    fn error(&self, operation: &'static str, source: io::Error) -> Error {
        Error::new(operation, &*self.name, source)
    }

    fn found(&self, operation: &'static str, result: io::Result<()>) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(self.error(operation, e)),
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Checks a name for maps and programs and pads it with zeros.
pub(crate) fn object_name(name: &str) -> io::Result<ObjectName> {
    let mut padded = ObjectName::default();
    let fits = name.len() < padded.len();
    if !fits || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "names have at most 15 letters, digits, '_' and '.'",
        ));
    }
    padded[..name.len()].copy_from_slice(name.as_bytes());
    Ok(padded)
}

/// Reads a zero-padded name.
pub(crate) fn name_text(name: &ObjectName) -> String {
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// Tells whether an error may be a kernel's that knows no names: then one tries without.
pub(crate) fn may_be_the_name(error: &io::Error, name: ObjectName) -> bool {
    name[0] != 0 && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_come_back() {
        for name in ["", "netmem_respond", "a.b_C9", "fifteen_letters"] {
            assert_eq!(name_text(&object_name(name).unwrap()), name);
        }
        for name in ["sixteen_letters_", "with space", "dash-ed", "ü", "nul\0"] {
            assert!(object_name(name).is_err(), "{name:?}");
        }
        assert_eq!(name_text(&[b'x'; 16]), "x".repeat(16));
    }
}

//! The bpf(2) system call: one function per command and the kernel's argument structs.
//!
//! The crate's only `unsafe` code, with `sys/run.rs`. Layouts are those of `include/uapi/linux/bpf.h`; the structs end
//! with the last field used here, which the kernel reads as zeros behind it. What holds for every
//! call, and is cited below:
//!
//! * **S1** each `*Attr` and `*Info` has the kernel's layout (asserted beside it), is all integers
//!   and has no padding, so that any bytes are a value of it.
//! * **S2** each address given to the kernel comes from a slice or struct that is borrowed until
//!   the call returns, exclusively where the kernel writes, with its length beside it.
//! * **S3** a [`MapFd`] is made by [`map_create`] alone and never changes: its lengths are those the
//!   kernel uses for this map.
//!
//! The kernel makes every bpf descriptor close-on-exec.

mod run;

use std::{
    ffi::{CStr, c_int},
    io,
    mem::offset_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::{
    asm::Insn,
    cpu,
    map::{MapKind, MapSpec},
};

pub(crate) use run::{prog_run_live, prog_test_run};

const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// Times a load is tried again when a signal stopped the verifier.
const LOAD_RETRIES: usize = 5;

// Commands (`enum bpf_cmd`).
const MAP_CREATE: c_int = 0;
const MAP_LOOKUP_ELEM: c_int = 1;
const MAP_UPDATE_ELEM: c_int = 2;
const MAP_DELETE_ELEM: c_int = 3;
const PROG_LOAD: c_int = 5;
const PROG_GET_NEXT_ID: c_int = 11;
const PROG_GET_FD_BY_ID: c_int = 13;
const OBJ_GET_INFO_BY_FD: c_int = 15;
const LINK_CREATE: c_int = 28;
const LINK_GET_FD_BY_ID: c_int = 30;
const LINK_GET_NEXT_ID: c_int = 31;
const LINK_DETACH: c_int = 34;

/// An object's name as the kernel keeps it: at most 15 bytes and a terminating zero.
pub(crate) type ObjectName = [u8; 16];

/// A map's descriptor together with the lengths the kernel moves for it (S3).
#[derive(Debug)]
pub(crate) struct MapFd {
    fd: OwnedFd,
    key_bytes: usize,
    value_bytes: usize,
}

impl MapFd {
    /// Returns the bytes that one lookup or update moves: for per-CPU maps the values of all
    /// possible CPUs, each rounded up to 8 bytes.
    pub(crate) fn transfer_bytes(&self) -> usize {
        self.value_bytes
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Refuses lengths other than the kernel's own; `value` is `None` where there is none.
    fn check(&self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let mismatch = |what: &str, got: usize, want: usize| {
            let text = format!("{what} has {got} bytes, the map's has {want}");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        if key.len() != self.key_bytes {
            return Err(mismatch("key", key.len(), self.key_bytes));
        }
        match value {
            Some(v) if v.len() != self.value_bytes => {
                Err(mismatch("value", v.len(), self.value_bytes))
            }
            _ => Ok(()),
        }
    }
}

#[repr(C)]
#[derive(Default)]
struct MapCreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: ObjectName,
}
const _: () =
    assert!(size_of::<MapCreateAttr>() == 44 && offset_of!(MapCreateAttr, map_name) == 28);

/// Creates a map; `name` all zeros gives a nameless one.
pub(crate) fn map_create(spec: &MapSpec<'_>, name: ObjectName) -> io::Result<MapFd> {
    let value_bytes = match spec.kind.is_per_cpu() {
        true => bytes(spec.value_bytes).next_multiple_of(8) * cpu::read_possible()?.len(),
        false => bytes(spec.value_bytes),
    };
    let mut attr = MapCreateAttr {
        map_type: spec.kind as u32,
        key_size: spec.key_bytes,
        value_size: spec.value_bytes,
        max_entries: spec.max_entries,
        // BPF_F_NO_PREALLOC, without which the kernel makes no trie.
        map_flags: u32::from(matches!(spec.kind, MapKind::LpmTrie)),
        map_name: name,
        ..Default::default()
    };
    // SAFETY: the layout is MAP_CREATE's (S1); it holds no address.
    let fd = unsafe { bpf_fd(MAP_CREATE, &mut attr) }?;
    Ok(MapFd { fd, key_bytes: bytes(spec.key_bytes), value_bytes })
}

#[repr(C)]
#[derive(Default)]
struct MapElemAttr {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}
const _: () = assert!(size_of::<MapElemAttr>() == 32 && offset_of!(MapElemAttr, value) == 16);

/// Reads the value of `key` into `value`.
pub(crate) fn map_lookup_elem(map: &MapFd, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    map.check(key, Some(value))?;
    let mut attr = MapElemAttr {
        map_fd: raw(map.as_fd()),
        key: address(key),
        value: address_mut(value),
        ..Default::default()
    };
    // SAFETY: the layout is MAP_LOOKUP_ELEM's (S1); the kernel reads `key` and writes `value`
    // (S2), whose lengths are this map's by `check` (S3).
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
}

/// Writes `value` under `key`, whether or not there is one (`BPF_ANY`).
pub(crate) fn map_update_elem(map: &MapFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    map.check(key, Some(value))?;
    let mut attr = MapElemAttr {
        map_fd: raw(map.as_fd()),
        key: address(key),
        value: address(value),
        ..Default::default()
    };
    // SAFETY: the layout is MAP_UPDATE_ELEM's (S1); the kernel reads `key` and `value` (S2), whose
    // lengths are this map's by `check` (S3).
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Deletes the entry of `key`.
pub(crate) fn map_delete_elem(map: &MapFd, key: &[u8]) -> io::Result<()> {
    map.check(key, None)?;
    let mut attr =
        MapElemAttr { map_fd: raw(map.as_fd()), key: address(key), ..Default::default() };
    // SAFETY: the layout is MAP_DELETE_ELEM's (S1); the kernel reads `key` (S2), whose length is
    // this map's by `check` (S3).
    unsafe { bpf(MAP_DELETE_ELEM, &mut attr) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct ProgLoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: ObjectName,
    prog_ifindex: u32,
    expected_attach_type: u32,
}
const _: () = assert!(size_of::<ProgLoadAttr>() == 72);
const _: () = assert!(offset_of!(ProgLoadAttr, log_buf) == 32);
const _: () = assert!(offset_of!(ProgLoadAttr, expected_attach_type) == 68);

/// Loads an XDP program under `license`, with the verifier's text (level 1) in `log`, if any.
pub(crate) fn prog_load(
    insns: &[Insn],
    name: ObjectName,
    flags: u32,
    license: &CStr,
    mut log: Option<&mut [u8]>,
) -> io::Result<OwnedFd> {
    let mut retries = LOAD_RETRIES;
    loop {
        let mut attr = ProgLoadAttr {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: length(insns)?,
            insns: address(insns),
            license: address(license.to_bytes_with_nul()),
            prog_flags: flags,
            prog_name: name,
            expected_attach_type: BPF_XDP,
            ..Default::default()
        };
        if let Some(log) = log.as_deref_mut() {
            (attr.log_level, attr.log_size) = (1, length(log)?);
            attr.log_buf = address_mut(log);
        }
        // SAFETY: the layout is PROG_LOAD's (S1); the kernel reads `insns` and the zero-terminated
        // `license` and writes at most `log_size` bytes to `log` (S2); `Insn` is `struct bpf_insn`.
        match unsafe { bpf_fd(PROG_LOAD, &mut attr) } {
            // EAGAIN: a signal was pending while the verifier ran.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && retries > 0 => retries -= 1,
            done => return done,
        }
    }
}

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    /// Where to start (`*_GET_NEXT_ID`) or which object (`*_GET_FD_BY_ID`).
    id: u32,
    next_id: u32,
    open_flags: u32,
}
const _: () = assert!(size_of::<IdAttr>() == 12 && offset_of!(IdAttr, next_id) == 4);

/// Returns the first program id above `id`.
pub(crate) fn prog_get_next_id(id: u32) -> io::Result<u32> {
    let mut attr = IdAttr { id, ..Default::default() };
    // SAFETY: the layout is PROG_GET_NEXT_ID's (S1); it holds no address.
    unsafe { bpf(PROG_GET_NEXT_ID, &mut attr) }?;
    Ok(attr.next_id)
}

/// Opens the program `id`.
pub(crate) fn prog_get_fd_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = IdAttr { id, ..Default::default() };
    // SAFETY: the layout is PROG_GET_FD_BY_ID's (S1); it holds no address.
    unsafe { bpf_fd(PROG_GET_FD_BY_ID, &mut attr) }
}

/// Returns the first link id above `id`.
pub(crate) fn link_get_next_id(id: u32) -> io::Result<u32> {
    let mut attr = IdAttr { id, ..Default::default() };
    // SAFETY: the layout is LINK_GET_NEXT_ID's (S1); it holds no address.
    unsafe { bpf(LINK_GET_NEXT_ID, &mut attr) }?;
    Ok(attr.next_id)
}

/// Opens the link `id`.
pub(crate) fn link_get_fd_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = IdAttr { id, ..Default::default() };
    // SAFETY: the layout is LINK_GET_FD_BY_ID's (S1); it holds no address.
    unsafe { bpf_fd(LINK_GET_FD_BY_ID, &mut attr) }
}

#[repr(C)]
#[derive(Default)]
struct LinkCreateAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}
const _: () = assert!(size_of::<LinkCreateAttr>() == 16 && offset_of!(LinkCreateAttr, flags) == 12);

/// Attaches an XDP program to the interface of the caller's network namespace.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreateAttr {
        prog_fd: raw(program),
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags,
    };
    // SAFETY: the layout is LINK_CREATE's (S1); it holds no address.
    unsafe { bpf_fd(LINK_CREATE, &mut attr) }
}

#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}
const _: () = assert!(size_of::<LinkDetachAttr>() == 4);

/// Detaches a link from its target; its descriptors stay open.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkDetachAttr { link_fd: raw(link) };
    // SAFETY: the layout is LINK_DETACH's (S1); it holds no address.
    unsafe { bpf(LINK_DETACH, &mut attr) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}
const _: () = assert!(size_of::<InfoAttr>() == 16 && offset_of!(InfoAttr, info) == 8);

/// What the kernel tells about an object: the start of `struct bpf_*_info`.
///
/// # Safety
/// The implementor is `repr(C)`, all integers and without padding, and an all-zero value of it
/// holds no address.
pub(crate) unsafe trait ObjectInfo: Default {}

/// The start of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct RawMapInfo {
    pub(crate) map_type: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) map_flags: u32,
    pub(crate) name: ObjectName,
}
const _: () = assert!(size_of::<RawMapInfo>() == 40 && offset_of!(RawMapInfo, name) == 24);
// SAFETY: integers only and no padding, see the assertion; no field is an address.
unsafe impl ObjectInfo for RawMapInfo {}

/// The start of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct RawProgInfo {
    pub(crate) prog_type: u32,
    pub(crate) id: u32,
    pub(crate) tag: [u8; 8],
    pub(crate) jited_prog_len: u32,
    pub(crate) xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    pub(crate) load_time: u64,
    pub(crate) created_by_uid: u32,
    pub(crate) nr_map_ids: u32,
    map_ids: u64,
    pub(crate) name: ObjectName,
}
const _: () = assert!(size_of::<RawProgInfo>() == 80 && offset_of!(RawProgInfo, name) == 64);
// SAFETY: integers only and no padding, see the assertion; zero addresses ask for nothing.
unsafe impl ObjectInfo for RawProgInfo {}

/// The start of `struct bpf_link_info`; `ifindex` is an XDP link's member of the union.
#[repr(C)]
#[derive(Default)]
pub(crate) struct RawLinkInfo {
    pub(crate) link_type: u32,
    pub(crate) id: u32,
    pub(crate) prog_id: u32,
    _pad: u32,
    pub(crate) ifindex: u32,
    _union: u32,
}
const _: () = assert!(size_of::<RawLinkInfo>() == 24 && offset_of!(RawLinkInfo, ifindex) == 16);
// SAFETY: integers only and no padding, see the assertion; a zero union asks for nothing.
unsafe impl ObjectInfo for RawLinkInfo {}

/// Asks the kernel about a map, program or link; `T` says which.
pub(crate) fn obj_get_info_by_fd<T: ObjectInfo>(object: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = [T::default()];
    let info_len = u32::try_from(size_of::<T>()).expect("info structs are small");
    let mut attr = InfoAttr { bpf_fd: raw(object), info_len, info: address_mut(&mut info) };
    // SAFETY: the layout is OBJ_GET_INFO_BY_FD's (S1); the kernel writes at most `info_len` bytes
    // to `info` (S2), any of which are a `T`, and follows no address in it (`ObjectInfo`).
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) }?;
    let [info] = info;
    Ok(info)
}

/// Makes the system call.
///
/// # Safety
/// `attr` has the layout the kernel expects for `command`, and every address in it points to
/// memory that the kernel may read, or write, for the length it takes from `attr` or the object.
unsafe fn bpf<A>(command: c_int, attr: &mut A) -> io::Result<c_int> {
    // SAFETY: `attr` is valid for reads and writes of its size; the rest is the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    // Results are descriptors or 0: they fit. -1 is the only negative value of syscall(3).
    c_int::try_from(result).ok().filter(|&r| r >= 0).ok_or_else(io::Error::last_os_error)
}

/// Makes the system call of a command that returns a new descriptor.
///
/// # Safety
/// As for [`bpf`], and `command` returns a descriptor.
unsafe fn bpf_fd<A>(command: c_int, attr: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise, passed on.
    let fd = unsafe { bpf(command, attr) }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr().expose_provenance() as u64
}

fn address_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr().expose_provenance() as u64
}

fn length<T>(slice: &[T]) -> io::Result<u32> {
    u32::try_from(slice.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))
}

/// Widens a kernel length, which `usize` of every supported target holds.
fn bytes(length: u32) -> usize {
    usize::try_from(length).expect("usize has at least 32 bits")
}

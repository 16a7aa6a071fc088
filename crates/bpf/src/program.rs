//! XDP programs: loading, the verifier's log, test runs.
//!
//! A [`Program`] owns one descriptor of a program the verifier has accepted. A link holds the
//! program in the kernel, so the descriptor may go before the link. Programs are loaded under the
//! licence "Dual MIT/GPL" and may call every helper.
//!
//! Kernel: 5.15 or later; [`Frags::Yes`] and [`Program::run_live`] need 5.18. A test run needs no
//! interface.

use std::{
    ffi::CStr,
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    Error,
    asm::Insn,
    map::{may_be_the_name, name_text, object_name},
    sys::{self, ObjectName, RawProgInfo},
};

const LICENCE: &CStr = c"Dual MIT/GPL";
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
/// The largest log every kernel takes. Untouched pages of it cost nothing.
const LOG_BYTES: usize = (16 << 20) - 1;
/// Lines of the log's end that an error keeps.
const LOG_LINES: usize = 48;
/// Shortest frame the kernel takes for a test run: an Ethernet header.
const FRAME_MIN_BYTES: usize = 14;
const LOAD: &str = "load xdp program";
/// The most frames of one batch of a live run (`TEST_XDP_MAX_BATCH` in net/bpf/test_run.c).
const LIVE_BATCH_MAX: u32 = 256;
const TEST_RUN: &str = "test run xdp program";
const RUN_LIVE: &str = "run xdp program on live frames";

/// Whether a program can handle packets of several fragments (multi-buffer, jumbo frames).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frags {
    /// Only packets in one piece; drivers refuse it where the MTU may need more.
    #[default]
    No,
    /// Packets of several fragments too; since Linux 5.18.
    Yes,
}

/// Describes a program to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadSpec<'a> {
    /// Name shown by the kernel: at most 15 letters, digits, `_` and `.`; may be empty.
    pub name: &'a str,
    /// The program, from [`Assembler::finish`](crate::asm::Assembler::finish).
    pub instructions: &'a [Insn],
    /// Whether it handles fragments.
    pub frags: Frags,
}

/// What an XDP program decides for a packet (`enum xdp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XdpAction {
    /// Dropped as an error, with tracepoint `xdp:xdp_exception`.
    Aborted,
    /// Dropped.
    Drop,
    /// Given to the kernel's stack.
    Pass,
    /// Sent out of the interface it came in.
    Tx,
    /// Sent where the redirect helper said.
    Redirect,
    /// No action: the kernel handles it as [`Aborted`](Self::Aborted).
    Other(u32),
}

impl XdpAction {
    /// Returns the program's return value for this action.
    pub const fn code(self) -> u32 {
        match self {
            Self::Aborted => 0,
            Self::Drop => 1,
            Self::Pass => 2,
            Self::Tx => 3,
            Self::Redirect => 4,
            Self::Other(code) => code,
        }
    }
}

impl From<u32> for XdpAction {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::Aborted,
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for XdpAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.pad("XDP_ABORTED"),
            Self::Drop => f.pad("XDP_DROP"),
            Self::Pass => f.pad("XDP_PASS"),
            Self::Tx => f.pad("XDP_TX"),
            Self::Redirect => f.pad("XDP_REDIRECT"),
            Self::Other(code) => write!(f, "action {code}"),
        }
    }
}

/// The result of a test run; the frame itself is in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestRun {
    /// What the program decided.
    pub action: XdpAction,
    /// Length in bytes of the frame the program left.
    pub frame_len: usize,
    /// Run time of the program in nanoseconds, as the kernel measured it.
    pub duration_ns: u32,
}

/// Frames that a program is to be run on and that become real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRun<'a> {
    /// The bytes of each frame before the program has seen it: 14 to about 3500.
    pub frame: &'a [u8],
    /// How many frames: 1 and up.
    pub repeat: u32,
    /// How many frames the kernel handles at once: 1 to 256. What a batch redirects arrives
    /// together.
    pub batch: u32,
    /// The interface, of the caller's network namespace, that the frames seem to come in on, queue
    /// 0; 0 is the loopback interface.
    pub ingress_ifindex: u32,
}

/// What the kernel says of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramInfo {
    /// Id, unique among programs since boot.
    pub id: u32,
    /// Name; empty if it has none.
    pub name: String,
    /// Digest of the instructions, the same for the same program.
    pub tag: [u8; 8],
    /// Type, as the kernel numbers it (`enum bpf_prog_type`): 6 for XDP.
    pub program_type: u32,
    /// Length of the verified instructions in bytes; 0 if the caller may not see them.
    pub xlated_bytes: u32,
    /// Length of the machine code in bytes; 0 if interpreted or the caller may not see it.
    pub jited_bytes: u32,
    /// When the program was loaded, in nanoseconds since boot.
    pub loaded_at_ns: u64,
    /// User id of the loading process.
    pub created_by_uid: u32,
    /// Number of maps the program holds.
    pub map_count: u32,
}

impl ProgramInfo {
    /// Asks the kernel about any program, by id.
    ///
    /// # Errors
    /// `ENOENT` if there is none (any more), `EPERM` without CAP_SYS_ADMIN.
    pub fn by_id(id: u32) -> Result<Self, Error> {
        let read = |fd: OwnedFd| Self::read(fd.as_fd());
        sys::prog_get_fd_by_id(id).and_then(read).map_err(|e| {
            let error = Error::new("read info of program", format!("id {id}"), e);
            error.hint_on(&[libc::EPERM], "needs CAP_SYS_ADMIN")
        })
    }

    fn read(program: BorrowedFd<'_>) -> io::Result<Self> {
        let raw: RawProgInfo = sys::obj_get_info_by_fd(program)?;
        Ok(Self {
            id: raw.id,
            name: name_text(&raw.name),
            tag: raw.tag,
            program_type: raw.prog_type,
            xlated_bytes: raw.xlated_prog_len,
            jited_bytes: raw.jited_prog_len,
            loaded_at_ns: raw.load_time,
            created_by_uid: raw.created_by_uid,
            map_count: raw.nr_map_ids,
        })
    }
}

/// Lists the ids of all loaded programs, of any type.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN.
pub fn program_ids() -> Result<Vec<u32>, Error> {
    collect_ids(sys::prog_get_next_id).map_err(|e| {
        Error::new("list programs", "", e).hint_on(&[libc::EPERM], "needs CAP_SYS_ADMIN")
    })
}

/// Walks ids from the first to the one that has no next.
pub(crate) fn collect_ids(next: impl Fn(u32) -> io::Result<u32>) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    loop {
        match next(ids.last().copied().unwrap_or(0)) {
            Ok(id) => ids.push(id),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(e) => return Err(e),
        }
    }
}

/// An XDP program that the verifier has accepted, open in this process.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    name: String,
}

impl Program {
    /// Loads an XDP program.
    ///
    /// # Errors
    /// If the name is not one, or the kernel refuses. If the verifier did (`EACCES`, `EINVAL` and
    /// others), the error carries the end of its log.
    pub fn load(spec: &LoadSpec<'_>) -> Result<Self, Error> {
        let mut name = object_name(spec.name).map_err(|e| Error::new(LOAD, spec.name, e))?;
        let flags = match spec.frags {
            Frags::No => 0,
            Frags::Yes => BPF_F_XDP_HAS_FRAGS,
        };
        let load = |name, log: Option<&mut [u8]>| {
            sys::prog_load(spec.instructions, name, flags, LICENCE, log)
        };
        let mut result = load(name, None);
        if result.as_ref().is_err_and(|e| may_be_the_name(e, name)) {
            name = ObjectName::default();
            result = load(name, None);
        }
        let mut log = Vec::new();
        if result.is_err() {
            log = vec![0; LOG_BYTES];
            // The first answer stands: with a log the kernel may answer ENOSPC instead.
            result = load(name, Some(&mut log)).or(result);
        }
        let fd = result.map_err(|e| load_error(spec, e, &log))?;
        Ok(Self { fd, name: spec.name.to_owned() })
    }

    /// Returns the name the program was loaded under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the kernel about the program.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn info(&self) -> Result<ProgramInfo, Error> {
        ProgramInfo::read(self.as_fd())
            .map_err(|e| Error::new("read info of program", &*self.name, e))
    }

    /// Runs the program once on `frame`, as if the namespace's loopback interface had received it
    /// on queue 0, and puts the frame it leaves into `out`, whose earlier contents are lost.
    ///
    /// The run is real: maps change. A redirect is only reported.
    ///
    /// # Errors
    /// If `frame` has fewer than 14 bytes, or the kernel refuses: `EINVAL` or `ENOMEM` for a frame
    /// too long for it, `EPERM`.
    pub fn test_run(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<TestRun, Error> {
        if frame.len() < FRAME_MIN_BYTES {
            let cause = format!(
                "frame has {} bytes, the kernel wants at least {FRAME_MIN_BYTES}",
                frame.len()
            );
            return Err(Error::invalid(TEST_RUN, &*self.name, cause));
        }
        let (code, duration_ns) = sys::prog_test_run(self.as_fd(), frame, out)
            .map_err(|e| Error::new(TEST_RUN, &*self.name, e))?;
        Ok(TestRun { action: code.into(), frame_len: out.len(), duration_ns })
    }

    /// Runs the program on frames that then go where it says: `Tx` and `Redirect` send them, `Pass`
    /// gives them to the kernel's stack. Returns the mean time per frame in nanoseconds.
    ///
    /// The kernel uses the pages of sent frames again as they are: a later frame holds what the
    /// program wrote into an earlier one (Documentation/bpf/bpf_prog_run.rst, since 5.18). What
    /// becomes of a frame is not reported: not a full ring, nor an interface that takes none.
    ///
    /// # Errors
    /// If length, count or batch are out of range, or the kernel refuses: `ENODEV` without such an
    /// interface, `EINVAL` if that one has no receive queue for XDP or the frame is too long, `EPERM`;
    /// `EINTR` if a signal came, where some of the frames have gone.
    pub fn run_live(&self, run: &LiveRun<'_>) -> Result<u32, Error> {
        let LiveRun { frame, repeat, batch, ingress_ifindex } = *run;
        let cause = if frame.len() < FRAME_MIN_BYTES {
            let len = frame.len();
            format!("frame has {len} bytes, the kernel wants at least {FRAME_MIN_BYTES}")
        } else if repeat == 0 {
            "no frame is asked for".to_owned()
        } else if !(1..=LIVE_BATCH_MAX).contains(&batch) {
            format!("batch is {batch}, the kernel takes 1 to {LIVE_BATCH_MAX}")
        } else {
            let run = sys::prog_run_live(self.as_fd(), frame, repeat, batch, ingress_ifindex);
            return run.map_err(|e| {
                let hint = "needs linux 5.18, and a frame that fits a page with its headroom";
                Error::new(RUN_LIVE, &*self.name, e).hint_on(&[libc::EINVAL], hint)
            });
        };
        Err(Error::invalid(RUN_LIVE, &*self.name, cause))
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes the error of a failed load, with the end of the zero-terminated `log`.
fn load_error(spec: &LoadSpec<'_>, source: io::Error, log: &[u8]) -> Error {
    let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let lines: Vec<&str> = text.lines().collect();
    let mut error = Error::new(LOAD, spec.name, source);
    if lines.is_empty() {
        if spec.frags == Frags::Yes {
            let hint = "multi-buffer xdp needs linux 5.18; try without frags";
            error = error.hint_on(&[libc::EINVAL], hint);
        }
        return error;
    }
    error.log = Some(lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
    error
}

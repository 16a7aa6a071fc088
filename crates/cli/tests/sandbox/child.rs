//! The worker's part: confine, say so, do the one thing, say how it went.
//!
//! On the control socket: `confined` and what it lacks, then `ok` or the refusal, one line each.
//! Then it waits until the parent closes.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    net::UdpSocket,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::{UnixDatagram, UnixStream},
            process::CommandExt,
        },
    },
    process::{Command, ExitCode},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use netmem_cli::sandbox::{User, confine, enter};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
};
use rustix::{
    net::SocketAddrUnix,
    process::{PidfdFlags, PidfdGetfdFlags, getppid},
};

/// What was there before the filter.
pub(crate) struct Held {
    control: UnixStream,
    opened: Option<Opened>,
}

/// Opened before, for attempts to use.
struct Opened {
    namespace: File,
    parent: OwnedFd,
    unix: UnixDatagram,
    internet: UdpSocket,
}

impl Opened {
    fn now() -> io::Result<Self> {
        Ok(Self {
            namespace: File::open("/proc/self/ns/net")?,
            parent: rustix::process::pidfd_open(getppid().unwrap(), PidfdFlags::empty())?,
            unix: UnixDatagram::unbound()?,
            internet: UdpSocket::bind(("127.0.0.1", 0))?,
        })
    }
}

impl Held {
    fn opened(&self) -> &Opened {
        self.opened.as_ref().unwrap()
    }
}

pub(crate) type Attempt = fn(&Held) -> io::Result<()>;

/// Things that end a worker.
pub(crate) const FORBIDDEN: &[(&str, Attempt)] = &[
    ("socket", |_| UnixDatagram::unbound().map(drop)),
    ("socketpair", |_| UnixStream::pair().map(drop)),
    ("bind", |held| Ok(rustix::net::bind(&held.opened().unix, &SocketAddrUnix::new_unnamed())?)),
    ("connect", |held| held.opened().internet.connect(("127.0.0.1", 9))),
    ("bpf", |_| netmem_bpf::program_ids().map(drop).map_err(io::Error::other)),
    ("unshare", |_| Ok(nix::sched::unshare(CloneFlags::CLONE_NEWNET)?)),
    ("setns", |held| Ok(nix::sched::setns(&held.opened().namespace, CloneFlags::CLONE_NEWNET)?)),
    ("ptrace", |_| Ok(nix::sys::ptrace::traceme()?)),
    ("pidfd_open", |_| {
        Ok(rustix::process::pidfd_open(getppid().unwrap(), PidfdFlags::empty()).map(drop)?)
    }),
    ("pidfd_getfd", |held| {
        let flags = PidfdGetfdFlags::empty();
        Ok(rustix::process::pidfd_getfd(&held.opened().parent, 2, flags).map(drop)?)
    }),
    ("execve", |_| Err(Command::new("/bin/true").exec())),
    ("clone", |_| Command::new("/bin/true").spawn().map(drop)),
    // Signal 0: should it pass, nobody is harmed.
    ("kill", |_| Ok(rustix::process::test_kill_process(getppid().unwrap())?)),
    ("setuid", |_| Ok(nix::unistd::setuid(0.into())?)),
    ("mmap", |_| {
        let code = region::Protection::READ_WRITE_EXECUTE;
        region::alloc(4096, code).map(drop).map_err(io::Error::other)
    }),
];

/// Things that fail with EPERM, and the worker goes on.
pub(crate) const REFUSED: &[(&str, Attempt)] = &[
    ("open", |_| File::open("/etc/passwd").map(drop)),
    ("stat", |_| std::fs::metadata("/etc/passwd").map(drop)),
    ("dup", |held| held.control.try_clone().map(drop)),
    ("setsockopt", |held| held.control.set_read_timeout(Some(Duration::from_secs(9)))),
    ("ioctl", |held| held.control.set_nonblocking(true)),
    ("undump", |_| {
        let dumpable = rustix::process::DumpableBehavior::Dumpable;
        Ok(rustix::process::set_dumpable_behavior(dumpable)?)
    }),
];

/// Things that a worker needs.
pub(crate) const ALLOWED: &[(&str, Attempt)] = &[
    ("nothing", |_| Ok(())),
    ("threads", |_| threads()),
    ("clock", |_| clock()),
    ("memory", |_| memory()),
    ("poll", |held| {
        let timeout = PollTimeout::from(20_u8);
        let ready = poll(&mut [PollFd::new(held.control.as_fd(), PollFlags::POLLIN)], timeout)?;
        expect(ready == 0, "the parent has said nothing")
    }),
    ("random", |_| {
        let map: HashMap<_, _> = (0..100).map(|n| (n, n * n)).collect();
        expect(map[&9] == 81, "a map finds its entries")
    }),
    ("affinity", |_| {
        let own = nix::unistd::Pid::from_raw(0);
        let cpus = nix::sched::sched_getaffinity(own)?;
        nix::sched::sched_setaffinity(own, &cpus)?;
        expect(thread::available_parallelism()?.get() > 0, "there is a CPU")
    }),
    ("panic", |_| {
        let thread = thread::Builder::new().name("worker-7".into());
        let joined = thread.spawn(|| panic!("seven is the reason"))?.join();
        expect(joined.is_err(), "the thread panics")
    }),
];

/// Things that end a worker in other ways; `deaf` waits for ever.
const ENDS: &[(&str, Attempt)] = &[
    ("crowd", |_| Ok(())),
    ("abort", |_| std::process::abort()),
    ("deaf", |_| {
        loop {
            thread::sleep(Duration::from_secs(60));
        }
    }),
];

/// `--parent PID ATTEMPT [USER]`.
pub(crate) fn work(words: &[String]) -> ExitCode {
    match try_work(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::from(9)
        }
    }
}

fn try_work(words: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [_, parent, name, user @ ..] = words else { return Err("usage".into()) };
    let entered = enter(parent.parse()?)?;
    let lists = [FORBIDDEN, REFUSED, ALLOWED, ENDS].concat();
    let (_, attempt) = lists.iter().find(|attempt| attempt.0 == name).ok_or("no such attempt")?;
    let user: Option<User> = user.first().map(|user| user.parse()).transpose()?;
    // Only one attempt is about the descriptors themselves.
    let opened = if name == "nothing" { None } else { Some(Opened::now()?) };
    if name == "crowd" {
        thread::spawn(thread::park);
    }
    let confined = confine(&entered, user)?;
    let mut held = Held { control: entered.control, opened };
    writeln!(held.control, "{confined}")?;
    match attempt(&held) {
        Ok(()) => writeln!(held.control, "ok")?,
        Err(error) => writeln!(held.control, "{error}")?,
    }
    let mut ignored = [0; 8];
    while held.control.read(&mut ignored)? > 0 {}
    Ok(())
}

fn expect(is_so: bool, what: &str) -> io::Result<()> {
    if is_so { Ok(()) } else { Err(io::Error::other(format!("not so: {what}"))) }
}

/// Eight threads take turns by a mutex and a condition variable, each many times.
fn threads() -> io::Result<()> {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 500;
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let mut joined = Vec::new();
    for own in 0..THREADS {
        let turn = Arc::clone(&turn);
        joined.push(thread::Builder::new().name(format!("turn-{own}")).spawn(move || {
            for _ in 0..ROUNDS {
                let (count, changed) = &*turn;
                let count = count.lock().unwrap();
                let mut count = changed.wait_while(count, |count| *count % THREADS != own).unwrap();
                *count += 1;
                changed.notify_all();
            }
        })?);
    }
    for thread in joined {
        expect(thread.join().is_ok(), "a thread ends well")?;
    }
    expect(*turn.0.lock().unwrap() == THREADS * ROUNDS, "every turn was taken")
}

fn clock() -> io::Result<()> {
    let (start, nap) = (Instant::now(), Duration::from_millis(30));
    thread::sleep(nap);
    expect(start.elapsed() >= nap, "time passes in sleep")?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    expect(since.is_ok_and(|since| since.as_secs() > 1_600_000_000), "it is after 2020")
}

/// 64 MiB in one piece and in many, grown, shrunk and given back.
fn memory() -> io::Result<()> {
    let mut whole = vec![0_u8; 32 << 20];
    whole.iter_mut().step_by(4096).for_each(|byte| *byte = 7);
    whole.resize(64 << 20, 3);
    let sum: u64 = whole.iter().map(|byte| u64::from(*byte)).sum();
    expect(sum == 7 * (32 << 20) / 4096 + 3 * (32 << 20), "the bytes are as written")?;
    whole.truncate(4096);
    whole.shrink_to_fit();
    let pieces: Vec<Vec<u8>> = (0..1 << 14).map(|n| vec![(n % 251) as u8; 4096]).collect();
    let is_right = |(n, piece): (usize, &Vec<u8>)| piece.iter().all(|b| usize::from(*b) == n % 251);
    expect(pieces.iter().enumerate().all(is_right), "no piece is another's")
}

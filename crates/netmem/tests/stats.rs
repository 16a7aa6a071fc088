//! Pages of other processes: found and read while they are written as fast as can be, not writable by
//! anybody else, not inherited by programs that are started, and gone with their process.
//!
//! Planted and caught: `F_SEAL_FUTURE_WRITE` left out, and not missed by the reader; the descriptor kept
//! on exec; the mapping left to forked children; a holder taken for the owner; a closed process taken for one
//! without a page; the odd and the even store of a publishing writer swapped.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    time::{Duration, Instant},
};

use netmem::stats::{self, AreaState, Page, Snapshot, Standing, WorkerRecord};

const LINK: &str = "/memfd:netmem-stats (deleted)";
/// How long anything may take that must happen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Makes this program a publisher instead of a test.
const PUBLISHER: &str = "NETMEM_TEST_PUBLISHER";
/// Nobody's user and group.
const NOBODY: u32 = 65534;

fn state(n: u64) -> Snapshot {
    let worker = WorkerRecord { batches: n, empty_polls: n, waits: n, ..WorkerRecord::default() };
    Snapshot { worker: Some(worker), ..Snapshot::default() }
}

/// No test of its own: the process that `Publisher` starts. Publishes until it is killed.
#[test]
fn publisher() {
    if env::var_os(PUBLISHER).is_none() {
        return;
    }
    // It may have to wait for a CPU: stale is who is silent for ten times as long.
    let page = Page::create("publisher", Duration::from_millis(300)).unwrap();
    let mut area = page.area().unwrap();
    area.publish(&state(1));
    // The harness has its own lines in front.
    writeln!(std::io::stdout(), "\nready").unwrap();
    for n in 2.. {
        area.publish(&state(n));
    }
}

/// A process that publishes as fast as it can; killed with the test.
struct Publisher(Child);

impl Publisher {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "publisher", "--nocapture"]).env(PUBLISHER, "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let publisher = Self(child);
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "it has ended");
        publisher
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, name: &str) {
        let (pid, option) = (self.pid().to_string(), format!("-{name}"));
        assert!(Command::new("kill").args([option, pid]).status().unwrap().success());
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The links of a process to pages.
fn links(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_page = |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.as_os_str() == LINK);
    paths.filter(is_page).collect()
}

#[test]
fn a_busy_publisher_is_read_whole_and_gone_when_killed() {
    let mut publisher = Publisher::start();
    let pid = publisher.pid();
    let began = Instant::now();
    let (mut whole, mut last) = (0, 0);
    // For a second, and until there was enough where both wait for a CPU.
    while began.elapsed() < Duration::from_secs(1)
        || (began.elapsed() < PATIENCE && (whole <= 20 || last <= 10_000))
    {
        let [found] = &stats::of_process(pid).unwrap()[..] else { panic!("one page") };
        assert_eq!((found.pid, found.page.pid), (pid, pid));
        assert_eq!(found.page.command.to_string(), "publisher");
        let [area] = &found.page.areas[..] else { panic!("one area") };
        if area.state == AreaState::Busy {
            continue;
        }
        assert_eq!((found.standing, area.is_damaged), (Standing::Running, false));
        assert_eq!(area.snapshot, state(area.publishes), "torn");
        assert!(area.publishes >= last);
        whole += u32::from(area.publishes > last);
        last = area.publishes;
    }
    assert!(whole > 20 && last > 10_000, "{whole} states read of {last}");

    publisher.signal("STOP");
    let stopped = Instant::now();
    let standing = || stats::of_process(pid).unwrap()[0].standing;
    while standing() == Standing::Running {
        // Unless it was stopped in the middle of writing: then nothing is known of its worker.
        let is_busy = stats::of_process(pid).unwrap()[0].page.areas[0].state == AreaState::Busy;
        if is_busy {
            publisher.signal("CONT");
            publisher.signal("STOP");
        }
        assert!(stopped.elapsed() < PATIENCE, "never stale");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(standing(), Standing::Stale);
    let census = stats::all().unwrap();
    let found = census.found.iter().find(|found| found.pid == pid).unwrap();
    assert_eq!(found.standing, Standing::Stale);

    publisher.0.kill().unwrap();
    publisher.0.wait().unwrap();
    assert!(stats::all().unwrap().found.iter().all(|found| found.pid != pid));
    let gone = stats::of_process(pid).unwrap_err().to_string();
    assert!(gone.contains(&pid.to_string()) && gone.contains("ENOENT"), "{gone}");
}

#[test]
fn nobody_else_writes() {
    let publisher = Publisher::start();
    let [link] = &links(publisher.pid())[..] else { panic!("one descriptor") };
    let file = OpenOptions::new().read(true).write(true).open(link).unwrap();
    let size = file.metadata().unwrap().len();
    let refused = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
    let eperm = Some(1);
    assert_eq!(refused((&file).write_all(b"spoilt!!")), eperm);
    assert_eq!(refused(file.set_len(0)), eperm);
    assert_eq!(refused(file.set_len(size + 4096)), eperm);
    assert_eq!(refused(OpenOptions::new().write(true).truncate(true).open(link).map(drop)), eperm);
    // A hole would read as zeroes: the kernel refuses that to fallocate(1) as well.
    let punch = ["--punch-hole", "--offset", "0", "--length", "4096"];
    let punched = Command::new("fallocate").args(punch).arg(link).output();
    assert!(punched.is_err() || !punched.unwrap().status.success());
    assert_eq!(stats::read_fd(&file).unwrap().pid, publisher.pid());
}

/// Programs that are started get neither descriptor nor mapping; a forked child gets no mapping.
#[test]
fn pages_are_not_inherited() {
    let page = Page::create("parent", Duration::ZERO).unwrap();
    let _area = page.area().unwrap();
    assert!(!links(process::id()).is_empty());
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let mut child = Publisher(child);
    assert_eq!(links(child.pid()), Vec::<PathBuf>::new());
    assert_eq!(stats::of_process(child.pid()).unwrap(), []);
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.pid())).unwrap();
    assert!(!maps.contains("netmem-stats"), "{maps}");
    child.0.kill().unwrap();
    // MADV_DONTFORK: "dc" among the flags of each writable mapping.
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let lines: Vec<_> = smaps.lines().collect();
    let is_ours = |line: &str| line.ends_with(LINK) && line.contains(" rw-s ");
    let ours: Vec<_> = (0..lines.len()).filter(|&at| is_ours(lines[at])).collect();
    assert!(!ours.is_empty(), "{smaps}");
    for at in ours {
        let flags = lines[at..].iter().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" dc"), "{flags}");
    }
}

/// Who was handed a descriptor is not the owner: the page is the owner's while that runs, and an orphan
/// when it has ended.
#[test]
fn a_holder_is_not_the_owner() {
    let mut owner = Publisher::start();
    let page = File::open(&links(owner.pid())[0]).unwrap();
    let started_ns = stats::read_fd(&page).unwrap().started_ns;
    let holder = Publisher(Command::new("sleep").arg("600").stdin(page).spawn().unwrap());
    let [held] = &stats::of_process(holder.pid()).unwrap()[..] else { panic!("one page") };
    assert_eq!((held.pid, held.standing), (holder.pid(), Standing::Orphaned));
    let seen = || -> Vec<_> {
        let census = stats::all().unwrap();
        let ours = census.found.into_iter().filter(|found| found.page.started_ns == started_ns);
        ours.map(|found| (found.pid, found.standing == Standing::Orphaned)).collect()
    };
    assert_eq!(seen(), [(owner.pid(), false)], "once, by its owner");
    owner.0.kill().unwrap();
    owner.0.wait().unwrap();
    assert_eq!(seen(), [(holder.pid(), true)]);
}

/// A file by that name that is not sealed is said to be so, not read; what may not be looked into is
/// neither "none" nor left out.
#[test]
fn what_cannot_be_read_is_said() {
    let not_sealed = File::open("/proc/self/exe").unwrap();
    let error = stats::read_fd(&not_sealed).unwrap_err().to_string();
    assert!(error.contains("no sealed memfd"), "{error}");
    // As another user: this program again, which looks at the publisher.
    if let Ok(pid) = env::var("NETMEM_TEST_LOOK_AT") {
        return look_as_somebody_else(pid.parse().unwrap());
    }
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return netmem_host::lab::skip("what_cannot_be_read_is_said", "needs root to be another");
    }
    let publisher = Publisher::start();
    let copy = env::temp_dir().join(format!("nm-stats-{}", process::id()));
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(["--exact", "what_cannot_be_read_is_said"]).uid(NOBODY).gid(NOBODY);
    command.env("NETMEM_TEST_LOOK_AT", publisher.pid().to_string());
    // A child of another test has the copy open for writing until it runs its own program.
    let began = Instant::now();
    let output = loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                assert!(began.elapsed() < PATIENCE, "{error}");
                std::thread::sleep(Duration::from_millis(10));
            }
            output => break output,
        }
    };
    fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn look_as_somebody_else(pid: u32) {
    let error = stats::of_process(pid).unwrap_err();
    assert_eq!(error.errno(), Some(13), "{error}");
    assert!(error.hint().unwrap().contains("CAP_SYS_PTRACE"));
    let census = stats::all().unwrap();
    assert!(census.found.iter().all(|found| found.pid != pid));
    assert!(census.not_known.unwrap().contains("permission denied"));
}

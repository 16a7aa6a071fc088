//! The tests themselves, as the parents of workers.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::{
        fd::AsFd,
        unix::{
            fs::MetadataExt,
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use netmem_cli::sandbox::{Exit, MAX_OPEN_FILES, SUBCOMMAND, User, Worker};
use netmem_host::lab::skip;

use crate::child::{ALLOWED, FORBIDDEN, REFUSED};

/// The word that makes this program the parent of one worker, which it names and keeps.
pub(crate) const HOLD: &str = "__hold";

const NETMEM: &str = env!("CARGO_BIN_EXE_netmem");
const PATIENCE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

type Test = fn();

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("forbidden", forbidden),
    ("refused", refused),
    ("allowed", allowed),
    ("backtrace", backtrace),
    ("credentials", credentials),
    ("stays_root", stays_root),
    ("descriptors", descriptors),
    ("unprivileged", unprivileged),
    ("parent_killed", parent_killed),
    ("crowd", crowd),
    ("wrong_parent", wrong_parent),
    ("not_a_socket", not_a_socket),
    ("worker_killed", worker_killed),
    ("aborted", aborted),
    ("terminate", terminate),
    ("dropped", dropped),
    ("netmem_worker", netmem_worker),
];

/// A worker and the lines it says.
struct Talk {
    worker: Worker,
    lines: BufReader<UnixStream>,
}

impl Talk {
    fn start(words: &[&str]) -> Self {
        let worker = Worker::spawn(words).unwrap();
        let lines = worker.control.try_clone().unwrap();
        lines.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { worker, lines: BufReader::new(lines) }
    }

    /// The next line; empty when the worker has gone.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn exit(&mut self) -> Exit {
        self.worker.wait_exit(PATIENCE).unwrap().expect("it ends in time")
    }

    fn status(&self, key: &str) -> String {
        status(self.worker.pid(), key)
    }
}

/// A line of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key}: {text}")).trim().to_owned()
}

/// The user to become, where that is possible; else the test is noted as a skip.
fn nobody(test: &str) -> Option<User> {
    if rustix::process::geteuid().is_root() {
        return Some(User::nobody().unwrap());
    }
    skip(test, "to change the user takes root");
    None
}

/// Each is tried with the user changed, where we may, and without: the filter does not lean on it.
fn users() -> Vec<Option<String>> {
    let changed = rustix::process::geteuid().is_root();
    let changed = changed.then(|| Some(User::nobody().unwrap().to_string()));
    changed.into_iter().chain([None]).collect()
}

fn forbidden() {
    for user in users() {
        for (name, _) in FORBIDDEN {
            let words: Vec<&str> = [Some(*name), user.as_deref()].into_iter().flatten().collect();
            let mut talk = Talk::start(&words);
            assert!(talk.line().starts_with("confined"), "{name}");
            assert_eq!(talk.line(), "", "{name} was not stopped");
            let exit = talk.exit();
            assert_eq!(exit, Exit::Forbidden, "{name}");
            assert!(exit.to_string().contains("stopped by seccomp"), "{exit}");
        }
    }
}

fn refused() {
    for user in users() {
        for (name, _) in REFUSED {
            let words: Vec<&str> = [Some(*name), user.as_deref()].into_iter().flatten().collect();
            let mut talk = Talk::start(&words);
            assert!(talk.line().starts_with("confined"), "{name}");
            assert!(talk.line().contains("(os error 1)"), "{name}");
            assert_eq!(talk.worker.terminate(PATIENCE).unwrap(), Exit::Code(0), "{name}");
        }
    }
}

fn allowed() {
    for user in users() {
        for (name, _) in ALLOWED {
            let words: Vec<&str> = [Some(*name), user.as_deref()].into_iter().flatten().collect();
            let mut talk = Talk::start(&words);
            assert!(talk.line().starts_with("confined"), "{name}");
            assert_eq!(talk.line(), "ok", "{name}");
            assert_eq!(talk.worker.terminate(PATIENCE).unwrap(), Exit::Code(0), "{name}");
        }
    }
}

/// A panic of a worker is read on standard error, where backtraces are asked for too.
fn backtrace() {
    let mut holder = holder(&["panic"], &[("RUST_BACKTRACE", "1")]);
    let worker: i32 = holder.pid.try_into().unwrap();
    // The second line of the holder is the worker's answer, after the panic.
    assert_eq!(holder.line(), "ok");
    holder.child.kill().unwrap();
    let mut said = String::new();
    holder.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    reap(&mut holder, worker);
    assert!(said.contains("thread 'worker-7'"), "{said}");
    assert!(said.contains("seven is the reason"), "{said}");
    // By name, though nothing can be opened any more.
    assert!(said.contains("stack backtrace:") && said.contains("sandbox::child::"), "{said}");
}

fn credentials() {
    let Some(user) = nobody("credentials") else { return };
    // Supplementary groups, which the worker has to lose: std sets none for root.
    let groups = nix::unistd::getgroups().unwrap();
    nix::unistd::setgroups(&[4.into(), 24.into(), 27.into()]).unwrap();
    let mut talk = Talk::start(&["nothing", &user.to_string()]);
    nix::unistd::setgroups(&groups).unwrap();
    assert_eq!((talk.line().as_str(), talk.line().as_str()), ("confined", "ok"));
    let all = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
    assert_eq!(talk.status("Uid"), all(user.uid));
    assert_eq!(talk.status("Gid"), all(user.gid));
    assert_eq!(talk.status("Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(talk.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(talk.status("NoNewPrivs"), "1");
    assert_eq!(talk.status("Seccomp"), "2");
    assert_eq!(talk.status("Name"), "netmem-worker");
    let pid = talk.worker.pid();
    // What is not dumpable belongs to root in /proc, whoever it runs as.
    assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    assert_eq!(limit("Max open files"), [MAX_OPEN_FILES.to_string(), MAX_OPEN_FILES.to_string()]);
    assert_eq!(talk.worker.terminate(PATIENCE).unwrap(), Exit::Code(0));
}

/// Capabilities go where the user stays, too.
fn stays_root() {
    let mut talk = Talk::start(&["nothing"]);
    assert!(talk.line().starts_with("confined"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(talk.status(set), "0000000000000000", "{set}");
    }
    assert_eq!((talk.status("NoNewPrivs").as_str(), talk.status("Seccomp").as_str()), ("1", "2"));
}

/// Nothing is inherited but standard error and the socket; root still sees what a worker holds.
fn descriptors() {
    // Without FD_CLOEXEC, as from a careless shell.
    let leaks: Vec<_> =
        (0..3).map(|_| rustix::io::dup(std::io::stderr().as_fd()).unwrap()).collect();
    let mut talk = Talk::start(&["nothing"]);
    drop(leaks);
    assert!(talk.line().starts_with("confined"));
    let pid = talk.worker.pid();
    let Ok(list) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return skip("descriptors", "to see an undumpable process takes root");
    };
    let mut open: Vec<(u32, String)> = list
        .map(|entry| {
            let path = entry.unwrap().path();
            let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (number, fs::read_link(path).unwrap().to_string_lossy().into_owned())
        })
        .collect();
    open.sort_unstable();
    assert_eq!(open.len(), 4, "{open:?}");
    assert_eq!((open[0].1.as_str(), open[1].1.as_str()), ("/dev/null", "/dev/null"));
    assert_eq!(open[2].0, 2);
    assert!(open[3].1.starts_with("socket:"), "{open:?}");
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let names: Vec<&str> =
        environment.split_terminator('\0').filter(|v| !v.starts_with("RUST_BACKTRACE=")).collect();
    assert_eq!(names, Vec::<&str>::new());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
}

/// Without any privilege the filter and `no_new_privs` are there, and the rest is told.
fn unprivileged() {
    let Some(user) = nobody("unprivileged") else { return };
    // That user may not be able to reach the build's folder.
    let copy = std::env::temp_dir().join(format!("netmem-sandbox-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let run = |words: &[&str]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(&copy);
        command.args([SUBCOMMAND, "--parent", &std::process::id().to_string()]).args(words);
        command.uid(user.uid).gid(user.gid).stdin(std::os::fd::OwnedFd::from(theirs));
        let child = command.spawn().unwrap();
        drop(command);
        (child, BufReader::new(ours))
    };
    let line = |lines: &mut BufReader<UnixStream>| {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let other = format!("{}:{}", user.uid - 1, user.gid - 1);
    let own = user.to_string();
    let results: Vec<_> = [&["nothing", &other][..], &["nothing", &own], &["socket"]]
        .into_iter()
        .map(|words| {
            let (mut child, mut lines) = run(words);
            let said = (line(&mut lines), line(&mut lines));
            let status = (!said.1.is_empty()).then(|| {
                ["Uid", "NoNewPrivs", "Seccomp", "CapEff"].map(|key| status(child.id(), key))
            });
            drop(lines);
            (said, status, child.wait().unwrap())
        })
        .collect();
    fs::remove_file(&copy).unwrap();
    let ((said, answer), status, _) = &results[0];
    assert!(said.contains(&format!("the user stays {} (needs CAP_SETUID)", user.uid)), "{said}");
    assert!(said.contains(&format!("the group stays {} (needs CAP_SETGID)", user.gid)), "{said}");
    assert!(said.contains("the bounding set stays (needs CAP_SETPCAP)"), "{said}");
    assert_eq!(answer, "ok");
    let [uid, no_new_privs, seccomp, effective] = status.clone().unwrap();
    assert!(uid.starts_with(&user.uid.to_string()), "{uid}");
    assert_eq!((&*no_new_privs, &*seccomp, &*effective), ("1", "2", "0000000000000000"));
    // Who it is already it can stay; that is nothing to tell.
    assert_eq!(results[1].0.0, "confined, but the bounding set stays (needs CAP_SETPCAP)");
    assert!(results[1].2.success());
    assert_eq!(Exit::from(results[2].2), Exit::Forbidden);
}

/// A process that holds one worker.
struct Holder {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    /// The worker.
    pid: u32,
}

impl Holder {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail when its end was seen; its worker goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ATTEMPT [USER]`: starts a worker for it; says its process id, then its second line; waits for
/// ever.
pub(crate) fn hold(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut talk = Talk::start(&words);
    println!("{}", talk.worker.pid());
    assert!(talk.line().starts_with("confined"));
    println!("{}", talk.line());
    loop {
        std::thread::park();
    }
}

/// Starts it. Orphans come to us, so that their end can be seen.
fn holder(words: &[&str], environment: &[(&str, &str)]) -> Holder {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(HOLD).args(words).env_remove("RUST_BACKTRACE").envs(environment.iter().copied());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    Holder { child, lines, pid: first.trim().parse().unwrap() }
}

/// How the worker of a killed holder ended, which it does by itself.
fn reap(holder: &mut Holder, worker: i32) -> ExitStatus {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    holder.child.wait().unwrap();
    let (since, pid) = (Instant::now(), nix::unistd::Pid::from_raw(worker));
    while since.elapsed() < PATIENCE {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::Signaled(_, signal, _) => return ExitStatus::from_raw(signal as i32),
            WaitStatus::Exited(_, code) => return ExitStatus::from_raw(code << 8),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    // Nothing stays behind, then fail.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    let _ = waitpid(pid, None);
    panic!("the worker outlived its parent");
}

/// The worker does not look at its socket: the kernel ends it, with the user changed and not.
fn parent_killed() {
    for user in users() {
        let words: Vec<&str> = [Some("deaf"), user.as_deref()].into_iter().flatten().collect();
        let mut holder = holder(&words, &[]);
        let worker = holder.pid;
        // The filter is the last step.
        let since = Instant::now();
        while status(worker, "Seccomp") != "2" || status(worker, "Seccomp_filters") != "3" {
            assert!(since.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        holder.child.kill().unwrap();
        let ended = reap(&mut holder, worker.try_into().unwrap());
        assert_eq!(ended.signal(), Some(SIGKILL), "{user:?}");
    }
}

/// Another thread would keep user and privileges: nothing is confined then.
fn crowd() {
    let mut talk = Talk::start(&["crowd"]);
    assert_eq!(talk.line(), "");
    assert_eq!(talk.exit(), Exit::Code(9));
}

/// A worker whose parent is another process than it was told, as after the parent's early end,
/// stops.
fn wrong_parent() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(NETMEM);
    command.args([SUBCOMMAND, "--parent", "1"]).stdin(std::os::fd::OwnedFd::from(theirs));
    // Closed, so that a worker that goes on ends too.
    drop(ours);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("process 1 is not the parent"));
}

fn not_a_socket() {
    let own = std::process::id().to_string();
    let mut command = Command::new(NETMEM);
    let output = command.args([SUBCOMMAND, "--parent", &own]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard input is no socket") && said.contains("hint: "), "{said}");
}

fn worker_killed() {
    let mut talk = Talk::start(&["nothing"]);
    assert_eq!((talk.line().starts_with("confined"), talk.line().as_str()), (true, "ok"));
    assert_eq!(talk.worker.poll_exit().unwrap(), None);
    assert_eq!(talk.worker.wait_exit(Duration::from_millis(20)).unwrap(), None);
    let pid = nix::unistd::Pid::from_raw(talk.worker.pid().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let exit = talk.exit();
    assert_eq!(exit, Exit::Signal(SIGKILL));
    assert_eq!(exit.to_string(), "the worker was killed by signal 9 (SIGKILL)");
    // Asked again it says the same.
    assert_eq!(talk.worker.poll_exit().unwrap(), Some(exit));
    assert_eq!(talk.worker.terminate(Duration::ZERO).unwrap(), exit);
}

/// An abort is the worker's own signal, and the filter lets it through.
fn aborted() {
    let mut talk = Talk::start(&["abort"]);
    assert!(talk.line().starts_with("confined"));
    assert_eq!(talk.exit(), Exit::Signal(SIGABRT));
}

/// Who does not listen is killed after the grace, and no sooner.
fn terminate() {
    for user in users() {
        let words: Vec<&str> = [Some("deaf"), user.as_deref()].into_iter().flatten().collect();
        let mut talk = Talk::start(&words);
        assert!(talk.line().starts_with("confined"));
        let (pid, since, grace) = (talk.worker.pid(), Instant::now(), Duration::from_millis(200));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(talk.worker.terminate(grace)));
        let exit = told.recv_timeout(PATIENCE).expect("it does not wait for ever");
        assert_eq!(exit.unwrap(), Exit::Signal(SIGKILL));
        assert!(since.elapsed() >= grace && since.elapsed() < PATIENCE);
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "a zombie");
    }
}

fn dropped() {
    let mut talk = Talk::start(&["deaf"]);
    assert!(talk.line().starts_with("confined"));
    let pid = talk.worker.pid();
    drop(talk);
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "a process or zombie");
}

/// The command's own hidden subcommand, without a task: it waits, confined, and ends well.
fn netmem_worker() {
    let Some(user) = nobody("netmem_worker") else { return };
    let mut worker = Worker::spawn_program(NETMEM, ["--user", &user.to_string()]).unwrap();
    let since = Instant::now();
    while status(worker.pid(), "Seccomp") != "2" {
        assert_eq!(worker.poll_exit().unwrap(), None);
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(status(worker.pid(), "Uid").starts_with(&user.uid.to_string()));
    let exit = worker.terminate(PATIENCE).unwrap();
    assert!(exit.is_success(), "{exit}");
    let help = Command::new(NETMEM).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains(SUBCOMMAND), "it is hidden");
}

//! Workers in a process of their own: how the command and that process speak.
//!
//! ```text
//!   command                               worker process
//!   arguments: the job  ---- exec ---->   enter
//!   ports, memory       ------------->    take over, map
//!                       <-------------    the page's descriptor; confine
//!                                         start the workers
//!                       <-------------    {"ready": ...}
//!   register sockets                      packets, until the socket ends or a worker does
//!                       <-------------    {"end": the books}
//! ```
//! Messages are lines of JSON. The worker holds nothing that the command would miss when it dies.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use netmem::{
    mem::PoolHandle,
    stats::Page,
    xdp::{UnstartedPort, handover},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::{End, INTERVAL, Job, crew::Lanes};
use crate::{
    Failure, Outcome,
    args::WorkerArgs,
    report,
    sandbox::{self, User, Worker},
};

/// How long a worker may take until it is ready: it maps memory that is there already.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often a worker process looks whether its threads are well, in milliseconds.
const LOOK_EVERY_MS: u16 = 100;
/// The longest line that is believed.
const MAX_LINE_BYTES: usize = 16 << 20;

/// What a worker process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// It is confined and begins; with what could not be done.
    Ready(Vec<String>),
    /// It is done.
    End(End),
}

/// Starts the process and hands everything over; the descriptor is that of its page.
pub(super) fn start(
    command: &str,
    ports: Vec<UnstartedPort>,
    handle: &PoolHandle,
    (user, job): (Option<User>, &Job),
    notes: &mut dyn Write,
) -> Result<(Worker, OwnedFd), Failure> {
    let job = serde_json::to_string(job).map_err(|error| broken(&error))?;
    let mut arguments = vec!["--command".into(), command.to_owned(), "--job".into(), job];
    if let Some(user) = user {
        arguments.extend(["--user".into(), user.to_string()]);
    }
    let mut worker = Worker::spawn(arguments)?;
    let ready = hand_over(&worker, ports, handle);
    let (page, lacks) = match ready {
        Ok(ready) => ready,
        // Why it ended tells more than that it is gone.
        Err(failure) => {
            return Err(match worker.wait_exit(Duration::from_secs(1))? {
                Some(exit) => Failure::refused(format!("start a worker process: {exit}"))
                    .with_hint("what it said stands above; --no-sandbox does without it"),
                None => failure,
            });
        }
    };
    for lack in lacks {
        // Nobody may be listening: that ends nothing.
        let _ = report::row(notes, "sandbox", lack);
    }
    Ok((worker, page))
}

fn hand_over(
    worker: &Worker,
    ports: Vec<UnstartedPort>,
    handle: &PoolHandle,
) -> Result<(OwnedFd, Vec<String>), Failure> {
    worker.control.set_read_timeout(Some(READY_WITHIN)).map_err(|error| broken(&error))?;
    handover::send(&worker.control, ports, handle)?;
    let page = handover::receive_descriptor(&worker.control)?;
    match read_told(&worker.control).map_err(|error| broken(&error))? {
        Told::Ready(lacks) => Ok((page, lacks)),
        Told::End(end) => {
            Err(Failure::refused(end.failure.unwrap_or_else(|| "the worker ended at once".into())))
        }
    }
}

/// Tells the worker process to end, and reads its books.
///
/// # Errors
/// When it died before it could tell them: how.
pub(super) fn stop(mut worker: Worker, grace: Duration) -> Result<End, Failure> {
    // It may be gone: how it ended says so.
    let _ = worker.control.shutdown(Shutdown::Write);
    let _ = worker.control.set_read_timeout(Some(grace));
    let told = read_told(&worker.control);
    let exit = match worker.wait_exit(grace)? {
        Some(exit) => exit,
        None => worker.terminate(Duration::ZERO)?,
    };
    match told {
        Ok(Told::End(end)) => Ok(end),
        _ => Err(Failure::refused(exit.to_string())),
    }
}

/// `netmem __worker` with a job.
///
/// # Errors
/// What could not be taken over, or why it could not be confined.
pub(crate) fn worker(args: &WorkerArgs, job: &str) -> Result<Outcome, Failure> {
    let entered = sandbox::enter(args.parent)?;
    let job: Job = serde_json::from_str(job)
        .map_err(|error| Failure::usage(format!("read the job: {error}")))?;
    let handover::HandedOver { pool, ports } = handover::receive(&entered.control)?;
    let page = Page::create(&args.command, INTERVAL)?;
    handover::send_descriptor(&entered.control, &page)?;
    let lanes = Lanes::new(page, ports)?;
    let confined = sandbox::confine(&entered, args.user)?;
    let crew = lanes.start(pool, &job)?;
    tell(&entered.control, &Told::Ready(confined.lacks))?;
    while crew.is_working() && !is_over(&entered.control) {}
    let end = crew.finish();
    let outcome = if end.failure.is_some() { Outcome::Refused } else { Outcome::Done };
    tell(&entered.control, &Told::End(end))?;
    Ok(outcome)
}

/// Waits a moment for the command to end the conversation.
fn is_over(control: &UnixStream) -> bool {
    let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(LOOK_EVERY_MS)) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => false,
        Ok(_) => {
            let mut control = control;
            !matches!(control.read(&mut [0; 64]), Ok(1..))
        }
        Err(_) => true,
    }
}

fn tell(mut control: &UnixStream, told: &Told) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(told).map_err(|error| broken(&error))?;
    line.push(b'\n');
    control.write_all(&line).map_err(|error| broken(&error))
}

/// Reads one line, and not a byte more.
fn read_told(mut control: &UnixStream) -> io::Result<Told> {
    let mut line = Vec::new();
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let mut byte = [0];
        control.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(serde_json::from_slice(&line)?);
        }
        line.extend(byte);
        if line.len() > MAX_LINE_BYTES || Instant::now() > deadline {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::refused(format!("speak with the worker process: {error}"))
}

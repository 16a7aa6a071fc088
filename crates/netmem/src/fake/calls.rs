//! What a fake port's system calls answer, and how often they were made.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The script that a fake port's system calls answer from.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    kicks: u64,
    rx_kicks: u64,
    waits: u64,
    /// The port is closed: its slots are not the kernel's any more.
    closed: bool,
    answers: VecDeque<i32>,
    wait_answers: VecDeque<i32>,
}

impl Calls {
    /// Lets the next sendto(2) calls answer with these error numbers (0: success), then succeed.
    pub fn answer_kicks(&self, errnos: &[i32]) {
        self.script().answers.extend(errnos);
    }

    /// Lets the next poll(2) calls answer with these error numbers (0: success), then succeed.
    pub fn answer_waits(&self, errnos: &[i32]) {
        self.script().wait_answers.extend(errnos);
    }

    /// How many sendto(2) calls there were.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.script().kicks
    }

    /// How many recvfrom(2) calls there were.
    #[must_use]
    pub fn rx_kicks(&self) -> u64 {
        self.script().rx_kicks
    }

    /// How many poll(2) calls there were.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.script().waits
    }

    pub(crate) fn close(&self) {
        self.script().closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.script().closed
    }

    pub(crate) fn kick_tx(&self) -> io::Result<()> {
        let mut script = self.script();
        script.kicks += 1;
        answer(script.answers.pop_front())
    }

    pub(crate) fn kick_rx(&self) {
        self.script().rx_kicks += 1;
    }

    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut script = self.script();
        script.waits += 1;
        answer(script.wait_answers.pop_front())
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(errno: Option<i32>) -> io::Result<()> {
    match errno {
        None | Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

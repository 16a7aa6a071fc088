//! A real terminal, for tests that a screen or a key matters to.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use netmem_host::lab::skip;

/// Whether a program is installed; else the test is noted as a skip.
pub(crate) fn has_program(test: &str, name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    if !is_there {
        skip(test, &format!("the {name} program is not installed"));
    }
    is_there
}

/// A terminal of tmux, of a server of its own; gone when dropped.
pub(crate) struct Screen {
    socket: String,
}

impl Screen {
    pub(crate) fn new(name: &str) -> Self {
        let screen = Self { socket: format!("netmem-{name}-{}", std::process::id()) };
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "sh"]);
        screen
    }

    pub(crate) fn tmux(&self, words: &[&str]) -> String {
        let command = [&["-L", &self.socket], words].concat();
        let output = Command::new("tmux").args(&command).env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen is as `wanted` says, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.tmux(&["capture-pane", "-p", "-J"]);
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{what}: {shown}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

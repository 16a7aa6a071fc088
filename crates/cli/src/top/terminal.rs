//! The screen of `top`: a terminal in raw mode, from which it always comes back.
//!
//! Keys come as events; a signal to end is a flag that is looked at between them. However the screen
//! is left, by a key, a signal, an error, a panic, or the terminal's own end, the guard's drop or the panic hook puts the
//! terminal back into the mode that it was found in.

use std::{
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use netmem_host::source::Root;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};

use super::{PATIENCE, app::App, observe::Observer};
use crate::{Failure, Outcome, args::TopArgs, stop::Stop};

/// Seconds between samples.
const DEFAULT_INTERVAL_S: u32 = 1;

/// Shows the screen until it is left.
pub(super) fn run(args: &TopArgs) -> Result<Outcome, Failure> {
    let stop = Stop::by_signal_alone()?;
    let interval_s = args.interval.unwrap_or(DEFAULT_INTERVAL_S);
    let mut observer = Observer::new(Root::live(), args.netns.as_deref());
    let mut app = App::new(interval_s);
    // A namespace that is not there is said on the terminal as it is.
    app.observe(observer.observe()?);
    {
        // The hook that `try_init` sets restores the terminal when something panics.
        let _restore = Restore;
        let mut terminal = ratatui::try_init().map_err(|error| screen("open", &error))?;
        show(&mut terminal, &mut app, &mut observer, (&stop, interval_s))?;
    }
    let misses = app.observed().is_some_and(super::Observed::misses_a_source);
    Ok(if args.strict && misses { Outcome::Missing } else { Outcome::Done })
}

fn show(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    observer: &mut Observer,
    (stop, interval_s): (&Stop, u32),
) -> Result<(), Failure> {
    let interval = Duration::from_secs(interval_s.into());
    let mut next = Instant::now() + interval;
    let mut is_stale = true;
    while !app.is_done() && !stop.is_set() {
        let now = Instant::now();
        if now >= next {
            // After a pause or a slow sample the beat begins anew.
            next = now + interval;
            if !app.is_paused() {
                app.observe(observer.observe()?);
                is_stale = true;
            }
        }
        if is_stale {
            terminal.draw(|frame| app.draw(frame)).map_err(|error| screen("draw", &error))?;
            is_stale = false;
        }
        if has_gone(PATIENCE.min(next.saturating_duration_since(Instant::now()))) {
            return Ok(());
        }
        while event::poll(Duration::ZERO).map_err(|error| screen("read keys from", &error))? {
            let event = event::read().map_err(|error| screen("read keys from", &error))?;
            // A new size is asked for by the next drawing.
            if let Event::Key(key) = event {
                app.key(key);
            }
            is_stale = true;
        }
    }
    Ok(())
}

/// Waits for a key, and says whether the terminal has gone instead: a window that was closed, a connection
/// that was lost. From such a one `event::poll` would read without end.
fn has_gone(wait: Duration) -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
    // A signal ends the wait, and is seen by who asks.
    let _ = poll(&mut fds, wait);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    fds[0].revents().is_some_and(|events| events.intersects(gone))
}

/// Puts the terminal back.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = ratatui::try_restore();
    }
}

fn screen(operation: &str, error: &io::Error) -> Failure {
    Failure::refused(format!("{operation} terminal: {error}"))
        .with_hint("netmem top | cat prints the same as text")
}

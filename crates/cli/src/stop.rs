//! The request to stop: by a signal, or by the program itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::Failure;

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Set once, read by every loop. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that SIGINT, SIGTERM and SIGHUP set.
    pub(crate) fn by_signal() -> Result<Self, Failure> {
        let stop = Self::default();
        for signal in SIGNALS {
            // The second one ends the process at once, should the first not have been enough.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))
                .map_err(|error| Failure::refused(format!("handle signal {signal}: {error}")))?;
        }
        stop.registered()
    }

    /// As [`by_signal`](Self::by_signal), but no signal ends the process at once: for those that have a
    /// terminal to put back.
    pub(crate) fn by_signal_alone() -> Result<Self, Failure> {
        Self::default().registered()
    }

    fn registered(self) -> Result<Self, Failure> {
        for signal in SIGNALS {
            signal_hook::flag::register(signal, Arc::clone(&self.0))
                .map_err(|error| Failure::refused(format!("handle signal {signal}: {error}")))?;
        }
        Ok(self)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

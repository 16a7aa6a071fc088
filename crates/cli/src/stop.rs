//! The request to stop: by a signal, or by the program itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::Failure;

/// Set once, read by every loop. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that SIGINT, SIGTERM and SIGHUP set.
    pub(crate) fn by_signal() -> Result<Self, Failure> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The second one ends the process at once, should the first not have been enough.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop.0)))
                .map_err(|error| Failure::refused(format!("handle signal {signal}: {error}")))?;
        }
        Ok(stop)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

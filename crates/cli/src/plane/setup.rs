//! From a command's arguments to bound ports over one region, split between control and workers.

use std::{io::Write, sync::Arc};

use netmem::{
    mem::{PageTier, Pool, PoolConfig, PoolHandle, Region, region::Sharing},
    xdp::{BoundPort, PortBuilder, PortControl, PortSet, UnstartedPort},
};

use crate::{
    Failure,
    args::PlaneArgs,
    report::{self, Memory},
    sandbox::User,
};

/// Slots for each queue where nobody said how many: as many as the fill and tx rings hold by default.
const FRAMES_PER_QUEUE: u32 = 4096;

/// What a command wants.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The command's name, as `netmem list` shows it.
    pub(crate) command: &'static str,
    /// Its ports.
    pub(crate) ports: Vec<PortBuilder>,
    /// Memory, rings and confinement.
    pub(crate) args: PlaneArgs,
}

/// What was got.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) controls: Vec<PortControl>,
    pub(super) ports: Vec<UnstartedPort>,
    pub(super) handle: PoolHandle,
    pub(super) memory: Memory,
    /// Whom a worker process is to become (`None` inside: it stays who it is); without one the workers
    /// are threads.
    pub(super) user: Option<Option<User>>,
    pub(super) command: &'static str,
}

impl Plan {
    pub(super) fn open(self, notes: &mut dyn Write) -> Result<Opened, Failure> {
        let Self { command, ports, args } = self;
        let mut user = if args.no_sandbox { None } else { Some(user(args.user)?) };
        let frames = frames(&ports, &args)?;
        let bytes = frames as usize * args.frame_bytes as usize;
        let sharing = if user.is_some() { Sharing::Memfd } else { Sharing::Private };
        let mut region = Region::builder(bytes).sharing(sharing);
        if !args.pages.is_empty() {
            let tiers: Vec<PageTier> = args.pages.iter().map(|&pages| pages.into()).collect();
            region = region.tiers(&tiers);
        }
        let region = region.build()?;
        let memory = Memory::from(region.report());
        let config = PoolConfig {
            frame_bytes: args.frame_bytes,
            frames: Some(frames),
            ..PoolConfig::default()
        };
        let handle = Pool::new(Arc::clone(&region), config)?.handle();
        let set = ports.into_iter().fold(PortSet::new(&handle).register_later(), PortSet::port);
        let halves = set.bind()?.into_iter().map(BoundPort::split);
        let (controls, ports): (Vec<_>, Vec<_>) =
            halves.collect::<netmem::Result<Vec<_>>>()?.into_iter().unzip();
        if user.is_some() && !ports.iter().all(UnstartedPort::can_be_handed_over) {
            let why = "kernels before 6.4 hand no port to another process: workers run in this one";
            // Nobody may be listening: that ends nothing.
            let _ = report::row(notes, "no sandbox", why);
            user = None;
        }
        Ok(Opened { controls, ports, handle, memory, user, command })
    }
}

/// How many frames the ports take together: as many as were asked for, else so many for each queue.
///
/// # Errors
/// When an interface is missing, or has not the queues.
pub(crate) fn frames(ports: &[PortBuilder], args: &PlaneArgs) -> Result<u32, Failure> {
    if let Some(frames) = args.frames {
        return Ok(frames);
    }
    let mut queues = 0;
    for port in ports {
        queues += port.queue_count()?;
    }
    Ok(queues.saturating_mul(FRAMES_PER_QUEUE))
}

/// Whom the worker becomes: who was named, `nobody` where that is possible, else nobody else.
fn user(named: Option<User>) -> Result<Option<User>, Failure> {
    match named {
        Some(user) => Ok(Some(user)),
        None if rustix::process::geteuid().is_root() => User::nobody().map(Some),
        None => Ok(None),
    }
}

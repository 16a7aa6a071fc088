//! `netmem maps PID` (alias `pmap`): the address space of any process, every mapping by what it is, with
//! its AF_XDP sockets and how full their rings are.
//!
//! The process is not asked, stopped or changed. What needs a privilege that is missing is a line `not
//! known`, and the command ends with code 3; what this kernel does not have is such a line too, and code 0.

mod svg;
mod table;

use std::{fs, io::Write};

use netmem::stats::{self, AreaState, Found, PortRecord, RegionRecord};
use netmem_host::{
    maps::{AddressSpace, Area, Kind, Place, QueueName, look},
    source::{Root, SourceState, Unavailable},
};
use serde::Serialize;

use crate::{Failure, Outcome, args::MapsArgs, report};

/// What the command shows, for a person and for a program.
#[derive(Debug, Clone, Serialize)]
pub struct Maps {
    /// `netmem.maps/1`.
    pub schema: &'static str,
    /// The address space. Addresses and offsets are text in hexadecimal, sizes are in bytes.
    #[serde(flatten)]
    pub space: AddressSpace,
    /// What the process, if it is one of netmem's, says that it does: `respond`.
    pub netmem: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When there is no such process, it may not be looked into, or the picture cannot be written.
pub fn run(args: &MapsArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let space = look(&Root::live(), args.pid).map_err(|why| refused(args.pid, &why))?;
    let mut maps = Maps { schema: "netmem.maps/1", space, netmem: None };
    // A page that cannot be read says nothing: then the guesses stand.
    for found in stats::of_process(args.pid).unwrap_or_default() {
        maps.learn(&found);
    }
    if let Some(path) = &args.svg {
        fs::write(path, svg::picture(&maps)).map_err(|error| {
            let why = Unavailable::by_io(path.display().to_string(), &error);
            Failure::refused(format!("write {}: {}", path.display(), why.reason))
        })?;
    }
    let printed = if args.json { report::json(out, &maps) } else { table::print(out, &maps) };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(if maps.space.lacks_privilege() { Outcome::Missing } else { Outcome::Done })
}

fn refused(pid: u32, why: &Unavailable) -> Failure {
    let message = format!("look into process {pid}: {}", why.reason);
    match why.state {
        SourceState::Denied => Failure::missing(message)
            .with_hint("processes of other users need CAP_SYS_PTRACE: run it as root"),
        SourceState::Stale => {
            Failure::refused(message).with_hint("there is no such process, or it has ended")
        }
        _ => Failure::refused(message),
    }
}

impl Maps {
    /// Takes what one of netmem's processes tells of itself for what it is.
    fn learn(&mut self, found: &Found) {
        let page = &found.page;
        self.netmem = Some(page.command.to_string());
        let live = page.areas.iter().filter(|area| area.state != AreaState::Ended);
        let snapshots: Vec<_> = live.map(|area| &area.snapshot).collect();
        for region in snapshots.iter().flat_map(|snapshot| &snapshot.regions) {
            self.find_region(region);
        }
        let ports: Vec<_> = snapshots.iter().flat_map(|snapshot| &snapshot.ports).collect();
        if let ([port], [socket]) = (&ports[..], &mut self.space.sockets[..])
            && !matches!(socket.place, Place::Bound { .. })
        {
            socket.place = Place::Bound { queue: queue(port), proof: "its netmem-stats" };
        }
    }

    /// The region is the only mapping that it can be, or stays a guess.
    fn find_region(&mut self, region: &RegionRecord) {
        let memory = [Kind::Umem, Kind::HugePages, Kind::Anonymous, Kind::SharedMemory];
        let can_be = |area: &&Area| {
            let mapping = &area.mapping;
            memory.contains(&area.class.kind)
                && mapping.len_bytes() == region.bytes
                && mapping.permissions.write
        };
        let candidates: Vec<_> = self.space.mappings.iter().filter(can_be).collect();
        let is_named = |area: &&&Area| area.mapping.name.starts_with("/memfd:netmem-region");
        let named: Vec<_> = candidates.iter().filter(is_named).collect();
        let start = match (&named[..], &candidates[..]) {
            ([area], _) => area.mapping.start,
            ([], [area]) => area.mapping.start,
            _ => return,
        };
        self.space.confirm_umem(start, "its netmem-stats tells of a region of this length");
    }
}

fn queue(port: &PortRecord) -> QueueName {
    QueueName { interface: port.interface.to_string(), ifindex: port.ifindex, queue: port.queue }
}

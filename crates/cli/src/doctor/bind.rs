//! `--probe`: binds one AF_XDP socket to queue 0 of an interface, sees what it got, and gives it back.

use netmem::{
    Result,
    mem::{Pool, PoolConfig, Region},
    xdp::{Port, PortReport, RingSizes},
};
use netmem_wire::filter::Rules;

use super::Line;

/// Frames of the probe, and entries of each of its rings but the completion ring's.
const FRAMES: u32 = 1024;
const FRAME_BYTES: usize = 2048;

/// Binds by the best mode there is, behind a program that takes no packet, and closes again.
pub(super) fn probe(interface: &str) -> Line {
    let line = match bind(interface) {
        Err(error) => {
            let hint = error.hint().unwrap_or("the kernel's words are all there is").to_owned();
            Line::finding("bind", "no AF_XDP port can be opened", error.to_string()).fix(hint)
        }
        Ok(report) => {
            let refused = report
                .refused
                .iter()
                .map(|refused| format!("not {}: {}", refused.mode.name(), refused.why));
            let wakeup = if report.need_wakeup { "need_wakeup" } else { "no need_wakeup" };
            let evidence: Vec<_> =
                refused.chain([format!("queue {}, {wakeup}", report.queue)]).collect();
            let what = format!("a port gets {} mode", report.mode.name());
            Line::ok("bind", what, evidence.join("; "))
        }
    };
    Line { interface: Some(interface.to_owned()), ..line }
}

fn bind(interface: &str) -> Result<PortReport> {
    let region = Region::builder(FRAMES as usize * FRAME_BYTES).build()?;
    let handle = Pool::new(region, PoolConfig::default())?.handle();
    let rings = RingSizes { rx: FRAMES / 2, tx: FRAMES / 2, fill: FRAMES, completion: FRAMES / 2 };
    // Without a rule every packet passes to the kernel.
    let port = Port::builder(interface, Rules::new([])).rings(rings).name("netmem_doctor");
    let mut reports = Vec::new();
    for bound in port.bind(&handle)? {
        reports.push(bound.report().clone());
        bound.close();
    }
    Ok(reports.swap_remove(0))
}

//! R-QUEUES: packets that a device dropped before the kernel saw them. Reported only: rings and queues
//! are the driver's, and changing them may take the link down.
//!
//! Source: Documentation/networking/statistics.rst, Documentation/networking/scaling.rst, kernel 6.18.

use super::{Ask, Judgement, grew};
use crate::tune::evidence::Evidence;

/// An rx ring is proposed to be so many times as large, as far as the device takes it.
const STEP: u32 = 2;

pub(super) fn queues(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    let cpus = evidence.cpus.len();
    for device in &evidence.devices {
        let all = [
            ("rx_missed_errors", device.rx_missed),
            ("rx_fifo_errors", device.rx_fifo),
            ("rx-hw-drops", device.rx_hw_drops),
        ];
        let grown = all.iter().filter(|(_, by)| *by > 0);
        let lines: Vec<String> = grown.map(|(name, by)| grew(evidence, name, *by)).collect();
        if lines.is_empty() {
            continue;
        }
        let name = &device.name;
        let mut advice = vec![ring(name, device.rx_ring)];
        if device.rx_queues > 0 && device.rx_queues < cpus {
            advice.push(format!(
                "ethtool -L {name} combined {cpus}, if it has so many: ethtool -l {name} first tells the \
                 largest; it receives by {} of {cpus} CPUs",
                device.rx_queues
            ));
        }
        let what = format!("{name} dropped packets that the kernel never saw");
        judgement.advise("R-QUEUES", what, lines, advice);
    }
    judgement
}

/// What there is to do about a device's rx ring of so many entries, of so many at most.
fn ring(name: &str, rx_ring: Option<(u32, u32)>) -> String {
    match rx_ring {
        Some((now, most)) if now < most => {
            let larger = now.saturating_mul(STEP).min(most);
            format!(
                "ethtool -G {name} rx {larger}: it has {now} entries now, and takes {most} at most"
            )
        }
        Some((now, _)) => format!("its rx ring has {now} entries, and the device takes no more"),
        None => {
            format!("its driver does not tell of rings that could be larger (ethtool -g {name})")
        }
    }
}

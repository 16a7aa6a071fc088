//! R-QUEUES: packets that a device dropped before the kernel saw them. Reported only: rings and queues
//! are the driver's, and changing them may take the link down.
//!
//! Source: Documentation/networking/statistics.rst, Documentation/networking/scaling.rst, kernel 6.18.

use super::{Ask, Judgement, grew};
use crate::tune::evidence::Evidence;

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
        let mut advice =
            vec![format!("ethtool -g {name}, then ethtool -G {name} rx N: at most what it shows")];
        if device.rx_queues > 0 && device.rx_queues < cpus {
            advice.push(format!(
                "ethtool -L {name} combined {cpus}: it receives by {} of {cpus} CPUs",
                device.rx_queues
            ));
        }
        let what = format!("{name} dropped packets that the kernel never saw");
        judgement.advise("R-QUEUES", what, lines, advice);
    }
    judgement
}

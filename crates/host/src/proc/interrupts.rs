//! `/proc/interrupts`: how often each interrupt fired on each CPU, and for which device and queue.
//!
//! ```text
//!             CPU0       CPU1
//!   41:      14100          0 PCI-MSIX-0000:00:04.0   1-edge      virtio3-input.0      x86
//!   41:      14100          0 ITS-MSI 524289 Edge      eth0-TxRx-1, eth0-event          others
//!  LOC:    6073797    6539984   Local timer interrupts
//! ```
//! Columns are the online CPUs, by the numbers in the head. The names behind the trigger are what drivers
//! chose to call their handlers; device and queue are read out of them by custom, so they are likely, not
//! certain. What is certain is [`device_interrupts`]: which interrupts a device has. Global.
//! Source: `show_interrupts` in kernel/irq/proc.c, kernel 6.18.

use std::fs;

use serde::Serialize;

use super::names_in;
use crate::source::{Reading, Root, Unavailable, read_with};

/// `/proc/interrupts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interrupts {
    /// Numbers of the CPUs that the counts are of, in order.
    pub cpus: Vec<u32>,
    /// A row for each interrupt.
    pub rows: Vec<Interrupt>,
}

/// An interrupt, since boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interrupt {
    /// `41`, `NMI`, `LOC`.
    pub label: String,
    /// Times it fired, by CPU; a count that is not kept by CPU (`ERR`) is the only one.
    pub counts: Vec<u64>,
    /// The handlers' names of a numbered interrupt, else the description.
    pub names: Vec<String>,
}

impl Interrupts {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // Names are the drivers' own.
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let head = lines.next()?.split_ascii_whitespace();
        let cpus: Vec<u32> =
            head.map(|cpu| cpu.strip_prefix("CPU")?.parse().ok()).collect::<Option<_>>()?;
        let rows = lines.filter(|line| !line.trim().is_empty());
        let rows = rows.map(|line| Interrupt::parse(line, cpus.len())).collect::<Option<_>>()?;
        (!cpus.is_empty()).then_some(Self { cpus, rows })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("interrupts"), Self::parse)
    }

    /// The row of an interrupt number.
    pub fn numbered(&self, irq: u32) -> Option<&Interrupt> {
        self.rows.iter().find(|row| row.irq() == Some(irq))
    }
}

impl Interrupt {
    fn parse(line: &str, cpus: usize) -> Option<Self> {
        let (label, rest) = line.split_once(':')?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let numbers = words.iter().take(cpus).map_while(|word| word.parse().ok());
        let counts: Vec<u64> = numbers.collect();
        let described = &words[counts.len()..];
        let label = label.trim().to_owned();
        let names = match label.parse::<u32>() {
            Ok(_) => handlers(described),
            Err(_) if described.is_empty() => Vec::new(),
            Err(_) => vec![described.join(" ")],
        };
        (!counts.is_empty()).then_some(Self { label, counts, names })
    }

    /// Its number; `None` for those that the architecture names.
    pub fn irq(&self) -> Option<u32> {
        self.label.parse().ok()
    }

    /// Times it fired on all CPUs together.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The device that its first handler is likely of: `eth0` of `eth0-TxRx-3`, `virtio3` of
    /// `virtio3-input.0`.
    pub fn device(&self) -> Option<&str> {
        self.irq()?;
        let name = self.names.first()?;
        name.split(['-', '@', ':']).next().filter(|device| !device.is_empty())
    }

    /// The queue that its first handler is likely of: the number at the name's end, if there is a part
    /// in front of it that is not the device.
    pub fn queue(&self) -> Option<u32> {
        let (device, name) = (self.device()?, self.names.first()?);
        let name = name.split('@').next().unwrap_or(name);
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let at = name.len() - digits;
        (digits > 0 && (at > device.len() || name.contains("comp")))
            .then(|| name[at..].parse().ok())?
    }
}

/// The numbers of the interrupts of an interface's device, from
/// `/sys/class/net/NAME/device/msi_irqs`, or those of the device that it is a function of (virtio).
///
/// The interface must be of the namespace that `/sys` was mounted in.
///
/// # Errors
/// The interface is virtual, or its device has no message-signalled interrupts.
pub fn device_interrupts(root: &Root, interface: &str) -> Reading<Vec<u32>> {
    let link = root.sys("class/net").join(interface).join("device");
    let device = fs::canonicalize(&link)
        .map_err(|error| Unavailable::by_io(link.display().to_string(), &error))?;
    let own = names_in(&device.join("msi_irqs"));
    let names = match (own, device.parent()) {
        (Err(_), Some(parent)) => names_in(&parent.join("msi_irqs"))?,
        (own, _) => own?,
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The handlers' names behind chip, hardware number and trigger; they may hold blanks themselves.
fn handlers(described: &[&str]) -> Vec<String> {
    let is_trigger = |word: &&str| {
        matches!(*word, "Edge" | "Level")
            || word.rsplit_once('-').is_some_and(|(number, kind)| {
                number.bytes().all(|digit| digit.is_ascii_digit())
                    && matches!(kind, "edge" | "level" | "fasteoi")
            })
    };
    let names = match described.iter().position(is_trigger) {
        Some(at) => &described[at + 1..],
        None => described.last().map(std::slice::from_ref).unwrap_or_default(),
    };
    let names = names.join(" ");
    names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "           CPU0       CPU2       \n\
        \x2024:          1          0  IO-APIC   5-edge      ACPI:Ged\n\
        \x2028:          0          0  IO-APIC   6-edge      \n\
        \x2038:          5      15764 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0\n\
        \x2041:      14100          7  ITS-MSI 524289 Edge      eth0-TxRx-3, eth0 event\n\
        NMI:          0          0   Non-maskable interrupts\n\
        ERR:          9\n";

    #[test]
    fn counts_are_of_the_cpus_in_the_head() {
        let interrupts = Interrupts::parse(PRINTED.as_bytes()).unwrap();
        assert_eq!(interrupts.cpus, [0, 2]);
        let input = interrupts.numbered(38).unwrap();
        assert_eq!((&input.counts[..], input.total()), (&[5, 15764][..], 15769));
        let of = |label: &str| interrupts.rows.iter().find(|row| row.label == label).unwrap();
        assert_eq!((of("ERR").counts.len(), of("ERR").total()), (1, 9));
        assert_eq!(of("NMI").names, ["Non-maskable interrupts"]);
        assert_eq!((of("NMI").irq(), of("NMI").device()), (None, None));
        assert!(interrupts.numbered(28).unwrap().names.is_empty());
    }

    #[test]
    fn device_and_queue_are_read_from_the_handlers_name() {
        let interrupts = Interrupts::parse(PRINTED.as_bytes()).unwrap();
        assert_eq!(interrupts.numbered(41).unwrap().names, ["eth0-TxRx-3", "eth0 event"]);
        let of = |name: &str| {
            let row = Interrupt { label: "9".into(), counts: vec![0], names: vec![name.into()] };
            (row.device().map(str::to_owned), row.queue())
        };
        let is = |device: &str, queue| (Some(device.to_owned()), queue);
        assert_eq!(of("virtio2-input.0"), is("virtio2", Some(0)));
        assert_eq!(of("eth0-TxRx-31"), is("eth0", Some(31)));
        assert_eq!(of("virtio2-config"), is("virtio2", None));
        assert_eq!(of("nvme0q12"), is("nvme0q12", None));
        assert_eq!(of("ttyS0"), is("ttyS0", None));
        assert_eq!(of("mlx5_comp7@pci:0000:03:00.0"), is("mlx5_comp7", Some(7)));
        assert_eq!(of("eth0-99999999999"), is("eth0", None));
    }

    #[test]
    fn damage_is_seen() {
        for bad in ["", "\n", "CPU0 x\n", "CPU0\n41 1\n", "CPU0\n41: x\n"] {
            assert_eq!(Interrupts::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}

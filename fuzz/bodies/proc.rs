//! A file of `/proc`, `/sys` or a cgroup, behind a byte that chooses its reader, through that reader and
//! then through all of them: none panics, and what a reader says of a file agrees with itself.

use netmem_host::{
    proc::{
        Buddyinfo, CgroupEvents, CgroupMounts, Counters, Hugepages, Interrupts, Limits, Meminfo,
        PacketSockets, Pressure, Protocols, Slabinfo, SocketCgroup, Sockstat, Sockstat6, Softnet,
        UdpSockets, Vmstat, Zoneinfo,
    },
    sysctl::{Machine, Value},
};

/// A reader, told whether it understood.
pub type Reader = fn(&[u8]) -> bool;

/// The readers that the first byte of an input chooses from, by the names of their files.
pub const READERS: [(&str, Reader); 22] = [
    ("sockstat", sockstat),
    ("sockstat6", |bytes| Sockstat6::parse(bytes).is_some()),
    ("protocols", protocols),
    ("softnet_stat", softnet),
    ("snmp", counters),
    ("snmp6", |bytes| Counters::parse_lines(bytes).is_some()),
    ("slabinfo", slabinfo),
    ("buddyinfo", buddyinfo),
    ("zoneinfo", |bytes| Zoneinfo::parse(bytes).map(|zones| zones.free_buffer_pages()).is_some()),
    ("meminfo", |bytes| Meminfo::parse(bytes).is_some()),
    ("vmstat", |bytes| Vmstat::parse(bytes).map(|counts| counts.pinned_pages()).is_some()),
    ("pressure", pressure),
    ("interrupts", interrupts),
    ("hugepages", |bytes| Hugepages::parse_size(bytes).is_some()),
    ("limits", |bytes| Limits::parse(bytes).is_some()),
    ("packet", |bytes| PacketSockets::parse(bytes).is_some()),
    ("udp", |bytes| UdpSockets::parse(bytes).is_some()),
    ("mountinfo", |bytes| CgroupMounts::parse(bytes).is_some()),
    ("cgroup", |bytes| SocketCgroup::parse_membership(bytes).is_some()),
    ("memory.stat", |bytes| SocketCgroup::parse_stat(bytes).is_some()),
    ("memory.events", |bytes| CgroupEvents::parse(bytes).is_some()),
    ("sysctl", value),
];

/// Takes the first byte as the reader, the rest as the file.
pub fn run(bytes: &[u8]) {
    let Some((choice, file)) = bytes.split_first() else { return };
    // The chosen one says no more than the others, but names the seed.
    let (_, chosen) = READERS[usize::from(*choice) % READERS.len()];
    chosen(file);
    for (_, reader) in READERS {
        reader(file);
    }
    if let Some(release) = Machine::parse_release(file) {
        assert!(file.contains(&b'.'), "{release:?}");
    }
}

fn sockstat(bytes: &[u8]) -> bool {
    let Some(sockstat) = Sockstat::parse(bytes) else { return false };
    let figures = sockstat.figures();
    let memory: Vec<_> = figures.iter().filter(|figure| figure.name == "TCP mem").collect();
    assert!(memory.len() == 1 && memory[0].value == sockstat.tcp_mem_pages);
    assert_eq!(figures.len(), 11 + usize::from(sockstat.udplite_inuse.is_some()));
    true
}

fn protocols(bytes: &[u8]) -> bool {
    let Some(protocols) = Protocols::parse(bytes) else { return false };
    for row in &protocols.rows {
        assert!(protocols.named(&row.name).is_some_and(|found| found.name == row.name));
    }
    true
}

fn softnet(bytes: &[u8]) -> bool {
    let Some(softnet) = Softnet::parse(bytes) else { return false };
    // Nothing happened between a sample and itself; of CPUs that are listed twice the first counts.
    let first = Softnet { cpus: softnet.cpus[..1].to_vec() };
    for (_, moved) in first.since(&first) {
        assert_eq!((moved.processed, moved.dropped, moved.time_squeeze), (0, 0, 0));
    }
    assert!(softnet.since(&softnet).len() <= softnet.cpus.len());
    true
}

fn counters(bytes: &[u8]) -> bool {
    let Some(counters) = Counters::parse(bytes) else { return false };
    assert_eq!(counters.since(&counters).iter().count(), 0);
    assert!(counters.iter().all(|(name, value)| counters.value(name) == Some(value)));
    // As lines of a name and a number, they are the same.
    let lines: String = counters.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
    let names_are_plain = counters.iter().all(|(name, _)| !name.contains(char::is_whitespace));
    if names_are_plain && counters.iter().all(|(name, _)| !name.is_empty()) {
        assert_eq!(Counters::parse_lines(lines.as_bytes()), Some(counters));
    }
    true
}

fn slabinfo(bytes: &[u8]) -> bool {
    let Some(slabinfo) = Slabinfo::parse(bytes) else { return false };
    for cache in &slabinfo.caches {
        assert!(!cache.name.is_empty());
        assert_eq!(cache.bytes(4096), cache.bytes(1).saturating_mul(4096));
    }
    true
}

fn buddyinfo(bytes: &[u8]) -> bool {
    let Some(buddyinfo) = Buddyinfo::parse(bytes) else { return false };
    for zone in &buddyinfo.zones {
        let orders = zone.blocks_by_order.len();
        let available: Vec<u64> = (0..=orders).map(|order| zone.available(order)).collect();
        assert!(available.is_sorted_by(|larger, smaller| larger >= smaller), "{zone:?}");
        assert_eq!(available[orders], 0);
    }
    true
}

fn pressure(bytes: &[u8]) -> bool {
    let Some(pressure) = Pressure::parse(bytes) else { return false };
    for stall in [pressure.some, pressure.full].into_iter().flatten() {
        assert!((0.0..=100.0).contains(&stall.avg10_percent), "{stall:?}");
    }
    true
}

fn interrupts(bytes: &[u8]) -> bool {
    let Some(interrupts) = Interrupts::parse(bytes) else { return false };
    for row in &interrupts.rows {
        assert!((1..=interrupts.cpus.len()).contains(&row.counts.len()), "{row:?}");
        assert!(row.device().is_none_or(|device| row.names[0].starts_with(device)), "{row:?}");
        assert!(row.queue().is_none() || row.device().is_some(), "{row:?}");
    }
    true
}

fn value(bytes: &[u8]) -> bool {
    let Some(value) = Value::parse(bytes) else { return false };
    assert_eq!(Value::parse(value.to_string().as_bytes()), Some(value));
    true
}

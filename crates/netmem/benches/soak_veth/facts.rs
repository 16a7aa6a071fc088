//! What the machine says of itself.

use std::fs;

/// The kernel's release.
pub(super) fn kernel() -> String {
    read("/proc/sys/kernel/osrelease").trim().to_owned()
}

/// The processor's name.
pub(super) fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|name| name.split_once(": ")).map_or("unknown", |(_, name)| name).to_owned()
}

/// Packets that `interface` of the calling thread's namespace has received and lost.
///
/// A veth counts here what its peer could not put into its ring, and what it could not redirect; not
/// what its XDP program dropped (`veth_get_stats64` in drivers/net/veth.c, kernel 6.18).
pub(super) fn dropped(interface: &str) -> u64 {
    let text = read("/proc/thread-self/net/dev");
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(interface));
    let counters = line.and_then(|line| line.strip_prefix(':')).expect("the interface is listed");
    let dropped = counters.split_whitespace().nth(3).and_then(|count| count.parse().ok());
    dropped.expect("the fourth counter is of drops")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

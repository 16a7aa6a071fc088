//! Which interfaces the default routes go by: what a program that takes all packets of an interface
//! must know before it does.
//!
//! Read from `/proc/thread-self/net/route` and `ipv6_route`: the main tables of the calling thread's
//! network namespace, from the same source as `route -n` (`fib_route_seq_show` in
//! net/ipv4/fib_trie.c, `ipv6_route_native_seq_show` in net/ipv6/ip6_fib.c, kernel 6.18). Other tables
//! of policy routing do not show there.

use std::{fs, io};

use crate::{Error, Result};

const RTF_UP: u32 = 1;
const RTF_REJECT: u32 = 0x0200;

/// Names of the interfaces that a default route of the calling thread's network namespace goes by, each
/// once.
///
/// # Errors
/// When the kernel's table of IPv4 routes cannot be read. A kernel without IPv6 has no IPv6 routes.
pub fn default_route_interfaces() -> Result<Vec<String>> {
    let v4 = "/proc/thread-self/net/route";
    let v4 = fs::read_to_string(v4).map_err(|error| Error::new("read", v4, error))?;
    let v6 = match fs::read_to_string("/proc/thread-self/net/ipv6_route") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::new("read", "/proc/thread-self/net/ipv6_route", error));
        }
        text => text.unwrap_or_default(),
    };
    let mut names = Vec::new();
    for name in v4.lines().skip(1).filter_map(default_v4).chain(v6.lines().filter_map(default_v6)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// `eth0 00000000 0100000A 0003 0 0 0 00000000 ...`: interface, destination, gateway, flags, ..., mask.
fn default_v4(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, destination, _, flags, _, _, _, mask, ..] = words[..] else { return None };
    let hex = |word| u32::from_str_radix(word, 16).ok();
    let is_default = hex(destination)? == 0 && hex(mask)? == 0;
    let is_usable = hex(flags)? & (RTF_UP | RTF_REJECT) == RTF_UP;
    (is_default && is_usable).then(|| name.to_owned())
}

/// `<destination> 00 <source> 00 <next hop> <metric> <references> <use> <flags> eth0`.
fn default_v6(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, prefix_len, _, _, _, _, _, _, flags, name] = words[..] else { return None };
    let hex = |word| u32::from_str_radix(word, 16).ok();
    let is_usable = hex(flags)? & (RTF_UP | RTF_REJECT) == RTF_UP;
    (hex(prefix_len)? == 0 && is_usable && name != "lo").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_told_from_others() {
        let v4 = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0";
        assert_eq!(default_v4(v4).as_deref(), Some("eth0"));
        for other in [
            "eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0",
            "eth0\t00000000\t0100000A\t0002\t0\t0\t100\t00000000\t0\t0\t0",
            "*\t00000000\t00000000\t0201\t0\t0\t100\t00000000\t0\t0\t0",
            "eth0\t00000000\t00000000\t0001\t0\t0\t100\t00000080\t0\t0\t0",
            "eth0\t00000000",
            "eth0\tx\tx\tx\tx\tx\tx\tx",
            "",
        ] {
            assert_eq!(default_v4(other), None, "{other}");
        }
        let zero = "0".repeat(32);
        let v6 = |prefix: &str, flags: &str, name: &str| {
            format!("{zero} {prefix} {zero} 00 fe80{} 00000400 0 0 {flags} {name}", &zero[4..])
        };
        assert_eq!(default_v6(&v6("00", "00450003", "eth1")).as_deref(), Some("eth1"));
        for (prefix, flags, name) in
            [("40", "00000001", "eth1"), ("00", "00200200", "lo"), ("00", "00000002", "eth1")]
        {
            assert_eq!(default_v6(&v6(prefix, flags, name)), None, "{prefix} {flags} {name}");
        }
    }

    #[test]
    fn this_namespace_can_be_asked() {
        let names = default_route_interfaces().unwrap();
        assert!(!names.iter().any(|name| name == "lo" || name.is_empty()), "{names:?}");
    }
}

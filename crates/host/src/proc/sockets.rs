//! Sockets as `/proc/net/packet`, `udp` and `udp6` list them: what they hold, and what they dropped.
//!
//! ```text
//!  packet:  sk RefCnt Type Proto Iface R Rmem User Inode
//!  udp:     sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ref pointer drops
//! ```
//! They are of the calling thread's namespace. Socket diagnosis netlink says more of each socket; these
//! files need no netlink, and are what other tools read. The kernel walks its hash table for each
//! reading, so they are not for every sample. Source: `packet_seq_show` in net/packet/af_packet.c,
//! `udp4_format_sock` in net/ipv4/udp.c, kernel 6.18.

use std::path::Path;

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// `/proc/net/packet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PacketSockets {
    /// A row for each socket.
    pub rows: Vec<PacketSocket>,
}

/// A packet socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PacketSocket {
    /// `SOCK_DGRAM` 2, `SOCK_RAW` 3.
    pub kind: u32,
    /// EtherType that it takes; 3 is all.
    pub protocol: u16,
    /// Index of the interface that it is bound to; 0: all.
    pub ifindex: u32,
    /// Whether it takes packets.
    pub is_running: bool,
    /// Receive memory in use, in bytes, of truesize. A ring does not count here.
    pub rmem_bytes: u64,
    /// Its owner.
    pub uid: u32,
    /// Its number, as in `socket:[123]`.
    pub inode: u64,
}

/// `/proc/net/udp` and `udp6`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UdpSockets {
    /// A row for each socket.
    pub rows: Vec<UdpSocket>,
}

/// A UDP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UdpSocket {
    /// Local port.
    pub local_port: u16,
    /// Send memory in use, in bytes, of truesize.
    pub tx_queue_bytes: u64,
    /// Receive memory in use, in bytes, of truesize.
    pub rx_queue_bytes: u64,
    /// Its owner.
    pub uid: u32,
    /// Its number, as in `socket:[123]`.
    pub inode: u64,
    /// Datagrams dropped since it was opened, modulo 2^32.
    pub drops: u32,
}

impl PacketSockets {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = text(bytes)?.lines();
        lines.next()?.trim_start().strip_prefix("sk ")?;
        Some(Self { rows: lines.map(PacketSocket::parse).collect::<Option<_>>()? })
    }

    /// Reads it for the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no packet sockets, or the file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.net("packet"), Self::parse)
    }
}

impl PacketSocket {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, kind, protocol, ifindex, running, rmem, uid, inode, ..] = words[..] else {
            return None;
        };
        Some(Self {
            kind: kind.parse().ok()?,
            protocol: u16::from_str_radix(protocol, 16).ok()?,
            ifindex: ifindex.parse().ok()?,
            is_running: running != "0",
            rmem_bytes: rmem.parse().ok()?,
            uid: uid.parse().ok()?,
            inode: inode.parse().ok()?,
        })
    }
}

impl UdpSockets {
    /// Parses `udp` or `udp6`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = text(bytes)?.lines();
        lines.next()?.trim_start().strip_prefix("sl ")?;
        Some(Self { rows: lines.map(UdpSocket::parse).collect::<Option<_>>()? })
    }

    /// Reads those of IPv4 and, where the kernel has it, of IPv6, of the calling thread's network
    /// namespace.
    ///
    /// # Errors
    /// A file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        let of = |path: &Path| read_with(path, Self::parse);
        let mut all = of(&root.net("udp"))?;
        let six = root.net("udp6");
        if six.exists() {
            all.rows.extend(of(&six)?.rows);
        }
        Ok(all)
    }
}

impl UdpSocket {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, _, queues, _, _, uid, _, inode, _, _, drops, ..] = words[..] else {
            return None;
        };
        let (tx, rx) = queues.split_once(':')?;
        Some(Self {
            local_port: u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?,
            tx_queue_bytes: u64::from_str_radix(tx, 16).ok()?,
            rx_queue_bytes: u64::from_str_radix(rx, 16).ok()?,
            uid: uid.parse().ok()?,
            inode: inode.parse().ok()?,
            drops: drops.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_and_queues_of_a_udp_socket() {
        let head = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
            timeout inode ref pointer drops             \n";
        let row = "  407: 0100007F:14E9 00000000:0000 07 00000000:00003F00 00:00000000 00000000  1000    \
            0 4711 2 00000000abcdef12 43        \n";
        let sockets = UdpSockets::parse((head.to_owned() + row).as_bytes()).unwrap();
        let expected = UdpSocket {
            local_port: 5353,
            tx_queue_bytes: 0,
            rx_queue_bytes: 16128,
            uid: 1000,
            inode: 4711,
            drops: 43,
        };
        assert_eq!(sockets.rows, [expected]);
        assert!(UdpSockets::parse(head.as_bytes()).unwrap().rows.is_empty(), "none is a value");
        let six = row.replace("0100007F:", "00000000000000000000000001000000:");
        assert_eq!(UdpSockets::parse((head.to_owned() + &six).as_bytes()), Some(sockets));
        for (from, to) in [("14E9", "x"), (":00003F00", ""), (" 43 ", " ")] {
            let damaged = head.to_owned() + &row.replace(from, to);
            assert_eq!(UdpSockets::parse(damaged.as_bytes()), None, "{to:?}");
        }
        assert_eq!(UdpSockets::parse(b""), None);
    }

    #[test]
    fn packet_sockets_are_read() {
        let printed = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
            00000000abcdef12 3      3    88cc   2     1 768    0      9001  \n";
        let sockets = PacketSockets::parse(printed.as_bytes()).unwrap();
        let expected = PacketSocket {
            kind: 3,
            protocol: 0x88cc,
            ifindex: 2,
            is_running: true,
            rmem_bytes: 768,
            uid: 0,
            inode: 9001,
        };
        assert_eq!(sockets.rows, [expected]);
        assert_eq!(PacketSockets::parse(printed.replace("88cc", "188cc").as_bytes()), None);
        assert_eq!(PacketSockets::parse(b""), None);
    }
}

//! Bytes into the responder: what comes out is what the oracle says, or nothing.

use std::net::Ipv4Addr;

use netmem_cli::responder::{Answer, Responder};
use netmem_wire::{
    MacAddr,
    filter::{self, Action, Fields},
};

use super::oracle::{self, Host};

/// The host that answers.
pub const HOST: Host =
    Host { mac: [2, 0, 0, 0, 0, 2], addresses: &[[192, 0, 2, 2], [192, 0, 2, 77]] };

/// Makes the responder of [`HOST`].
pub fn host() -> Responder {
    Responder::new(MacAddr(HOST.mac), &addresses())
}

fn addresses() -> Vec<Ipv4Addr> {
    HOST.addresses.iter().map(|&address| address.into()).collect()
}

/// Answers the bytes as they are, then with lengths and checksums put right, which chance would not.
pub fn run(bytes: &[u8]) {
    check(bytes);
    if let Some(repaired) = repaired(bytes) {
        check(&repaired);
    }
}

fn check(request: &[u8]) {
    let expected = oracle::reply(HOST, request);
    let mut frame = request.to_vec();
    match host().answer(&mut frame) {
        Answer::Drop(reason) => {
            assert!(expected.is_none(), "dropped as {}, must be answered", reason.name());
        }
        Answer::Reply { len_bytes } => {
            assert!(len_bytes <= request.len(), "a reply longer than its request");
            let expected = expected.expect("answered, must not be");
            expected.check(&frame[..len_bytes]);
            // Otherwise it would never have come here.
            let (class, action) = filter::responder(&addresses()).classify(&Fields::parse(request));
            assert_eq!(action, Action::Take, "answered, but the filter passes it: class {class}");
        }
    }
}

/// The frame with its IPv4 lengths cut to what is there and both checksums right; `None` if it has no
/// IPv4 header.
fn repaired(frame: &[u8]) -> Option<Vec<u8>> {
    let l3 = match frame.get(12..14)? {
        [0x81, 0x00] | [0x88, 0xa8] => 18,
        _ => 14,
    };
    let mut frame = frame.to_vec();
    let ip = frame.get_mut(l3..).filter(|ip| ip.len() >= 20)?;
    let header_len = (usize::from(ip[0] & 0x0f) * 4).clamp(20, ip.len());
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]])).clamp(header_len, ip.len());
    ip[2..4].copy_from_slice(&u16::try_from(total_len).ok()?.to_be_bytes());
    put_sum(&mut ip[..header_len], 10);
    put_sum(&mut ip[header_len..total_len], 2);
    Some(frame)
}

/// Writes the checksum at `at`, where it fits.
fn put_sum(bytes: &mut [u8], at: usize) {
    if bytes.len() < at + 2 {
        return;
    }
    bytes[at..at + 2].fill(0);
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
    // Modulo 0xffff both zeros are 0: its complement 0xffff sums up right in either case.
    let checksum = u16::try_from(0xffff - sum).unwrap_or(u16::MAX);
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

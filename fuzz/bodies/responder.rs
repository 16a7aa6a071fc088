//! Bytes into the responder: what comes out is what the oracle says, or nothing.

use netmem_cli::responder::{Answer, Responder};
use netmem_wire::{
    MacAddr,
    filter::{self, Action, Fields, Ipv4Net, Ipv6Net, ResponderConfig},
};

use super::oracle::{self, Host};

/// The host that answers.
pub const HOST: Host = Host {
    mac: [2, 0, 0, 0, 0, 2],
    addresses: &[[192, 0, 2, 2], [192, 0, 2, 77]],
    addresses6: &[
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77],
    ],
    proxied: &[198, 51, 100],
    proxied6: &[0x20, 1, 0x0d, 0xb8, 0, 1],
};

/// Makes the responder of [`HOST`].
pub fn host() -> Responder {
    Responder::new(MacAddr(HOST.mac), &config())
}

fn config() -> ResponderConfig {
    let proxied = first_bytes(HOST.proxied);
    let proxied6 = first_bytes(HOST.proxied6);
    ResponderConfig {
        addresses: HOST.addresses.iter().map(|&address| address.into()).collect(),
        addresses6: HOST.addresses6.iter().map(|&address| address.into()).collect(),
        proxied: vec![Ipv4Net::new(proxied.0.into(), proxied.1).unwrap()],
        proxied6: vec![Ipv6Net::new(proxied6.0.into(), proxied6.1).unwrap()],
        only: None,
    }
}

/// The lowest address that begins with `bytes`, and how many bits they have.
fn first_bytes<const N: usize>(bytes: &[u8]) -> ([u8; N], u8) {
    let mut address = [0; N];
    address[..bytes.len()].copy_from_slice(bytes);
    (address, u8::try_from(bytes.len() * 8).unwrap())
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
    let mut answer = host().answer(&mut frame);
    if let Answer::NeedsRoom { len_bytes } = answer {
        // Only for the option that an advertisement must have.
        assert!((1..=8).contains(&(len_bytes - request.len())), "room for {len_bytes} bytes");
        assert_eq!(frame, request, "asks for room after a change");
        frame.resize(len_bytes, 0xee);
        answer = host().answer(&mut frame);
        assert_eq!(answer, Answer::Reply { len_bytes }, "all the room is needed");
    }
    match answer {
        Answer::Drop(reason) => {
            assert!(expected.is_none(), "dropped as {}, must be answered", reason.name());
        }
        Answer::NeedsRoom { .. } => unreachable!("answered with room"),
        Answer::Reply { len_bytes } => {
            let expected = expected.expect("answered, must not be");
            expected.check(&frame[..len_bytes]);
            // Otherwise it would never have come here.
            let (class, action) = filter::responder(&config()).classify(&Fields::parse(request));
            assert_eq!(action, Action::Take, "answered, but the filter passes it: class {class}");
        }
    }
}

/// The frame with its lengths cut to what is there and its checksums right; `None` if it has no header
/// of IP.
fn repaired(frame: &[u8]) -> Option<Vec<u8>> {
    let l3 = match frame.get(12..14)? {
        [0x81, 0x00] | [0x88, 0xa8] => 18,
        _ => 14,
    };
    let is_ipv6 = frame.get(l3 - 2..l3)? == [0x86, 0xdd];
    let mut frame = frame.to_vec();
    let ip = frame.get_mut(l3..).filter(|ip| ip.len() >= 20)?;
    if is_ipv6 {
        return repair_ipv6(ip).map(|()| frame);
    }
    let header_len = (usize::from(ip[0] & 0x0f) * 4).clamp(20, ip.len());
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]])).clamp(header_len, ip.len());
    ip[2..4].copy_from_slice(&u16::try_from(total_len).ok()?.to_be_bytes());
    put_sum(&mut ip[..header_len], 10);
    put_sum(&mut ip[header_len..total_len], 2);
    Some(frame)
}

/// As [`repaired`], for a packet of IPv6; solicitations get their hop limit, too.
fn repair_ipv6(ip: &mut [u8]) -> Option<()> {
    let (header, payload) = ip.split_at_mut_checked(40)?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]])).min(payload.len());
    header[4..6].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    let (mut kind, mut at) = (header[6], 0);
    while matches!(kind, 0 | 43 | 44 | 60) {
        let &[next, units, ..] = payload[..len].get(at..)? else { break };
        at += if kind == 44 { 8 } else { (usize::from(units) + 1) * 8 };
        kind = next;
    }
    let message = payload[..len].get_mut(at..)?;
    if message.first() == Some(&135) {
        header[7] = 255;
    }
    let len = u32::try_from(message.len()).ok()?.to_be_bytes();
    let mut summed = [&header[8..], &len, &[0, 0, 0, 58], message].concat();
    put_sum(&mut summed, 42);
    let sum = summed.get(42..44)?;
    message.get_mut(2..4)?.copy_from_slice(sum);
    Some(())
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

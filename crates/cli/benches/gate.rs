//! What `cargo xtask gate` counts of the responder: it answers on the real port on the fake kernel's
//! rings, as `netmem respond` does, through the public API.
//!
//! `gate CASE BATCH PACKETS` answers that many echo requests. Callgrind collects inside of
//! `gate_echo` only, or of `gate_answer`, which has frames and no port: delivering the requests (each
//! a fresh one, because an answer turns it into its reply) and checking the replies does not count.
//! Every reply is compared with one composed on its own, checksums computed instead of updated.

use std::{env, hint::black_box, net::Ipv4Addr};

use netmem::{
    device::{Device, Tally},
    fake::FakeKernel,
    mem::{Pool, PoolConfig, Region},
    xdp::{Port, RingSizes},
};
use netmem_cli::responder::{Answer, Responder};
use netmem_wire::{
    EthernetRepr, Icmpv4Repr, Ipv4Repr, MacAddr, ethernet, ethernet::ether_type,
    filter::ResponderConfig, icmpv4, ipv4, ipv4::protocol,
};

const OWN: (MacAddr, Ipv4Addr) = (MacAddr([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(192, 0, 2, 2));
const PEER: (MacAddr, Ipv4Addr) = (MacAddr([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(192, 0, 2, 1));
/// Bytes in front of an echo message's payload.
const HEADERS_BYTES: usize =
    ethernet::HEADER_LEN_BYTES + ipv4::HEADER_LEN_BYTES + icmpv4::HEADER_LEN_BYTES;

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let [case, batch, packets] = &words[..] else {
        // `cargo test` and `cargo bench` run this without arguments: nothing to do.
        return;
    };
    let batch: u32 = batch.parse().expect("BATCH is a number");
    let packets: u64 = packets.parse().expect("PACKETS is a number");
    match case.as_str() {
        "answer98" => answer_frames(98, batch, packets),
        "echo98" => answer_packets(98, batch, packets),
        "echo1514" => answer_packets(1514, batch, packets),
        other => panic!("no case {other}"),
    }
}

fn answer_packets(frame_len_bytes: usize, batch: u32, packets: u64) {
    let request = frame(frame_len_bytes, PEER, OWN, Icmpv4Repr::echo_request(0x4e4d, 7), 63);
    let reply = frame(frame_len_bytes, OWN, PEER, Icmpv4Repr::echo_reply(0x4e4d, 7), 64);
    let responder = black_box(Responder::new(OWN.0, &ResponderConfig::ipv4(&[OWN.1])));
    let region = Region::builder(4096 * 2048).build().expect("8 MiB");
    let handle = Pool::new(region, PoolConfig::default()).expect("a pool").handle();
    let (mut port, mut kernel) = FakeKernel::port(&handle, RingSizes::default(), u32::MAX - 5000);
    let mut done = 0;
    while done < packets {
        for _ in 0..batch {
            assert!(kernel.deliver(&request), "the port gives every slot back");
        }
        let tally = gate_echo(&mut port, batch, &responder);
        assert_eq!(
            (tally.received, tally.transmitted),
            (batch, batch),
            "every request is answered"
        );
        let sent = kernel.send(|bytes| assert!(bytes == reply, "not the reply: {bytes:02x?}"));
        assert_eq!(kernel.complete(usize::MAX), sent, "every reply is completed");
        done += sent as u64;
    }
}

fn answer_frames(frame_len_bytes: usize, batch: u32, packets: u64) {
    let request = frame(frame_len_bytes, PEER, OWN, Icmpv4Repr::echo_request(0x4e4d, 7), 63);
    let reply = frame(frame_len_bytes, OWN, PEER, Icmpv4Repr::echo_reply(0x4e4d, 7), 64);
    let responder = black_box(Responder::new(OWN.0, &ResponderConfig::ipv4(&[OWN.1])));
    let mut frames = vec![Vec::new(); batch as usize];
    for _ in 0..packets.div_ceil(batch.into()) {
        frames.iter_mut().for_each(|frame| frame.clone_from(&request));
        let answered = gate_answer(&mut frames, &responder);
        assert_eq!(answered, frame_len_bytes * frames.len(), "every request is answered");
        assert!(frames.iter().all(|frame| *frame == reply), "not the reply: {:02x?}", frames[0]);
    }
}

/// Answer echo requests in place; returns the replies' bytes.
#[inline(never)]
fn gate_answer(frames: &mut [Vec<u8>], responder: &Responder) -> usize {
    let mut len_sum_bytes = 0;
    for frame in frames {
        if let Answer::Reply { len_bytes } = responder.answer(frame) {
            len_sum_bytes += len_bytes;
        }
    }
    len_sum_bytes
}

/// Answer echo requests in place and send the replies, completions reaped.
#[inline(never)]
fn gate_echo(port: &mut Port, batch: u32, responder: &Responder) -> Tally {
    port.receive(batch, &mut (), |packet| responder.verdict(packet))
}

/// Composes an echo message of `len_bytes` with all headers.
fn frame(
    len_bytes: usize,
    from: (MacAddr, Ipv4Addr),
    to: (MacAddr, Ipv4Addr),
    icmp: Icmpv4Repr,
    ttl: u8,
) -> Vec<u8> {
    let mut frame = vec![0; HEADERS_BYTES];
    frame.extend((0..=u8::MAX).cycle().take(len_bytes - HEADERS_BYTES));
    let (link, network) = frame.split_at_mut(ethernet::HEADER_LEN_BYTES);
    let (_, message) = network.split_at_mut(ipv4::HEADER_LEN_BYTES);
    icmp.emit(message).expect("a whole message");
    let payload_len_bytes = u16::try_from(message.len()).expect("shorter than a packet can be");
    let ip = Ipv4Repr {
        dscp: 0,
        ecn: 0,
        identification: 0x1234,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset_bytes: 0,
        ttl,
        protocol: protocol::ICMP,
        source: from.1,
        destination: to.1,
        payload_len_bytes,
    };
    ip.emit(network).expect("room for header and message");
    let ethernet = EthernetRepr { destination: to.0, source: from.0, ether_type: ether_type::IPV4 };
    ethernet.emit(link).expect("14 bytes");
    frame
}

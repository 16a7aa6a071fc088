//! Chains, unaligned slots, and two ports: what the model in `tests/model/chains.rs` does not come to.

use super::*;
use crate::{device::ForeignPort, sys::xsk::XDP_PKT_CONTD};

fn unaligned(frame_bytes: u32, frames: u32) -> PoolHandle {
    let region = Region::builder((frames * frame_bytes) as usize).tiers(&[PageTier::Base4K]);
    let config = PoolConfig { frame_bytes, frames: Some(frames), ..PoolConfig::default() };
    Pool::new(region.build().unwrap(), config).unwrap().handle()
}

fn owned(handle: &PoolHandle, byte: u8, len: u32) -> Packet {
    let mut packet = handle.alloc().unwrap();
    packet.put(len).unwrap().fill(byte);
    packet
}

/// A chain that fills the rx ring and has no end is dropped as one packet; what comes next is lent.
#[test]
fn a_chain_without_an_end_does_not_block_the_ring() {
    let mut bed = Bed::with(64, RingSizes { rx: 4, ..SIZES }, u32::MAX - 1);
    for n in 0..4 {
        assert_eq!(bed.port.receive(64, &mut (), |_| panic!("part {n} is lent")).received, 0);
        bed.assert_closed(0);
        let addr = bed.kernel.take_fill().unwrap() + 256;
        bed.kernel.publish(XdpDesc { addr, len: 60, options: XDP_PKT_CONTD });
    }
    assert_eq!(bed.port.receive(64, &mut (), |_| panic!("lent")).received, 0);
    bed.deliver(7..8);
    let tally = bed.port.receive(64, &mut (), |packet| {
        assert_eq!(packet.bytes(), [7; 60]);
        Verdict::Consume
    });
    assert_eq!(tally.received, 1);
    let audit = bed.assert_closed(0);
    assert_eq!(audit.counts.dropped[DropReason::BadDescriptor], 1);
    assert_eq!((audit.counts.received, audit.owners[Owner::Quarantined]), (2, 0));
}

/// X3 in a chain: the whole packet is dropped and counted once, the slots it names well go on, those it
/// does not are quarantined, and an option that nobody knows is as bad.
#[test]
fn a_bad_descriptor_drops_its_whole_chain() {
    for (bad, quarantined) in [((u64::MAX, 60, 1), 1), ((300, 4000, 1), 1), ((300, 60, 3), 0)] {
        let mut bed = Bed::with(64, SIZES, 0);
        bed.deliver(0..1);
        let slots = [(); 3].map(|()| bed.kernel.take_fill().unwrap());
        let good = |slot: u64, options| XdpDesc { addr: slot + 256, len: 60, options };
        bed.kernel.publish(good(slots[0], 1));
        let (addr, len, options) = bad;
        let addr = if addr == u64::MAX { addr } else { slots[1] + addr };
        bed.kernel.publish(XdpDesc { addr, len, options });
        bed.kernel.publish(good(slots[2], 0));
        bed.deliver(1..2);
        let mut seen = Vec::new();
        bed.port.receive(64, &mut (), |packet| {
            seen.push((packet.bytes()[0], packet.frame_count()));
            Verdict::Consume
        });
        assert_eq!(seen, [(0, 1), (1, 1)]);
        let audit = bed.assert_closed(0);
        assert_eq!((audit.counts.received, audit.counts.consumed), (3, 2));
        assert_eq!(audit.counts.dropped[DropReason::BadDescriptor], 1);
        assert_eq!(audit.owners[Owner::Quarantined], quarantined);
    }
}

/// A packet is sent when the last of its slots is back, in whatever order packets complete.
#[test]
fn a_chain_is_counted_once_in_any_order_of_completion() {
    let mut bed = Bed::new();
    for lens in [&[60, 20, 30][..], &[61], &[62, 1]] {
        let frames: Vec<Vec<u8>> = lens.iter().map(|&len| vec![9; len]).collect();
        assert!(bed.kernel.deliver_chain(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    }
    assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Transmit).transmitted, 3);
    assert_eq!(bed.port.progress().transmitted, 3);
    assert_eq!(bed.kernel.send_chains(|_| {}), 3);
    for (done, held) in [(1, 2), (2, 1), (3, 0)] {
        assert!(bed.kernel.complete_newest());
        assert_eq!(bed.assert_closed(held + 1).counts.transmitted, done - 1, "not reaped");
        bed.port.flush().unwrap();
        assert_eq!(bed.assert_closed(held).counts.transmitted, done);
        assert_eq!((bed.port.progress().transmitted, bed.port.progress().completed), (3, done));
    }
}

/// The longest chain that is sent has 18 frames; empty ones do not count, and are not sent.
#[test]
fn chains_of_more_frames_than_the_kernel_takes_are_dropped() {
    let sizes = RingSizes { rx: 32, tx: 32, fill: 32, completion: 32 };
    for (frames, empty, sent) in [(18, 0, 1), (19, 0, 0), (19, 1, 1)] {
        let mut bed = Bed::with(64, sizes, 0);
        let chain = || {
            let mut packet = owned(&bed.handle, 0, 60);
            for n in 1..frames {
                let len = if n <= empty { 0 } else { 5 };
                packet.append(owned(&bed.handle, n, len)).unwrap();
            }
            packet
        };
        let mut queue: VecDeque<Packet> = [chain(), owned(&bed.handle, 99, 60)].into();
        assert_eq!(bed.port.transmit(&mut queue).unwrap(), sent + 1);
        let mut seen = Vec::new();
        bed.kernel.send_chains(|frames| seen.push(frames.len()));
        assert_eq!(seen.len(), sent + 1);
        assert!(sent == 0 || seen[0] == usize::from(frames - empty));
        let audit = bed.assert_closed(sent as u64 + 1);
        assert_eq!(audit.counts.dropped[DropReason::FullRing], 1 - sent as u64);
    }
}

/// A driver in zero-copy mode may take fewer: what it would refuse is dropped with a reason, whether
/// it is sent by its owner or where it was received, and what it takes is sent.
#[test]
fn chains_of_more_frames_than_the_driver_takes_are_dropped() {
    for (most, sent) in [(1, 0), (2, 0), (3, 1)] {
        let mut bed = Bed::new();
        bed.port.report.tx_max_frames = most;
        let frames: Vec<Vec<u8>> = [60, 20, 30].map(|len| vec![9; len]).to_vec();
        let received: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        assert!(bed.kernel.deliver_chain(&received) && bed.kernel.deliver(&[7; 61]));
        let tally = bed.port.receive(64, &mut (), |_| Verdict::Transmit);
        assert_eq!(tally.transmitted, sent + 1);
        let mut packet = owned(&bed.handle, 0, 60);
        for n in 1..3 {
            packet.append(owned(&bed.handle, n, 20)).unwrap();
        }
        let mut queue: VecDeque<Packet> = [packet, owned(&bed.handle, 3, 61)].into();
        assert_eq!(bed.port.transmit(&mut queue).unwrap(), sent as usize + 1);
        let mut lens = Vec::new();
        bed.kernel.send_chains(|frames| lens.push(frames.len()));
        let expected = if sent == 1 { vec![3, 1, 3, 1] } else { vec![1, 1] };
        assert_eq!(lens, expected, "{most}");
        let audit = bed.assert_closed(u64::from(2 * sent + 2));
        assert_eq!(audit.counts.dropped[DropReason::FullRing], 2 - 2 * u64::from(sent));
    }
}

/// Packets of odd sizes through slots of odd sizes: each intact, each slot back as its own start, which
/// the kernel does not compute in this mode (the fake one panics for any other).
#[test]
fn unaligned_packets_are_reflected_intact_across_every_wrap() {
    for frame_bytes in [3000, 4001] {
        let handle = unaligned(frame_bytes, 40);
        let (port, kernel) = FakeKernel::port(&handle, SIZES, u32::MAX - 200);
        let mut bed = Bed { handle, port, kernel };
        let bytes =
            |n: u32| vec![n.to_le_bytes()[0]; 60 + n as usize * 37 % (frame_bytes as usize - 400)];
        let (mut next, mut back) = (0, 0);
        while back < 1000 {
            while next < 1000 && bed.kernel.deliver(&bytes(next)) {
                next += 1;
            }
            bed.port.receive(5, &mut (), |packet| {
                assert_eq!((packet.headroom(), packet.frame_count()), (256, 1));
                packet.push(2).unwrap().copy_from_slice(b"hi");
                Verdict::Transmit
            });
            bed.kernel.send(|sent| {
                assert_eq!((&sent[..2], &sent[2..]), (&b"hi"[..], &bytes(back)[..]));
                back += 1;
            });
            bed.kernel.complete(usize::MAX);
            bed.assert_closed(bed.port.tx_side.into());
        }
        assert_eq!(bed.port.close().quarantined, 0);
    }
}

/// What an XDP program puts in front of a packet can be read there, as far as the headroom goes.
#[test]
fn metadata_is_in_front_of_the_packet() {
    for frame_bytes in [2048, 3000] {
        let handle = unaligned(frame_bytes, 40);
        let (mut port, mut kernel) = FakeKernel::port(&handle, SIZES, 0);
        assert!(kernel.deliver_with_metadata(b"from xdp", &[7; 60]));
        port.receive(1, &mut (), |packet| {
            assert_eq!(packet.in_front(8), Some(&b"from xdp"[..]));
            assert_eq!(packet.in_front(0), Some(&[][..]));
            assert_eq!(packet.in_front(256).map(<[u8]>::len), Some(256));
            assert_eq!((packet.in_front(257), packet.in_front(u32::MAX)), (None, None));
            packet.pull(2).unwrap();
            assert_eq!(packet.in_front(10), Some(&b"from xdp\x07\x07"[..]));
            Verdict::Consume
        });
        assert_eq!(port.counts().consumed, 1);
    }
}

/// Packets go out by another port, for longer than both fill rings last: slots come round by the pool.
#[test]
fn packets_are_forwarded_in_place() {
    let bed = Bed::with(64, SIZES, u32::MAX - 100);
    let Bed { handle, port: mut near, mut kernel } = bed;
    let (mut far, mut far_kernel) = FakeKernel::port(&handle, SIZES, u32::MAX - 300);
    let mut seen = 0u32;
    for n in 0..500u32 {
        assert!(kernel.deliver(&[n.to_le_bytes(), [1; 4], [2; 4], [3; 4]].concat()), "packet {n}");
        let tally = near.receive_to(&mut far, 8, &mut (), |packet| {
            packet.bytes_mut()[4] = 8;
            Verdict::Transmit
        });
        assert_eq!(tally, Ok(Tally { received: 1, transmitted: 1, kept: 0 }));
        far_kernel.send(|bytes| {
            assert_eq!((&bytes[..4], bytes[4]), (&seen.to_le_bytes()[..], 8));
            seen += 1;
        });
        assert_eq!(seen, n + 1, "shown to the kernel by the same call");
        far_kernel.complete(usize::MAX);
    }
    let audit = Audit::of(handle.pool(), [handle.walk(), near.walk(), far.walk()]);
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!((near.counts().received, far.counts().transmitted), (500, 499));
    assert_eq!(handle.pool().statistics().corrupt, 0);
}

/// K8 for a whole call: nothing is received.
#[test]
fn a_port_of_another_pool_is_refused() {
    let mut bed = Bed::new();
    let mut other = Bed::new();
    bed.deliver(0..1);
    let refused = bed.port.receive_to(&mut other.port, 64, &mut (), |_| Verdict::Transmit);
    assert_eq!(refused, Err(ForeignPort));
    assert_eq!(bed.assert_closed(0).counts.received, 0);
    assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Consume).received, 1);
    other.assert_closed(0);
}

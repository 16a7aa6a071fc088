//! What packets ask for, on the fake kernel's rings. Planted and caught: metadata at the packet's first
//! byte; offsets counted from the slot; the option on no descriptor, on every one of a chain, or lost
//! beside XDP_PKT_CONTD; a chain that is left to the kernel in copy mode; the headroom of further frames,
//! of lent packets, of owned ones, or at the request not looked at; a refused request that takes the one
//! before with it; a timestamp read at the packet's first byte, or though the driver gave none; a list
//! that is not bounded; a waiting packet that is not taken out; a request that stays in a recycled list;
//! an offer that stays with a kept packet, or with the port after `receive_to`; the port that received
//! asked instead of the one that sends.

use super::*;
use crate::{
    device::{Device, Tally, Verdict},
    fake::FakeKernel,
    mem::{Audit, PageTier, Pool, PoolConfig, PoolHandle, Region, RequestRefused},
    xdp::{Offload, RingSizes},
};
use netmem_wire::checksum;

const SIZES: RingSizes = RingSizes { rx: 16, tx: 16, fill: 16, completion: 16 };

struct Bed {
    handle: PoolHandle,
    port: Port,
    kernel: FakeKernel,
}

impl Bed {
    fn new(checksum: DoneBy, timestamp: DoneBy) -> Self {
        Self::with(2048, Some(report(checksum, timestamp)))
    }

    fn with(frame_bytes: u32, report: Option<TxMetadataReport>) -> Self {
        let region = Region::builder(64 * frame_bytes as usize).tiers(&[PageTier::Base4K]);
        let config = PoolConfig { frame_bytes, frames: Some(64), ..PoolConfig::default() };
        let handle = Pool::new(region.build().unwrap(), config).unwrap().handle();
        let (port, kernel) = FakeKernel::port_with(&handle, SIZES, u32::MAX - 7, report);
        Self { handle, port, kernel }
    }

    fn packet(&self, bytes: &[u8]) -> Packet {
        let mut packet = self.handle.alloc().unwrap();
        packet.put(u32::try_from(bytes.len()).unwrap()).unwrap().copy_from_slice(bytes);
        packet
    }

    fn transmit(&mut self, packets: impl IntoIterator<Item = Packet>) -> usize {
        self.port.transmit(&mut packets.into_iter().collect()).unwrap()
    }

    /// What is on the wire of all that was sent since the last call, each packet's frames.
    fn wire(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut wire = Vec::new();
        self.kernel
            .send_chains(|frames| wire.push(frames.iter().map(|frame| frame.to_vec()).collect()));
        wire
    }

    fn complete(&mut self) -> Vec<(u64, Option<u64>)> {
        self.kernel.complete(usize::MAX);
        self.port.flush().unwrap();
        self.port.timestamps().map(|stamp| (stamp.cookie, stamp.nanoseconds)).collect()
    }

    fn assert_closed(&self) -> Audit {
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        assert!(audit.is_ok() && audit.held == 0, "{:?}\n{:?}", audit.findings, audit.owners);
        audit
    }
}

fn report(checksum: DoneBy, timestamp: DoneBy) -> TxMetadataReport {
    let by = |by| Offload { by, why: "a test says so".into() };
    let needs_kernel =
        [checksum, timestamp].iter().any(|by| !matches!(by, DoneBy::Netmem | DoneBy::Nobody));
    let headroom_bytes = if needs_kernel { 24 } else { 0 };
    let (checksum, timestamp) = (by(checksum), by(timestamp));
    TxMetadataReport { checksum, timestamp, timestamps: 4, headroom_bytes }
}

/// The bytes from 20 on have to sum up with the field at 26.
fn frame() -> Vec<u8> {
    (0..60).collect()
}

fn filled() -> Vec<u8> {
    let mut bytes = frame();
    let sum = checksum::internet(&bytes[20..]);
    bytes[26..28].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// `struct xsk_tx_metadata` as the kernel's header has it: flags, csum_start, csum_offset, launch_time.
fn expected(flags: u8, csum_start: u8, csum_offset: u8) -> [u8; 24] {
    let mut bytes = [0; 24];
    let [flags_at, start_at, offset_at] =
        if cfg!(target_endian = "little") { [0, 8, 10] } else { [7, 9, 11] };
    (bytes[flags_at], bytes[start_at], bytes[offset_at]) = (flags, csum_start, csum_offset);
    bytes
}

const WHO: [DoneBy; 3] = [DoneBy::Device, DoneBy::Kernel, DoneBy::Netmem];

/// The same code, whoever does it: what is on the wire is right, and who asks for nothing gets nothing.
#[test]
fn checksums_are_right_whoever_fills_them_in() {
    for (frame_bytes, by) in [2048, 3000].into_iter().flat_map(|size| WHO.map(|by| (size, by))) {
        let mut bed = Bed::with(frame_bytes, Some(report(by, DoneBy::Nobody)));
        assert!(bed.kernel.deliver(&frame()) && bed.kernel.deliver(&frame()[4..]));
        let tally = bed.port.receive(8, &mut (), |packet| {
            if packet.len() == 60 {
                packet.request_checksum(20, 6).unwrap();
            } else {
                // The place stays where it is when the front moves.
                packet.request_checksum(16, 6).unwrap();
                packet.push(4).unwrap().copy_from_slice(&[0, 1, 2, 3]);
            }
            Verdict::Transmit
        });
        assert_eq!((tally.received, tally.transmitted), (2, 2));
        let mut asking = bed.packet(&frame());
        asking.request_checksum(20, 6).unwrap();
        let plain = bed.packet(&frame());
        assert_eq!(bed.transmit([asking, plain]), 2);
        let sent = [filled(), filled(), filled(), frame()].map(|bytes| vec![bytes]);
        assert_eq!(bed.wire(), sent, "{by:?}");
        let is_netmem = by == DoneBy::Netmem;
        let metadata = if is_netmem { vec![] } else { vec![expected(2, 20, 6); 3] };
        assert_eq!(bed.kernel.take_metadata(), metadata);
        let counts = bed.port.tx_metadata_counts();
        let by_netmem = if is_netmem { 3 } else { 0 };
        let both = (counts.checksums_offloaded, counts.checksums_computed);
        assert_eq!(both, (3 - by_netmem, by_netmem));
        assert_eq!(bed.complete(), []);
        assert_eq!(bed.assert_closed().counts.transmitted, 4);
    }
}

/// A port that nobody has opened for requests sends owned packets right all the same.
#[test]
fn owned_packets_get_their_checksum_on_any_port() {
    let mut bed = Bed::with(2048, None);
    let mut asking = bed.packet(&frame());
    asking.request_checksum(20, 6).unwrap();
    asking.request_timestamp(1);
    assert_eq!(bed.transmit([asking]), 1);
    assert_eq!(bed.wire(), [[filled()]]);
    assert_eq!(bed.complete(), []);
    assert_eq!(bed.port.tx_metadata_counts(), TxMetadataCounts::default());
    assert!(bed.kernel.deliver(&frame()));
    let mut refused = [Ok(()); 2];
    bed.port.receive(1, &mut (), |packet| {
        refused = [packet.request_checksum(20, 6), packet.request_timestamp(2)];
        Verdict::Transmit
    });
    assert_eq!(refused, [Err(RequestRefused::NotEnabled); 2]);
    assert_eq!(bed.wire(), [[frame()]]);
    assert_eq!(bed.complete(), []);
    bed.assert_closed();
}

/// The first descriptor alone has the option. In copy mode the kernel would sum before it has the rest:
/// netmem does it, over all frames, in place and owned.
#[test]
fn chains_are_summed_whole() {
    for by in [DoneBy::Kernel, DoneBy::Netmem] {
        let mut bed = Bed::new(by, DoneBy::Nobody);
        let (one, rest) = (&frame()[..33], &frame()[33..]);
        assert!(bed.kernel.deliver_chain(&[one, rest]));
        bed.port.receive(8, &mut (), |packet| {
            packet.request_checksum(20, 6).unwrap();
            assert_eq!(packet.frame_count(), 2);
            Verdict::Transmit
        });
        let mut chain = bed.packet(one);
        chain.append(bed.packet(rest)).unwrap();
        chain.request_checksum(20, 6).unwrap();
        assert_eq!(bed.transmit([chain]), 1);
        let parts = [filled()[..33].to_vec(), rest.to_vec()];
        assert_eq!(bed.wire(), [parts.to_vec(), parts.to_vec()], "{by:?}");
        assert_eq!(bed.kernel.take_metadata(), [[0; 24]; 0]);
        assert_eq!(bed.port.tx_metadata_counts().checksums_computed, 2);
        bed.complete();
        bed.assert_closed();
    }
    // A device sums the whole packet, so it is asked for it: by the first descriptor.
    let mut bed = Bed::new(DoneBy::Device, DoneBy::Nobody);
    let mut chain = bed.packet(&frame());
    chain.append(bed.packet(&[9; 30])).unwrap();
    chain.request_checksum(20, 6).unwrap();
    assert_eq!(bed.transmit([chain]), 1);
    assert_eq!(bed.wire()[0].len(), 2);
    assert_eq!(bed.kernel.take_metadata(), [expected(2, 20, 6)]);
    bed.complete();
    bed.assert_closed();
}

/// Each time comes once, under its own name, whatever order packets complete in; in place and owned.
#[test]
fn timestamps_come_by_name_when_packets_complete() {
    for by in [DoneBy::Device, DoneBy::Kernel] {
        let mut bed = Bed::new(DoneBy::Netmem, by);
        for round in 0..40 {
            bed.kernel.set_clock(Some(1_000_000_000_000 + round));
            assert!(bed.kernel.deliver(&frame()) && bed.kernel.deliver(&frame()));
            let mut names = [round * 10, round * 10 + 1].into_iter();
            bed.port.receive(8, &mut (), |packet| {
                packet.request_timestamp(names.next().unwrap()).unwrap();
                Verdict::Transmit
            });
            let mut chain = bed.packet(&frame());
            chain.append(bed.packet(&[9; 30])).unwrap();
            chain.request_timestamp(round * 10 + 2);
            chain.request_checksum(20, 6).unwrap();
            let silent = bed.packet(&frame());
            assert_eq!(bed.transmit([silent, chain]), 2);
            assert_eq!(bed.wire().len(), 4);
            assert_eq!(bed.kernel.take_metadata(), [expected(1, 0, 0); 3]);
            assert_eq!(bed.port.timestamps().count(), 0, "before it was sent");
            assert!(bed.kernel.complete_newest());
            let now = |after: u64| Some(1_000_000_000_000 + round + after);
            let expected =
                [(round * 10 + 2, now(0)), (round * 10, now(1)), (round * 10 + 1, now(2))];
            assert_eq!(bed.complete(), expected);
        }
        assert_eq!(bed.port.tx_metadata_counts().timestamps_lost, 0);
        bed.assert_closed();
    }
}

/// A driver may leave the time out, and nobody may give it at all: the name comes without a time, also
/// where something stood in the same bytes before.
#[test]
fn a_time_that_nobody_gave_is_none() {
    let mut bed = Bed::new(DoneBy::Device, DoneBy::Device);
    for n in 0..40 {
        bed.kernel.set_clock((n % 2 == 0).then_some(77));
        let mut asking = bed.packet(&frame());
        asking.request_checksum(20, 6).unwrap();
        asking.request_timestamp(n);
        bed.transmit([asking]);
        assert_eq!(bed.wire(), [[filled()]]);
        assert_eq!(bed.kernel.take_metadata(), [expected(3, 20, 6)]);
        assert_eq!(bed.complete(), [(n, (n % 2 == 0).then_some(77))]);
    }
    bed.assert_closed();
    let mut bed = Bed::new(DoneBy::Kernel, DoneBy::Nobody);
    let mut asking = bed.packet(&frame());
    asking.request_timestamp(5);
    bed.transmit([asking]);
    assert_eq!(bed.wire(), [[frame()]]);
    assert_eq!(bed.complete(), [(5, None)]);
    assert!(bed.kernel.deliver(&frame()));
    bed.port.receive(1, &mut (), |packet| {
        assert_eq!(packet.request_timestamp(6), Err(RequestRefused::NotEnabled));
        Verdict::Consume
    });
    bed.assert_closed();
}

#[test]
fn no_more_timestamps_wait_than_the_port_was_opened_with() {
    let mut bed = Bed::new(DoneBy::Kernel, DoneBy::Kernel);
    bed.kernel.set_clock(Some(5));
    let asking: Vec<Packet> = (0..7)
        .map(|n| {
            let mut packet = bed.packet(&frame());
            packet.request_timestamp(n);
            packet
        })
        .collect();
    assert_eq!(bed.transmit(asking), 7);
    bed.wire();
    let first = (0..4).map(|n| (n, Some(5 + n))).collect::<Vec<_>>();
    assert_eq!(bed.complete(), first);
    assert_eq!(bed.port.tx_metadata_counts().timestamps_lost, 3);
    assert_eq!(bed.complete(), [], "each once");
    bed.assert_closed();
}

/// The kernel refuses every descriptor without room for metadata, and a refused one is never completed:
/// netmem drops such packets, with and without a request, and says why.
#[test]
fn frames_without_room_for_metadata_are_dropped_with_a_reason() {
    let mut bed = Bed::new(DoneBy::Kernel, DoneBy::Nobody);
    for n in 0..4 {
        assert!(bed.kernel.deliver(&[n; 60]));
    }
    let mut refused = Vec::new();
    let tally = bed.port.receive(8, &mut (), |packet| {
        packet.push([256, 233, 232, 0][usize::from(packet.bytes()[0])]).unwrap();
        refused.push(packet.request_checksum(0, 0).err());
        Verdict::Transmit
    });
    assert_eq!(tally, Tally { received: 4, transmitted: 2, kept: 0 });
    let no_room = |available_bytes| {
        let room = crate::mem::NoRoom { wanted_bytes: 24, available_bytes };
        Some(RequestRefused::NoRoom(room))
    };
    assert_eq!(refused, [no_room(0), no_room(23), None, None]);
    let mut low = bed.packet(&[1; 60]);
    low.push(233).unwrap().fill(0);
    let mut chain = bed.packet(&[2; 60]);
    let mut behind = bed.packet(&[3; 60]);
    behind.push(250).unwrap().fill(0);
    chain.append(behind).unwrap();
    let mut just = bed.packet(&[4; 60]);
    just.push(232).unwrap().fill(4);
    let mut empty = bed.handle.alloc().unwrap();
    empty.push(256).unwrap();
    empty.trim(256).unwrap();
    just.append(empty).unwrap();
    assert_eq!(bed.transmit([low, chain, just]), 1);
    assert_eq!(bed.wire().len(), 3);
    bed.complete();
    let audit = bed.assert_closed();
    assert_eq!(audit.counts.dropped[DropReason::NoHeadroom], 4);
    assert_eq!(audit.counts.transmitted, 3);
}

/// K2 in place: what is refused changes nothing; a place that was cut off later drops the packet, and the
/// kernel, which would answer EINVAL for ever, never sees it.
#[test]
fn bad_places_never_reach_the_kernel() {
    for by in WHO {
        let mut bed = Bed::new(by, DoneBy::Nobody);
        assert!(bed.kernel.deliver(&frame()) && bed.kernel.deliver(&frame()));
        let mut is_first = true;
        let tally = bed.port.receive(8, &mut (), |packet| {
            let refused = packet.request_checksum(20, 39);
            assert_eq!(refused, Err(RequestRefused::OutsideOfFrame { field: 59, len: 60 }));
            if is_first {
                packet.request_checksum(20, 38).unwrap();
                packet.trim(1).unwrap();
            } else {
                packet.request_checksum(20, 6).unwrap();
                assert_eq!(packet.request_checksum(20, 39), refused);
            }
            is_first = false;
            Verdict::Transmit
        });
        assert_eq!((tally.received, tally.transmitted), (2, 1));
        let mut asking = bed.packet(&frame());
        asking.request_checksum(0, 20).unwrap();
        asking.pull(1).unwrap();
        assert_eq!(bed.transmit([asking]), 0);
        assert_eq!(bed.wire(), [[filled()]]);
        let metadata = if by == DoneBy::Netmem { vec![] } else { vec![expected(2, 20, 6)] };
        assert_eq!(bed.kernel.take_metadata(), metadata);
        bed.complete();
        assert_eq!(bed.assert_closed().counts.dropped[DropReason::PktTooSmall], 2);
    }
}

/// A kept packet keeps what it asked for, and only that; every other verdict ends it.
#[test]
fn requests_go_with_kept_packets() {
    let mut bed = Bed::new(DoneBy::Kernel, DoneBy::Kernel);
    for n in 0..16 {
        assert!(bed.kernel.deliver(&frame()));
        let mut kept = Vec::new();
        bed.port.receive(1, &mut kept, |packet| {
            if n % 2 == 0 {
                packet.request_checksum(20, 6).unwrap();
            }
            if n % 4 < 2 { Verdict::Keep } else { Verdict::Consume }
        });
        assert_eq!(kept.len(), usize::from(n % 4 < 2));
        let asked = kept.iter().filter(|packet| !packet.request().is_empty()).count();
        assert_eq!(asked, usize::from(n % 4 == 0));
        for packet in &mut kept {
            // The port's offer was for the call only.
            assert_eq!(packet.lend().request_timestamp(1), Err(RequestRefused::NotEnabled));
        }
        bed.transmit(kept);
        let sent = if n % 2 == 0 { filled() } else { frame() };
        let sent = if n % 4 < 2 { vec![vec![sent]] } else { vec![] };
        assert_eq!(bed.wire(), sent, "{n}");
        bed.complete();
    }
    bed.assert_closed();
}

/// Between two ports it counts who sends: what it offers, and what it needs.
#[test]
fn the_port_that_sends_decides() {
    let near = Bed::with(2048, None);
    let report = report(DoneBy::Kernel, DoneBy::Nobody);
    let (out, kernel) = FakeKernel::port_with(&near.handle, SIZES, 0, Some(report));
    let mut bed = near;
    let mut far = Bed { handle: bed.handle.clone(), port: out, kernel };
    for n in 0..100_u8 {
        assert!(bed.kernel.deliver(&frame()) && far.kernel.deliver(&frame()));
        let low = n % 3 == 0;
        let verdict = |packet: &mut PacketMut<'_>, is_offered: bool| {
            assert_eq!(packet.request_checksum(20, 6).is_ok(), is_offered);
            if low {
                packet.push(240).unwrap().fill(0);
            }
            Verdict::Transmit
        };
        let there = bed.port.receive_to(&mut far.port, 8, &mut (), |packet| verdict(packet, true));
        assert_eq!(there.unwrap().transmitted, u32::from(!low));
        let back = far.port.receive_to(&mut bed.port, 8, &mut (), |packet| verdict(packet, false));
        assert_eq!(back.unwrap().transmitted, 1);
        assert_eq!(far.wire(), if low { vec![] } else { vec![vec![filled()]] });
        assert!(bed.wire()[0][0].ends_with(&frame()[30..]));
        bed.complete();
        far.complete();
        // Each offers its own again afterwards.
        for (port, kernel, is_offered) in
            [(&mut bed.port, &mut bed.kernel, false), (&mut far.port, &mut far.kernel, true)]
        {
            assert!(kernel.deliver(&frame()));
            port.receive(1, &mut (), |packet| {
                assert_eq!(packet.request_checksum(20, 6).is_ok(), is_offered);
                Verdict::Consume
            });
        }
    }
    let walks = [bed.handle.walk(), bed.port.walk(), far.port.walk()];
    let audit = Audit::of(bed.handle.pool(), walks);
    assert!(audit.is_ok() && audit.held == 0, "{:?}", audit.findings);
    assert_eq!(audit.counts.dropped[DropReason::NoHeadroom], 34);
}

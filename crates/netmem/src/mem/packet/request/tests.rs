//! What owned packets ask for and what is refused. Each has failed against: a place that forgets where
//! the front was, a field of which one byte is outside, a request that `recycle_rest` leaves in the list, a sum
//! that leaves out the frames behind the first, one that starts at the packet's first byte, and a result
//! of 0 that is stored as 0.

use super::*;
use crate::mem::{PageTier, Pool, PoolConfig, PoolHandle, Region};
use netmem_wire::checksum;

fn handle() -> PoolHandle {
    let region = Region::builder(16 * 2048).tiers(&[PageTier::Base4K]).build().unwrap();
    Pool::new(region, PoolConfig::default()).unwrap().handle()
}

fn packet(handle: &PoolHandle, bytes: &[u8]) -> Packet {
    let mut packet = handle.alloc().unwrap();
    let len = u32::try_from(bytes.len()).unwrap();
    packet.put(len).unwrap().copy_from_slice(bytes);
    packet
}

#[test]
fn a_checksum_is_the_internet_checksum_from_its_start_to_the_end_of_the_chain() {
    let handle = handle();
    let bytes: Vec<u8> = (0..=200).collect();
    for (cut, start, offset) in [(201, 34, 6), (61, 34, 16), (100, 0, 0), (60, 58, 0), (81, 33, 7)]
    {
        let mut chain = packet(&handle, &[b"old", &bytes[..cut]].concat());
        chain.pull(3).unwrap();
        if cut < bytes.len() {
            let (one, two) = bytes[cut..].split_at(7);
            chain.append(packet(&handle, one)).unwrap();
            chain.append(packet(&handle, two)).unwrap();
        }
        chain.request_checksum(start, offset).unwrap();
        chain.push(4).unwrap().copy_from_slice(b"head");
        chain.settle_request().unwrap();
        let sent: Vec<u8> = chain.frames().flatten().copied().collect();
        let (start, field) = (start as usize, (start + offset) as usize);
        let expected = checksum::internet(&bytes[start..]);
        assert_ne!(expected, 0);
        assert_eq!(sent[4 + field..][..2], expected.to_be_bytes(), "{cut} {start}");
        let mut others = [b"head", &bytes[..]].concat();
        others[4 + field..][..2].copy_from_slice(&expected.to_be_bytes());
        assert_eq!(sent, others, "nothing else changes");
        assert!(chain.request().is_empty());
        chain.consume();
    }
}

/// 0 would say that there is no checksum.
#[test]
fn a_checksum_of_0_is_stored_as_all_ones() {
    let handle = handle();
    let mut packet = packet(&handle, &[0, 0, 0xff, 0xff, 0, 0]);
    packet.request_checksum(0, 4).unwrap();
    packet.settle_request().unwrap();
    assert_eq!(packet.bytes(), [0, 0, 0xff, 0xff, 0xff, 0xff]);
}

/// K2, and the bounds to the byte.
#[test]
fn places_outside_of_the_first_frame_are_refused_and_change_nothing() {
    let handle = handle();
    let mut chain = packet(&handle, &[7; 20]);
    chain.append(packet(&handle, &[8; 20])).unwrap();
    chain.request_checksum(3, 4).unwrap();
    let before = chain.request();
    let outside = [(19, 0, 19), (0, 19, 19), (12, 7, 19), (20, 0, 20), (u32::MAX, 2, u32::MAX)];
    for (start, offset, field) in outside {
        let refused = chain.request_checksum(start, offset);
        assert_eq!(refused, Err(RequestRefused::OutsideOfFrame { field, len: 20 }));
        assert_eq!(chain.request(), before);
    }
    assert_eq!(chain.request_checksum(12, 6), Ok(()));
    assert_ne!(chain.request(), before);
    assert_eq!(chain.frames().collect::<Vec<_>>(), [[7; 20], [8; 20]]);
    assert_eq!(chain.lend().request_timestamp(1), Err(RequestRefused::NotEnabled));
    let text = chain.request_checksum(19, 0).unwrap_err().to_string();
    assert_eq!(text, "a checksum at byte 19 is outside of a frame of 20 bytes");
}

/// What a packet asked for ends with it, however it ends.
#[test]
fn a_request_does_not_outlive_its_packet() {
    let handle = handle();
    let ends: [fn(Packet); 3] =
        [Packet::consume, drop, |packet| packet.discard(DropReason::IpCsum)];
    for end in ends {
        let mut asking = packet(&handle, &[1; 60]);
        asking.request_checksum(0, 0).unwrap();
        asking.request_timestamp(5);
        end(asking);
        let mut chain = packet(&handle, &[1; 60]);
        let mut behind = packet(&handle, &[2; 60]);
        behind.request_timestamp(9);
        chain.append(behind).unwrap();
        assert!(chain.request().is_empty());
        assert_eq!(chain.frame_count(), 2);
        chain.consume();
    }
}

/// A packet that asks is the same packet: `put`, `trim` and the tailroom are still of its first frame.
#[test]
fn a_packet_of_one_frame_that_asks_stays_one() {
    let handle = handle();
    let mut packet = packet(&handle, &[1; 60]);
    packet.request_timestamp(3);
    packet.put(2).unwrap().copy_from_slice(b"xy");
    packet.trim(1).unwrap();
    assert_eq!((packet.frame_count(), packet.len(), packet.total_len()), (1, 61, 61));
    assert_eq!(packet.tailroom(), 2048 - 256 - 61);
    let mut view = packet.lend();
    view.trim(1).unwrap();
    view.put(3).unwrap().fill(4);
    assert_eq!((view.len(), view.tailroom()), (63, 2048 - 256 - 63));
    assert_eq!(handle.walk().counts().created, 1);
}

#[test]
fn a_place_that_was_cut_off_is_a_reason_to_drop() {
    let handle = handle();
    for cut in [|packet: &mut Packet| packet.trim(1), |packet: &mut Packet| packet.pull(1)] {
        let mut packet = packet(&handle, &[1; 60]);
        packet.request_checksum(0, 58).unwrap();
        assert_eq!(packet.refusal(256), None);
        assert_eq!(packet.refusal(257), Some(DropReason::NoHeadroom));
        cut(&mut packet).unwrap();
        assert_eq!(packet.settle_request(), Err(DropReason::PktTooSmall));
    }
}

//! R-ZC: room for the notifications of `MSG_ZEROCOPY`, and the rings of AF_XDP.
//!
//! Each send that the kernel does not copy is answered by a notification, whose packet head is allocated
//! with the send and counts as ancillary memory of the socket until the program has read it. A send that
//! finds no room for its own is refused with `ENOBUFS`; no counter counts that.
//!
//! ```text
//!   in flight = ancillary memory / 832        truesize of an empty packet
//!   want = 2 x in flight x 832                at most 16 MiB, and a 1024th of the memory
//! ```
//! Filters and options of a socket count there too, and cannot be told apart from outside.
//!
//! Source: `sock_omalloc` in net/core/sock.c, `msg_zerocopy_realloc` in net/core/skbuff.c, kernel 6.18.

use super::{Ask, Judgement, Proposal, bounded, grew, scalar};
use crate::tune::Confidence;
use crate::tune::evidence::{Evidence, OptmemUser};

const RULE: &str = "R-ZC";
const KEY: &str = "net.core.optmem_max";
/// Truesize of an empty packet: head and shared info, with cache lines of 64 bytes.
const NOTIFICATION_BYTES: u64 = 832;
const LARGEST_BYTES: u64 = 16 << 20;
const SHARE_OF_MEMORY: u64 = 1024;

pub(super) fn zero_copy(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    notifications(evidence, &mut judgement);
    for socket in &evidence.xdp {
        let what = format!("AF_XDP socket:[{}] lost packets", socket.inode);
        if socket.fill_ring_empty > 0 {
            let line = grew(evidence, "rx_fill_ring_empty_descs", socket.fill_ring_empty);
            let advice = "its fill ring at least as large as its rx ring and the device's together, \
                and filled sooner: netmem respond --fill-ring N --frames M";
            judgement.advise(RULE, what.clone(), vec![line], vec![advice.to_owned()]);
        }
        if socket.rx_ring_full > 0 {
            let line = grew(evidence, "rx_ring_full", socket.rx_ring_full);
            let advice = "its program is behind: more queues, or netmem respond --rx-ring N";
            judgement.advise(RULE, what, vec![line], vec![advice.to_owned()]);
        }
    }
    judgement
}

fn notifications(evidence: &Evidence, judgement: &mut Judgement) {
    let Some(now) = evidence.number(KEY) else { return };
    let is_full = |user: &&OptmemUser| user.peak_bytes.saturating_add(NOTIFICATION_BYTES) > now;
    let full: Vec<&OptmemUser> = evidence.optmem.iter().filter(is_full).collect();
    let Some(peak) = full.iter().map(|user| user.peak_bytes).max() else { return };
    let line = |user: &&OptmemUser| {
        format!("{}: ancillary memory {} of optmem_max {now}", user.label, user.peak_bytes)
    };
    let lines: Vec<String> = full.iter().map(line).collect();
    let advice = [
        "in its program: read the error queue (MSG_ERRQUEUE) sooner; a send refused with ENOBUFS \
            is to be sent again, or copied",
        "the pages in flight count as locked: ulimit -l, LimitMEMLOCK= of its service",
    ];
    let what = "sockets have no room for another notification: sends with MSG_ZEROCOPY, or options, \
        would be refused";
    judgement.advise(RULE, what, lines.clone(), advice.map(str::to_owned).to_vec());

    let in_flight = peak / NOTIFICATION_BYTES;
    let wish = in_flight.saturating_mul(2 * NOTIFICATION_BYTES);
    let share = evidence.memory.total_bytes / SHARE_OF_MEMORY;
    let bounds = [
        (LARGEST_BYTES, "16 MiB".to_owned()),
        (share, format!("1 / {SHARE_OF_MEMORY} of the memory")),
    ];
    let (value, bound) = bounded(wish, &bounds);
    judgement.proposals.push(Proposal {
        rule: RULE,
        key: KEY,
        value: scalar(value.max(now)),
        evidence: lines,
        formula: format!("{in_flight} in flight x {NOTIFICATION_BYTES} x 2 = {wish}"),
        bound,
        confidence: Confidence::Medium,
    });
}

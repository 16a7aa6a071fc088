//! R-ZC: room for the notifications of `MSG_ZEROCOPY`, and the rings and memory of AF_XDP.
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
//! Of AF_XDP nothing is written, and told is
//!
//! ```text
//!   packets lost for an empty fill ring      fill ring < rx ring + in zero-copy mode the device's: frames are
//!                                            there, not offered
//!   UMEMs of a user > 3/4 of RLIMIT_MEMLOCK  the next one may be refused with ENOBUFS
//!   a UMEM in small pages                    for --goal zero-copy only: it costs no packet
//! ```
//! Source: `xdp_umem_account_pages` in net/xdp/xdp_umem.c, `sock_omalloc` in net/core/sock.c, `msg_zerocopy_realloc` in net/core/skbuff.c, kernel 6.18.

use super::{Ask, Goal, Judgement, Proposal, bounded, grew, scalar};
use crate::tune::Confidence;
use crate::tune::evidence::{Evidence, OptmemUser, UmemHolder, XdpLoss};

const RULE: &str = "R-ZC";
const KEY: &str = "net.core.optmem_max";
/// Truesize of an empty packet: head and shared info, with cache lines of 64 bytes.
const NOTIFICATION_BYTES: u64 = 832;
const LARGEST_BYTES: u64 = 16 << 20;
const SHARE_OF_MEMORY: u64 = 1024;
/// A ring of a netmem command has no more entries.
pub(super) const RING_ENTRIES_MAX: u64 = 1 << 20;

pub(super) fn zero_copy(evidence: &Evidence, ask: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    notifications(evidence, &mut judgement);
    for socket in &evidence.xdp {
        let what = format!("AF_XDP socket:[{}] lost packets", socket.inode);
        if socket.fill_ring_empty > 0 {
            let mut lines =
                vec![grew(evidence, "rx_fill_ring_empty_descs", socket.fill_ring_empty)];
            let advice = match too_small_fill_ring(socket) {
                Some((line, advice)) => {
                    lines.push(line);
                    advice
                }
                None => larger_fill_ring(socket),
            };
            judgement.advise(RULE, what.clone(), lines, vec![advice]);
        }
        if socket.rx_ring_full > 0 {
            let line = grew(evidence, "rx_ring_full", socket.rx_ring_full);
            judgement.advise(RULE, what, vec![line], vec![larger_rx_ring(socket)]);
        }
    }
    for holder in &evidence.umems {
        locked_memory(holder, &mut judgement);
        if ask.goal == Some(Goal::ZeroCopy) && holder.small_page_bytes > 0 {
            small_pages(evidence, holder, &mut judgement);
        }
    }
    judgement
}

/// That a fill ring has no room for what is under way, and what would have.
fn too_small_fill_ring(socket: &XdpLoss) -> Option<(String, String)> {
    let (rx, fill) = (socket.rx_ring_at_least?, socket.fill_ring_at_most?);
    // A device without rings of its own, or one that copies, takes frames one by one.
    let under_way = u64::from(rx) + u64::from(socket.device_ring.unwrap_or(0));
    let needed = under_way.min(RING_ENTRIES_MAX);
    if u64::from(fill) >= needed {
        return None;
    }
    let device = match (&socket.device, socket.device_ring) {
        (Some(device), Some(entries)) => format!(", the rx ring of {device} {entries}"),
        _ => String::new(),
    };
    let line = format!("fill ring {fill} entries, rx ring {rx}{device}");
    let enough = needed.next_power_of_two();
    let command = fill_ring_command(socket, fill, enough);
    let advice = format!(
        "in its program: a fill ring of {enough} entries, and frames for it; for example {command}"
    );
    Some((line, advice))
}

/// What helps a fill ring that has room for what is under way, or whose entries are not told.
fn larger_fill_ring(socket: &XdpLoss) -> String {
    let Some(fill) = socket.fill_ring_at_most else {
        return "in its program: its fill ring, whose entries are not told, at least as large as its rx \
            ring, and in zero-copy mode the device's, together, and filled sooner"
            .to_owned();
    };
    match next_larger(fill) {
        Some(larger) => {
            let command = fill_ring_command(socket, fill, larger);
            format!(
                "in its program: its fill ring of {fill} entries filled sooner, or a larger one; for \
                 example {command}"
            )
        }
        None => {
            format!("in its program: its fill ring of {fill} entries is the largest: filled sooner")
        }
    }
}

/// A netmem command with a larger fill ring, and the frames that it takes more, where those of now are told.
fn fill_ring_command(socket: &XdpLoss, fill: u32, entries: u64) -> String {
    let more = entries.saturating_sub(fill.into());
    match socket.frames {
        Some(frames) => {
            let frames = frames.saturating_add(more);
            format!("netmem respond --fill-ring {entries} --frames {frames}")
        }
        None => format!("netmem respond --fill-ring {entries}, and {more} frames more"),
    }
}

/// What helps a full rx ring. One of which only the most entries are known counts as one of 1.
fn larger_rx_ring(socket: &XdpLoss) -> String {
    let told = socket.rx_ring_at_least.filter(|entries| *entries > 1);
    match (told, told.and_then(next_larger)) {
        (Some(entries), Some(larger)) => format!(
            "its program is behind: more queues, or for bursts more than its {entries} entries; for \
             example netmem respond --rx-ring {larger}"
        ),
        (Some(entries), None) => {
            format!(
                "its program is behind: more queues; its rx ring of {entries} entries is the largest"
            )
        }
        (None, _) => {
            "its program is behind: more queues, or for bursts a larger rx ring".to_owned()
        }
    }
}

/// The next size of a ring, if there is one.
fn next_larger(entries: u32) -> Option<u64> {
    let larger = (u64::from(entries) + 1).next_power_of_two();
    Some(larger).filter(|larger| *larger <= RING_ENTRIES_MAX)
}

/// What a user's UMEMs take of what may be locked.
fn locked_memory(holder: &UmemHolder, judgement: &mut Judgement) {
    let Some(limit) = holder.locked_limit_bytes else { return };
    let used = holder.user_umem_bytes;
    if used.saturating_mul(4) <= limit.saturating_mul(3) {
        return;
    }
    let (label, likely) = (&holder.label, likely(holder));
    let lines = vec![
        format!("UMEM of its user's processes {used} bytes{likely}, RLIMIT_MEMLOCK {limit}"),
        "not counted if it was registered with CAP_IPC_LOCK, which nothing tells".to_owned(),
    ];
    let what = format!("{label}: another UMEM may be refused for want of locked memory (ENOBUFS)");
    let wanted = used.saturating_mul(2).next_multiple_of(1024);
    let advice = vec![format!(
        "LimitMEMLOCK={wanted} of its service, or ulimit -l {} before it, or CAP_IPC_LOCK",
        wanted / 1024
    )];
    judgement.advise(RULE, what, lines, advice);
}

/// A UMEM in small pages, and the pages that it needs.
fn small_pages(evidence: &Evidence, holder: &UmemHolder, judgement: &mut Judgement) {
    let (label, small, all) = (&holder.label, holder.small_page_bytes, holder.umem_bytes);
    let line = format!("{small} of {all} bytes of UMEM in small pages{}", likely(holder));
    let mut advice = vec!["of a netmem command: netmem tune hugepages -- COMMAND".to_owned()];
    advice.extend(evidence.huge_pages.map(|pool| {
        let page_bytes = pool.page_bytes.max(1);
        let missing = small.div_ceil(page_bytes).saturating_sub(pool.takeable);
        let (pages, kilobytes) = (pool.total.saturating_add(missing), page_bytes / 1024);
        let file = format!("/sys/kernel/mm/hugepages/hugepages-{kilobytes}kB/nr_hugepages");
        match missing {
            0 => format!("{file} has enough: its program asks for none"),
            _ => format!("echo {pages} > {file}, before its program starts"),
        }
    }));
    let what = format!("{label}: its packets are not in huge pages");
    judgement.advise(RULE, what, vec![line], advice);
}

fn likely(holder: &UmemHolder) -> &'static str {
    if holder.is_guess { " (likely: no source tells where it is)" } else { "" }
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

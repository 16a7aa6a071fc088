//! What `cargo xtask soak` runs: packets through the four rings of the real port on the fake kernel,
//! until every index has wrapped at 2^32.
//!
//! `soak --packets N [--json FILE]` sends N packets. Each carries its 64-bit number and bytes that follow
//! from it. The port must lend them in order, each once, as they were delivered; the kernel must get
//! them in order, each once, as the program changed them. Of 64 numbers one is consumed, one is
//! dropped, and one is kept and sent by the owned tier: the first two come on top of N. Batches,
//! completions and the room in the rings differ from step to step, by a fixed seed.
//!
//! Many short runs over small rings come first, whose indices start just below 2^32, so that the wrap
//! falls anywhere in a batch. The long run starts at 0 where N is enough for the wrap, else N/2 below
//! it. At the end of each the audit closes, the counters are what the peer counted, and the indices
//! that the kernel sees are those of the counters; at the end of all, memory and descriptors are as
//! at the start.
//!
//! Planted and caught by a run of 10^6, in `xdp/ring.rs`: differences of indices that stop at 0 instead
//! of wrapping, in `Producer::known_free`, `Producer::queued`, `Consumer::available` and
//! `Consumer::queued`; a cursor that stops at 2^32 - 1 in `commit`, or leaves out 0 in `push` or in
//! `pass`; `until_wrap` too large, on either side; `ranges` without its second part at 2^32. In
//! `xdp/port.rs`: slots inside the kernel counted without the wrap; a completion reaped twice; the slot
//! of a kept packet given back.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

#[path = "soak/frames.rs"]
mod frames;

use std::{
    collections::VecDeque,
    env, fs,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::{Duration, Instant},
};

use frames::{Fate, Frame, swap_addresses, tag_of};
use netmem::{
    device::{Device, Verdict},
    fake::FakeKernel,
    mem::{Audit, DropReason, Packet, Pool, PoolConfig, PoolHandle, Region, audit::Owner},
    xdp::{Port, RingSizes},
};

/// Short runs before the long one.
const STARTS: u32 = 256;
/// Packets of a short run.
const START_PACKETS: u64 = 2_000;
/// Slots of a pool: as many as the largest rings hold, and some for the program.
const SLOTS: u32 = 1024;
const FRAME_BYTES: usize = 2048;
/// So near to the wrap each step is audited.
const NEAR: u32 = 512;
/// After so many steps in which nothing moved, nothing will.
const STALL_STEPS: u32 = 1_000_000;
/// What the allocator may have got in between, for good.
const SLACK_BYTES: u64 = 64 << 10;
/// How often progress is told.
const INTERVAL: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (packets, json) = match words[..] {
        ["--packets", packets] => (packets, None),
        ["--packets", packets, "--json", file] => (packets, Some(file)),
        // `cargo test` and `cargo bench` run this without arguments: nothing to do.
        _ => return ExitCode::SUCCESS,
    };
    let packets: u64 = packets.parse().expect("N is a number");
    let start = Instant::now();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| soak(packets)));
    let seconds = start.elapsed().as_secs_f64();
    let Ok(outcome) = outcome else {
        // The panic has told why.
        println!("soak: FAILED after {seconds:.1} s");
        return ExitCode::FAILURE;
    };
    println!("{}", outcome.line(seconds));
    if let Some(file) = json
        && let Err(error) = fs::write(file, outcome.json(seconds) + "\n")
    {
        println!("soak: FAILED: write {file}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What a soak has seen.
#[derive(Debug)]
struct Outcome {
    /// Packets sent by the long run.
    packets: u64,
    /// Packets received by the long run.
    received: u64,
    /// Wraps at 2^32 in the long run: fill, rx, tx, completion.
    wraps: [u64; 4],
    /// The same in the short runs, summed.
    start_wraps: [u64; 4],
    /// Early in the long run, and at its end.
    usage: [Usage; 2],
}

impl Outcome {
    fn line(&self, seconds: f64) -> String {
        let [fill, rx, tx, completion] = self.wraps;
        let [before, after] = self.usage;
        format!(
            "soak: {} packets sent of {} received in {seconds:.1} s; wraps: fill {fill}, rx {rx}, tx {tx}, \
             completion {completion}, and {:?} in {STARTS} short runs; audit closed; RSS {} -> {} KiB, \
             descriptors {} -> {}",
            self.packets,
            self.received,
            self.start_wraps,
            before.resident_bytes >> 10,
            after.resident_bytes >> 10,
            before.descriptors,
            after.descriptors,
        )
    }

    fn json(&self, seconds: f64) -> String {
        let wraps = |[fill, rx, tx, completion]: [u64; 4]| {
            format!("{{\"fill\":{fill},\"rx\":{rx},\"tx\":{tx},\"completion\":{completion}}}")
        };
        let usage = |Usage { resident_bytes, descriptors }: Usage| {
            format!("{{\"resident_bytes\":{resident_bytes},\"descriptors\":{descriptors}}}")
        };
        format!(
            "{{\"result\":\"ok\",\"packets\":{},\"received\":{},\"seconds\":{seconds:.1},\"wraps\":{},\
             \"short_runs\":{STARTS},\"short_runs_wraps\":{},\"audit\":\"closed\",\"before\":{},\"after\":{}}}",
            self.packets,
            self.received,
            wraps(self.wraps),
            wraps(self.start_wraps),
            usage(self.usage[0]),
            usage(self.usage[1]),
        )
    }
}

/// What this process has of the machine.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident_bytes: u64,
    descriptors: usize,
}

impl Usage {
    fn now() -> Self {
        // Counted page by page there; VmRSS of `status` may lag.
        let text = fs::read_to_string("/proc/self/smaps_rollup").expect("procfs is mounted");
        let kib =
            text.lines().find_map(|line| line.strip_prefix("Rss:")?.split_whitespace().next());
        let kib: u64 = kib.and_then(|kib| kib.parse().ok()).expect("a number of KiB");
        let descriptors = fs::read_dir("/proc/self/fd").expect("procfs is mounted").count();
        Self { resident_bytes: kib << 10, descriptors }
    }

    fn assert_as(self, before: Self, when: &str) {
        assert_eq!(self.descriptors, before.descriptors, "descriptors {when}");
        let (now, then) = (self.resident_bytes, before.resident_bytes);
        assert!(now <= then + SLACK_BYTES, "RSS {when}: {then} -> {now} bytes");
    }
}

fn soak(packets: u64) -> Outcome {
    let mut random = Random(0x5eed);
    let mut start_wraps = [0; 4];
    let mut before = Usage::now();
    for number in 0..STARTS {
        let size = |random: &mut Random| 1 << (2 + random.below(6));
        let sizes = RingSizes {
            rx: size(&mut random),
            tx: size(&mut random),
            fill: size(&mut random),
            completion: size(&mut random),
        };
        // Every ring wraps: each moves by more than the packets that are sent.
        let start = u32::MAX - random.below(1_900);
        let (wraps, _, _) = Run::new(start, START_PACKETS, sizes, random.next()).finish();
        for (sum, wraps) in start_wraps.iter_mut().zip(wraps) {
            *sum += wraps;
        }
        if number == 15 {
            before = Usage::now();
        }
    }
    let start = match u32::try_from(packets / 2) {
        Ok(half) if packets <= u64::from(u32::MAX) => 0u32.wrapping_sub(half),
        _ => 0,
    };
    let sizes = RingSizes { rx: 256, tx: 128, fill: 512, completion: 256 };
    let (wraps, received, usage) = Run::new(start, packets, sizes, random.next()).finish();
    assert!(wraps.iter().all(|&wraps| wraps > 0), "each index wraps: {wraps:?}");
    Usage::now().assert_as(before, "after all runs");
    Outcome { packets, received, wraps, start_wraps, usage }
}

/// A xorshift generator: batches differ, and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u32) -> u32 {
        u32::try_from((self.next() >> 32) % u64::from(end)).expect("below a u32")
    }
}

/// One port, from its start to its end.
struct Run {
    handle: PoolHandle,
    port: Port,
    kernel: FakeKernel,
    random: Random,
    start: u32,
    packets: u64,
    sizes: RingSizes,
    /// The number of the next packet to deliver, and how many before it are to be sent.
    next: u64,
    to_send: u64,
    /// The number of the next packet that the port must lend.
    expected: u64,
    /// The next numbers that the kernel must get: of reflected and of kept packets.
    reflected: u64,
    kept: u64,
    sent: u64,
    consumed: u64,
    dropped: u64,
    queue: VecDeque<Packet>,
    /// At least so many packets can be sent.
    tx_room: u32,
    indices: [u32; 4],
    wraps: [u64; 4],
}

impl Run {
    fn new(start: u32, packets: u64, sizes: RingSizes, seed: u64) -> Self {
        let region = Region::builder(SLOTS as usize * FRAME_BYTES).build().expect("2 MiB");
        let handle = Pool::new(region, PoolConfig::default()).expect("a pool").handle();
        let (port, kernel) = FakeKernel::port(&handle, sizes, start);
        Self {
            handle,
            port,
            kernel,
            random: Random(seed | 1),
            start,
            packets,
            sizes,
            next: 0,
            to_send: 0,
            expected: 0,
            reflected: Fate::Reflected.next(0),
            kept: Fate::Kept.next(0),
            sent: 0,
            consumed: 0,
            dropped: 0,
            queue: VecDeque::new(),
            tx_room: 0,
            indices: [start; 4],
            wraps: [0; 4],
        }
    }

    /// Runs to the end; tells the wraps, how many packets were received, and what was used early and
    /// at the end.
    fn finish(mut self) -> ([u64; 4], u64, [Usage; 2]) {
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut early = None;
        let (mut steps, mut idle) = (0u64, 0);
        while self.port.progress().completed < self.packets {
            let before = (self.next, self.expected, self.sent, self.port.progress());
            self.step();
            self.count_wraps();
            if self.indices.iter().any(|index| index.wrapping_add(NEAR) < 2 * NEAR) {
                self.audit_between();
            }
            let moved = (self.next, self.expected, self.sent, self.port.progress()) != before;
            idle = if moved { 0 } else { idle + 1 };
            assert!(idle < STALL_STEPS, "nothing moves: {before:?}, indices {:?}", self.indices);
            steps += 1;
            if early.is_none() && self.sent >= self.packets.min(100_000) / 2 {
                early = Some(Usage::now());
            }
            if steps.is_multiple_of(1024) && told.elapsed() >= INTERVAL {
                told = Instant::now();
                self.tell(began.elapsed());
            }
        }
        let early = early.expect("half of the packets were sent");
        let late = Usage::now();
        late.assert_as(early, "during a run");
        self.flush();
        let wraps = self.wraps;
        (wraps, self.close(), [early, late])
    }

    fn tell(&self, took: Duration) {
        let millions = self.sent / 1_000_000;
        let share = 100 * u128::from(self.sent) / u128::from(self.packets);
        let seconds = took.as_secs();
        let wraps = self.wraps;
        eprintln!("soak: {millions} million packets, {share} %, {seconds} s, wraps {wraps:?}");
    }

    /// Moves a random number of packets over each of the four rings.
    fn step(&mut self) {
        for _ in 0..self.random.below(2 * self.sizes.rx) {
            let is_sent = matches!(Fate::of(self.next), Fate::Kept | Fate::Reflected);
            let is_over = self.to_send == self.packets;
            if is_over || !self.kernel.deliver(Frame::of(self.next).delivered()) {
                break;
            }
            self.to_send += u64::from(is_sent);
            self.next += 1;
        }
        self.receive();
        let queued = self.port.transmit(&mut self.queue).expect("packets of this pool");
        self.tx_room = self.tx_room.saturating_sub(u32::try_from(queued).expect("one ring's"));
        if self.random.below(4) > 0 {
            self.send();
        }
        let most = self.random.below(2 * self.sizes.completion);
        self.kernel.complete(most as usize);
        self.port.flush().expect("the port does not fail");
    }

    fn receive(&mut self) {
        if self.tx_room < 16 {
            // What finds no room would be dropped: no larger budget than the room (M3).
            self.tx_room = self.port.tx_room();
        }
        let budget = (1 + self.random.below(2 * self.sizes.rx)).min(self.tx_room);
        let Self { expected, consumed, dropped, .. } = self;
        let tally = self.port.receive(budget, &mut self.queue, |packet| {
            let number = *expected;
            let frame = Frame::of(number);
            assert!(
                packet.bytes() == frame.delivered(),
                "packet {number} is not as it was delivered: {:02x?}",
                packet.bytes()
            );
            *expected += 1;
            let fate = Fate::of(number);
            match fate {
                Fate::Consumed => {
                    *consumed += 1;
                    return Verdict::Consume;
                }
                Fate::Dropped => {
                    *dropped += 1;
                    return Verdict::Drop(DropReason::UnhandledProto);
                }
                Fate::Kept | Fate::Reflected => {}
            }
            let bytes = packet.bytes_mut();
            swap_addresses(bytes);
            *bytes.last_mut().expect("not empty") ^= 0xff;
            packet.push(4).expect("headroom").copy_from_slice(&tag_of(number));
            if fate == Fate::Kept { Verdict::Keep } else { Verdict::Transmit }
        });
        self.tx_room -= tally.transmitted;
    }

    /// The kernel takes what is in the tx ring.
    fn send(&mut self) {
        let Self { kernel, reflected, kept, sent, .. } = self;
        kernel.send(|bytes| {
            let carried = Frame::number_in(bytes).expect("no packet is that short");
            let (fate, next) = match Fate::of(carried) {
                Fate::Kept => (Fate::Kept, &mut *kept),
                _ => (Fate::Reflected, &mut *reflected),
            };
            assert_eq!(carried, *next, "{fate:?} packets are sent in order, each once");
            assert!(
                bytes == Frame::of(carried).changed(carried),
                "packet {carried} is not as it was changed: {bytes:02x?}"
            );
            *next = fate.next(carried + 1);
            *sent += 1;
        });
    }

    /// Sees each index that the port shows pass 2^32: in a step it moves by less than that.
    fn count_wraps(&mut self) {
        let indices = self.kernel.indices();
        for (at, &index) in indices.iter().enumerate() {
            self.wraps[at] += u64::from(index < self.indices[at]);
        }
        self.indices = indices;
    }

    /// Between two steps, with packets anywhere and rings that hold entries of both sides of the wrap,
    /// each slot has its one owner.
    fn audit_between(&self) {
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        let Audit { owners, findings, .. } = &audit;
        assert!(audit.is_ok(), "{findings:?}\n{owners:?}, indices {:?}", self.indices);
        let progress = self.port.progress();
        let kernel = owners[Owner::KernelTx] + owners[Owner::Completion];
        assert_eq!(owners[Owner::Rx], self.next - self.expected, "delivered, not lent");
        assert_eq!(owners[Owner::User], self.queue.len() as u64, "kept, not queued");
        assert_eq!(owners[Owner::Tx], progress.transmitted - self.sent, "queued, not sent");
        assert_eq!(kernel, self.sent - progress.completed, "sent, not taken back");
    }

    /// What is left at the end: nothing but slots to receive into, each once, and counters that say
    /// what was done.
    fn flush(&mut self) {
        self.port.flush().expect("the port does not fail");
        self.count_wraps();
        let progress = self.port.progress();
        assert_eq!((self.sent, self.expected), (self.packets, self.next), "sent, and lent");
        assert_eq!(progress.transmitted, self.packets, "put into the tx ring");
        assert_eq!(progress.completed, self.packets, "taken from the completion ring");
        assert_eq!(progress.received, self.next, "taken from the rx ring");
        let moved = [progress.filled, progress.received, progress.transmitted, progress.completed];
        for (at, moved) in moved.into_iter().enumerate() {
            let end = u64::from(self.start) + moved;
            let seen = (self.wraps[at] << 32) + u64::from(self.indices[at]);
            assert_eq!(seen, end, "index {at} of fill, rx, tx, completion: seen, and counted");
        }
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        judge(&audit, [self.next, self.packets, self.consumed, self.dropped]);
        let at_rest = audit.owners[Owner::Fill] + audit.owners[Owner::Free];
        assert_eq!(at_rest, u64::from(SLOTS), "{:?}", audit.owners);
    }

    /// Closes the port: every slot is in the pool again. Tells how many packets were received.
    fn close(self) -> u64 {
        let ends = [self.next, self.packets, self.consumed, self.dropped];
        let closed = self.port.close();
        assert_eq!(closed.quarantined, 0);
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), closed.walk]);
        judge(&audit, ends);
        assert_eq!(audit.owners[Owner::Free], u64::from(SLOTS), "{:?}", audit.owners);
        audit.counts.received
    }
}

/// The audit closes, and its counts are those of the peer.
fn judge(audit: &Audit, [received, transmitted, consumed, dropped]: [u64; 4]) {
    assert!(audit.is_ok(), "{:?}\n{:?}", audit.findings, audit.owners);
    let counts = &audit.counts;
    assert_eq!((counts.received, counts.created, counts.cloned), (received, 0, 0));
    assert_eq!((counts.transmitted, counts.consumed), (transmitted, consumed));
    assert_eq!(counts.dropped[DropReason::UnhandledProto], dropped);
    assert_eq!((counts.dropped.total(), audit.held), (dropped, 0));
}

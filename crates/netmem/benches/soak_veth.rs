//! What `cargo xtask soak --veth` runs: packets over a veth pair into a port in native copy mode, until
//! the indices of its rx and fill rings have passed 2^32 in the kernel as well.
//!
//! ```text
//!   namespace lab.client                               namespace lab.server
//!   Generator, cpu 0 ──redirect──> nm-client ══veth══> nm-server ── XDP ──> port, cpu 1
//!   XDP: checks, counts, drops <── nm-client <══veth══ nm-server <── every 16th, sent back
//! ```
//! `soak_veth --packets N [--json FILE]` ends when N packets were received. Each carries its number and
//! words that follow from it, and the port must lend them as they were made and in order: a gap is a
//! packet that the kernel dropped. Those whose number 16 divides go back with their addresses
//! exchanged, and the far end checks each. At the end the audit closes, what was generated is what was
//! received and what the device counted as dropped, what was completed is what came back or was lost there, and memory,
//! descriptors and the level of free slots have stayed flat from the first quarter on.
//!
//! Planted and caught by a run of 10^6, debug build: in `xdp/port`, a slot given back twice; a packet lent
//! twice; a frame sent without its last byte; a completion reaped twice; completed slots counted twice;
//! one of them not given back (the run did not end); received and sent packets miscounted. In the
//! generator, a number that does not move on. Here, a drop that is not counted; source addresses that are
//! not exchanged; a descriptor, and 16 KiB, kept with each sample.
//!
//! A veth has a ring of 256 frames and nothing that pushes back: where the receiver is slower than the
//! generator, packets are lost and counted, and the sum still closes.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

#[path = "shared/checks.rs"]
mod checks;
#[path = "soak_veth/facts.rs"]
mod facts;
#[path = "soak_veth/far_end.rs"]
mod far_end;
#[path = "shared/machine.rs"]
mod machine;
#[path = "soak_veth/samples.rs"]
mod samples;

use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use checks::{FRAME_BYTES, Frame, HEADER_BYTES};
use far_end::FarEnd;
use netmem::{
    device::{Device, Verdict},
    mem::{Audit, PacketMut, Pool, PoolConfig, PoolHandle, Region, audit::Owner},
    xdp::{Port, Progress, Statistics, XdpMode},
};
use netmem_bpf::{Generator, Stamp};
use netmem_host::lab::{Lab, missing_privilege};
use netmem_wire::filter::{Action, Expr, Rule, Rules};
use samples::Sample;

/// All of a frame behind its header.
const STAMP: Stamp = Stamp { offset: 16, words: 6 };
/// A number with none of these bits is sent back.
const SENT_BACK_MASK: i32 = 15;
const GENERATOR_MAC: [u8; 6] = [0x02, b'n', b'm', 0, 0, 1];
const PORT_MAC: [u8; 6] = [0x02, b'n', b'm', 0, 0, 2];

const SLOTS: usize = 8192;
/// Frames of one system call of the generator, and of one batch of the kernel's.
const GENERATED: (u32, u32) = (1 << 16, 64);
const BATCH: u32 = 64;
/// A sample is taken so often, and so many times at least.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
const SAMPLES: u64 = 32;
/// The clock is read once in so many batches.
const BATCHES_PER_LOOK: u32 = 4096;
/// After so long without a packet, none will come.
const SILENCE: Duration = Duration::from_secs(60);
/// The exit code that says a privilege is missing.
const EXIT_NO_PRIVILEGE: u8 = 3;

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
    if let Some(missing) = missing_privilege() {
        println!("soak: skipped: {missing}");
        return ExitCode::from(EXIT_NO_PRIVILEGE);
    }
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| soak(packets)));
    let Ok(outcome) = outcome else {
        // The panic has told why.
        println!("soak: FAILED");
        return ExitCode::FAILURE;
    };
    println!("{}", outcome.line());
    if let Some(file) = json
        && let Err(error) = fs::write(file, outcome.json())
    {
        println!("soak: FAILED: write {file}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What a soak has seen.
#[derive(Debug)]
struct Outcome {
    seconds: f64,
    generated: u64,
    /// Lost on the way to the port, as the device counted.
    dropped: u64,
    /// Came back to the far end, each right.
    returned: u64,
    progress: Progress,
    statistics: Statistics,
    samples: Vec<Sample>,
    /// Changes over the run: of memory in bytes, of free slots.
    changes: [f64; 2],
}

impl Outcome {
    #[allow(clippy::cast_precision_loss, reason = "a rate for a person")]
    fn mpps(&self) -> f64 {
        self.progress.received as f64 / self.seconds / 1e6
    }

    /// Wraps at 2^32: the rings of a new socket start at 0.
    fn wraps(&self) -> [u64; 4] {
        let Progress { filled, received, transmitted, completed } = self.progress;
        [filled, received, transmitted, completed].map(|count| count >> 32)
    }

    fn line(&self) -> String {
        let [fill, rx, tx, completion] = self.wraps();
        let (first, last) = (self.samples[0], self.samples[self.samples.len() - 1]);
        format!(
            "soak: {} packets received of {} generated in {:.1} s, {:.2} Mpps; {} dropped and counted; {} sent \
             back, all seen; wraps: fill {fill}, rx {rx}, tx {tx}, completion {completion}; audit closed; RSS \
             {} -> {} KiB, descriptors {} -> {}, free slots {} -> {}",
            self.progress.received,
            self.generated,
            self.seconds,
            self.mpps(),
            self.dropped,
            self.returned,
            first.resident_bytes >> 10,
            last.resident_bytes >> 10,
            first.descriptors,
            last.descriptors,
            first.free_slots,
            last.free_slots,
        )
    }

    fn json(&self) -> String {
        let [fill, rx, tx, completion] = self.wraps();
        let Statistics { rx_dropped, rx_ring_full, rx_fill_ring_empty_descs, .. } = self.statistics;
        let samples = self.samples.iter().map(|sample| {
            let Sample { received, resident_bytes, descriptors, free_slots } = sample;
            format!(
                "    {{\"received\": {received}, \"resident_bytes\": {resident_bytes}, \
                 \"descriptors\": {descriptors}, \"free_slots\": {free_slots}}}"
            )
        });
        let samples: Vec<String> = samples.collect();
        let [resident_bytes, free_slots] = self.changes;
        format!(
            "{{\n  \"schema\": \"netmem.soak-veth/1\",\n  \"result\": \"ok\",\n  \"kernel\": \"{}\",\n  \
             \"processor\": \"{}\",\n  \"mode\": \"native\",\n  \"frame_bytes\": {FRAME_BYTES},\n  \
             \"generated\": {},\n  \"received\": {},\n  \"dropped\": {},\n  \"sent_back\": {},\n  \
             \"sent_back_seen\": {},\n  \"wrong\": 0,\n  \"seconds\": {:.1},\n  \"mpps\": {:.3},\n  \
             \"wraps\": {{\"fill\": {fill}, \"rx\": {rx}, \"tx\": {tx}, \"completion\": {completion}}},\n  \
             \"socket\": {{\"rx_dropped\": {rx_dropped}, \"rx_ring_full\": {rx_ring_full}, \
             \"rx_fill_ring_empty_descs\": {rx_fill_ring_empty_descs}}},\n  \"audit\": \"closed\",\n  \
             \"change\": {{\"resident_bytes\": {resident_bytes:.0}, \"free_slots\": {free_slots:.1}}},\n  \
             \"samples\": [\n{}\n  ]\n}}\n",
            facts::kernel(),
            facts::processor(),
            self.generated,
            self.progress.received,
            self.dropped,
            self.progress.completed,
            self.returned,
            self.seconds,
            self.mpps(),
            samples.join(",\n"),
        )
    }
}

fn soak(packets: u64) -> Outcome {
    let lab = Lab::builder().macs(GENERATOR_MAC, PORT_MAC).build().expect("a lab");
    let near_index = lab.client_link().index;
    let far_end = lab.client.run(|| FarEnd::attach(near_index)).expect("a thread");
    let far_end = far_end.expect("the far end's program");
    let (outcome, transmitted) = lab
        .server
        .run(|| {
            machine::pin(machine::TESTED_CPU).expect("two CPUs");
            let mut run = Run::new(&lab.server_link().name, packets);
            let outcome = run.finish(&lab);
            (outcome, run.close())
        })
        .expect("a thread");
    let near = lab.client_link().name.as_str();
    let patience = Instant::now() + SILENCE;
    // A packet completes a moment before the far end's program sees it.
    let (right, wrong, lost) = loop {
        let (right, wrong) = far_end.counts().expect("the far end's counters");
        let lost = lab.client.run(|| facts::dropped(near)).expect("a thread");
        if right + wrong + lost >= transmitted || Instant::now() > patience {
            break (right, wrong, lost);
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(wrong, 0, "packets came back that were not sent so");
    assert_eq!(right + lost, transmitted, "sent back; seen at the far end {right}, lost {lost}");
    Outcome { returned: right, ..outcome }
}

/// A frame before the generator has numbered it.
fn generated() -> Frame {
    checks::frame(PORT_MAC, GENERATOR_MAC)
}

/// A frame as it comes back, but for its number.
fn sent_back() -> Frame {
    checks::frame(GENERATOR_MAC, PORT_MAC)
}

/// Generates until told to stop; returns how many.
fn generate(lab: &Lab, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let stop = Arc::clone(stop);
    let out = lab.client_link().index;
    let work = move || {
        machine::pin(machine::OUTSIDE_CPU).expect("a CPU");
        let generator = Generator::load(out, Some(STAMP)).expect("a generator");
        let (frames, batch) = GENERATED;
        while !stop.load(Ordering::Relaxed) {
            match generator.send(&generated(), frames, batch) {
                Err(error) if error.errno() != Some(libc::EINTR) => panic!("{error}"),
                _ => {}
            }
        }
        generator.sent().expect("the generator's counter")
    };
    lab.client.spawn("generate", work).expect("a thread")
}

/// The receiving end.
struct Run {
    interface: String,
    packets: u64,
    handle: PoolHandle,
    port: Port,
    /// No number below this one may come.
    next: u64,
    sent_back: u64,
    samples: Vec<Sample>,
}

impl Run {
    fn new(interface: &str, packets: u64) -> Self {
        let region = Region::builder(SLOTS * 2048).build().expect("16 MiB");
        let handle = Pool::new(region, PoolConfig::default()).expect("a pool").handle();
        let rules = Rules::new([Rule::new("all", Expr::Always, Action::Take)]);
        let port = Port::builder(interface, rules).modes(&[XdpMode::Native]).open(&handle);
        Self {
            interface: interface.to_owned(),
            packets,
            handle,
            port: port.expect("a port"),
            next: 0,
            sent_back: 0,
            samples: Vec::with_capacity(4096),
        }
    }

    /// Receives until there were enough, and then all that is still on its way.
    fn finish(&mut self, lab: &Lab) -> Outcome {
        let stop = Arc::new(AtomicBool::new(false));
        let generator = generate(lab, &stop);
        let (began, mut sampled, mut heard) = (Instant::now(), Instant::now(), Instant::now());
        let (mut looks, mut sample_at) = (0u32, 0);
        while self.port.counts().received < self.packets {
            let received = self.receive();
            looks = looks.wrapping_add(1);
            if received > 0 && !looks.is_multiple_of(BATCHES_PER_LOOK) {
                continue;
            }
            let now = Instant::now();
            if received > 0 {
                heard = now;
            } else {
                assert!(!generator.is_finished(), "the generator has ended");
                assert!(now - heard < SILENCE, "no packet for {SILENCE:?}");
            }
            let total = self.port.counts().received;
            if total >= sample_at || now - sampled >= SAMPLE_INTERVAL {
                if now - sampled >= SAMPLE_INTERVAL {
                    tell(total, self.packets, now - began);
                }
                (sampled, sample_at) = (now, total + self.packets / SAMPLES);
                self.sample();
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        self.drain(|| !generator.is_finished());
        let generated = generator.join().expect("the generator ends well");
        let (received, dropped) = self.settle(generated);
        assert_eq!(generated, received + dropped, "generated; received {received}, lost {dropped}");
        let changes = samples::assert_flat(&self.samples);
        Outcome {
            seconds,
            generated,
            dropped,
            returned: 0,
            progress: self.port.progress(),
            statistics: self.port.statistics().expect("the socket's counters"),
            samples: self.samples.clone(),
            changes,
        }
    }

    /// One batch; tells how many came.
    #[inline]
    fn receive(&mut self) -> u32 {
        let header = generated();
        let Self { next, sent_back, .. } = self;
        let tally = self.port.receive(BATCH, &mut (), |packet| {
            let number = check(packet, &header, *next);
            *next = number + 1;
            if number & u64::from(SENT_BACK_MASK.cast_unsigned()) != 0 {
                return Verdict::Consume;
            }
            let bytes = packet.bytes_mut();
            bytes[..6].copy_from_slice(&GENERATOR_MAC);
            bytes[6..12].copy_from_slice(&PORT_MAC);
            *sent_back += 1;
            Verdict::Transmit
        });
        tally.received
    }

    /// Receives while `more` may come, and until nothing has for a moment.
    fn drain(&mut self, more: impl Fn() -> bool) {
        let mut heard = Instant::now();
        while more() || heard.elapsed() < Duration::from_millis(20) {
            if self.receive() > 0 {
                heard = Instant::now();
            }
        }
    }

    /// Waits until all that was generated has an end; tells what was received and what was dropped.
    fn settle(&mut self, generated: u64) -> (u64, u64) {
        let patience = Instant::now() + SILENCE;
        loop {
            self.drain(|| false);
            self.port.flush().expect("the port does not fail");
            let ends = (self.port.counts().received, facts::dropped(&self.interface));
            let Progress { transmitted, completed, .. } = self.port.progress();
            let is_settled = ends.0 + ends.1 == generated && transmitted == completed;
            if is_settled || Instant::now() > patience {
                return ends;
            }
        }
    }

    /// Takes a sample of what is used. Packets pass meanwhile, so only what the kernel cannot move is
    /// asked for.
    fn sample(&mut self) {
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        assert_eq!(audit.owners[Owner::User], 0, "{:?}", audit.owners);
        assert_eq!(audit.owners[Owner::Quarantined], 0, "{:?}", audit.owners);
        let received = self.port.counts().received;
        self.samples.push(Sample::now(received, audit.owners[Owner::Free]));
    }

    /// Audits the port at rest, closes it, and audits what it leaves; returns how many packets it sent.
    fn close(self) -> u64 {
        let progress = self.port.progress();
        assert_eq!(progress.completed, progress.transmitted, "every packet that was sent is back");
        assert_eq!(progress.transmitted, self.sent_back, "none found the tx ring full");
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        self.judge(&audit, progress);
        let closed = self.port.close();
        assert_eq!(closed.quarantined, 0);
        let after = Audit::of(self.handle.pool(), [self.handle.walk(), closed.walk]);
        assert!(after.is_ok(), "{:?}\n{:?}", after.findings, after.owners);
        assert_eq!(after.owners[Owner::Free], SLOTS as u64, "{:?}", after.owners);
        assert_eq!((after.counts, after.held), (audit.counts, 0));
        progress.completed
    }

    fn judge(&self, audit: &Audit, progress: Progress) {
        assert!(audit.is_ok(), "{:?}\n{:?}", audit.findings, audit.owners);
        let counts = &audit.counts;
        assert_eq!((counts.received, audit.held), (progress.received, 0));
        assert_eq!(counts.transmitted, progress.completed);
        assert_eq!(counts.consumed, progress.received - progress.completed);
        assert_eq!((counts.dropped.total(), counts.created, counts.cloned), (0, 0, 0));
    }
}

/// The packet's number, which is `least` or more, in a packet that is otherwise as it was made.
#[inline]
fn check(packet: &PacketMut<'_>, made: &Frame, least: u64) -> u64 {
    let bytes = packet.bytes();
    let number = STAMP.read(bytes).filter(|number| *number >= least);
    let is_right = bytes.len() == made.len() && bytes[..HEADER_BYTES] == made[..HEADER_BYTES];
    match number {
        Some(number) if is_right => number,
        _ => wrong(bytes, least),
    }
}

#[cold]
fn wrong(bytes: &[u8], least: u64) -> ! {
    panic!("not a packet as it was made, from {least} on: {bytes:02x?}");
}

fn tell(received: u64, packets: u64, took: Duration) {
    let share = 100 * u128::from(received) / u128::from(packets);
    eprintln!("soak: {} million packets, {share} %, {} s", received / 1_000_000, took.as_secs());
}

//! Live frames over a veth pair: an XDP program at the other end keeps a copy of each by its number.
//!
//! Planted and caught: the derived words left out; one of them too few; each a step late; the number not
//! stored back; frames sent by the loopback interface; another ingress than asked for; another batch
//! than asked for; the length of a frame, or an empty batch, not checked.

use super::*;

const FRAME_BYTES: usize = 64;
/// The same, as map and program take it.
const LEN: u8 = 64;
const STAMP: Stamp = Stamp { offset: 16, words: 6 };
/// More than one batch, so that pages are used again.
const COUNT: u32 = 200;

/// A veth pair in the calling thread's namespace, and the far end's copies.
struct Wire {
    near: u32,
    copies: Map,
    _far_end: XdpLink,
}

impl Wire {
    /// `None`, and `test` skipped, without `ip`.
    fn new(test: &str) -> Option<Self> {
        for scope in ["all", "default"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        if !ip(test, "link add near type veth peer name far") {
            return None;
        }
        ip(test, "link set near up");
        ip(test, "link set far up");
        // The frame, and how many times it came.
        let copies = map(MapKind::Array, u32::from(LEN) + 8, COUNT);
        let keeper = load("netmem_keep", &keep(&copies)).unwrap();
        let far_end = XdpLink::attach(&keeper, index("far"), AttachMode::Native).unwrap();
        Some(Self { near: index("near"), copies, _far_end: far_end })
    }

    /// The frame of `number`, and how many times it came.
    fn copy(&self, number: u32) -> ([u8; FRAME_BYTES], u64) {
        let mut value = [0; FRAME_BYTES + 8];
        assert!(self.copies.lookup(&number.to_ne_bytes(), &mut value).unwrap());
        let (frame, count) = value.split_first_chunk().unwrap();
        (*frame, u64::from_ne_bytes(count.try_into().unwrap()))
    }
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// Copies a frame into the entry of its first word, counts it there, and drops it.
fn keep(copies: &Map) -> Vec<Insn> {
    assemble(|a| {
        let out = a.label();
        a.load(Size::W, R6, R1, xdp_md::DATA).load(Size::W, R7, R1, xdp_md::DATA_END);
        a.mov(R2, R6).alu(Alu::Add, R2, i32::from(LEN)).jump_if(Cond::Gt, R2, R7, out);
        a.load(Size::W, R3, R6, STAMP.offset.into()).store(Size::W, R10, -4, R3);
        a.load_map(R1, copies).mov(R2, R10).alu(Alu::Add, R2, -4).call(Helper::MapLookupElem);
        a.jump_if(Cond::Eq, R0, 0, out);
        for word in (0..i16::from(LEN)).step_by(8) {
            a.load(Size::Dw, R3, R6, word).store(Size::Dw, R0, word, R3);
        }
        a.mov(R3, 1).atomic_add(Size::Dw, R0, LEN.into(), R3);
        a.bind(out).mov(R0, XdpAction::Drop).exit();
    })
}

/// Keeps the calling thread on its CPU: numbers are those of one CPU.
fn stay() {
    let cpu = nix::sched::sched_getcpu().unwrap();
    let mut only = CpuSet::new();
    only.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &only).unwrap();
}

fn frame() -> [u8; FRAME_BYTES] {
    std::array::from_fn(|at| u8::try_from(at).unwrap() ^ 0x5a)
}

#[test]
fn generated_frames_arrive_once_each_with_their_number() {
    const TEST: &str = "generated_frames_arrive_once_each_with_their_number";
    in_namespace(TEST, || {
        let Some(wire) = Wire::new(TEST) else { return };
        stay();
        let generator = Generator::load(wire.near, Some(STAMP)).unwrap();
        // The second call starts with fresh pages.
        generator.send(&frame(), COUNT - 70, 64).unwrap();
        generator.send(&frame(), 70, 32).unwrap();
        assert_eq!(generator.sent().unwrap(), COUNT.into());
        wait_until("the last frame", || wire.copy(COUNT - 1).1 > 0);
        for number in 0..COUNT {
            let mut expected = frame();
            STAMP.write(&mut expected, number.into());
            assert_eq!(wire.copy(number), (expected, 1), "frame {number}");
            assert_eq!(STAMP.read(&expected), Some(number.into()));
        }
    });
}

#[test]
fn frames_without_a_stamp_arrive_as_they_are() {
    const TEST: &str = "frames_without_a_stamp_arrive_as_they_are";
    in_namespace(TEST, || {
        let Some(wire) = Wire::new(TEST) else { return };
        let mut frame = frame();
        frame[16..20].copy_from_slice(&5_u32.to_le_bytes());
        let generator = Generator::load(wire.near, None).unwrap();
        generator.send(&frame, 100, 16).unwrap();
        wait_until("all frames", || wire.copy(5).1 == 100);
        assert_eq!(wire.copy(5).0, frame);
        // Sent by the interface that they came in on, as the program says.
        frame[16] = 6;
        let transmit = assemble(|a| {
            a.mov(R0, XdpAction::Tx).exit();
        });
        let transmit = load("netmem_tx", &transmit).unwrap();
        let run = LiveRun { frame: &frame, repeat: 7, batch: 3, ingress_ifindex: wire.near };
        transmit.run_live(&run).unwrap();
        wait_until("frames sent back", || wire.copy(6).1 == 7);
        assert_eq!(wire.copy(6).0, frame);
    });
}

#[test]
fn live_runs_out_of_range_are_refused() {
    if !privileged("live_runs_out_of_range_are_refused") {
        return;
    }
    let program = pass().unwrap();
    let run = LiveRun { frame: &frame(), repeat: 1, batch: 1, ingress_ifindex: u32::MAX >> 1 };
    assert_eq!(program.run_live(&run).unwrap_err().errno(), Some(libc::ENODEV));
    let refused = |run: &LiveRun<'_>| {
        let error = program.run_live(run).unwrap_err();
        assert_eq!(error.errno(), None);
        error.to_string()
    };
    let start = "run xdp program on live frames netmem_pass: ";
    assert_eq!(
        refused(&LiveRun { frame: &[0; 13], ..run }),
        format!("{start}frame has 13 bytes, the kernel wants at least 14")
    );
    assert_eq!(refused(&LiveRun { repeat: 0, ..run }), format!("{start}no frame is asked for"));
    for batch in [0, 257] {
        let cause = format!("batch is {batch}, the kernel takes 1 to 256");
        assert_eq!(refused(&LiveRun { batch, ..run }), format!("{start}{cause}"));
    }
    let generator = Generator::load(1, Some(STAMP)).unwrap();
    assert_eq!(
        generator.send(&frame()[..63], 1, 1).unwrap_err().to_string(),
        "send frames of netmem_generate: frame has 63 bytes, its stamp ends at 64"
    );
    for words in [0, 33] {
        let error = Generator::load(1, Some(Stamp { offset: 0, words })).unwrap_err();
        let cause = format!("load generator netmem_generate: stamp has {words} words, not 1 to 32");
        assert_eq!(error.to_string(), cause);
    }
}

//! Filter rules as XDP bytecode: the second back end of [`netmem_wire::filter`], whose head is the
//! specification. For every frame the program's class and action are those of [`Rules::classify`].
//!
//! ```text
//!  fields absent -> parse once, bounds checked -> rule 0 -> rule 1 -> ... -> default
//!                   (stack slots)                   | key = class, on the first match
//!                                                   v
//!                   counters[key] += 1 -> Pass: XDP_PASS
//!                                     '-> Take: redirect_map(sockets, rx queue, else XDP_PASS)
//! ```
//!
//! | register | holds |
//! |---|---|
//! | R0 | result of a helper, verdict |
//! | R1 | context at the start; a value on its way to its slot; then the field under test |
//! | R2, R3 | scratch: end of a bounds check, constants; with R1 the arguments of helpers |
//! | R6 | context |
//! | R7 | first byte of the layer being parsed |
//! | R8 | end of the packet |
//! | R9 | Ethernet type, then IPv4 protocol |
//!
//! | stack (R10 -) | holds |
//! |---|---|
//! | 8 | key of the class counter, 4 bytes |
//! | 16, 24, ... | one [`Slot`] of 8 bytes per field: its value in host order, or [`ABSENT`] |
//!
//! # The parse
//! Ethernet; at most two tags; ARP, or IPv4 and then ICMP or ports. A bounds check that fails ends
//! it, and the slots written so far stand. Only the slots that a test reads are there, and a layer
//! that no test reads is not parsed. No value of a field equals [`ABSENT`] in 64 bits, so that a
//! test on an absent field is false without asking whether it is there.
//!
//! # The rules
//! An expression becomes conditional jumps, short-circuit from left to right. What does not depend
//! on the frame (`always`, empty lists, rules behind one that always matches) is folded first, since
//! the verifier refuses code that nothing reaches. A list is linear, two instructions per address.
//! The assembler refuses jumps of more than 32,767 instructions; the verifier follows at most 8192
//! undecided jumps on one path, fewer without CAP_PERFMON, so that a frame may meet some thousand
//! tests.
//!
//! # The counters
//! A class counter counts the frames that its rule matched, and the last one those that no rule
//! did. It is counted before the redirect: a frame that is taken on a queue without a socket passes
//! to the kernel, and one whose socket has no room is dropped, yet both were counted as the rule's.
//! Each CPU adds to its own value, and runs one XDP program at a time: no atomic operation is needed.
//!
//! Kernel 5.15 and later; CAP_BPF and CAP_NET_ADMIN are enough. Without CAP_PERFMON the verifier
//! refuses to add a variable to a packet pointer, so IPv4 options are skipped by constants.

use std::collections::BTreeSet;

use netmem_bpf::{
    Map, XdpAction,
    asm::{
        Alu, AsmError, Assembler, Cond, Helper, Insn, Label,
        Reg::{self, R0, R1, R2, R3, R6, R7, R8, R9, R10},
        Size, xdp_md,
    },
};
use netmem_wire::{
    ethernet::ether_type,
    filter::{Action, Expr, Ipv4Net, Rules, Test},
    ipv4::protocol,
};

/// What a slot holds where the frame lacks the field: all bits set. Fields have 32 bits or fewer.
const ABSENT: i32 = -1;
/// Where the key of the class counter lies, from R10.
const KEY: i16 = -8;
/// The bits of the IPv4 fragment word: `more fragments` and the offset.
const FRAGMENT_BITS: i32 = 0x3fff;
const FRAGMENT_OFFSET_BITS: i32 = 0x1fff;
/// Ethernet hardware, IPv4 protocol; then their address lengths.
const ARP_KIND: [u8; 4] = [0x00, 0x01, 0x08, 0x00];
const ARP_LENGTHS: [u8; 2] = [6, 4];

/// Turns rules into a program that counts in `counters`, a per-CPU array of `u64` with one entry per
/// class, and takes into `sockets`, an XSKMAP with one entry per queue.
///
/// Both maps must stay open until the program is loaded.
///
/// # Errors
/// [`AsmError::JumpTooFar`] when the rules are too long for a program.
pub(super) fn compile(rules: &Rules, sockets: &Map, counters: &Map) -> Result<Vec<Insn>, AsmError> {
    let reached = reached(rules);
    let mut compiler = Compiler::default();
    for (_, when, _) in &reached {
        compiler.collect(when);
    }
    compiler.parse();
    let [pass, take] = [(); 2].map(|()| compiler.asm.label());
    compiler.rules(&reached, pass, take);
    for (action, tail) in [(Action::Pass, pass), (Action::Take, take)] {
        if reached.iter().any(|rule| rule.2 == action) {
            compiler.asm.bind(tail);
            compiler.count(counters);
            compiler.finish(action, sockets);
        }
    }
    compiler.asm.finish()
}

/// A field of the frame on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
enum Slot {
    EtherType,
    /// The outermost tag's id.
    VlanId,
    /// Zero where [`Test::UntaggedOrPriority`] holds, else absent.
    Untagged,
    ArpOperation,
    ArpSender,
    ArpTarget,
    IpProtocol,
    IpSource,
    IpDestination,
    /// The [`FRAGMENT_BITS`].
    Fragment,
    IcmpType,
    SourcePort,
    DestinationPort,
}

impl Slot {
    /// Where the slot lies, from R10.
    const fn offset(self) -> i16 {
        KEY - 8 * (self as i16 + 1)
    }
}

/// What a test asks of its slot's value, 64 bits with [`ABSENT`] sign-extended.
#[derive(Clone, Copy, Debug)]
enum Check {
    Present,
    Equals(i32),
    /// No bit of these is set.
    Clear(i32),
    /// Present and not zero.
    Positive,
    In(Ipv4Net),
}

fn check(test: Test) -> (Slot, Check) {
    match test {
        Test::EtherType(value) => (Slot::EtherType, Check::Equals(value.into())),
        Test::Vlan(None) => (Slot::VlanId, Check::Present),
        Test::Vlan(Some(id)) => (Slot::VlanId, Check::Equals(id.into())),
        Test::UntaggedOrPriority => (Slot::Untagged, Check::Present),
        Test::ArpOperation(value) => (Slot::ArpOperation, Check::Equals(value.into())),
        Test::ArpTarget(net) => (Slot::ArpTarget, Check::In(net)),
        Test::ArpSender(net) => (Slot::ArpSender, Check::In(net)),
        Test::Ipv4 => (Slot::IpProtocol, Check::Present),
        Test::IpProtocol(value) => (Slot::IpProtocol, Check::Equals(value.into())),
        Test::SourceNet(net) => (Slot::IpSource, Check::In(net)),
        Test::DestinationNet(net) => (Slot::IpDestination, Check::In(net)),
        Test::FirstFragment => (Slot::Fragment, Check::Clear(FRAGMENT_OFFSET_BITS)),
        Test::Fragment => (Slot::Fragment, Check::Positive),
        Test::IcmpType(value) => (Slot::IcmpType, Check::Equals(value.into())),
        Test::SourcePort(value) => (Slot::SourcePort, Check::Equals(value.into())),
        Test::DestinationPort(value) => (Slot::DestinationPort, Check::Equals(value.into())),
        _ => unreachable!("folded"),
    }
}

/// The answer of an expression that is the same for every frame.
fn constant(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Always => Some(true),
        Expr::Never => Some(false),
        Expr::Test(Test::EtherType(_) | Test::Vlan(_) | Test::UntaggedOrPriority) => None,
        Expr::Test(Test::ArpOperation(_) | Test::ArpTarget(_) | Test::ArpSender(_)) => None,
        Expr::Test(Test::Ipv4 | Test::IpProtocol(_)) => None,
        Expr::Test(Test::SourceNet(_) | Test::DestinationNet(_)) => None,
        Expr::Test(Test::FirstFragment | Test::Fragment | Test::IcmpType(_)) => None,
        Expr::Test(Test::SourcePort(_) | Test::DestinationPort(_)) => None,
        // Not compiled yet.
        Expr::Test(_) => Some(false),
        Expr::Not(inner) => constant(inner).map(|value| !value),
        Expr::All(parts) => constant_list(parts, false),
        Expr::Any(parts) => constant_list(parts, true),
    }
}

/// As [`constant`], for a list that one part equal to `decisive` decides.
fn constant_list(parts: &[Expr], decisive: bool) -> Option<bool> {
    let mut value = Some(!decisive);
    for part in parts {
        match constant(part) {
            Some(part) if part == decisive => return Some(decisive),
            Some(_) => {}
            None => value = None,
        }
    }
    value
}

/// The classes that some frame may reach, in order, with their conditions: without the rules that
/// never match, and up to the first that always does, which the default is.
fn reached(rules: &Rules) -> Vec<(i32, &Expr, Action)> {
    static DEFAULT: Expr = Expr::Always;
    let rules = rules.as_slice().iter().map(|rule| (&rule.when, rule.action));
    let mut reached = Vec::new();
    for (class, (when, action)) in (0..).zip(rules.chain([(&DEFAULT, Action::Pass)])) {
        let answer = constant(when);
        if answer != Some(false) {
            reached.push((class, when, action));
        }
        if answer == Some(true) {
            break;
        }
    }
    reached
}

#[derive(Debug, Default)]
struct Compiler {
    asm: Assembler,
    /// The slots that a test reads.
    slots: BTreeSet<Slot>,
    /// The slot whose value R1 holds, in straight-line code.
    loaded: Option<Slot>,
}

impl Compiler {
    fn collect(&mut self, expr: &Expr) {
        match expr {
            Expr::Always | Expr::Never => {}
            Expr::Test(test) => drop(self.slots.insert(check(*test).0)),
            Expr::Not(inner) => self.collect(inner),
            Expr::All(parts) | Expr::Any(parts) => {
                parts.iter().for_each(|part| self.collect(part));
            }
        }
    }

    fn reads(&self, slots: &[Slot]) -> bool {
        slots.iter().any(|slot| self.slots.contains(slot))
    }

    /// Writes the code that fills the slots from the frame.
    fn parse(&mut self) {
        let done = self.asm.label();
        self.asm.mov(R6, R1).load(Size::W, R7, R1, xdp_md::DATA).load(
            Size::W,
            R8,
            R1,
            xdp_md::DATA_END,
        );
        for slot in &self.slots {
            self.asm.store_imm(Size::Dw, R10, slot.offset(), ABSENT);
        }
        self.need(14, done);
        self.asm.load(Size::H, R9, R7, 12).be16(R9);
        self.store(Slot::EtherType, R9);
        self.asm.alu(Alu::Add, R7, 14);
        self.tags(done);
        if self.reads(&[Slot::ArpOperation, Slot::ArpSender, Slot::ArpTarget]) {
            self.arp(done);
        }
        let transport = [Slot::IcmpType, Slot::SourcePort, Slot::DestinationPort];
        let ipv4 = [Slot::IpProtocol, Slot::IpSource, Slot::IpDestination, Slot::Fragment];
        if self.reads(&ipv4) || self.reads(&transport) {
            self.ipv4(done);
        }
        if self.reads(&transport) {
            self.transport(done);
        }
        self.bind(done);
    }

    /// Jumps to `done` unless `len_bytes` bytes are there from R7 on.
    fn need(&mut self, len_bytes: i32, done: Label) {
        self.asm.mov(R2, R7).alu(Alu::Add, R2, len_bytes).jump_if(Cond::Gt, R2, R8, done);
    }

    /// Stores a field of 32 bits or fewer, if a test reads it.
    ///
    /// It is stored in halves, the low one first in memory, so that the verifier forgets what it knew of the value
    /// (`check_stack_write_fixed_off`, kernel/bpf/verifier.c): the rules are then checked once per
    /// shape of frame, else once per combination of answers, of which there soon are too many.
    fn store(&mut self, slot: Slot, value: Reg) {
        if self.reads(&[slot]) {
            let at = slot.offset();
            self.asm.store(Size::W, R10, at, value).store_imm(Size::W, R10, at + 4, 0);
        }
    }

    /// Stores a big-endian field of 2 or 4 bytes, if a test reads it.
    fn copy(&mut self, size: Size, slot: Slot, at_bytes: i16) {
        if self.reads(&[slot]) {
            self.asm.load(size, R1, R7, at_bytes);
            match size {
                Size::H => self.asm.be16(R1),
                _ => self.asm.be32(R1),
            };
            self.store(slot, R1);
        }
    }

    fn jump_unless_tag(&mut self, to: Label) {
        let tag = self.asm.label();
        self.asm
            .jump_if(Cond::Eq, R9, i32::from(ether_type::VLAN), tag)
            .jump_if(Cond::Ne, R9, i32::from(ether_type::VLAN_SERVICE), to)
            .bind(tag);
    }

    /// Up to two tags; R7 is at the layer behind them and R9 is its type.
    fn tags(&mut self, done: Label) {
        let [untagged, tagged_once, end] = [(); 3].map(|()| self.asm.label());
        for no_tag in [untagged, tagged_once] {
            self.jump_unless_tag(no_tag);
            self.need(4, done);
            if no_tag == untagged && self.reads(&[Slot::VlanId, Slot::Untagged]) {
                // R3 is read again at `tagged_once`.
                self.asm.load(Size::H, R3, R7, 0).be16(R3).alu(Alu::And, R3, 0x0fff);
                self.store(Slot::VlanId, R3);
            }
            self.asm.load(Size::H, R9, R7, 2).be16(R9);
            self.store(Slot::EtherType, R9);
            self.asm.alu(Alu::Add, R7, 4);
        }
        if self.reads(&[Slot::Untagged]) {
            self.asm
                .jump(end)
                .bind(tagged_once)
                .jump_if(Cond::Ne, R3, 0, end)
                .bind(untagged)
                .store_imm(Size::Dw, R10, Slot::Untagged.offset(), 0);
        } else {
            self.asm.bind(tagged_once).bind(untagged);
        }
        self.bind(end);
    }

    fn arp(&mut self, done: Label) {
        let no_arp = self.asm.label();
        self.asm.jump_if(Cond::Ne, R9, i32::from(ether_type::ARP), no_arp);
        self.need(28, done);
        self.asm
            .load(Size::W, R1, R7, 0)
            .jump_if32(Cond::Ne, R1, i32::from_ne_bytes(ARP_KIND), done)
            .load(Size::H, R1, R7, 4)
            .jump_if(Cond::Ne, R1, i32::from(u16::from_ne_bytes(ARP_LENGTHS)), done);
        self.copy(Size::H, Slot::ArpOperation, 6);
        self.copy(Size::W, Slot::ArpSender, 14);
        self.copy(Size::W, Slot::ArpTarget, 24);
        self.asm.jump(done).bind(no_arp);
    }

    /// The fixed header; leaves its first byte in R3, the protocol in R9, the fragment word in R1.
    fn ipv4(&mut self, done: Label) {
        self.asm.jump_if(Cond::Ne, R9, i32::from(ether_type::IPV4), done);
        self.need(20, done);
        self.asm
            .load(Size::B, R3, R7, 0)
            .jump_if(Cond::Lt, R3, 0x45, done)
            .jump_if(Cond::Gt, R3, 0x4f, done)
            .load(Size::B, R9, R7, 9);
        self.store(Slot::IpProtocol, R9);
        self.copy(Size::W, Slot::IpSource, 12);
        self.copy(Size::W, Slot::IpDestination, 16);
        self.asm.load(Size::H, R1, R7, 6).be16(R1).alu(Alu::And, R1, FRAGMENT_BITS);
        self.store(Slot::Fragment, R1);
    }

    /// ICMP or ports, from where [`ipv4`](Self::ipv4) left off.
    fn transport(&mut self, done: Label) {
        let header_end = self.asm.label();
        self.asm.jump_if(Cond::Set, R1, FRAGMENT_OFFSET_BITS, done).alu(Alu::Add, R7, 20);
        for longer in 0x46..=0x4f {
            self.asm.jump_if(Cond::Lt, R3, longer, header_end).alu(Alu::Add, R7, 4);
        }
        self.bind(header_end);
        self.need(4, done);
        if self.reads(&[Slot::IcmpType]) {
            let no_icmp = self.asm.label();
            self.asm.jump_if(Cond::Ne, R9, i32::from(protocol::ICMP), no_icmp).load(
                Size::B,
                R1,
                R7,
                0,
            );
            self.store(Slot::IcmpType, R1);
            self.asm.jump(done).bind(no_icmp);
        }
        if self.reads(&[Slot::SourcePort, Slot::DestinationPort]) {
            let ports = self.asm.label();
            for with_ports in [protocol::TCP, protocol::UDP, protocol::SCTP] {
                self.asm.jump_if(Cond::Eq, R9, i32::from(with_ports), ports);
            }
            self.asm.jump_if(Cond::Ne, R9, i32::from(protocol::UDP_LITE), done).bind(ports);
            self.copy(Size::H, Slot::SourcePort, 0);
            self.copy(Size::H, Slot::DestinationPort, 2);
        }
    }

    fn rules(&mut self, reached: &[(i32, &Expr, Action)], pass: Label, take: Label) {
        for &(class, when, action) in reached {
            let next = self.asm.label();
            if constant(when).is_none() {
                self.jump_if(when, false, next);
            }
            let tail = if action == Action::Take { take } else { pass };
            self.asm.store_imm(Size::W, R10, KEY, class).jump(tail);
            if constant(when).is_none() {
                self.bind(next);
            }
        }
    }

    /// Jumps to `to` if the answer of `expr`, which is not constant, is `wanted`; else goes on.
    fn jump_if(&mut self, expr: &Expr, wanted: bool, to: Label) {
        match expr {
            Expr::Always | Expr::Never => unreachable!("constants are folded"),
            Expr::Test(test) => self.jump_if_test(*test, wanted, to),
            Expr::Not(inner) => self.jump_if(inner, !wanted, to),
            Expr::All(parts) => self.jump_if_list(parts, false, wanted, to),
            Expr::Any(parts) => self.jump_if_list(parts, true, wanted, to),
        }
    }

    /// As [`jump_if`](Self::jump_if), for a list that one part equal to `decisive` decides.
    fn jump_if_list(&mut self, parts: &[Expr], decisive: bool, wanted: bool, to: Label) {
        // A constant part is not the decisive one, else the list were constant.
        let mut parts = parts.iter().filter(|part| constant(part).is_none());
        if wanted == decisive {
            parts.for_each(|part| self.jump_if(part, decisive, to));
        } else if let Some(last) = parts.next_back() {
            let decided = self.asm.label();
            parts.for_each(|part| self.jump_if(part, decisive, decided));
            self.jump_if(last, wanted, to);
            self.bind(decided);
        }
    }

    fn jump_if_test(&mut self, test: Test, wanted: bool, to: Label) {
        let (slot, check) = check(test);
        if self.loaded.replace(slot) != Some(slot) {
            self.asm.load(Size::Dw, R1, R10, slot.offset());
        }
        let a = &mut self.asm;
        let equal = if wanted { Cond::Eq } else { Cond::Ne };
        match check {
            Check::Present if wanted => a.jump_if(Cond::Ne, R1, ABSENT, to),
            Check::Present => a.jump_if(Cond::Eq, R1, ABSENT, to),
            Check::Equals(value) => a.jump_if(equal, R1, value, to),
            Check::Clear(bits) => a.mov(R2, R1).alu(Alu::And, R2, bits).jump_if(equal, R2, 0, to),
            Check::Positive if wanted => a.jump_if(Cond::SignedGt, R1, 0, to),
            Check::Positive => a.jump_if(Cond::SignedLe, R1, 0, to),
            // Whole addresses have 32 bits, which a constant of a 64-bit jump would sign-extend.
            Check::In(net) if net.prefix_len() == 32 => {
                a.mov32(R2, net.address().to_bits().cast_signed()).jump_if(equal, R1, R2, to)
            }
            // The first bits are compared alone: 31 or fewer, for a value that is absent 32 or more.
            Check::In(net) => {
                let host_bits = 32 - i32::from(net.prefix_len());
                let network = u64::from(net.address().to_bits()) >> host_bits;
                let network = i32::try_from(network).expect("31 bits or fewer");
                a.mov(R2, R1).alu(Alu::Rsh, R2, host_bits).jump_if(equal, R2, network, to)
            }
        };
    }

    /// Binds a label that other paths come from: what R1 holds is not known there.
    fn bind(&mut self, label: Label) {
        self.loaded = None;
        self.asm.bind(label);
    }

    fn count(&mut self, counters: &Map) {
        let counted = self.asm.label();
        self.asm
            .load_map(R1, counters)
            .mov(R2, R10)
            .alu(Alu::Add, R2, i32::from(KEY))
            .call(Helper::MapLookupElem)
            .jump_if(Cond::Eq, R0, 0, counted)
            .load(Size::Dw, R1, R0, 0)
            .alu(Alu::Add, R1, 1)
            .store(Size::Dw, R0, 0, R1)
            .bind(counted);
    }

    fn finish(&mut self, action: Action, sockets: &Map) {
        match action {
            Action::Pass => self.asm.mov(R0, XdpAction::Pass),
            Action::Take => self
                .asm
                .load_map(R1, sockets)
                .load(Size::W, R2, R6, xdp_md::RX_QUEUE_INDEX)
                // The flags: what the helper returns where the queue has no socket.
                .mov(R3, XdpAction::Pass)
                .call(Helper::RedirectMap),
        };
        self.asm.exit();
    }
}

#[cfg(test)]
mod tests;

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

mod fields;
mod parse;

use std::collections::BTreeMap;

use netmem_bpf::{
    Map, XdpAction,
    asm::{
        Alu, AsmError, Assembler, Cond, Helper, Insn, Label,
        Reg::{R0, R1, R2, R3, R6, R10},
        Size, xdp_md,
    },
};
use netmem_wire::filter::{Action, Expr, Rules, Test};

use self::{
    fields::{ABSENT, Check, Condition, KEY, Kinds, Slot, conditions, constant},
    parse::Source,
};

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
        compiler.collect(when, Kinds::ALL);
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
    /// The slots that a test reads, and in which kinds of frames what it reads matters.
    slots: BTreeMap<Slot, Kinds>,
    /// The kinds of frames that the code being written is for, while parsing.
    kinds: Kinds,
    /// Where that code finds the frame.
    source: Source,
    /// The slot whose value R1 holds, in straight-line code.
    loaded: Option<Slot>,
}

impl Compiler {
    /// Notes which slots `expr` reads, and in which kinds of frames, of those in `kinds`.
    fn collect(&mut self, expr: &Expr, kinds: Kinds) {
        match expr {
            Expr::Always | Expr::Never => {}
            Expr::Test(test) => {
                for condition in conditions(*test) {
                    if let Condition::Slot(slot, _) = condition {
                        let before = self.slots.entry(slot).or_default();
                        *before = before.or(kinds);
                    }
                }
            }
            Expr::Not(inner) => self.collect(inner, kinds),
            Expr::All(parts) => {
                // In frames of other kinds it is false, whatever its parts say.
                let kinds = kinds.and(Kinds::of(expr));
                parts.iter().for_each(|part| self.collect(part, kinds));
            }
            Expr::Any(parts) => parts.iter().for_each(|part| self.collect(part, kinds)),
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
        let conditions = conditions(test);
        let (last, others) = conditions.split_last().expect("each test has a condition");
        if !wanted || others.is_empty() {
            return conditions.iter().for_each(|part| self.jump_if_condition(*part, wanted, to));
        }
        let decided = self.asm.label();
        others.iter().for_each(|part| self.jump_if_condition(*part, false, decided));
        self.jump_if_condition(*last, true, to);
        self.bind(decided);
    }

    fn jump_if_condition(&mut self, condition: Condition, wanted: bool, to: Label) {
        match condition {
            Condition::Slot(slot, check) => {
                if self.loaded.replace(slot) != Some(slot) {
                    self.asm.load(Size::Dw, R1, R10, slot.offset());
                }
                self.jump_if_check(check, wanted, to);
            }
            Condition::LenAtLeast(len_bytes) => {
                let cond = if wanted { Cond::Le } else { Cond::Gt };
                self.asm
                    .load(Size::W, R2, R6, xdp_md::DATA)
                    .alu(Alu::Add, R2, len_bytes)
                    .load(Size::W, R3, R6, xdp_md::DATA_END)
                    .jump_if(cond, R2, R3, to);
            }
        }
    }

    /// Jumps to `to` if the answer for the value in R1, which stays there, is `wanted`.
    fn jump_if_check(&mut self, check: Check, wanted: bool, to: Label) {
        let a = &mut self.asm;
        let equal = if wanted { Cond::Eq } else { Cond::Ne };
        match check {
            Check::Present if wanted => a.jump_if(Cond::Ne, R1, ABSENT, to),
            Check::Present => a.jump_if(Cond::Eq, R1, ABSENT, to),
            Check::Equals(value) => a.jump_if(equal, R1, value, to),
            Check::EqualsWide(value) => a.load_imm64(R2, value).jump_if(equal, R1, R2, to),
            Check::Clear(bits) => a.mov(R2, R1).alu(Alu::And, R2, bits).jump_if(equal, R2, 0, to),
            Check::Positive if wanted => a.jump_if(Cond::SignedGt, R1, 0, to),
            Check::Positive => a.jump_if(Cond::SignedLe, R1, 0, to),
            Check::Between(first, last) => {
                // Unsigned: what is below the first, or absent, is far above the last.
                let cond = if wanted { Cond::Le } else { Cond::Gt };
                a.mov(R2, R1).alu(Alu::Sub, R2, i32::from(first));
                a.jump_if(cond, R2, i32::from(last - first), to)
            }
            Check::Masked { shift, mask, value } => {
                a.mov(R2, R1);
                if shift > 0 {
                    a.alu(Alu::Rsh, R2, shift);
                }
                // The ninth bit is set where the field is absent only.
                a.alu(Alu::And, R2, i32::from(mask) | 1 << 8);
                a.jump_if(equal, R2, i32::from(value), to)
            }
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
            Check::Prefix { len_bits: 64, bits } => {
                a.load_imm64(R2, bits).jump_if(equal, R1, R2, to)
            }
            Check::Prefix { len_bits, bits } => {
                a.mov(R2, R1).alu(Alu::Rsh, R2, 64 - len_bits);
                match i32::try_from(bits) {
                    Ok(bits) => a.jump_if(equal, R2, bits, to),
                    Err(_) => a.load_imm64(R3, bits).jump_if(equal, R2, R3, to),
                }
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

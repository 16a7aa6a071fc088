//! The code that fills the slots from the frame, step by step as the head of
//! [`netmem_wire::filter`] says.

use netmem_bpf::asm::{
    Alu, Cond, Helper, Label,
    Reg::{self, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10},
    Size, xdp_md,
};
use netmem_wire::{ethernet::ether_type, ipv4::protocol};

use super::{
    Compiler,
    fields::{ABSENT, COPY, FRAGMENT_BITS, FRAGMENT_OFFSET_BITS, FRAGMENT_WORD, Kinds, Slot},
};

/// Ethernet hardware, IPv4 protocol; then their address lengths.
const ARP_KIND: [u8; 4] = [0x00, 0x01, 0x08, 0x00];
const ARP_LENGTHS: [u8; 2] = [6, 4];
const ICMPV6: i32 = 58;
/// Neighbor solicitation and advertisement.
const ND_TYPES: [i32; 2] = [135, 136];
const IPV6_LEN_BYTES: i32 = 40;
/// The extension headers that are walked over, and how many at most.
const EXTENSION_FRAGMENT: i32 = 44;
const EXTENSION_AUTHENTICATION: i32 = 51;
const EXTENSIONS: [i32; 5] = [0, 43, EXTENSION_FRAGMENT, EXTENSION_AUTHENTICATION, 60];
const EXTENSIONS_MAX: usize = 6;
/// The offset in the word of an IPv6 fragment header.
const EXTENSION_OFFSET_BITS: i32 = 0xfff8;

/// Where the bytes of the layer being parsed are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// In the packet from R7 on, which ends at R8.
    #[default]
    Packet,
    /// At offset R8 of the packet; [`Compiler::need`] copies them to the stack at R7.
    Copy,
}

impl Compiler {
    /// Writes the code that fills the slots from the frame.
    pub(super) fn parse(&mut self) {
        let done = self.asm.label();
        self.asm.mov(R6, R1).load(Size::W, R7, R1, xdp_md::DATA).load(
            Size::W,
            R8,
            R1,
            xdp_md::DATA_END,
        );
        for slot in self.slots.keys() {
            self.asm.store_imm(Size::Dw, R10, slot.offset(), ABSENT);
        }
        self.kinds = Kinds::ALL;
        self.need(14, done);
        self.mac(Slot::DestinationMac, 0);
        self.mac(Slot::SourceMac, 6);
        self.asm.load(Size::H, R9, R7, 12).be16(R9);
        self.store(Slot::EtherType, R9);
        self.asm.alu(Alu::Add, R7, 14);
        self.tags(done);
        self.kinds = Kinds::OTHER;
        if self.reads(&Slot::ARP) {
            self.arp(done);
        }
        self.kinds = Kinds::IPV6;
        let no_ipv4 = if self.reads_ipv6() { self.asm.label() } else { done };
        self.kinds = Kinds::IPV4;
        if self.reads(&Slot::IPV4) || self.reads(&[Slot::Fragment]) || self.reads_transport() {
            self.ipv4(no_ipv4, done);
            if no_ipv4 != done {
                self.asm.jump(done);
            }
        }
        self.kinds = Kinds::IPV6;
        if self.reads_ipv6() {
            self.bind(no_ipv4);
            self.ipv6(done);
        }
        self.bind(done);
    }

    /// Tells whether a test that matters in the kinds of frames being parsed reads one of these.
    fn reads(&self, slots: &[Slot]) -> bool {
        let matters = |slot| self.slots.get(slot).map(|kinds: &Kinds| kinds.and(self.kinds));
        slots.iter().any(|slot| matters(slot).is_some_and(|kinds| kinds != Kinds::NONE))
    }

    fn reads_icmp(&self) -> bool {
        match self.kinds {
            Kinds::IPV6 => self.reads(&[Slot::Icmp6Type]) || self.reads(&Slot::ND),
            _ => self.reads(&Slot::ICMP),
        }
    }

    fn reads_transport(&self) -> bool {
        self.reads_icmp() || self.reads(&Slot::PORTS) || self.reads(&[Slot::TcpFlags])
    }

    /// Tells whether something may be read from behind IPv6 extension headers.
    fn walks(&self) -> bool {
        self.reads(&[Slot::Ip6Protocol, Slot::Fragment]) || self.reads_transport()
    }

    fn reads_ipv6(&self) -> bool {
        self.reads(&Slot::IPV6) || self.walks()
    }

    /// Jumps to `done` unless `len_bytes` bytes are there, from R7 on afterwards.
    fn need(&mut self, len_bytes: i32, done: Label) {
        match self.source {
            Source::Packet => {
                self.asm.mov(R2, R7).alu(Alu::Add, R2, len_bytes).jump_if(Cond::Gt, R2, R8, done)
            }
            Source::Copy => self
                .asm
                .mov(R1, R6)
                .mov(R2, R8)
                .mov(R3, R7)
                .mov(R4, len_bytes)
                .call(Helper::XdpLoadBytes)
                .jump_if(Cond::Ne, R0, 0, done),
        };
    }

    /// Stores a field of 32 bits or fewer, if a test reads it.
    ///
    /// It is stored in halves, the low one first in memory, so that the verifier forgets what it
    /// knew of the value (`check_stack_write_fixed_off`, kernel/bpf/verifier.c): the rules are then
    /// checked once per shape of frame, else once per combination of answers, of which there soon
    /// are too many.
    fn store(&mut self, slot: Slot, value: Reg) {
        if self.reads(&[slot]) {
            let at = slot.offset();
            self.asm.store(Size::W, R10, at, value).store_imm(Size::W, R10, at + 4, 0);
        }
    }

    /// Says in the slot that what it stands for is there, if a test reads it.
    fn store_zero(&mut self, slot: Slot) {
        if self.reads(&[slot]) {
            self.asm.store_imm(Size::Dw, R10, slot.offset(), 0);
        }
    }

    /// Stores a big-endian field of 1, 2, 4 or 8 bytes, if a test reads it.
    fn copy(&mut self, size: Size, slot: Slot, at_bytes: i16) {
        if !self.reads(&[slot]) {
            return;
        }
        self.asm.load(size, R1, R7, at_bytes);
        match size {
            Size::B => {}
            Size::H => drop(self.asm.be16(R1)),
            Size::W => drop(self.asm.be32(R1)),
            Size::Dw => {
                // In halves as well.
                let at = slot.offset();
                self.asm.be64(R1).store(Size::W, R10, at, R1).alu(Alu::Rsh, R1, 32);
                self.asm.store(Size::W, R10, at + 4, R1);
                return;
            }
        }
        self.store(slot, R1);
    }

    fn mac(&mut self, slot: Slot, at_bytes: i16) {
        if self.reads(&[slot]) {
            let at = slot.offset();
            self.asm.load(Size::W, R1, R7, at_bytes + 2).be32(R1).store(Size::W, R10, at, R1);
            self.asm.load(Size::H, R1, R7, at_bytes).be16(R1).store(Size::W, R10, at + 4, R1);
        }
    }

    fn jump_unless_tag(&mut self, to: Label) {
        let tag = self.asm.label();
        self.asm
            .jump_if(Cond::Eq, R9, i32::from(ether_type::VLAN), tag)
            .jump_if(Cond::Ne, R9, i32::from(ether_type::VLAN_SERVICE), to)
            .bind(tag);
    }

    /// Up to two tags; R7 is at the layer behind them and R9 is its type. R5 is where that layer
    /// begins, if IPv6 asks for it.
    fn tags(&mut self, done: Label) {
        let [untagged, tagged_once, end] = [(); 3].map(|()| self.asm.label());
        self.kinds = Kinds::IPV6;
        let walks = self.walks();
        self.kinds = Kinds::ALL;
        if walks {
            self.asm.mov(R5, 14);
        }
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
            if walks {
                self.asm.alu(Alu::Add, R5, 4);
            }
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

    /// The header; then, with its first byte in R3, the protocol in R9 and the fragment word in R1,
    /// the options and the transport.
    fn ipv4(&mut self, no_ipv4: Label, done: Label) {
        self.asm.jump_if(Cond::Ne, R9, i32::from(ether_type::IPV4), no_ipv4);
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
        if !self.reads_transport() {
            return;
        }
        let header_end = self.asm.label();
        self.asm.jump_if(Cond::Set, R1, FRAGMENT_OFFSET_BITS, done).alu(Alu::Add, R7, 20);
        for longer in 0x46..=0x4f {
            self.asm.jump_if(Cond::Lt, R3, longer, header_end).alu(Alu::Add, R7, 4);
        }
        self.bind(header_end);
        self.transport(done);
    }

    /// The header, then the transport where no extension header is in between, else the walk.
    fn ipv6(&mut self, done: Label) {
        self.asm.jump_if(Cond::Ne, R9, i32::from(ether_type::IPV6), done);
        self.need(IPV6_LEN_BYTES, done);
        self.asm.load(Size::B, R1, R7, 0).alu(Alu::Rsh, R1, 4).jump_if(Cond::Ne, R1, 6, done);
        self.store_zero(Slot::Ipv6);
        for (slot, at_bytes) in Slot::IPV6[1..].iter().zip([8, 16, 24, 32]) {
            self.copy(Size::Dw, *slot, at_bytes);
        }
        if !self.walks() {
            return;
        }
        let [upper, extended] = [(); 2].map(|()| self.asm.label());
        self.asm.load(Size::B, R9, R7, 6);
        for usual in [protocol::TCP.into(), protocol::UDP.into(), ICMPV6] {
            self.asm.jump_if(Cond::Eq, R9, usual, upper);
        }
        for kind in EXTENSIONS {
            self.asm.jump_if(Cond::Eq, R9, kind, extended);
        }
        self.bind(upper);
        self.store(Slot::Ip6Protocol, R9);
        self.store_zero(Slot::Fragment);
        if self.reads_transport() {
            self.asm.alu(Alu::Add, R7, IPV6_LEN_BYTES);
            self.transport(done);
        }
        self.asm.jump(done);
        self.bind(extended);
        self.extensions(done);
    }

    /// The walk over the extension headers, the first of which is R9, and the transport behind
    /// them. From here on R8 is an offset, and R7 is where bytes are copied to.
    fn extensions(&mut self, done: Label) {
        let [upper, later_fragment] = [(); 2].map(|()| self.asm.label());
        self.source = Source::Copy;
        self.asm
            .mov(R8, R5)
            .alu(Alu::Add, R8, IPV6_LEN_BYTES)
            .mov(R7, R10)
            .alu(Alu::Add, R7, i32::from(COPY))
            .store_imm(Size::W, R10, FRAGMENT_WORD, 0);
        for walked in 0..EXTENSIONS_MAX {
            if walked > 0 {
                let known = self.asm.label();
                for kind in EXTENSIONS {
                    self.asm.jump_if(Cond::Eq, R9, kind, known);
                }
                self.asm.jump(upper).bind(known);
            }
            self.extension(later_fragment, done);
        }
        for kind in EXTENSIONS {
            self.asm.jump_if(Cond::Eq, R9, kind, done);
        }
        self.bind(upper);
        if self.reads(&[Slot::Fragment]) {
            self.asm.load(Size::W, R1, R10, FRAGMENT_WORD);
            self.store(Slot::Fragment, R1);
        }
        self.store(Slot::Ip6Protocol, R9);
        if self.reads_transport() {
            self.transport(done);
        }
        self.asm.jump(done);
        self.bind(later_fragment);
        self.store(Slot::Ip6Protocol, R9);
        self.source = Source::Packet;
    }

    /// One extension header of kind R9 at R8: goes behind it, with the next one's kind in R9.
    fn extension(&mut self, later_fragment: Label, done: Label) {
        let [fragment, authentication, longer] = [(); 3].map(|()| self.asm.label());
        self.need(8, done);
        self.asm
            .load(Size::B, R1, R7, 1)
            .load(Size::B, R2, R7, 0)
            .jump_if(Cond::Eq, R9, EXTENSION_FRAGMENT, fragment)
            .jump_if(Cond::Eq, R9, EXTENSION_AUTHENTICATION, authentication)
            .alu(Alu::Lsh, R1, 3)
            .jump(longer)
            .bind(authentication)
            .alu(Alu::Lsh, R1, 2)
            .jump(longer)
            .bind(fragment)
            .mov(R9, R2)
            .load(Size::H, R3, R7, 2)
            .be16(R3);
        if self.reads(&[Slot::Fragment]) {
            // `more fragments` stays set; the offset was zero so far, else the walk had ended.
            self.asm
                .mov(R4, R3)
                .alu(Alu::And, R4, 1)
                .alu(Alu::Lsh, R4, 13)
                .mov(R5, R3)
                .alu(Alu::Rsh, R5, 3)
                .alu(Alu::Or, R4, R5)
                .load(Size::W, R5, R10, FRAGMENT_WORD)
                .alu(Alu::Or, R4, R5)
                .store(Size::W, R10, FRAGMENT_WORD, R4);
            self.store(Slot::Fragment, R4);
        }
        self.asm
            .jump_if(Cond::Set, R3, EXTENSION_OFFSET_BITS, later_fragment)
            .mov(R1, 0)
            .bind(longer)
            .mov(R9, R2)
            .alu(Alu::Add, R8, R1)
            .alu(Alu::Add, R8, 8);
    }

    /// ICMP, ports and TCP flags, with the protocol in R9.
    fn transport(&mut self, done: Label) {
        self.need(4, done);
        if self.reads_icmp() {
            let no_icmp = self.asm.label();
            if self.kinds == Kinds::IPV6 {
                self.asm.jump_if(Cond::Ne, R9, ICMPV6, no_icmp);
                self.icmp6(done);
            } else {
                self.asm.jump_if(Cond::Ne, R9, i32::from(protocol::ICMP), no_icmp);
                self.copy(Size::B, Slot::IcmpType, 0);
                self.copy(Size::B, Slot::IcmpCode, 1);
            }
            self.asm.jump(done).bind(no_icmp);
        }
        if self.reads(&Slot::PORTS) {
            let ports = self.asm.label();
            for with_ports in [protocol::TCP, protocol::UDP, protocol::SCTP] {
                self.asm.jump_if(Cond::Eq, R9, i32::from(with_ports), ports);
            }
            self.asm.jump_if(Cond::Ne, R9, i32::from(protocol::UDP_LITE), done).bind(ports);
            self.copy(Size::H, Slot::SourcePort, 0);
            self.copy(Size::H, Slot::DestinationPort, 2);
        }
        if self.reads(&[Slot::TcpFlags]) {
            self.asm.jump_if(Cond::Ne, R9, i32::from(protocol::TCP), done);
            self.need(14, done);
            self.copy(Size::B, Slot::TcpFlags, 13);
        }
    }

    /// The type, and the target of neighbor messages.
    fn icmp6(&mut self, done: Label) {
        self.copy(Size::B, Slot::Icmp6Type, 0);
        if self.reads(&Slot::ND) {
            let neighbor = self.asm.label();
            self.asm
                .load(Size::B, R1, R7, 0)
                .jump_if(Cond::Eq, R1, ND_TYPES[0], neighbor)
                .jump_if(Cond::Ne, R1, ND_TYPES[1], done)
                .bind(neighbor);
            self.need(24, done);
            self.store_zero(Slot::Nd);
            self.copy(Size::Dw, Slot::NdTargetHigh, 8);
            self.copy(Size::Dw, Slot::NdTargetLow, 16);
        }
    }
}

//! Ethernet II (IEEE 802.3, clause 3.2): 14 bytes in front of everything.
//!
//! ```text
//!  0               6               12        14
//!  | destination   | source        | type    | payload, padded to 46 bytes | (FCS: gone)
//! ```
//!
//! The frame check sequence is taken off by the device. A type below 0x0600 is an 802.3 length;
//! the field is given as it is, and [`Kind`] says which of both it is. A device that strips VLAN
//! tags has taken them out of the frame.
//!
//! ```
//! use netmem_wire::ethernet::{Kind, ether_type};
//! use netmem_wire::{Ethernet, EthernetRepr, MacAddr};
//!
//! let mut frame = [0; 60];
//! let (destination, source) = (MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1]));
//! EthernetRepr { destination, source, ether_type: ether_type::ARP }.emit(&mut frame)?;
//! let view = Ethernet::new_checked(&frame)?;
//! assert_eq!(view.source(), source);
//! assert_eq!(view.kind(), Some(Kind::EtherType(ether_type::ARP)));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::fmt;
use core::str::FromStr;

use crate::{Error, Layer, be16, bytes, set_be16};

/// Bytes of an Ethernet header without tags.
pub const HEADER_LEN_BYTES: usize = 14;
/// The highest value of the type field that is an 802.3 length.
pub const MAX_LENGTH: u16 = 1500;

/// The Ethernet types that this crate knows.
pub mod ether_type {
    /// Xerox NS IDP.
    pub const XNS_IDP: u16 = 0x0600;
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// X.25 level 3.
    pub const X25: u16 = 0x0805;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// Wake-on-LAN.
    pub const WAKE_ON_LAN: u16 = 0x0842;
    /// Multiple stream reservation (802.1Q).
    pub const MSRP: u16 = 0x22ea;
    /// Audio and video transport (IEEE 1722).
    pub const AVTP: u16 = 0x22f0;
    /// TRILL (RFC 6325).
    pub const TRILL: u16 = 0x22f3;
    /// IS-IS over layer 2 (RFC 6325).
    pub const L2_ISIS: u16 = 0x22f4;
    /// DEC MOP dump and load.
    pub const DEC_MOP_DUMP: u16 = 0x6001;
    /// DEC MOP remote console.
    pub const DEC_MOP_CONSOLE: u16 = 0x6002;
    /// DECnet phase IV.
    pub const DECNET: u16 = 0x6003;
    /// DEC LAT.
    pub const LAT: u16 = 0x6004;
    /// Ethernet in a tunnel (RFC 1701).
    pub const TRANS_ETHER_BRIDGING: u16 = 0x6558;
    /// Raw frame relay (RFC 1701).
    pub const RAW_FRAME_RELAY: u16 = 0x6559;
    /// Reverse ARP.
    pub const REVERSE_ARP: u16 = 0x8035;
    /// AppleTalk.
    pub const APPLETALK: u16 = 0x809b;
    /// AppleTalk ARP.
    pub const APPLETALK_ARP: u16 = 0x80f3;
    /// 802.1Q tag (customer).
    pub const VLAN: u16 = 0x8100;
    /// IPX.
    pub const IPX: u16 = 0x8137;
    /// SNMP over Ethernet (RFC 1089).
    pub const SNMP: u16 = 0x814c;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// MAC control: pause frames (802.3).
    pub const FLOW_CONTROL: u16 = 0x8808;
    /// Slow protocols: LACP, OAM (802.3).
    pub const SLOW_PROTOCOLS: u16 = 0x8809;
    /// PPP.
    pub const PPP: u16 = 0x880b;
    /// General switch management.
    pub const GSMP: u16 = 0x880c;
    /// MPLS, unicast.
    pub const MPLS: u16 = 0x8847;
    /// MPLS with an upstream-assigned label (RFC 5332).
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    /// PPP over Ethernet, discovery.
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    /// PPP over Ethernet, session.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// EAP over LAN (802.1X).
    pub const EAPOL: u16 = 0x888e;
    /// PROFINET.
    pub const PROFINET: u16 = 0x8892;
    /// HyperSCSI.
    pub const HYPERSCSI: u16 = 0x889a;
    /// ATA over Ethernet.
    pub const ATA_OVER_ETHERNET: u16 = 0x88a2;
    /// EtherCAT.
    pub const ETHERCAT: u16 = 0x88a4;
    /// 802.1ad tag (service, `QinQ`).
    pub const VLAN_SERVICE: u16 = 0x88a8;
    /// Ethernet POWERLINK.
    pub const POWERLINK: u16 = 0x88ab;
    /// For local experiments (802).
    pub const EXPERIMENT_1: u16 = 0x88b5;
    /// For local experiments (802).
    pub const EXPERIMENT_2: u16 = 0x88b6;
    /// OUI and protocol id follow (802).
    pub const OUI_EXTENDED: u16 = 0x88b7;
    /// IEC 61850 GOOSE.
    pub const GOOSE: u16 = 0x88b8;
    /// IEC 61850 GSE management.
    pub const GSE: u16 = 0x88b9;
    /// IEC 61850 sampled values.
    pub const SAMPLED_VALUES: u16 = 0x88ba;
    /// 802.11i pre-authentication.
    pub const PREAUTHENTICATION: u16 = 0x88c7;
    /// Link layer discovery (802.1AB).
    pub const LLDP: u16 = 0x88cc;
    /// SERCOS III.
    pub const SERCOS: u16 = 0x88cd;
    /// `HomePlug` AV.
    pub const HOMEPLUG_AV: u16 = 0x88e1;
    /// Media redundancy (IEC 62439-2).
    pub const MRP: u16 = 0x88e3;
    /// MACsec (802.1AE).
    pub const MACSEC: u16 = 0x88e5;
    /// Provider backbone bridge (802.1ah).
    pub const BACKBONE_BRIDGE: u16 = 0x88e7;
    /// Multiple VLAN registration (802.1Q).
    pub const MVRP: u16 = 0x88f5;
    /// Multiple MAC registration (802.1Q).
    pub const MMRP: u16 = 0x88f6;
    /// Precision time (IEEE 1588).
    pub const PTP: u16 = 0x88f7;
    /// Network controller sideband.
    pub const NCSI: u16 = 0x88f8;
    /// Parallel redundancy and HSR supervision (IEC 62439-3).
    pub const PRP: u16 = 0x88fb;
    /// Connectivity fault management (802.1ag).
    pub const CFM: u16 = 0x8902;
    /// Fibre channel over Ethernet.
    pub const FCOE: u16 = 0x8906;
    /// Initialization of fibre channel over Ethernet.
    pub const FCOE_INITIALIZATION: u16 = 0x8914;
    /// RDMA over converged Ethernet.
    pub const ROCE: u16 = 0x8915;
    /// `TTEthernet`.
    pub const TTE: u16 = 0x891d;
    /// High-availability seamless redundancy (IEC 62439-3).
    pub const HSR: u16 = 0x892f;
    /// Network service header (RFC 8300).
    pub const NSH: u16 = 0x894f;
    /// Configuration test: loopback.
    pub const LOOPBACK: u16 = 0x9000;
    /// Service tag before 802.1ad.
    pub const QINQ_1: u16 = 0x9100;
    /// Service tag before 802.1ad.
    pub const QINQ_2: u16 = 0x9200;
    /// Veritas low latency transport.
    pub const VERITAS_LLT: u16 = 0xcafe;
    /// Redundancy tag (802.1CB).
    pub const RTAG: u16 = 0xf1c1;
}

/// An Ethernet (EUI-48) address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address that every station listens to.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Tells whether all bits are one.
    #[inline]
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Tells whether the group bit is set; it is in the broadcast address too.
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = Error;

    /// Reads six pairs of hex digits, all separated by `:` or all by `-`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = Error::Text { target: "mac address", cause: "six pairs of hex digits expected" };
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut pairs = text.split(separator);
        let mut address = [0; 6];
        for byte in &mut address {
            let pair = pairs.next().ok_or(bad)?;
            // from_str_radix would take a sign.
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad)?;
        }
        if pairs.next().is_some() { Err(bad) } else { Ok(Self(address)) }
    }
}

/// What bytes 12 and 13 of a frame mean (IEEE 802.3 section 3.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The payload's type, 0x0600 or above; see [`ether_type`].
    EtherType(u16),
    /// The payload's length in bytes, up to 1500; LLC follows ([`Llc`](crate::Llc)).
    Length(u16),
}

impl Kind {
    /// Tells what the field means; nothing from 1501 to 1535.
    #[inline]
    #[must_use]
    pub const fn of(field: u16) -> Option<Self> {
        match field {
            0..=1500 => Some(Self::Length(field)),
            0x0600.. => Some(Self::EtherType(field)),
            _ => None,
        }
    }
}

/// A view of an Ethernet frame.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Ethernet<T> {
    /// Checks that the 14-byte header is there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Ethernet, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the destination address.
    #[inline]
    pub fn destination(&self) -> MacAddr {
        MacAddr(bytes(self.header(), 0))
    }

    /// Reads the source address.
    #[inline]
    pub fn source(&self) -> MacAddr {
        MacAddr(bytes(self.header(), 6))
    }

    /// Reads the type of what follows; see [`ether_type`].
    #[inline]
    pub fn ether_type(&self) -> u16 {
        be16(self.header(), 12)
    }

    /// Tells whether the type is one, or an 802.3 length.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(self.ether_type())
    }

    /// Lends the bytes after the header, padding included.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ethernet<T> {
    /// Writes the destination address.
    #[inline]
    pub fn set_destination(&mut self, address: MacAddr) {
        self.header_mut()[..6].copy_from_slice(&address.0);
    }

    /// Writes the source address.
    #[inline]
    pub fn set_source(&mut self, address: MacAddr) {
        self.header_mut()[6..12].copy_from_slice(&address.0);
    }

    /// Exchanges destination and source, as an answer needs it.
    #[inline]
    pub fn swap_addresses(&mut self) {
        let (destination, source) = (self.destination(), self.source());
        self.set_destination(source);
        self.set_source(destination);
    }

    /// Writes the type of what follows.
    #[inline]
    pub fn set_ether_type(&mut self, ether_type: u16) {
        set_be16(self.header_mut(), 12, ether_type);
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// An Ethernet header as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EthernetRepr {
    /// Who it is for.
    pub destination: MacAddr,
    /// Who sends it.
    pub source: MacAddr,
    /// What follows; see [`ether_type`].
    pub ether_type: u16,
}

impl EthernetRepr {
    /// Reads all fields; every header is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &Ethernet<T>) -> Self {
        Self {
            destination: view.destination(),
            source: view.source(),
            ether_type: view.ether_type(),
        }
    }

    /// Writes the header at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Ethernet<&'b mut [u8]>, Error> {
        let mut view = Ethernet::new_checked(buffer)?;
        view.set_destination(self.destination);
        view.set_source(self.source);
        view.set_ether_type(self.ether_type);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_print_and_parse() {
        let address: MacAddr = "02:00:5e:10:00:FF".parse().unwrap();
        assert_eq!(address, MacAddr([2, 0, 0x5e, 0x10, 0, 0xff]));
        assert_eq!(address.to_string(), "02:00:5e:10:00:ff");
        assert_eq!("02-00-5e-10-00-ff".parse(), Ok(address));
        for bad in [
            "",
            ":",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:01",
            "02:00:5e:10:00:fg",
            "2:0:5e:10:0:ff",
            "02:00:5e:10:00:+f",
            "02-00:5e:10:00:ff",
            "02:00:5e:10:00:ff:",
            "02005e1000ff",
            "0\u{e9}:",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn group_addresses() {
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
        let multicast = MacAddr([1, 0, 0x5e, 0, 0, 1]);
        assert!(multicast.is_multicast() && !multicast.is_broadcast());
        assert!(!MacAddr([2, 0xff, 0xff, 0xff, 0xff, 0xff]).is_multicast());
    }

    #[test]
    fn thirteen_bytes_are_too_few() {
        assert_eq!(
            Ethernet::new_checked([0; 13]).unwrap_err(),
            Error::Short {
                layer: Layer::Ethernet,
                offset_bytes: 0,
                needed_bytes: 14,
                available_bytes: 13
            }
        );
        assert!(Ethernet::new_checked([0; 14]).unwrap().payload().is_empty());
    }

    fn snapshot(view: &Ethernet<&mut [u8]>) -> (MacAddr, MacAddr, u16, Vec<u8>) {
        (view.destination(), view.source(), view.ether_type(), view.payload().into())
    }

    #[test]
    fn a_type_or_a_length() {
        let kinds = [0, 1500, 1501, 0x05ff, 0x0600, 0xffff].map(Kind::of);
        let (length, ether_type) = (Kind::Length, Kind::EtherType);
        let expected = [
            Some(length(0)),
            Some(length(1500)),
            None,
            None,
            Some(ether_type(0x0600)),
            Some(ether_type(0xffff)),
        ];
        assert_eq!(kinds, expected);
    }

    proptest! {
        // Planted and caught: set_source writes the destination.
        #[test]
        fn a_setter_changes_its_field_only(
            mut frame in vec(any::<u8>(), 14..80), a: [u8; 6], b: [u8; 6], ether_type: u16,
        ) {
            let mut view = Ethernet::new_checked(frame.as_mut_slice()).unwrap();
            let mut expected = snapshot(&view);
            view.set_destination(MacAddr(a));
            expected.0 = MacAddr(a);
            prop_assert_eq!(snapshot(&view), expected.clone());
            view.set_source(MacAddr(b));
            expected.1 = MacAddr(b);
            prop_assert_eq!(snapshot(&view), expected.clone());
            view.set_ether_type(ether_type);
            expected.2 = ether_type;
            prop_assert_eq!(snapshot(&view), expected.clone());
            view.swap_addresses();
            (expected.0, expected.1) = (MacAddr(b), MacAddr(a));
            prop_assert_eq!(snapshot(&view), expected.clone());
            view.payload_mut().fill(7);
            expected.3.fill(7);
            prop_assert_eq!(snapshot(&view), expected);
        }

        // Planted and caught: emit leaves out the source.
        #[test]
        fn emit_undoes_parse(frame in vec(any::<u8>(), 14..80)) {
            let repr = EthernetRepr::parse(&Ethernet::new_checked(&frame).unwrap());
            let mut copy = frame.clone();
            copy[..14].fill(0xa5);
            repr.emit(&mut copy).unwrap();
            prop_assert_eq!(copy, frame);
        }

        // Planted and caught: bytes below 16 printed with one digit.
        #[test]
        fn an_address_parses_as_it_prints(address: [u8; 6]) {
            prop_assert_eq!(MacAddr(address).to_string().parse(), Ok(MacAddr(address)));
        }

        // Planted and caught: a pair sliced at byte 2 before its length is known.
        #[test]
        fn no_text_panics(text in ".{0,20}|[0-9a-f:+-]{0,20}") {
            let _ = text.parse::<MacAddr>();
        }
    }
}

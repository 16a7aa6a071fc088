//! What is sent: packets whose every word says which packet and which word it is.

use std::collections::BTreeSet;

/// The EtherType of all test packets: for local experiments (IEEE Std 802).
pub(crate) const ETHER_TYPE: u16 = 0x88b5;
/// In front of the words: an Ethernet header, and 2 bytes that align them.
pub(crate) const HEADER_BYTES: usize = 16;
/// The shortest packet sent.
pub(crate) const MIN_BYTES: usize = 64;
/// The number of packets that only find out whether the link passes any.
pub(crate) const HELLO: u16 = u16::MAX;

/// A packet to be sent, and what shall come of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) number: u16,
    pub(crate) len_bytes: usize,
    /// Its length where it arrives, or `None` when it shall not.
    pub(crate) arrives: Option<usize>,
    /// The last byte of its destination's hardware address.
    pub(crate) to: u8,
}

impl Packet {
    /// A packet that arrives as it was sent.
    pub(crate) fn new(number: usize, len_bytes: usize) -> Self {
        let number = u16::try_from(number).expect("tests send fewer packets");
        Self { number, len_bytes, arrives: Some(len_bytes), to: 0 }
    }

    /// The same packet, dropped on its way.
    pub(crate) fn lost(self) -> Self {
        Self { arrives: None, ..self }
    }

    /// The same packet, which arrives with this length.
    pub(crate) fn arriving(self, len_bytes: usize) -> Self {
        Self { arrives: Some(len_bytes), ..self }
    }

    /// The packet's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len_bytes.max(HEADER_BYTES)];
        bytes[..6].copy_from_slice(&[0x02, b'n', b'm', 0, 1, self.to]);
        bytes[6..12].copy_from_slice(&[0x02, b'n', b'm', 0, 2, 0]);
        bytes[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        for (at, byte) in bytes[HEADER_BYTES..].iter_mut().enumerate() {
            *byte = self.payload_byte(at);
        }
        bytes.truncate(self.len_bytes);
        bytes
    }

    /// Compares every byte of a packet that arrived. Where the program lengthened it, what was added
    /// is not ours to know.
    pub(crate) fn check(&self, got: &[u8]) -> Result<(), String> {
        let number = number_of(got);
        if number != Some(self.number) {
            return Err(format!("packet {} expected, {number:?} arrived", self.number));
        }
        if Some(got.len()) != self.arrives {
            let (number, arrives) = (self.number, self.arrives);
            return Err(format!("packet {number} has {} bytes, not {arrives:?}", got.len()));
        }
        let sent = self.bytes();
        match got.iter().zip(&sent).position(|(got, sent)| got != sent) {
            None => Ok(()),
            Some(at) => Err(format!(
                "packet {}, byte {at} of {}: {:#04x} instead of {:#04x}",
                self.number,
                got.len(),
                got[at],
                sent[at]
            )),
        }
    }

    /// Word `w` is `number << 16 | w`, in network byte order.
    fn payload_byte(&self, at: usize) -> u8 {
        let word = u32::from(self.number) << 16 | u32::try_from(at / 4).expect("packets are small");
        word.to_be_bytes()[at % 4]
    }
}

/// The packets that came while some may be lost. A wire that pushes back may change their order, as a
/// hub of QEMU does.
#[derive(Debug, Default)]
pub(crate) struct Seen(pub(crate) BTreeSet<u16>);

impl Seen {
    /// Checks every byte of a packet of [`MIN_BYTES`], and that it did not come before. What is none of
    /// a case's packets does not count.
    pub(crate) fn note(&mut self, bytes: &[u8]) -> Result<(), String> {
        let number = number_of(bytes).filter(|number| is_ours(bytes) && *number != HELLO);
        let Some(number) = number else { return Ok(()) };
        Packet::new(number.into(), MIN_BYTES).check(bytes)?;
        if self.0.insert(number) { Ok(()) } else { Err(format!("packet {number} came twice")) }
    }
}

/// Whether it is a packet of these tests at all.
pub(crate) fn is_ours(bytes: &[u8]) -> bool {
    bytes.get(12..14) == Some(&ETHER_TYPE.to_be_bytes())
}

/// The number that a packet's first word names.
pub(crate) fn number_of(bytes: &[u8]) -> Option<u16> {
    let [high, low] = bytes.get(HEADER_BYTES..HEADER_BYTES + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes([high, low]))
}

/// `count` packets of one length, numbered from 0.
pub(crate) fn packets(count: usize, len_bytes: usize) -> Vec<Packet> {
    (0..count).map(|number| Packet::new(number, len_bytes)).collect()
}

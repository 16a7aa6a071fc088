//! One VLAN tag: 802.1Q (IEEE 802.1Q, clause 9.6), or 802.1ad where tags are stacked.
//!
//! The tag protocol identifier (0x8100 or 0x88a8) is what the layer before gives as its Ethernet
//! type, so the view starts after it and the bytes of a tag look like a small header:
//!
//! ```text
//!  bits  3          1               12   | 16
//!  | priority | drop eligible |     id   | type of what follows | payload
//! ```

use crate::ethernet::ether_type;
use crate::{Error, Layer, be16, set_be16};

/// Bytes of a tag.
pub const HEADER_LEN_BYTES: usize = 4;

/// Tells whether an Ethernet type announces a tag: 0x8100 or 0x88a8. The older 0x9100 does not.
#[inline]
#[must_use]
pub const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, ether_type::VLAN | ether_type::VLAN_SERVICE)
}

/// A view of a tag and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Vlan<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Vlan<T> {
    /// Checks that the 4 bytes of the tag are there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Vlan, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the priority code point, 0 to 7.
    #[inline]
    pub fn priority(&self) -> u8 {
        self.header()[0] >> 5
    }

    /// Tells whether the frame may be dropped first.
    #[inline]
    pub fn drop_eligible(&self) -> bool {
        self.header()[0] & 0x10 != 0
    }

    /// Reads the VLAN id, 0 to 4095; 0 is a priority tag, which names no VLAN.
    #[inline]
    pub fn id(&self) -> u16 {
        be16(self.header(), 0) & 0x0fff
    }

    /// Reads the Ethernet type of what follows.
    #[inline]
    pub fn ether_type(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Lends the bytes after the tag.
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
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole tag")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Vlan<T> {
    /// Writes the priority code point: the low 3 bits of `priority`.
    #[inline]
    pub fn set_priority(&mut self, priority: u8) {
        let header = self.header_mut();
        header[0] = header[0] & 0x1f | priority << 5;
    }

    /// Writes whether the frame may be dropped first.
    #[inline]
    pub fn set_drop_eligible(&mut self, drop_eligible: bool) {
        let header = self.header_mut();
        header[0] = header[0] & !0x10 | u8::from(drop_eligible) << 4;
    }

    /// Writes the VLAN id: the low 12 bits of `id`.
    #[inline]
    pub fn set_id(&mut self, id: u16) {
        let header = self.header_mut();
        let control = be16(header, 0) & 0xf000 | id & 0x0fff;
        set_be16(header, 0, control);
    }

    /// Writes the Ethernet type of what follows.
    #[inline]
    pub fn set_ether_type(&mut self, ether_type: u16) {
        set_be16(self.header_mut(), 2, ether_type);
    }

    /// Lends the bytes after the tag for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole tag")
    }
}

/// A tag as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanRepr {
    /// Priority code point, 0 to 7.
    pub priority: u8,
    /// Whether the frame may be dropped first.
    pub drop_eligible: bool,
    /// VLAN id, 0 (priority tag) to 4095 (reserved).
    pub id: u16,
    /// Ethernet type of what follows.
    pub ether_type: u16,
}

impl VlanRepr {
    /// Reads all fields; every tag is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &Vlan<T>) -> Self {
        Self {
            priority: view.priority(),
            drop_eligible: view.drop_eligible(),
            id: view.id(),
            ether_type: view.ether_type(),
        }
    }

    /// Writes the tag at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] if priority or id are out of range.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Vlan<&'b mut [u8]>, Error> {
        Error::check_field(Layer::Vlan, 0, "priority", self.priority <= 7)?;
        Error::check_field(Layer::Vlan, 0, "id", self.id <= 0x0fff)?;
        let mut view = Vlan::new_checked(buffer)?;
        view.set_priority(self.priority);
        view.set_drop_eligible(self.drop_eligible);
        view.set_id(self.id);
        view.set_ether_type(self.ether_type);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_by_hand() {
        let view = Vlan::new_checked([0xb0, 0x65, 0x08, 0x00, 9]).unwrap();
        assert_eq!((view.priority(), view.drop_eligible(), view.id()), (5, true, 101));
        assert_eq!((view.ether_type(), view.payload()), (0x0800, [9].as_slice()));
        assert!(Vlan::new_checked([0; 3]).is_err());
        assert!(is_tag(0x8100) && is_tag(0x88a8) && !is_tag(0x9100) && !is_tag(0x0800));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let good = VlanRepr { priority: 7, drop_eligible: true, id: 4095, ether_type: 0x0800 };
        assert!(good.emit(&mut [0; 4]).is_ok());
        assert!(good.emit(&mut [0; 3]).is_err());
        assert!(VlanRepr { priority: 8, ..good }.emit(&mut [0; 4]).is_err());
        assert!(VlanRepr { id: 4096, ..good }.emit(&mut [0; 4]).is_err());
    }

    proptest! {
        // Planted and caught: priority that can only be set; drop_eligible that cannot be cleared;
        // set_id clears drop_eligible.
        #[test]
        fn a_setter_changes_its_field_only(
            mut tag: [u8; 6], priority: u8, drop_eligible: bool, id: u16, ether_type: u16,
        ) {
            let mut view = Vlan::new_checked(tag.as_mut_slice()).unwrap();
            let payload = view.payload().to_vec();
            let mut expected = VlanRepr::parse(&view);
            view.set_priority(priority);
            expected.priority = priority % 8;
            prop_assert_eq!(VlanRepr::parse(&view), expected);
            view.set_drop_eligible(drop_eligible);
            expected.drop_eligible = drop_eligible;
            prop_assert_eq!(VlanRepr::parse(&view), expected);
            view.set_id(id);
            expected.id = id % 4096;
            prop_assert_eq!(VlanRepr::parse(&view), expected);
            view.set_ether_type(ether_type);
            expected.ether_type = ether_type;
            prop_assert_eq!(VlanRepr::parse(&view), expected);
            prop_assert_eq!(view.payload(), payload);
        }

        // Planted and caught: emit leaves out drop_eligible; set_id clears it.
        #[test]
        fn emit_undoes_parse(tag: [u8; 8]) {
            let mut copy = [0xa5; 8];
            copy[4..].copy_from_slice(&tag[4..]);
            VlanRepr::parse(&Vlan::new_checked(&tag).unwrap()).emit(&mut copy).unwrap();
            prop_assert_eq!(copy, tag);
        }
    }
}

//! Linux cooked captures, versions 1 and 2: what stands for a link header when a capture takes
//! from all interfaces, or from one without a link header.
//!
//! ```text
//!  LINKTYPE_LINUX_SLL, 113
//!   0  | packet type 16 | ARPHRD type 16 | address length 16 | address, 8 bytes | protocol 16 |
//!  16  | payload
//!  LINKTYPE_LINUX_SLL2, 276
//!   0  | protocol 16 | reserved 16 | interface index 32 | ARPHRD type 16 | packet type 8
//!  11  | address length 8 | address, 8 bytes |
//!  20  | payload
//! ```
//!
//! All numbers are big-endian. The address is the sender's, cut to 8 bytes, though its length may
//! say more. The protocol is an Ethernet type, or one of the kernel's numbers below 0x0600
//! (`ETH_P_802_3` and others in `include/uapi/linux/if_ether.h`); for some ARPHRD types it is
//! something else.
//!
//! ```
//! use netmem_wire::sll::{Sll2, SllRepr, packet_type};
//!
//! let repr = SllRepr {
//!     packet_type: packet_type::OUTGOING,
//!     hardware_type: 1,
//!     address_len_bytes: 6,
//!     address: [2, 0, 0, 0, 0, 1, 0, 0],
//!     protocol: 0x0800,
//! };
//! let mut bytes = [0; 24];
//! repr.emit_v2(&mut bytes, 7)?;
//! let view = Sll2::new_checked(&bytes)?;
//! assert_eq!((view.interface_index(), view.protocol()), (7, 0x0800));
//! assert_eq!(view.address(), [2, 0, 0, 0, 0, 1]);
//! assert_eq!(SllRepr::parse_v2(&view)?, repr);
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::{Error, Layer, bytes};

/// Bytes of a header of version 1.
pub const HEADER_LEN_BYTES: usize = 16;

/// Bytes of a header of version 2.
pub const HEADER_V2_LEN_BYTES: usize = 20;

/// Which way a packet went: the kernel's `PACKET_*` (`include/uapi/linux/if_packet.h`).
pub mod packet_type {
    /// To this machine.
    pub const HOST: u16 = 0;
    /// To all.
    pub const BROADCAST: u16 = 1;
    /// To a group.
    pub const MULTICAST: u16 = 2;
    /// To another machine, seen because the interface is promiscuous.
    pub const OTHER_HOST: u16 = 3;
    /// Sent by this machine.
    pub const OUTGOING: u16 = 4;
}

/// Writes the view of one version: `number` names type, place and words of each number.
macro_rules! view {
    (
        $(#[$doc:meta])* $name:ident, $layer:ident, $len_bytes:ident, address at $address:literal;
        $($getter:ident, $setter:ident, $type:ident, $at:literal, $what:literal;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T> {
            buffer: T,
        }

        impl<T: AsRef<[u8]>> $name<T> {
            /// Checks that the header is there. No setter voids the check.
            ///
            /// # Errors
            /// [`Error::Short`].
            #[inline]
            pub fn new_checked(buffer: T) -> Result<Self, Error> {
                Error::check_header(Layer::$layer, $len_bytes, buffer.as_ref().len())?;
                Ok(Self { buffer })
            }

            $(
                #[doc = concat!("Reads ", $what, ".")]
                #[inline]
                pub fn $getter(&self) -> $type {
                    $type::from_be_bytes(bytes(self.header(), $at))
                }
            )*

            /// Reads all 8 bytes of the address, those behind its length included.
            #[inline]
            pub fn address_bytes(&self) -> [u8; 8] {
                bytes(self.header(), $address)
            }

            /// Lends the address: as many bytes as its length says, at most 8.
            #[inline]
            pub fn address(&self) -> &[u8] {
                let len_bytes = usize::from(self.address_len_bytes()).min(8);
                &self.header()[$address..$address + len_bytes]
            }

            /// Lends the bytes after the header.
            #[inline]
            pub fn payload(&self) -> &[u8] {
                &self.buffer.as_ref()[$len_bytes..]
            }

            /// Gives the buffer back.
            #[inline]
            pub fn into_inner(self) -> T {
                self.buffer
            }

            fn header(&self) -> &[u8; $len_bytes] {
                self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
            }
        }

        impl<T: AsRef<[u8]> + AsMut<[u8]>> $name<T> {
            $(
                #[doc = concat!("Writes ", $what, ".")]
                #[inline]
                pub fn $setter(&mut self, $getter: $type) {
                    let bytes = $getter.to_be_bytes();
                    self.header_mut()[$at..$at + bytes.len()].copy_from_slice(&bytes);
                }
            )*

            /// Writes all 8 bytes of the address; its length stays as it was.
            #[inline]
            pub fn set_address_bytes(&mut self, address: [u8; 8]) {
                self.header_mut()[$address..$address + 8].copy_from_slice(&address);
            }

            /// Lends the bytes after the header for writing.
            #[inline]
            pub fn payload_mut(&mut self) -> &mut [u8] {
                &mut self.buffer.as_mut()[$len_bytes..]
            }

            fn header_mut(&mut self) -> &mut [u8; $len_bytes] {
                self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
            }
        }
    };
}

view! {
    /// A view of a cooked header of version 1.
    Sll, Sll, HEADER_LEN_BYTES, address at 6;
    packet_type, set_packet_type, u16, 0, "which way the packet went; see [`packet_type`]";
    hardware_type, set_hardware_type, u16, 2, "the interface's ARPHRD type: 1 is Ethernet";
    address_len_bytes, set_address_len_bytes, u16, 4, "the length of the sender's address";
    protocol, set_protocol, u16, 14, "the payload's protocol";
}

view! {
    /// A view of a cooked header of version 2.
    Sll2, Sll2, HEADER_V2_LEN_BYTES, address at 12;
    protocol, set_protocol, u16, 0, "the payload's protocol";
    reserved, set_reserved, u16, 2, "the reserved bytes";
    interface_index, set_interface_index, u32, 4, "the index of the interface, 1 or above";
    hardware_type, set_hardware_type, u16, 8, "the interface's ARPHRD type: 1 is Ethernet";
    packet_type, set_packet_type, u8, 10, "which way the packet went; see [`packet_type`]";
    address_len_bytes, set_address_len_bytes, u8, 11, "the length of the sender's address";
}

/// A cooked header of either version as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SllRepr {
    /// Which way the packet went; see [`packet_type`].
    pub packet_type: u16,
    /// The interface's ARPHRD type.
    pub hardware_type: u16,
    /// Length of the sender's address; may be more than the 8 bytes that are kept.
    pub address_len_bytes: u16,
    /// The sender's address, padded to 8 bytes.
    pub address: [u8; 8],
    /// The payload's protocol.
    pub protocol: u16,
}

impl SllRepr {
    /// Reads all fields of version 1; every header is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &Sll<T>) -> Self {
        Self {
            packet_type: view.packet_type(),
            hardware_type: view.hardware_type(),
            address_len_bytes: view.address_len_bytes(),
            address: view.address_bytes(),
            protocol: view.protocol(),
        }
    }

    /// Reads all fields of version 2 but the interface index.
    ///
    /// # Errors
    /// [`Error::Field`] if the reserved bytes are not zero.
    pub fn parse_v2<T: AsRef<[u8]>>(view: &Sll2<T>) -> Result<Self, Error> {
        Error::check_field(Layer::Sll2, 2, "reserved", view.reserved() == 0)?;
        Ok(Self {
            packet_type: view.packet_type().into(),
            hardware_type: view.hardware_type(),
            address_len_bytes: view.address_len_bytes().into(),
            address: view.address_bytes(),
            protocol: view.protocol(),
        })
    }

    /// Writes a header of version 1 at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Sll<&'b mut [u8]>, Error> {
        let mut view = Sll::new_checked(buffer)?;
        view.set_packet_type(self.packet_type);
        view.set_hardware_type(self.hardware_type);
        view.set_address_len_bytes(self.address_len_bytes);
        view.set_address_bytes(self.address);
        view.set_protocol(self.protocol);
        Ok(view)
    }

    /// Writes a header of version 2 at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a packet type or an address length above 255.
    pub fn emit_v2<'b>(
        &self,
        buffer: &'b mut [u8],
        interface_index: u32,
    ) -> Result<Sll2<&'b mut [u8]>, Error> {
        let byte = |offset_bytes, field, value| {
            u8::try_from(value).map_err(|_| Error::Field {
                layer: Layer::Sll2,
                offset_bytes,
                field,
            })
        };
        let packet_type = byte(10, "packet type", self.packet_type)?;
        let address_len_bytes = byte(11, "address length", self.address_len_bytes)?;
        let mut view = Sll2::new_checked(buffer)?;
        view.set_protocol(self.protocol);
        view.set_reserved(0);
        view.set_interface_index(interface_index);
        view.set_hardware_type(self.hardware_type);
        view.set_packet_type(packet_type);
        view.set_address_len_bytes(address_len_bytes);
        view.set_address_bytes(self.address);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_by_hand() {
        let bytes = [0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 6, 0xff];
        let view = Sll::new_checked(&bytes).unwrap();
        assert_eq!((view.packet_type(), view.hardware_type(), view.protocol()), (4, 1, 0x0806));
        assert_eq!((view.address(), view.payload()), (&[2, 0, 0, 0, 0, 1][..], &[0xff][..]));
        assert!(Sll::new_checked(&bytes[..15]).is_err());
        // Infiniband: 20 bytes of address, 8 of them here.
        let bytes = [8, 0, 0, 0, 0, 0, 0, 3, 0, 32, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8];
        let view = Sll2::new_checked(&bytes).unwrap();
        assert_eq!(
            (view.interface_index(), view.hardware_type(), view.address().len()),
            (3, 32, 8)
        );
        assert!(Sll2::new_checked(&bytes[..19]).is_err());
        let repr = SllRepr::parse_v2(&view).unwrap();
        assert!(SllRepr { packet_type: 256, ..repr }.emit_v2(&mut [0; 20], 1).is_err());
        assert!(SllRepr { address_len_bytes: 256, ..repr }.emit_v2(&mut [0; 20], 1).is_err());
        assert!(repr.emit(&mut [0; 15]).is_err());
    }

    proptest! {
        // Planted and caught: version 1 writes the hardware type at byte 0; version 2 the address
        // at byte 11.
        #[test]
        fn a_setter_changes_its_field_only(
            bytes in vec(any::<u8>(), 20..40), i in 0_usize..7, value: u32, address: [u8; 8],
        ) {
            let [_, _, high, low] = value.to_be_bytes();
            let word = u16::from_be_bytes([high, low]);
            let (mut v1, mut v2) = (bytes.clone(), bytes.clone());
            let (mut expected_v1, mut expected_v2) = (bytes.clone(), bytes);
            let mut view = Sll::new_checked(v1.as_mut_slice()).unwrap();
            match i {
                0 => view.set_packet_type(word),
                1 => view.set_hardware_type(word),
                2 => view.set_address_len_bytes(word),
                3 => view.set_protocol(word),
                _ => view.set_address_bytes(address),
            }
            let read = match i {
                0 => view.packet_type(),
                1 => view.hardware_type(),
                2 => view.address_len_bytes(),
                3 => view.protocol(),
                _ => word,
            };
            prop_assert_eq!(read, word);
            match [0, 2, 4, 14].get(i) {
                Some(at) => expected_v1[*at..at + 2].copy_from_slice(&word.to_be_bytes()),
                None => expected_v1[6..14].copy_from_slice(&address),
            }
            prop_assert_eq!(v1, expected_v1);

            let mut view = Sll2::new_checked(v2.as_mut_slice()).unwrap();
            match i {
                0 => view.set_protocol(word),
                1 => view.set_reserved(word),
                2 => view.set_hardware_type(word),
                3 => view.set_interface_index(value),
                4 => view.set_packet_type(low),
                5 => view.set_address_len_bytes(low),
                _ => view.set_address_bytes(address),
            }
            let read = match i {
                0 => view.protocol() == word,
                1 => view.reserved() == word,
                2 => view.hardware_type() == word,
                3 => view.interface_index() == value,
                4 => view.packet_type() == low,
                5 => view.address_len_bytes() == low,
                _ => view.address_bytes() == address,
            };
            prop_assert!(read);
            match i {
                0..3 => expected_v2[[0, 2, 8][i]..][..2].copy_from_slice(&word.to_be_bytes()),
                3 => expected_v2[4..8].copy_from_slice(&value.to_be_bytes()),
                4 | 5 => expected_v2[6 + i] = low,
                _ => expected_v2[12..20].copy_from_slice(&address),
            }
            prop_assert_eq!(v2, expected_v2);
        }

        // Planted and caught: emit leaves out the address's length; emit_v2 the interface index.
        #[test]
        fn emit_undoes_parse(mut bytes in vec(any::<u8>(), 20..40)) {
            let mut copy = bytes.clone();
            copy[..16].fill(0xa5);
            SllRepr::parse(&Sll::new_checked(&bytes).unwrap()).emit(&mut copy).unwrap();
            prop_assert_eq!(&copy, &bytes);
            bytes[2..4].fill(0);
            copy.copy_from_slice(&bytes);
            copy[..20].fill(0xa5);
            let view = Sll2::new_checked(&bytes).unwrap();
            let repr = SllRepr::parse_v2(&view).unwrap();
            repr.emit_v2(&mut copy, view.interface_index()).unwrap();
            prop_assert_eq!(copy, bytes);
        }
    }
}

//! The number of an interface's queues, changed as `ethtool -L` does it (`ETHTOOL_MSG_CHANNELS_SET`,
//! kernel 5.6).

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

// include/uapi/linux/genetlink.h and ethtool_netlink.h
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CHANNELS_SET: u8 = 18;
const HEADER: u16 = 1;
const HEADER_DEV_NAME: u16 = 2;
const CHANNELS_RX: u16 = 6;
const CHANNELS_TX: u16 = 7;
const NLMSG_ERROR: u16 = 2;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Sets how many receive and transmit queues `interface` of the calling thread's namespace uses; the
/// error is the kernel's number and words.
pub(crate) fn set_channels(interface: &str, rx: u32, tx: u32) -> Result<(), (i32, String)> {
    let mut socket = Socket::new(NETLINK_GENERIC).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.set_ext_ack(true).unwrap();
    socket.set_cap_ack(true).unwrap();
    let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, b"ethtool\0".to_vec());
    let family = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &[name])?;
    let family = u16::from_ne_bytes(family.try_into().unwrap());
    let name = [interface.as_bytes(), &[0]].concat();
    let name = [DefaultNla::new(HEADER_DEV_NAME, name)];
    let mut header = vec![0; name.as_slice().buffer_len()];
    name.as_slice().emit(&mut header);
    let count = |kind, value: u32| DefaultNla::new(kind, value.to_ne_bytes().to_vec());
    let request = [
        DefaultNla::new(HEADER | NLA_F_NESTED, header),
        count(CHANNELS_RX, rx),
        count(CHANNELS_TX, tx),
    ];
    ask(&socket, family, CHANNELS_SET, &request).map(drop)
}

/// Sends a command and reads up to its acknowledgement; returns the family's number, if it is told.
fn ask(
    socket: &Socket,
    family: u16,
    command: u8,
    attributes: &[DefaultNla],
) -> Result<Vec<u8>, (i32, String)> {
    let len_bytes = 20 + attributes.buffer_len();
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(len_bytes).unwrap();
    (header.message_type, header.flags) = (family, NLM_F_REQUEST | NLM_F_ACK);
    let mut message = vec![0; len_bytes];
    header.emit(&mut message);
    (message[16], message[17]) = (command, 1);
    attributes.emit(&mut message[20..]);
    socket.send(&message, 0).unwrap();
    let mut number = Vec::new();
    loop {
        let mut datagram = Vec::with_capacity(32 << 10);
        socket.recv(&mut datagram, 0).unwrap();
        let kind = u16::from_ne_bytes(datagram[4..6].try_into().unwrap());
        let find = |from: usize, wanted: u16| {
            let found = NlasIterator::new(&datagram[from..]).map(Result::unwrap);
            found.into_iter().find(|nla| nla.kind() == wanted).map(|nla| nla.value().to_vec())
        };
        if kind != NLMSG_ERROR {
            number = find(20, CTRL_ATTR_FAMILY_ID).unwrap_or_default();
            continue;
        }
        let errno = -i32::from_ne_bytes(datagram[16..20].try_into().unwrap());
        if errno == 0 {
            return Ok(number);
        }
        let words = find(36, NLMSGERR_ATTR_MSG).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).trim_end_matches('\0').to_owned();
        return Err((errno, words));
    }
}

//! The requests of the lab and the check of every reply.
//!
//! Request `n` is an Ethernet frame with an ICMP echo request whose identifier and sequence number are
//! the two halves of `n`, and whose payload has a length (0 to 1472 bytes, odd and even) and bytes that
//! follow from `n` alone. So a reply names its request, and every byte of it is known.
//!
//! The check shares no code with the responder or its packet library: offsets are written out and the
//! checksum is RFC 1071's loop. A reply is right once; after that it is a duplicate.

use std::net::Ipv4Addr;

/// Who talks to whom.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// The client's Ethernet address.
    pub client_mac: [u8; 6],
    /// The server's Ethernet address.
    pub server_mac: [u8; 6],
    /// The client's IPv4 address.
    pub client_ip: Ipv4Addr,
    /// The server's IPv4 address.
    pub server_ip: Ipv4Addr,
}

/// How the requests came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Score {
    /// Requests sent.
    pub sent: u64,
    /// Replies that were right, each the first to its request.
    pub right: u64,
    /// Replies with a wrong byte anywhere, or to no request.
    pub wrong: u64,
    /// Requests without a right reply.
    pub missing: u64,
    /// Right replies that were not the first.
    pub duplicate: u64,
}

impl Score {
    /// Whether every request got exactly one right reply and nothing else came.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.right == self.sent && self.wrong == 0 && self.missing == 0 && self.duplicate == 0
    }

    /// Adds the score of another phase.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.right += other.right;
        self.wrong += other.wrong;
        self.missing += other.missing;
        self.duplicate += other.duplicate;
    }
}

/// How long the payloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Every length from 0 to 1472 bytes.
    Every,
    /// This many bytes, at most 1472.
    Fixed(usize),
}

impl Payload {
    /// The payload length of request `number`: all of 0..=1472 within 1,473 numbers in a row.
    fn len(self, number: u32) -> usize {
        let every = u64::from(number) * 389 % u64::from(MAX_PAYLOAD + 1);
        match self {
            Self::Every => usize::try_from(every).unwrap_or(0),
            Self::Fixed(len) => len.min(MAX_PAYLOAD as usize),
        }
    }
}

/// Requests in order of their number, and which were answered.
#[derive(Debug)]
pub struct Ledger {
    endpoints: Endpoints,
    payload: Payload,
    /// The number of the first request of this phase.
    first: u32,
    answered: Vec<bool>,
    score: Score,
}

const MAX_PAYLOAD: u32 = 1472;
const HEADERS: usize = 14 + 20 + 8;
/// The longest request in bytes, headers included.
pub const MAX_FRAME: usize = HEADERS + MAX_PAYLOAD as usize;

impl Ledger {
    /// Starts with request number `first`.
    #[must_use]
    pub fn new(endpoints: Endpoints, first: u32) -> Self {
        let payload = Payload::Every;
        Self { endpoints, payload, first, answered: Vec::new(), score: Score::default() }
    }

    /// Chooses how long the payloads are. Default: [`Payload::Every`].
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// The number that the next request gets.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "numbers wrap as the protocol's do")]
        {
            self.first.wrapping_add(self.answered.len() as u32)
        }
    }

    /// Requests sent and not rightly answered.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.score.sent - self.score.right
    }

    /// How it stands; `missing` counts requests that are still open.
    #[must_use]
    pub fn score(&self) -> Score {
        Score { missing: self.open(), ..self.score }
    }

    /// Writes request `number` over `frame`. It counts as sent with [`sent`](Self::sent).
    pub fn write_request(&self, number: u32, frame: &mut Vec<u8>) {
        let ends = &self.endpoints;
        let payload_len = self.payload.len(number);
        let (id, sequence) = ((number >> 16) as u16, (number & 0xffff) as u16);
        let total_len = u16::try_from(20 + 8 + payload_len).unwrap_or(u16::MAX);
        frame.clear();
        frame.extend(ends.server_mac.iter().chain(&ends.client_mac).chain(&[0x08, 0x00]));
        frame.extend([0x45, 0]);
        frame.extend(total_len.to_be_bytes());
        frame.extend(sequence.to_be_bytes());
        frame.extend([0x40, 0, 64, 1, 0, 0]);
        frame.extend(ends.client_ip.octets().iter().chain(&ends.server_ip.octets()));
        let sum = rfc1071(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend([8, 0, 0, 0]);
        frame.extend(id.to_be_bytes());
        frame.extend(sequence.to_be_bytes());
        push_payload(number, payload_len, frame);
        let sum = rfc1071(&frame[34..]);
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
    }

    /// Counts the next `count` requests as sent.
    pub fn sent(&mut self, count: usize) {
        self.answered.resize(self.answered.len() + count, false);
        self.score.sent += count as u64;
    }

    /// Checks a received frame. Frames that are no echo reply from the server are not ours to judge
    /// and are left out; returns the number of the request that was rightly answered.
    pub fn check(&mut self, frame: &[u8]) -> Option<u32> {
        if !self.is_reply(frame) {
            return None;
        }
        let Some(number) = self.right_reply(frame) else {
            self.score.wrong += 1;
            return None;
        };
        let index = number.wrapping_sub(self.first) as usize;
        match self.answered.get_mut(index) {
            None => self.score.wrong += 1,
            Some(answered) if *answered => self.score.duplicate += 1,
            Some(answered) => {
                *answered = true;
                self.score.right += 1;
                return Some(number);
            }
        }
        None
    }

    /// Whether a frame claims to be from the server, at either layer.
    fn is_reply(&self, frame: &[u8]) -> bool {
        let ip = frame.get(12..14) == Some(&[0x08, 0x00]);
        let from_server = frame.get(6..12) == Some(&self.endpoints.server_mac)
            || frame.get(26..30) == Some(&self.endpoints.server_ip.octets());
        ip && from_server
    }

    /// The number of the request that `frame` answers, if every byte is right.
    fn right_reply(&self, frame: &[u8]) -> Option<u32> {
        let ends = &self.endpoints;
        let ethernet_right = frame.len() >= HEADERS
            && frame[..6] == ends.client_mac
            && frame[6..12] == ends.server_mac;
        if !ethernet_right {
            return None;
        }
        let total_len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let ip_right = frame[14] == 0x45
            && rfc1071(&frame[14..34]) == 0
            && frame[20] & 0x3f == 0 // no fragment; whoever answers may set "don't fragment" or not
            && frame[21] == 0
            && frame[22] > 0
            && frame[23] == 1
            && frame[26..30] == ends.server_ip.octets()
            && frame[30..34] == ends.client_ip.octets();
        let icmp = frame[34..].get(..total_len.checked_sub(20)?)?;
        if !ip_right || icmp.len() < 8 || icmp[..2] != [0, 0] || rfc1071(icmp) != 0 {
            return None;
        }
        let number = u32::from_be_bytes([icmp[4], icmp[5], icmp[6], icmp[7]]);
        let right =
            icmp.len() - 8 == self.payload.len(number) && payload_is_right(number, &icmp[8..]);
        right.then_some(number)
    }
}

/// RFC 1071, section 1: the complement of the one's complement sum of 16-bit words.
pub(super) fn rfc1071(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !((sum & 0xffff) as u16)
}

/// Eight bytes of request `number`'s payload at a time, mixed so that no two requests look alike.
fn payload_words(number: u32) -> impl Iterator<Item = [u8; 8]> {
    let mut state = u64::from(number) << 32 | 0x5eed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 29).to_le_bytes()
    })
}

fn push_payload(number: u32, len: usize, frame: &mut Vec<u8>) {
    let end = frame.len() + len;
    for word in payload_words(number).take(len.div_ceil(8)) {
        frame.extend(word);
    }
    frame.truncate(end);
}

fn payload_is_right(number: u32, payload: &[u8]) -> bool {
    payload.chunks(8).zip(payload_words(number)).all(|(got, word)| *got == word[..got.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            client_mac: [2, 0, 0, 0, 0, 1],
            server_mac: [2, 0, 0, 0, 0, 2],
            client_ip: Ipv4Addr::new(192, 0, 2, 1),
            server_ip: Ipv4Addr::new(192, 0, 2, 2),
        }
    }

    /// The reply to `request`, made by hand.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut frame = request.to_vec();
        frame[..12].rotate_left(6);
        frame[26..34].rotate_left(4);
        frame[34] = 0;
        frame[36..38].fill(0);
        let sum = rfc1071(&frame[34..]);
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn request(ledger: &mut Ledger) -> Vec<u8> {
        let mut frame = Vec::new();
        ledger.write_request(ledger.next_number(), &mut frame);
        ledger.sent(1);
        frame
    }

    #[test]
    fn each_reply_is_right_once() {
        let mut ledger = Ledger::new(endpoints(), u32::MAX - 1);
        for _ in 0..4 {
            let request = request(&mut ledger);
            assert_eq!(ledger.check(&request), None, "our own request is not a reply");
            let reply = reply(&request);
            assert!(ledger.check(&reply).is_some());
            assert_eq!(ledger.check(&reply), None);
        }
        let unanswered = request(&mut ledger);
        let expected = Score { sent: 5, right: 4, wrong: 0, missing: 1, duplicate: 4 };
        assert_eq!(ledger.score(), expected);
        assert!(!ledger.score().is_perfect());
        let mut never_sent = Ledger::new(endpoints(), 0);
        assert_eq!(never_sent.check(&reply(&unanswered)), None);
        assert_eq!(never_sent.score().wrong, 1);
    }

    /// Every single changed byte makes a reply wrong, or no reply at all. A changed TTL is caught by
    /// the header checksum.
    #[test]
    fn any_changed_byte_is_found() {
        let mut ledger = Ledger::new(endpoints(), 1);
        let request = request(&mut ledger);
        let right = reply(&request);
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 0x11;
            assert_eq!(ledger.check(&wrong), None, "byte {at}");
        }
        assert_eq!(ledger.score().right, 0);
        assert!(ledger.check(&right).is_some());
    }

    #[test]
    fn payloads_have_every_length_and_differ() {
        let mut lens: Vec<_> = (7..7 + 1473).map(|n| Payload::Every.len(n)).collect();
        lens.sort_unstable();
        assert!(lens.iter().copied().eq(0..=1472));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        push_payload(1, 64, &mut one);
        push_payload(2, 64, &mut two);
        assert!(one != two && payload_is_right(1, &one) && !payload_is_right(2, &one));
    }
}

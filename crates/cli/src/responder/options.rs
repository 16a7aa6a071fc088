//! IP options of an echo request, turned into those of its reply in place (RFC 1122, 3.2.2.6).
//!
//! | option | here |
//! |---|---|
//! | end of list, no operation | stay |
//! | record route (RFC 791) | our address is recorded, once; a full one stays as it is |
//! | timestamp (RFC 791) | ours is added, by its flag; a full one's overflow count grows |
//! | a second one of these two | refused: each appears at most once (RFC 791) |
//! | loose and strict source route | refused, as the kernel does by default |
//! | any other | becomes no operations: an option that we do not understand is not echoed |

use std::{
    mem,
    net::Ipv4Addr,
    time::{SystemTime, UNIX_EPOCH},
};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// The options are malformed, or ask for what is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// Turns the options of a request to `own`, which is one of all our addresses, into those of the
/// reply.
pub(super) fn answer(
    options: &mut [u8],
    (own, all): (Ipv4Addr, &[Ipv4Addr]),
) -> Result<(), Refused> {
    let (mut at, mut has_route, mut has_times) = (0, false, false);
    while at < options.len() {
        match options[at] {
            END => break,
            NO_OPERATION => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let len = usize::from(*options.get(at + 1).ok_or(Refused)?);
        let option = options.get_mut(at..at + len).filter(|_| len >= 2).ok_or(Refused)?;
        match option[0] {
            RECORD_ROUTE if !mem::replace(&mut has_route, true) => record_route(option, own)?,
            TIMESTAMP if !mem::replace(&mut has_times, true) => timestamp(option, own, all)?,
            RECORD_ROUTE | TIMESTAMP => return Err(Refused),
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(Refused),
            _ => option.fill(NO_OPERATION),
        }
        at += len;
    }
    Ok(())
}

/// `type len pointer addresses...`; the pointer counts from 1 and is 4 at the first address.
fn record_route(option: &mut [u8], own: Ipv4Addr) -> Result<(), Refused> {
    let pointer = usize::from(*option.get(2).ok_or(Refused)?);
    if pointer < 4 || option.len() % 4 != 3 || pointer % 4 != 0 {
        return Err(Refused);
    }
    if let Some(room) = option.get_mut(pointer - 1..pointer + 3) {
        room.copy_from_slice(&own.octets());
        option[2] += 4;
    }
    Ok(())
}

/// `type len pointer overflow:4|flag:4 entries...`; flag 0: times, 1: address and time, 3: times
/// behind addresses that the sender has filled in. Room for a part of an entry is an error (RFC 791).
fn timestamp(option: &mut [u8], own: Ipv4Addr, all: &[Ipv4Addr]) -> Result<(), Refused> {
    let [_, _, pointer, overflow_flag, ..] = *option else { return Err(Refused) };
    let (overflow, flag) = (overflow_flag >> 4, overflow_flag & 15);
    let entry_len: u8 = match flag {
        0 => 4,
        1 | 3 => 8,
        _ => return Err(Refused),
    };
    if pointer < 5 || (pointer - 5) % entry_len != 0 {
        return Err(Refused);
    }
    let room = option.get_mut(usize::from(pointer) - 1..).unwrap_or_default();
    if room.is_empty() {
        match (flag, overflow) {
            // The addresses that the sender wanted all have their times.
            (3, _) => {}
            (_, 15) => return Err(Refused),
            _ => option[3] = (overflow + 1) << 4 | flag,
        }
        return Ok(());
    }
    let entry = room.get_mut(..usize::from(entry_len)).ok_or(Refused)?;
    let (address, time) = entry.split_at_mut(entry.len() - 4);
    if flag == 3 && !all.iter().any(|own| own.octets() == *address) {
        return Ok(());
    }
    if flag == 1 {
        address.copy_from_slice(&own.octets());
    }
    time.copy_from_slice(&milliseconds_since_midnight().to_be_bytes());
    option[2] += entry_len;
    Ok(())
}

/// Universal time, as the option wants it. Read only for packets that ask for it.
fn milliseconds_since_midnight() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_millis() % 86_400_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

    fn answered(options: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut options = options.to_vec();
        answer(&mut options, (OWN, &[OWN, OTHER])).map(|()| options)
    }

    #[test]
    fn record_route_gets_our_address_where_there_is_room() {
        let (free, full) = ([7, 11, 8, 1, 1, 1, 1, 0, 0, 0, 0, 0], [7, 7, 8, 1, 1, 1, 1, 0]);
        assert_eq!(answered(&free), Ok(vec![7, 11, 12, 1, 1, 1, 1, 10, 0, 0, 2, 0]));
        assert_eq!(answered(&full), Ok(full.to_vec()));
        assert_eq!(answered(&[7, 7, 3, 0, 0, 0, 0, 0]), Err(Refused), "pointer into the header");
        assert_eq!(answered(&[7, 7, 5, 0, 0, 0, 0, 0]), Err(Refused), "pointer into an address");
    }

    #[test]
    fn timestamps_are_added_by_their_flag() {
        let times = answered(&[68, 8, 5, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(times[..4], [68, 8, 9, 0]);
        assert!(u32::from_be_bytes(times[4..].try_into().unwrap()) < 86_400_000);
        let both = answered(&[68, 12, 5, 1, 0, 0, 0, 0, 9, 9, 9, 9]).unwrap();
        assert_eq!(both[..8], [68, 12, 13, 1, 10, 0, 0, 2]);
        assert_ne!(both[8..], [9; 4]);
        let others = [68, 12, 5, 3, 10, 0, 0, 9, 0, 0, 0, 0];
        assert_eq!(answered(&others), Ok(others.to_vec()), "asks somebody else");
        let ours = answered(&[68, 12, 5, 3, 10, 0, 0, 3, 9, 9, 9, 9]).unwrap();
        assert_eq!((ours[2], &ours[4..8]), (13, &[10, 0, 0, 3][..]), "any of ours is us");
        assert_eq!(answered(&[68, 10, 9, 0, 1, 2, 3, 4, 0, 0]), Err(Refused), "part of an entry");
        assert_eq!(answered(&[68, 12, 9, 1, 1, 2, 3, 4, 5, 6, 7, 8]), Err(Refused), "inside one");
        assert_eq!(answered(&[68, 4, 5, 0, 68, 4, 5, 0]), Err(Refused), "twice");
        assert_eq!(answered(&[68, 8, 9, 0x10, 1, 2, 3, 4]), Ok(vec![68, 8, 9, 0x20, 1, 2, 3, 4]));
        assert_eq!(answered(&[68, 8, 9, 0xf0, 1, 2, 3, 4]), Err(Refused), "overflow is full");
        assert_eq!(answered(&[68, 8, 5, 1, 0, 0, 0, 0]), Err(Refused), "room for half an entry");
    }

    #[test]
    fn others_are_blanked_and_source_routes_and_nonsense_refused() {
        assert_eq!(answered(&[148, 4, 0, 0]), Ok(vec![1, 1, 1, 1]));
        assert_eq!(answered(&[1, 1, 0, 99]), Ok(vec![1, 1, 0, 99]));
        for bad in
            [&[131u8, 7, 4, 1, 1, 1, 1, 0][..], &[137, 3, 4, 0], &[7, 1, 1, 1], &[7, 9, 4, 0]]
        {
            assert_eq!(answered(bad), Err(Refused), "{bad:?}");
        }
        assert_eq!(answered(&[1, 1, 1, 7]), Err(Refused), "cut in its length");
    }
}

use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap();
    [&len.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn longs(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// A socket as net/xdp/xsk_diag.c fills it (6.18), its attributes in that order.
fn socket() -> Vec<u8> {
    let umem = [longs(&[8 << 20]), words(&[5, 2048, 4096, 256, 7, 3, 1, 2])].concat();
    [
        vec![44, 3, 0, 0],
        words(&[4711, 0x1111, 0x2222]),
        attribute(DIAG_INFO, &words(&[7, 3])),
        attribute(DIAG_UID, &words(&[1000])),
        attribute(DIAG_RX_RING, &words(&[2048])),
        attribute(DIAG_TX_RING, &words(&[1024])),
        attribute(DIAG_UMEM, &umem),
        attribute(DIAG_FILL_RING, &words(&[512])),
        attribute(DIAG_COMPLETION_RING, &words(&[256])),
        attribute(DIAG_STATS, &longs(&[1, 2, 3, 4, 5, 6])),
        attribute(77, b"new."),
    ]
    .concat()
}

#[test]
fn a_socket_is_read() {
    let expected = XdpSocket {
        inode: 4711,
        ifindex: 7,
        queue: 3,
        uid: Some(1000),
        rx_ring: Some(2048),
        tx_ring: Some(1024),
        fill_ring: Some(512),
        completion_ring: Some(256),
        umem: Some(Umem {
            id: 5,
            len_bytes: 8 << 20,
            chunk_bytes: 4096,
            headroom_bytes: 256,
            is_zero_copy: true,
            users: 2,
        }),
        statistics: Some(SocketStatistics {
            rx_dropped: 1,
            rx_invalid_descs: 2,
            rx_ring_full: 3,
            rx_fill_ring_empty_descs: 4,
            tx_invalid_descs: 5,
            tx_ring_empty_descs: 6,
        }),
    };
    assert_eq!(XdpSocket::parse(&socket()), Ok(expected));

    let bare = XdpSocket { inode: 4711, ..XdpSocket::default() };
    assert_eq!(XdpSocket::parse(&socket()[..16]), Ok(bare), "neither bound nor with rings");
}

#[test]
fn the_request_is_the_kernels_struct() {
    let mut request = [0xff; 20];
    AllXdpSockets.emit(&mut request);
    let expected = [vec![44, 0, 0, 0], words(&[0, 0b1_0111, 0, 0])].concat();
    assert_eq!(request[..], expected);
}

/// Planted and caught: a header taken before its length was checked. In the tests above: a counter
/// at its neighbour's place, the request's `show` at the inode's.
#[test]
fn damaged_sockets_are_errors_not_panics() {
    let good = socket();
    for position in 0..good.len() {
        let _ = XdpSocket::parse(&good[..position]);
        for value in 0..=255 {
            let mut damaged = good.clone();
            damaged[position] = value;
            let _ = XdpSocket::parse(&damaged);
        }
    }
    assert!(XdpSocket::parse(&good[..15]).is_err());
    let other = [&[2], &good[1..]].concat();
    let error = XdpSocket::parse(&other).unwrap_err();
    assert_eq!(error.to_string(), "a socket of family 2");
    for (kind, len) in [(DIAG_INFO, 7), (DIAG_RX_RING, 3), (DIAG_UMEM, 39), (DIAG_STATS, 47)] {
        let mut short = [&good[..16], &attribute(kind, &vec![0; len])[..]].concat();
        short.resize(short.len().next_multiple_of(4), 0);
        assert!(XdpSocket::parse(&short).is_err(), "attribute {kind} of {len} bytes");
    }
}

/// Without the option the kernel says so, and that is no empty list.
#[test]
fn the_kernel_answers_or_refuses() {
    match SockDiag::open().and_then(|mut diag| diag.xdp_sockets()) {
        Ok(sockets) => assert!(sockets.iter().all(|socket| socket.inode != 0)),
        Err(error) => {
            let known = [libc::ENOENT, libc::EPROTONOSUPPORT, libc::EPERM];
            assert!(error.errno().is_some_and(|errno| known.contains(&errno)), "{error}");
        }
    }
}

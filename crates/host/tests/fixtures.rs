//! Answers of netlink that were written down (`fixtures/netlink`): what is read from them, and that
//! nothing that is done to them makes a parser panic.
#![cfg(target_endian = "little")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use netmem_host::netlink::{
    Direction, InetProtocol, InetSocket, LinkCounters, Napi, PacketSocket, PagePool,
    PagePoolStatistics, Queue, QueueStatistics, SocketState, UnixSocket, XdpSocket,
};
use netmem_host::queues::{QueueMap, QueueSources};
use netmem_host::source::Unavailable;
use netmem_host::{Cause, Result};

/// The bodies in a file.
fn bodies(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/netlink").join(name);
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let byte = |line: &str, at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    lines.map(|line| (0..line.len()).step_by(2).map(|at| byte(line, at)).collect()).collect()
}

fn parsed<T>(name: &str, parse: impl Fn(&[u8]) -> Result<T, Cause>) -> Vec<T> {
    bodies(name).iter().map(|body| parse(body).unwrap()).collect()
}

fn inet(body: &[u8]) -> Result<InetSocket, Cause> {
    InetSocket::parse(InetProtocol::Tcp, body)
}

fn sources() -> QueueSources {
    QueueSources {
        queues: Ok(parsed("queues.hex", Queue::parse)),
        napis: Ok(parsed("napis.hex", Napi::parse)),
        pools: Ok(parsed("page_pools.hex", PagePool::parse)),
        pool_statistics: Ok(parsed("page_pool_stats.hex", PagePoolStatistics::parse)),
        queue_statistics: Ok(parsed("queue_stats.hex", QueueStatistics::parse)),
        xdp_sockets: Ok(parsed("xdp_sockets.hex", XdpSocket::parse)),
        uptime_s: Ok(1090),
    }
}

#[test]
fn page_pools_are_read() {
    let pools = parsed("page_pools.hex", PagePool::parse);
    let [used, given_up, dmabuf, io_uring] = &pools[..] else { panic!("{pools:?}") };
    assert_eq!((used.id, used.ifindex, used.napi_id), (18, Some(2), Some(513)));
    assert_eq!((used.inflight, used.inflight_bytes), (Some(512), Some(512 << 12)));
    assert_eq!((used.detach_time_s, used.detached_for_s(1090)), (None, None));
    assert_eq!((given_up.id, given_up.detached_for_s(1090)), (17, Some(90)));
    assert_eq!(given_up.detached_for_s(999), Some(0), "a clock that is behind");
    assert_eq!((dmabuf.dmabuf_id, dmabuf.inflight_bytes), (Some(6), Some(1 << 33)));
    assert_eq!((io_uring.ifindex, io_uring.is_io_uring, used.is_io_uring), (None, true, false));
    let statistics = parsed("page_pool_stats.hex", PagePoolStatistics::parse);
    let [whole, part] = &statistics[..] else { panic!("{statistics:?}") };
    assert_eq!((whole.id, whole.ifindex, whole.alloc_fast), (18, Some(2), (1 << 32) + 108));
    assert_eq!((whole.alloc_waive, whole.recycle_cached), (113, 114));
    assert_eq!((whole.recycle_ring_full, whole.recycle_released_refcnt), (117, 118));
    assert_eq!((part.id, part.alloc_slow, part.alloc_empty), (17, 6, 0));
}

/// Has failed with: pools joined by their interface alone, and with sockets joined by queue alone.
#[test]
fn everything_of_a_queue_is_joined() {
    let map = QueueMap::join(sources()).unwrap();
    let of = |direction, id| {
        map.queues.iter().find(|m| (m.queue.direction, m.queue.id) == (direction, id)).unwrap()
    };
    let pools = |direction, id| of(direction, id).pools.iter().map(|state| state.pool.id);
    let (rx, tx) = (Direction::Rx, Direction::Tx);
    assert_eq!(map.queues.len(), 5);
    assert_eq!(pools(rx, 0).collect::<Vec<_>>(), [18]);
    assert_eq!(pools(rx, 1).collect::<Vec<_>>(), [19]);
    assert_eq!((pools(rx, 2).count(), pools(tx, 0).count()), (0, 0));
    assert_eq!(of(rx, 0).pools[0].statistics.unwrap().recycle_ring, 116);
    assert_eq!(of(rx, 0).napi.unwrap().irq, None);
    assert_eq!((of(rx, 1).napi.unwrap().irq, of(rx, 1).queue.dmabuf_id), (Some(41), Some(6)));
    let threaded = of(rx, 2).napi.unwrap();
    assert_eq!((threaded.thread_pid, threaded.gro_flush_timeout_ns), (Some(4711), Some(1 << 33)));
    assert!(of(rx, 2).queue.is_io_uring && !of(rx, 2).queue.is_xdp_socket);
    for (direction, id, expected) in [(rx, 0, vec![4711]), (tx, 0, vec![4711]), (rx, 1, vec![])] {
        let sockets: Vec<_> = of(direction, id).xdp_sockets.iter().map(|s| s.inode).collect();
        assert_eq!(sockets, expected);
        assert_eq!(of(direction, id).queue.is_xdp_socket, !expected.is_empty());
    }
    let counted = of(rx, 0).statistics.unwrap();
    assert_eq!((counted.rx_hw_drops, counted.rx_hw_drop_overruns), (Some(9), Some(7)));
    assert_eq!((counted.tx_packets, counted.rx_bytes), (None, Some(1 << 34)));
    assert_eq!(of(tx, 0).statistics.unwrap().tx_wake, Some(2));
    assert_eq!((of(tx, 1).napi, of(tx, 1).statistics), (None, None));
    let others: Vec<_> = map.other_pools.iter().map(|s| (s.pool.id, s.detached_for_s)).collect();
    assert_eq!(others, [(17, Some(90)), (20, None)]);
    assert!(map.gaps.is_empty());
}

#[test]
fn what_is_not_told_is_a_gap() {
    let absent = Unavailable::absent("statistics", "CONFIG_PAGE_POOL_STATS is off");
    let part = QueueSources { pool_statistics: Err(absent.clone()), ..sources() };
    let map = QueueMap::join(part).unwrap();
    assert_eq!((&map.gaps[..], map.queues[0].pools[0].statistics), (&[absent.clone()][..], None));
    assert_eq!(
        QueueMap::join(QueueSources { queues: Err(absent.clone()), ..sources() }),
        Err(absent)
    );
}

#[test]
fn sockets_are_read() {
    let sockets = parsed("inet_sockets.hex", inet);
    let [established, time_wait, listener] = &sockets[..] else { panic!("{sockets:?}") };
    assert_eq!(established.source, "192.0.2.1:8080".parse().unwrap());
    assert_eq!(established.destination, "192.0.2.2:40000".parse().unwrap());
    assert_eq!((established.cgroup_id, established.cookie), (Some(4242), (1 << 32) + 7));
    assert_eq!((established.uid, established.inode, established.wqueue), (1000, 4711, 9000));
    let options: Vec<_> = established.options.unwrap().names().collect();
    assert_eq!(options, ["is_icsk", "mc_loop", "nodefrag", "defer_connect"]);
    let tcp = established.tcp.unwrap();
    assert_eq!(
        (tcp.busy_us, tcp.rwnd_limited_us, tcp.sndbuf_limited_us),
        (9000000, 4000000, 1000000)
    );
    assert_eq!((tcp.rtt_us, tcp.min_rtt_us, tcp.rcv_space_bytes), (1500, 1200, 14480));
    assert_eq!(
        (tcp.notsent_bytes, tcp.bytes_retrans, tcp.rcv_wnd_bytes),
        (4096, 1448, Some(131072))
    );
    assert_eq!(established.memory.unwrap().held_bytes(), 9216 + 1024);
    assert_eq!(time_wait.source, "[2001:db8::1]:22".parse().unwrap());
    assert_eq!((time_wait.state, time_wait.ifindex), (SocketState::TimeWait, 3));
    assert_eq!((time_wait.memory, time_wait.inode), (None, 0));
    assert_eq!((listener.state, listener.rqueue, listener.wqueue), (SocketState::Listen, 2, 128));
    assert_eq!((listener.memory, listener.tcp), (established.memory, established.tcp));
    let sockets = parsed("xdp_sockets.hex", XdpSocket::parse);
    let [bound, free] = &sockets[..] else { panic!("{sockets:?}") };
    assert_eq!((bound.fill_ring, bound.completion_ring), (Some(4096), Some(512)));
    assert_eq!(bound.umem.unwrap().len_bytes, 16 << 20);
    assert!(bound.umem.unwrap().is_zero_copy);
    assert_eq!(bound.statistics.unwrap().rx_fill_ring_empty_descs, 1 << 33);
    assert_eq!((free.ifindex, free.umem, free.uid), (0, None, Some(1000)));
}

/// Every parser on every body, whole, cut at each byte, and with each byte changed.
#[test]
fn damaged_answers_are_errors_not_panics() {
    let parse_all = |bytes: &[u8]| {
        let _ = (inet(bytes), XdpSocket::parse(bytes), PacketSocket::parse(bytes));
        let _ = (UnixSocket::parse(bytes), LinkCounters::parse(bytes), Queue::parse(bytes));
        let _ = (Napi::parse(bytes), PagePool::parse(bytes), PagePoolStatistics::parse(bytes));
        let _ = QueueStatistics::parse(bytes);
    };
    let names = ["inet_sockets", "napis", "page_pool_stats", "page_pools", "queue_stats", "queues"];
    let mut count = 0;
    for name in names.into_iter().chain(["xdp_sockets"]) {
        for body in bodies(&format!("{name}.hex")) {
            for position in 0..body.len() {
                parse_all(&body[..position]);
                for value in [0, 1, 3, 4, 10, 17, 44, 0x7f, 0x80, 0xff] {
                    let mut damaged = body.clone();
                    damaged[position] = value;
                    parse_all(&damaged);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 10_000, "{count}");
    assert!(inet(&bodies("inet_sockets.hex")[0][..71]).is_err());
    assert!(PagePoolStatistics::parse(&[]).is_err());
}

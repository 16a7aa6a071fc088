//! A message of the kernel, behind a byte that chooses what it shall be: whatever the bytes are, a parser
//! gives a value or an error, and what is computed from values stays in its bounds.

use netmem_host::netlink::{
    InetProtocol, InetSocket, LinkCounters, Napi, PacketSocket, PagePool, PagePoolStatistics,
    Queue, QueueStatistics, SocketMemory, UnixSocket, XdpSocket,
};
use netmem_host::queues::{QueueMap, QueueSources};

/// Takes the first byte as the kind of message, the rest as its body.
pub fn run(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    match choice % 10 {
        0 => {
            if let Ok(socket) = InetSocket::parse(InetProtocol::Tcp, body) {
                socket.memory.iter().for_each(memory);
                assert!(socket.options.is_none_or(|options| options.names().count() <= 11));
            }
        }
        1 => {
            if let Ok(socket) = PacketSocket::parse(body) {
                socket.memory.iter().for_each(memory);
                let _ = socket.rx_ring.map(|ring| ring.len_bytes());
            }
        }
        2 => {
            if let Ok(socket) = UnixSocket::parse(body) {
                socket.memory.iter().for_each(memory);
            }
        }
        3 => drop(XdpSocket::parse(body)),
        4 => {
            if let Ok(link) = LinkCounters::parse(body) {
                let (before, now) = (link.rx_packets, link.tx_packets);
                if let Some(grown) = LinkCounters::grown(before, now) {
                    assert!(before + grown == now || before + grown == now + (1 << 32));
                }
            }
        }
        kind => joined(kind, body),
    }
}

/// What a socket holds is at least each part of it, and no more than all.
fn memory(memory: &SocketMemory) {
    let held = memory.held_bytes();
    assert!(held >= u64::from(memory.rmem_alloc_bytes) && held <= 6 * u64::from(u32::MAX));
    assert!(memory.charged_bytes() <= held);
}

/// One row of an answer, joined with what else there is: no queue is lost, no pool is lost.
fn joined(kind: u8, body: &[u8]) {
    let queue = Queue::parse(body).ok();
    let pool = PagePool::parse(body).ok();
    let sources = QueueSources {
        queues: Ok(queue.into_iter().collect()),
        napis: Ok(Napi::parse(body).ok().into_iter().collect()),
        pools: Ok(pool.into_iter().collect()),
        pool_statistics: Ok(PagePoolStatistics::parse(body).ok().into_iter().collect()),
        queue_statistics: Ok(QueueStatistics::parse(body).ok().into_iter().collect()),
        xdp_sockets: Ok(XdpSocket::parse(body).ok().into_iter().collect()),
        uptime_s: Ok(kind.into()),
    };
    let map = QueueMap::join(sources).expect("there is an answer about queues");
    assert_eq!(map.queues.len(), usize::from(queue.is_some()));
    let fed: usize = map.queues.iter().map(|mapped| mapped.pools.len()).sum();
    assert_eq!(fed + map.other_pools.len(), usize::from(pool.is_some()));
    assert!(map.gaps.is_empty());
}

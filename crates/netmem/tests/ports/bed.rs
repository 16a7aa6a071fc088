//! A namespace with two interfaces, and one namespace behind each.
//!
//! ```text
//!   west: nm-peer === nm-west :mid: nm-east === nm-peer :east
//! ```

use std::{
    thread,
    time::{Duration, Instant},
};

use netmem::{
    device::Device,
    link::Link,
    mem::{Audit, Pool, PoolConfig, PoolHandle, Region},
    packet::FrameSocket,
    xdp::Port,
};
use netmem_host::{
    lab::NetNs,
    netlink::{AdminState, Ethtool, LinkSpec, OperState, Route},
};
use netmem_wire::filter::{Action, Expr, Rule, Rules};

/// The local experimental EtherType of the test's frames: nobody else sends it.
pub(crate) const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// How long anything may take that must happen: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const WEST: &str = "nm-west";
pub(crate) const EAST: &str = "nm-east";
pub(crate) const PEER: &str = "nm-peer";

pub(crate) struct Bed {
    pub(crate) west: NetNs,
    pub(crate) mid: NetNs,
    pub(crate) east: NetNs,
}

impl Bed {
    pub(crate) fn new(queues: u32) -> Self {
        let bed = Self::with_offloads(queues);
        for name in [WEST, EAST] {
            let off = bed.mid.run(|| Ethtool::open().unwrap().offloads_off(name)).unwrap();
            assert!(off.unwrap().still_on.is_empty());
        }
        bed
    }

    /// With the offloads of the middle's interfaces as the kernel makes them: on.
    pub(crate) fn with_offloads(queues: u32) -> Self {
        let bed = Self {
            west: NetNs::create().unwrap(),
            mid: NetNs::create().unwrap(),
            east: NetNs::create().unwrap(),
        };
        for (peer, name) in [(&bed.west, WEST), (&bed.east, EAST)] {
            let mut far = peer.run(ready).unwrap();
            let mut near = bed.mid.run(ready).unwrap();
            let spec = |name: &str| LinkSpec {
                rx_queues: Some(queues),
                tx_queues: Some(queues),
                ..LinkSpec::new(name)
            };
            near.0.create_veth(&spec(name), &spec(PEER), peer).unwrap();
            assert!(far.1.offloads_off(PEER).unwrap().still_on.is_empty());
            near.0.set_state(name, AdminState::Up).unwrap();
            far.0.set_state(PEER, AdminState::Up).unwrap();
            wait_until_up(&mut near.0, name);
            wait_until_up(&mut far.0, PEER);
        }
        bed
    }

    /// Sends `frames` from `peer` into the middle.
    pub(crate) fn send(peer: &NetNs, frames: &[Vec<u8>]) {
        peer.run(|| {
            let mut socket = FrameSocket::open(&Link::by_name(PEER).unwrap(), 64, 2048).unwrap();
            for batch in frames.chunks(32) {
                let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
                let mut sent = 0;
                while sent < batch.len() {
                    sent += socket.send(&batch[sent..]).unwrap();
                }
            }
        })
        .unwrap();
    }

    /// Calls `work` while the frames of [`frame`]'s kind that come to `peer` are collected, until there
    /// are `count`, or `work` has ended [`PATIENCE`] ago.
    pub(crate) fn collect<T: Send>(
        peer: &NetNs,
        count: usize,
        work: impl FnOnce() -> T + Send,
    ) -> (Vec<Vec<u8>>, T) {
        let open = || FrameSocket::open(&Link::by_name(PEER).unwrap(), 64, 2048).unwrap();
        let mut socket = peer.run(open).unwrap();
        thread::scope(|scope| {
            let work = scope.spawn(work);
            let mut got = Vec::new();
            let mut ended = None;
            while got.len() < count && ended.is_none_or(|at: Instant| at.elapsed() < PATIENCE) {
                if ended.is_none() && work.is_finished() {
                    ended = Some(Instant::now());
                }
                socket.wait(Duration::from_millis(20)).unwrap();
                let keep = |bytes: &[u8]| {
                    if bytes.get(12..14) == Some(&ETHERTYPE[..]) {
                        got.push(bytes.to_vec());
                    }
                };
                socket.receive(keep).unwrap();
            }
            (got, work.join().unwrap())
        })
    }
}

fn ready() -> (Route, Ethtool) {
    std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    (Route::open().unwrap(), Ethtool::open().unwrap())
}

fn wait_until_up(route: &mut Route, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let link = route.link(name).unwrap();
        if link.oper_state == OperState::Up && link.qdisc != "noop" {
            return;
        }
        assert!(Instant::now() < deadline, "{name} does not come up");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Frame `number`: its length and every byte follow from the number.
pub(crate) fn frame(number: u32) -> Vec<u8> {
    let len = 60 + (number as usize * 37) % 1400;
    let mut frame = vec![0xff; 12];
    frame.extend(ETHERTYPE);
    frame.extend(number.to_be_bytes());
    frame.extend(
        (frame.len()..len).map(|at| at.to_le_bytes()[0] ^ number.wrapping_mul(31).to_le_bytes()[0]),
    );
    frame
}

/// The number of a frame whose every byte is right.
pub(crate) fn number_of(bytes: &[u8]) -> u32 {
    let number = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
    assert!(bytes == frame(number), "frame {number} was changed: {bytes:02x?}");
    number
}

/// Rules that take the test's frames.
pub(crate) fn rules() -> Rules {
    Rules::new([Rule::new("test", "ether proto 0x88b5".parse::<Expr>().unwrap(), Action::Take)])
}

pub(crate) fn handle(frames: u32) -> PoolHandle {
    let region = Region::builder(frames as usize * 2048).build().unwrap();
    let config = PoolConfig { frames: Some(frames), ..PoolConfig::default() };
    Pool::new(region, config).unwrap().handle()
}

/// Receives until `count` packets have come in order from `first` on, and answers each with `verdict`.
pub(crate) fn expect(port: &mut Port, mut visit: impl FnMut(&[u8]), count: u32) {
    let deadline = Instant::now() + PATIENCE;
    let mut left = count;
    while left > 0 {
        assert!(Instant::now() < deadline, "{left} of {count} packets did not come");
        let tally = port.receive(64.min(left), &mut (), |packet| {
            visit(packet.bytes());
            netmem::device::Verdict::Consume
        });
        left -= tally.received;
        if tally.received == 0 {
            port.wait(Duration::from_millis(10)).unwrap();
        }
    }
}

/// Waits until the kernel has sent all that the port was given.
pub(crate) fn complete(port: &mut Port) {
    let deadline = Instant::now() + PATIENCE;
    while port.progress().completed < port.progress().transmitted {
        assert!(Instant::now() < deadline, "not all was sent: {:?}", port.progress());
        port.flush().unwrap();
        thread::yield_now();
    }
}

/// Asserts that every slot is found once and nothing is held or out of use.
pub(crate) fn assert_closed(audit: &Audit) {
    assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
    assert_eq!(audit.owners[netmem::mem::audit::Owner::Quarantined], 0, "{audit:?}");
}

//! Sends each UDP datagram of an interface's first queue back to its sender: `reflector IFACE`, as root.
//! Everything else goes on to the kernel, which takes the XDP program off when this ends, by Ctrl-C too.

use netmem::device::{Device, Verdict};
use netmem::mem::{DropReason, Pool, PoolConfig, Region};
use netmem::xdp::Port;
use netmem_wire::filter::{Action, Rule, Rules};
use netmem_wire::{Ethernet, Ipv4, Udp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let interface = std::env::args().nth(1).ok_or("usage: reflector IFACE")?;
    let region = Region::builder(4096 * 2048).build()?;
    let handle = Pool::new(region, PoolConfig::default())?.handle();
    let rules = Rules::new([Rule::new("udp", "ip and udp".parse()?, Action::Take)]);
    let mut port = Port::builder(&interface, rules).open(&handle)?;
    loop {
        let tally = port.receive(64, &mut (), |packet| match reflect(packet.bytes_mut()) {
            Ok(()) => Verdict::Transmit,
            Err(_) => Verdict::Drop(DropReason::HdrTrunc),
        });
        if tally.received == 0 {
            port.wait(std::time::Duration::from_millis(100))?;
        }
    }
}

/// Exchanges all addresses and ports: no checksum changes by that.
fn reflect(frame: &mut [u8]) -> Result<(), netmem_wire::Error> {
    let mut ethernet = Ethernet::new_checked(frame)?;
    ethernet.swap_addresses();
    let mut ip = Ipv4::new_checked(ethernet.payload_mut())?;
    let (source, destination) = (ip.source(), ip.destination());
    ip.set_source(destination);
    ip.set_destination(source);
    let mut udp = Udp::new_checked(ip.payload_mut())?;
    let (source, destination) = (udp.source_port(), udp.destination_port());
    udp.set_source_port(destination);
    udp.set_destination_port(source);
    Ok(())
}

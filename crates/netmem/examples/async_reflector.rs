//! Sends each UDP datagram of an interface's queues back to its sender, from tasks of one runtime, beside
//! a task that reports: `async_reflector IFACE`, as root, until Ctrl-C.

#![allow(clippy::print_stderr, reason = "a terminal program")]

use std::{cell::Cell, collections::VecDeque, error::Error, rc::Rc, time::Duration};

use netmem::{
    device::Verdict,
    mem::{DropReason, Packet, Pool, PoolConfig, Region},
    xdp::{Port, Queues, tokio::AsyncPort},
};
use netmem_wire::{
    Ethernet, Ipv4, Udp,
    filter::{Action, Rule, Rules},
};
use tokio::{task::LocalSet, time};

fn main() -> Result<(), Box<dyn Error>> {
    let interface = std::env::args().nth(1).ok_or("usage: async_reflector IFACE")?;
    let region = Region::builder(16384 * 2048).build()?;
    let handle = Pool::new(region, PoolConfig::default())?.handle();
    let rules = Rules::new([Rule::new("udp", "ip and udp".parse()?, Action::Take)]);
    let ports = Port::builder(&interface, rules).queues(Queues::All).bind(&handle)?;

    // Ports stay in their thread: a runtime of one thread, or a LocalSet per worker.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let answered = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for port in ports {
            let port = AsyncPort::new(port.start(&handle)?)?;
            tasks.push(tokio::task::spawn_local(reflect(port, Rc::clone(&answered))));
        }
        tokio::task::spawn_local(async move {
            loop {
                time::sleep(Duration::from_secs(1)).await;
                eprintln!("{} answered", answered.get());
            }
        });
        for task in tasks {
            task.await??;
        }
        Ok(())
    }))
}

/// Answers until the interface goes: short datagrams in place, long ones from a queue, in their turn.
async fn reflect(mut port: AsyncPort, answered: Rc<Cell<u64>>) -> netmem::Result<()> {
    let mut later: VecDeque<Packet> = VecDeque::new();
    loop {
        let verdict = |packet: &mut netmem::mem::PacketMut<'_>| match turn(packet.bytes_mut()) {
            Err(_) => Verdict::Drop(DropReason::HdrTrunc),
            Ok(()) if packet.len() > 512 => Verdict::Keep,
            Ok(()) => Verdict::Transmit,
        };
        let tally = port.receive(64, &mut later, verdict).await?;
        answered.set(answered.get() + u64::from(tally.transmitted + tally.kept));
        port.transmit(&mut later).await?;
    }
}

/// Exchanges all addresses and ports: no checksum changes by that.
fn turn(frame: &mut [u8]) -> Result<(), netmem_wire::Error> {
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

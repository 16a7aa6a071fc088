//! Sends every frame of an interface's first queue back with its Ethernet addresses exchanged: `macswap
//! IFACE [FRAMES]`, as root; ends after FRAMES. What `cargo xtask bench reflect` measures.
//!
//! It takes all frames of that queue and uses a whole CPU: for an interface of its own.

use netmem::device::{Device, Verdict};
use netmem::mem::{DropReason, Pool, PoolConfig, Region};
use netmem::xdp::Port;
use netmem_wire::filter::{Action, Expr, Rule, Rules};

/// Frames of one batch: as many as the kernel receives in one.
const BATCH: u32 = 64;
/// An address, and both, in the first 16 bytes of a frame as a number.
const ADDRESS: u128 = (1 << 48) - 1;
const ADDRESSES: u128 = (1 << 96) - 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let interface = arguments.next().ok_or("usage: macswap IFACE [FRAMES]")?;
    let frames: u64 = arguments.next().map_or(Ok(u64::MAX), |frames| frames.parse())?;
    let region = Region::builder(8192 * 2048).build()?;
    let handle = Pool::new(region, PoolConfig::default())?.handle();
    let rules = Rules::new([Rule::new("all", Expr::Always, Action::Take)]);
    let mut port = Port::builder(&interface, rules).open(&handle)?;
    let mut left = frames;
    while left > 0 {
        let tally = port.receive(BATCH, &mut (), |packet| swap_addresses(packet.bytes_mut()));
        left = left.saturating_sub(tally.received.into());
        if tally.received == 0 {
            port.flush()?;
        }
    }
    Ok(())
}

/// Two wide loads and stores: the addresses are exchanged in registers.
#[inline]
fn swap_addresses(frame: &mut [u8]) -> Verdict {
    let Some(start) = frame.first_chunk_mut::<16>() else {
        return Verdict::Drop(DropReason::PktTooSmall);
    };
    let bytes = u128::from_le_bytes(*start);
    let swapped = (bytes & ADDRESS) << 48 | bytes >> 48 & ADDRESS | bytes & !ADDRESSES;
    *start = swapped.to_le_bytes();
    Verdict::Transmit
}

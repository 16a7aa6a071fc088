//! The smoke case of `cargo xtask vm`: two ports, 1000 frames each way, every byte checked, the audit
//! closed. On any other machine it runs over a lab's veth pair in both copy modes.
//!
//! What the environment may say:
//! * `NETMEM_CASES_PAIR=A,B`: two joined interfaces of this namespace, instead of a veth pair;
//! * `NETMEM_CASES_MODES=zero-copy,native,generic`: the modes to try, each as a case of its own;
//! * `NETMEM_CASES_REPORT=1`: one line per case on stdout, read by `xtask vm`;
//! * `NETMEM_VM_REFUSED=EINVAL`: every mode must be refused with this errno.
//!
//! Planted and caught: a byte of the payload changed before it is sent, a frame sent twice, a frame
//! left out, an owned packet forgotten, a mode that is not refused where it must be.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]
#![allow(clippy::print_stdout, reason = "the protocol of xtask vm")]

use std::{
    collections::VecDeque,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Audit, Pool, PoolConfig, PoolHandle, Region, audit::Owner},
    xdp::{Port, RingSizes, XdpMode},
};
use netmem_host::lab::{Lab, missing_privilege, skip};
use netmem_wire::filter::{Action, Rule, Rules};

/// Frames in each direction.
const FRAMES: u32 = 1000;
/// Frames under way at once: fewer than any ring on the way holds.
const WINDOW: u32 = 16;
/// An emulated machine beside other work is slow; a link that is reset may take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const HEADER_LEN: usize = 19;
/// The number of a frame that only asks whether the way is open.
const PROBE: u32 = u32::MAX;

/// What became of a case.
enum Outcome {
    Pass,
    /// It passed because the mode was refused, as it had to be.
    Refused(String),
    Impossible(String),
}

/// Two joined interfaces.
struct Bed {
    /// The namespaces that they are in; `None` for this one.
    lab: Option<Lab>,
    near: String,
    far: String,
}

impl Bed {
    /// Moves the thread to where the first interface is.
    fn enter_near(&self) {
        self.lab.iter().for_each(|lab| lab.client.enter().unwrap());
    }

    /// Moves the thread to where the second interface is.
    fn enter_far(&self) {
        self.lab.iter().for_each(|lab| lab.server.enter().unwrap());
    }
}

/// One direction: who sends to whom, and the byte that marks its frames.
struct Way {
    source: [u8; 6],
    destination: [u8; 6],
    mark: u8,
}

#[test]
fn lab_vm_smoke() {
    let pair = env::var("NETMEM_CASES_PAIR").ok();
    if pair.is_none()
        && let Some(missing) = missing_privilege()
    {
        return skip("lab_vm_smoke", &missing);
    }
    let modes = env::var("NETMEM_CASES_MODES").unwrap_or_else(|_| "native,generic".into());
    let refused = env::var("NETMEM_VM_REFUSED").ok();
    let mut failures = Vec::new();
    let mut cases = 0;
    // The case is named for the size of its slots.
    let sizes = [("smoke-2048", 2048), ("smoke-4096", 4096)];
    let all = modes.split(',').flat_map(|name| sizes.map(|(case, bytes)| (name, case, bytes)));
    for (name, case, frame_bytes) in all {
        let mode = XdpMode::ALL.into_iter().find(|mode| mode.name() == name).unwrap();
        // The ends change their thread's namespace.
        let work = || run_case((mode, frame_bytes), pair.as_deref(), refused.as_deref());
        let caught = thread::scope(|scope| {
            scope.spawn(|| catch_unwind(AssertUnwindSafe(work))).join().unwrap()
        });
        let outcome = caught.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(text.unwrap_or("panic").to_owned())
        });
        report(case, mode, pair.as_deref(), &outcome);
        cases += 1;
        failures.extend(outcome.err().map(|why| format!("{case} {name}: {why}")));
    }
    if env::var_os("NETMEM_CASES_REPORT").is_some() {
        println!("netmem-vm done cases={cases}");
    }
    assert!(failures.is_empty(), "{}", failures.join("; "));
}

/// Prints the line that `xtask vm` reads.
fn report(case: &str, mode: XdpMode, pair: Option<&str>, outcome: &Result<Outcome, String>) {
    if env::var_os("NETMEM_CASES_REPORT").is_none() {
        return;
    }
    let (result, why) = match outcome {
        Ok(Outcome::Pass) => ("pass", ""),
        Ok(Outcome::Refused(why)) => ("pass", why.as_str()),
        Ok(Outcome::Impossible(why)) => ("impossible", why.as_str()),
        Err(why) => ("fail", why.as_str()),
    };
    let device = driver(pair).unwrap_or_else(|| "veth".into());
    let mode = mode.name();
    println!(
        "netmem-vm case={case} mode={mode} device={device} busy_poll=0 result={result} why={why:?}"
    );
}

/// The driver of the first interface that was named.
fn driver(pair: Option<&str>) -> Option<String> {
    let interface = pair?.split(',').next()?;
    let path = fs::read_link(format!("/sys/class/net/{interface}/device/driver")).ok()?;
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Opens a port at both ends, and lets frames pass, or sees them refused.
fn run_case(
    (mode, frame_bytes): (XdpMode, u32),
    pair: Option<&str>,
    refused: Option<&str>,
) -> Result<Outcome, String> {
    let region = Region::builder(4096 * frame_bytes as usize).build().unwrap();
    let config = PoolConfig { frame_bytes, ..PoolConfig::default() };
    let pool = Pool::new(region, config).unwrap();
    let handle = pool.handle();
    let bed = match pair {
        Some(pair) => {
            let (near, far) = pair.split_once(',').unwrap();
            Bed { lab: None, near: near.to_owned(), far: far.to_owned() }
        }
        None => {
            let lab = Lab::builder().build().unwrap();
            let (near, far) = (lab.client_link().name.clone(), lab.server_link().name.clone());
            Bed { lab: Some(lab), near, far }
        }
    };
    bed.enter_near();
    // igb tells the device a buffer's size in units of 1024 bytes, rounded down: of a slot of 2048 bytes
    // 1024 are left behind the headroom (igb_setup_srrctl, kernel 6.14 to 7.3).
    let would_cut =
        (mode, frame_bytes) == (XdpMode::ZeroCopy, 2048) && driver(pair).as_deref() == Some("igb");
    let (near, near_mac) = match (open(&bed.near, mode, &handle), refused) {
        (Ok(_), Some(errno)) => return Err(format!("not refused; {errno} was due")),
        (Ok(_), None) if would_cut => return Err("igb cuts packets, and was not refused".into()),
        (Err(why), None) if would_cut && why.contains("receives 1024 bytes into") => {
            return Ok(Outcome::Refused(why));
        }
        (Ok(opened), None) => opened,
        (Err(why), Some(errno)) if why.contains(&format!("({errno})")) => {
            return Ok(Outcome::Refused(why));
        }
        (Err(why), None) if mode == XdpMode::ZeroCopy && why.contains("(EOPNOTSUPP)") => {
            return Ok(Outcome::Impossible(why));
        }
        (Err(why), _) => return Err(why),
    };
    bed.enter_far();
    let (far, far_mac) = open(&bed.far, mode, &handle)?;
    let out = Way { source: near_mac, destination: far_mac, mark: 1 };
    let back = Way { source: far_mac, destination: near_mac, mark: 2 };
    exchange(&bed, (near, far), &handle, &[out, back]).map(|()| Outcome::Pass)
}

fn open(name: &str, mode: XdpMode, handle: &PoolHandle) -> Result<(Port, [u8; 6]), String> {
    let link = Link::by_name(name).map_err(|e| e.to_string())?;
    let rules =
        Rules::new([Rule::new("smoke", "ether proto 0x88b5".parse().unwrap(), Action::Take)]);
    let rings = RingSizes { rx: 1024, tx: 1024, fill: 1024, completion: 1024 };
    let port = Port::builder(name, rules).modes(&[mode]).rings(rings).open(handle);
    let port = port.map_err(|e| e.to_string())?;
    assert_eq!(port.report().mode, mode);
    Ok((port, link.mac.unwrap()))
}

/// Frames both ways, then the audit: with the ports open, and after their end.
fn exchange(
    bed: &Bed,
    (mut near, mut far): (Port, Port),
    handle: &PoolHandle,
    [out, back]: &[Way; 2],
) -> Result<(), String> {
    wait_for_the_way(&mut near, &mut far, handle, out)?;
    wait_for_the_way(&mut far, &mut near, handle, back)?;
    for first in (0..FRAMES).step_by(WINDOW as usize) {
        let numbers = first..FRAMES.min(first + WINDOW);
        pass(&mut near, &mut far, handle, (out, numbers.clone()))?;
        pass(&mut far, &mut near, handle, (back, numbers))?;
    }
    let mode = near.report().mode;
    for port in [&mut near, &mut far] {
        let deadline = Instant::now() + PATIENCE;
        while port.progress().completed < port.progress().transmitted {
            port.flush().map_err(|e| e.to_string())?;
            if Instant::now() > deadline {
                return Err(format!("{}: sent frames never complete", port.report()));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    let pool = handle.pool();
    let audit = Audit::of(pool, [near.walk(), far.walk(), handle.walk()]);
    assert_eq!(audit.findings, [], "ports open: {audit:?}");
    assert_eq!(audit.held, 0);
    // A port sees its queue free from its own namespace.
    bed.enter_near();
    let near = near.close();
    bed.enter_far();
    let far = far.close();
    // Slots that a zero-copy driver had in its own rings are known by number of slots only.
    let quarantined = near.quarantined + far.quarantined;
    assert!(mode == XdpMode::ZeroCopy || quarantined == 0, "the kernel kept {quarantined} slots");
    let audit = Audit::of(pool, [near.walk, far.walk, handle.walk()]);
    assert_eq!(audit.findings, [], "ports closed: {audit:?}");
    assert_eq!(audit.owners[Owner::Quarantined], quarantined);
    assert_eq!(audit.owners[Owner::Free] + quarantined, u64::from(audit.slots));
    Ok(())
}

/// Sends probes until one arrives: attaching a program resets some links.
fn wait_for_the_way(
    from: &mut Port,
    to: &mut Port,
    handle: &PoolHandle,
    way: &Way,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut arrived = false;
    while !arrived {
        if Instant::now() > deadline {
            return Err(format!("no frame gets from {} to {}", from.report(), to.report()));
        }
        send(from, handle, way, PROBE..=PROBE)?;
        to.wait(Duration::from_millis(200)).map_err(|e| e.to_string())?;
        to.receive(64, &mut (), |packet| {
            arrived |= packet.bytes() == frame(way, PROBE);
            Verdict::Consume
        });
    }
    Ok(())
}

/// Sends the frames of these numbers, and waits until each has arrived: in order, once, as it was.
fn pass(
    from: &mut Port,
    to: &mut Port,
    handle: &PoolHandle,
    (way, numbers): (&Way, std::ops::Range<u32>),
) -> Result<(), String> {
    let (mut next, end) = (numbers.start, numbers.end);
    send(from, handle, way, numbers)?;
    let deadline = Instant::now() + PATIENCE;
    while next < end {
        if Instant::now() > deadline {
            let (near, far) = (from.statistics(), to.statistics());
            return Err(format!("frame {next} never came; {near:?} -> {far:?}"));
        }
        let mut wrong = None;
        let tally = to.receive(64, &mut (), |packet| {
            let bytes = packet.bytes();
            if bytes != frame(way, PROBE) {
                let expected = frame(way, next);
                if bytes != expected && wrong.is_none() {
                    wrong = Some(difference(next, bytes, &expected));
                }
                next += 1;
            }
            Verdict::Consume
        });
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if tally.received == 0 {
            from.flush().map_err(|e| e.to_string())?;
            to.wait(Duration::from_millis(20)).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// Where a frame first differs from what was sent.
fn difference(number: u32, bytes: &[u8], expected: &[u8]) -> String {
    let (len, due) = (bytes.len(), expected.len());
    let same = bytes.iter().zip(expected).take_while(|(byte, due)| byte == due).count();
    if same == len && len < due {
        return format!("frame {number} was cut at {len} of {due} bytes");
    }
    format!("frame {number} came with {len} bytes, not {due}, and differs from byte {same} on")
}

fn send(
    port: &mut Port,
    handle: &PoolHandle,
    way: &Way,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<(), String> {
    let mut packets = VecDeque::new();
    for number in numbers {
        let bytes = frame(way, number);
        let mut packet = handle.alloc().ok_or("the pool is empty")?;
        let len = u32::try_from(bytes.len()).unwrap();
        packet.put(len).map_err(|e| e.to_string())?.copy_from_slice(&bytes);
        packets.push_back(packet);
    }
    let deadline = Instant::now() + PATIENCE;
    while !packets.is_empty() {
        port.transmit(&mut packets).map_err(|e| e.to_string())?;
        port.flush().map_err(|e| e.to_string())?;
        if Instant::now() > deadline {
            return Err(format!("{} takes no more frames", port.report()));
        }
    }
    Ok(())
}

/// A frame of 60 to 1514 bytes that says which one it is in every byte.
fn frame(way: &Way, number: u32) -> Vec<u8> {
    let mut bytes = [&way.destination[..], &way.source[..], &ETHERTYPE[..], &[way.mark]].concat();
    bytes.extend(number.to_be_bytes());
    assert_eq!(bytes.len(), HEADER_LEN);
    let len = 60 + number.wrapping_mul(37) % 1455;
    bytes.extend((19..len).map(|at| number.wrapping_mul(31).wrapping_add(at * 7).to_le_bytes()[0]));
    bytes
}

//! The fuzz targets' corpus on a stable compiler: replayed, and changed at random.
//!
//! `NETMEM_FUZZ_SECONDS=n` changes it for that long, seeded by the time; without it a few thousand
//! changes of a fixed seed are tried. `NETMEM_FUZZ_INPUTS=n` tries so many, `NETMEM_FUZZ_TARGET=name` one
//! target only, `NETMEM_FUZZ_INPUT=target:hex` replays one input. `cargo xtask fuzz` sets them.
//!
//! Planted and caught, by the corpus alone and by changes of it:
//! - responder: an ARP reply to the frame's source, or to a group address; a second record route; a
//!   timestamp with a part of an entry; prespecified addresses of ours that are not; options not summed;
//!   a time to live missing in the checksum; zeros with checksum 0; later fragments, class E and own
//!   sources, damaged messages and any VLAN answered; bytes behind the padding sent. Of IPv6: the
//!   solicited flag for detection, or no answer; override for a proxied network; a solicitation with a
//!   fragment header; segments left, an option that may not be skipped; a message behind its headers.
//! - views: padding in the payload; a voided header length that panics; setters that clear their
//!   neighbours; UDP lengths below 8; a carry lost; VLAN ids of 13 bits; ARP without a length check;
//!   ports of later fragments and short headers in the filter's parse; a network that prints as another.
//! - proc: blocks of an order to which smaller ones add; sizes of caches that overflow; a description
//!   taken from behind the CPUs where an interrupt is not counted by CPU.
//! - lint: a panic at a number in arithmetic that has no digits or too many; by changes only.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]
#![allow(clippy::print_stderr, reason = "what was tried, and what failed, is told to a person")]

#[path = "../../../fuzz/bodies.rs"]
mod bodies;
#[path = "corpus/driver.rs"]
mod driver;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bodies::{
    Body, TARGETS, layers,
    layers::LINK_TYPES,
    proc::READERS,
    responder::{HOST, host},
};
use driver::{Driver, Random};
use netmem::{
    device::{Device, Verdict},
    loopback::Loopback,
    mem::{Pool, PoolConfig, Region},
};
use netmem_cli::{capture_file::CaptureFile, responder::Answer};
use netmem_wire::LinkType;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target)
}

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder("corpus", target)).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let mut seeds: Vec<_> = entries.map(read).collect();
    seeds.sort_unstable();
    seeds
}

/// Packets of the captures in `tests/pcaps` that the engine reads, as inputs of the target `layers`:
/// up to 64 a file, so that none outweighs the others.
fn captured() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pcaps");
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let Ok(mut file) = CaptureFile::new(&bytes[..]) else { continue };
        for _ in 0..64 {
            // A damaged file ends here: what is in front of the damage counts.
            let Ok(Some(record)) = file.next_record() else { break };
            let link_type = u16::try_from(record.link_type).map(LinkType::from_linktype);
            let choice = LINK_TYPES.iter().position(|known| Ok(*known) == link_type);
            let Some(choice) = choice else { continue };
            inputs.push([&[u8::try_from(choice).unwrap()], record.bytes].concat());
        }
    }
    inputs
}

/// All that changes start from.
fn starts(target: &str) -> Vec<Vec<u8>> {
    let captured = if target == "layers" { captured() } else { Vec::new() };
    seeds(target).into_iter().map(|(_, seed)| seed).chain(captured).collect()
}

#[test]
fn captures_are_replayed() {
    let captured = captured();
    assert!(captured.len() > 1000, "{} packets", captured.len());
    captured.iter().for_each(|input| layers::run(input));
}

#[test]
fn the_corpus_is_replayed() {
    for (target, body) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 24, "{target}: {} seeds", seeds.len());
        for (name, seed) in seeds {
            eprintln!("{target}/{name}");
            body(&seed);
        }
    }
}

/// The responder's corpus goes everywhere: replies of both kinds, and each reason for none.
#[test]
fn the_corpus_has_every_answer() {
    let mut answers = BTreeSet::new();
    for (name, mut seed) in seeds("responder") {
        let ether_type = seed.get(12..14).map(<[u8]>::to_vec);
        let answer = match host().answer(&mut seed) {
            Answer::Drop(reason) => reason.name().to_owned(),
            Answer::NeedsRoom { .. } => format!("reply {:?} with room", ether_type.unwrap()),
            Answer::Reply { .. } => format!("reply {:?}", ether_type.unwrap()),
        };
        let expects_reply = name.starts_with("answered-");
        assert_eq!(answer.starts_with("reply"), expects_reply, "{name}: {answer}");
        answers.insert(answer);
    }
    let all = [
        "HDR_TRUNC",
        "ICMP_CSUM",
        "IPV6_BAD_EXTHDR",
        "IPV6_NDISC_BAD_CODE",
        "IPV6_NDISC_BAD_OPTIONS",
        "IPV6_NDISC_FRAG",
        "IPV6_NDISC_HOP_LIMIT",
        "IP_CSUM",
        "IP_INHDR",
        "IP_INVALID_SOURCE",
        "NETMEM_FRAGMENT",
        "OTHERHOST",
        "PKT_TOO_SMALL",
        "UNHANDLED_PROTO",
        "UNICAST_IN_L2_MULTICAST",
        "reply [129, 0]",
        "reply [134, 221]",
        "reply [134, 221] with room",
        "reply [136, 168]",
        "reply [136, 168] with room",
        "reply [8, 0]",
        "reply [8, 6]",
    ];
    assert!(answers.iter().eq(&all), "{answers:?}");
}

/// The readers' corpus has a file that each understands, under its name.
#[test]
fn the_corpus_has_every_file() {
    let mut understood = BTreeSet::new();
    for (name, seed) in seeds("proc") {
        let (choice, file) = seed.split_first().unwrap();
        let (reader, parse) = READERS[usize::from(*choice)];
        assert!(name.starts_with(reader), "{name} is for {reader}");
        assert!(parse(file), "{name} is not understood");
        understood.insert(reader);
    }
    assert_eq!(understood.len(), READERS.len(), "{understood:?}");
}

/// Through a device: what is sent is the reply and nothing behind it, what is dropped has the reason.
#[test]
fn a_device_sends_the_answers() {
    let handle = Pool::new(Region::builder(1 << 20).build().unwrap(), PoolConfig::default());
    let handle = handle.unwrap().handle();
    let (mut near, mut far) = Loopback::pair(&handle, 1);
    for (name, seed) in seeds("responder") {
        let mut packet = handle.alloc().unwrap();
        packet.put(seed.len().try_into().unwrap()).unwrap().copy_from_slice(&seed);
        near.transmit(&mut [packet].into()).unwrap();
        far.receive(1, &mut (), |packet| host().verdict(packet));
        let mut sent = None;
        near.receive(1, &mut (), |packet| {
            sent = Some(packet.bytes().to_vec());
            Verdict::Consume
        });
        let mut frame = seed;
        let mut answer = host().answer(&mut frame);
        if let Answer::NeedsRoom { len_bytes } = answer {
            frame.resize(len_bytes, 0xee);
            answer = host().answer(&mut frame);
        }
        match (answer, sent) {
            // Times differ: the bytes of options are the bodies' business.
            (Answer::Reply { len_bytes }, Some(sent)) => {
                assert_eq!(sent.len(), len_bytes, "{name}");
                assert_eq!((&sent[..6], &sent[6..12]), (&frame[..6], &HOST.mac[..]), "{name}");
                assert!(!name.contains("solicit") || sent == frame[..len_bytes], "{name}");
            }
            (Answer::Drop(reason), None) => {
                assert_eq!(
                    handle.counts().dropped.iter().filter(|drop| drop.0 == reason).count(),
                    1
                );
            }
            (answer, sent) => panic!("{name}: {answer:?}, sent {sent:?}"),
        }
    }
}

#[test]
fn changes_of_the_corpus_find_nothing() {
    if let Ok(input) = env::var("NETMEM_FUZZ_INPUT") {
        return replay(&input);
    }
    let number = |name| env::var(name).ok().map(|text| text.parse::<u32>().unwrap());
    let (seconds, inputs) = (number("NETMEM_FUZZ_SECONDS"), number("NETMEM_FUZZ_INPUTS"));
    let only = env::var("NETMEM_FUZZ_TARGET").ok();
    let wanted = |target: &str| only.as_deref().is_none_or(|only| only == target);
    let targets = TARGETS.iter().filter(|(target, _)| wanted(target)).count();
    assert!(targets > 0, "no target {only:?}");
    for (target, body) in TARGETS.into_iter().filter(|(target, _)| wanted(target)) {
        let seeds = starts(target);
        let share = u32::try_from(targets).unwrap();
        let (random, least, time) = match (seconds, inputs) {
            (_, Some(inputs)) => (Random::by_time(), inputs.into(), Duration::ZERO),
            (Some(seconds), _) => {
                (Random::by_time(), 1, Duration::from_secs(seconds.into()) / share)
            }
            (None, None) => (Random(1), 4096, Duration::ZERO),
        };
        let seed = random.0;
        match (Driver { seeds: &seeds, random }).run(body, least, time) {
            Ok((count, slowest)) => eprintln!(
                "{target}: {count} inputs, slowest {slowest:?}, seed {seed:#x}: nothing found"
            ),
            Err(input) => found(target, seed, &input),
        }
    }
}

/// Says what was found and how to see it again; keeps the input.
fn found(target: &str, seed: u64, input: &[u8]) {
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    eprintln!("{target}: failed with seed {seed:#x} on {} bytes: {hex}", input.len());
    eprintln!("again: cargo xtask fuzz --replay {target} {hex}");
    let folder = folder("artifacts", target);
    let file = folder.join(format!("crash-{seed:x}"));
    if fs::create_dir_all(folder).and_then(|()| fs::write(&file, input)).is_ok() {
        eprintln!("kept as {}; its place, once mended, is the corpus", file.display());
    }
    panic!("{target}: an input was found");
}

fn replay(input: &str) {
    let (target, hex) = input.split_once(':').unwrap();
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, body): &(_, Body) = found.unwrap_or_else(|| panic!("no target {target}"));
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    body(&bytes);
    eprintln!("{target}: nothing wrong with these {} bytes", bytes.len());
}

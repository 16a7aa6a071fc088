//! Each rule's formula at its bounds, on machines of 1, 24 and 512 GiB with the kernel's own defaults.
//!
//! Have failed with: a BDP of bits for bytes, the bound of `tcp_mem` in pages, a proposal below what there
//! is, `rmem_max` not halved, a limit of three quarters met by the error bar alone, the flow limit's drops
//! taken for the backlog's, the time of a round raised without its packets, all drops of a reader in place
//! of those of its worst pause.

mod groups;

use super::super::Reach;
use super::super::SetBy;
use super::super::evidence::{
    CpuLoad, DeviceLoss, Evidence, HugePagePool, Listener, MachineMemory, OptmemUser, ProtocolLoad,
    Setting, TcpFlow, UdpReader, UmemHolder, XdpLoss,
};
use super::super::facts::Bounds;
use super::*;
use crate::proc::TransportProtocol;
use crate::sockets::BufferLocks;
use crate::sysctl::{Key, Machine};

const GIB: u64 = 1 << 30;

/// A machine with so much memory, of which the kernel found a fiftieth taken when it booted.
fn idle(gib: u64) -> Evidence {
    let machine = Machine {
        free_buffer_pages: gib * GIB / 4096 / 50 * 49,
        page_bytes: 4096,
        kernel: (6, 18),
        tcp_hash_buckets: Some(1 << 16),
        two_ticks_us: Some(8000),
    };
    let memory =
        MachineMemory { total_bytes: gib * GIB, available_bytes: gib * GIB / 2, hugetlb_bytes: 0 };
    Evidence { elapsed_ms: 10_000, ..Evidence::idle(machine, memory) }
}

fn path(bandwidth: u64, rtt_us: u64) -> Ask {
    Ask { goal: None, bandwidth_bits_per_s: Some(bandwidth), rtt_us: Some(rtt_us) }
}

/// The only proposal.
fn one(judgement: Judgement) -> Proposal {
    let mut proposals = judgement.proposals;
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    proposals.remove(0)
}

fn third(proposal: &Proposal) -> i64 {
    let Value::Triple(numbers) = proposal.value else { panic!("{proposal:?}") };
    numbers[2]
}

fn number(proposal: &Proposal) -> i64 {
    let Value::Scalar(number) = proposal.value else { panic!("{proposal:?}") };
    number
}

/// A receiver whose buffer is at its limit.
fn receiver(evidence: &Evidence) -> TcpFlow {
    TcpFlow {
        label: "flow".to_owned(),
        locks: Some(BufferLocks::default()),
        rcvbuf_bytes: evidence.triple("net.ipv4.tcp_rmem").unwrap()[2],
        looks: 11,
        received_bytes: 10 << 20,
        rtt_us: Some(40_000),
        ..TcpFlow::default()
    }
}

#[test]
fn nothing_seen_nothing_said() {
    for gib in [1, 24, 512] {
        for rule in RULES {
            for goal in [None].into_iter().chain(Goal::ALL.map(Some)) {
                let ask = Ask { goal, ..Ask::default() };
                assert_eq!(rule(&idle(gib), &ask), Judgement::default());
                // Half of a path is none.
                let half = Ask { bandwidth_bits_per_s: Some(1 << 40), ..ask };
                assert_eq!(rule(&idle(gib), &half), Judgement::default());
            }
        }
    }
}

#[test]
fn a_path_that_is_given_is_twice_its_product() {
    // 10 Gbit/s x 80 ms: 100 MB under way.
    let wanted = |gib| {
        let proposal = one(tcp_buffers::rmem(&idle(gib), &path(10_000_000_000, 80_000)));
        (third(&proposal), proposal.bound, proposal.confidence)
    };
    // tcp_mem[1] is a 16th of the pages, and a socket's share a 16th of that.
    let now = idle(1).triple("net.ipv4.tcp_rmem").unwrap()[2];
    assert_eq!(wanted(1).0, i64::try_from(now).unwrap(), "a 128th of the memory is more");
    let (value, bound, _) = wanted(24);
    let pressure = idle(24).triple("net.ipv4.tcp_mem").unwrap()[1];
    assert_eq!(value, i64::try_from(pressure * 4096 / 16).unwrap());
    assert_eq!(bound, format!("tcp_mem[1] / 16, in bytes = {value}"));
    assert_eq!(wanted(512), (200_000_000, String::new(), Confidence::Medium));
    let large = one(tcp_buffers::rmem(&idle(512), &path(100_000_000_000, 80_000)));
    assert_eq!((third(&large), large.bound.as_str()), (256 << 20, "256 MiB = 268435456"));
    assert_eq!(large.formula, "2 x 100000000000 bit/s x 80000 us / 8 = 2000000000 bytes");
    // What is there is never lowered, and the first two numbers stay.
    let small = one(tcp_buffers::rmem(&idle(24), &path(1_000_000, 1000)));
    assert_eq!(small.value, Value::Triple([4096, 131_072, 32 << 20]));
    let sending = one(tcp_buffers::wmem(&idle(512), &path(10_000_000_000, 80_000)));
    assert_eq!(sending.value, Value::Triple([4096, 16_384, 200_000_000]));
    let huge = one(tcp_buffers::rmem(&idle(512), &path(u64::MAX, u64::MAX)));
    assert_eq!(third(&huge), 256 << 20);
}

/// Has failed with: the first number not compared.
#[test]
fn with_large_pages_the_first_two_numbers_of_a_send_buffer_stay_and_the_plan_is_taken() {
    let small = idle(512);
    let free_buffer_pages = small.machine.free_buffer_pages / 16;
    let machine = Machine { free_buffer_pages, page_bytes: 65_536, ..small.machine };
    let mut evidence = Evidence { elapsed_ms: 10_000, ..Evidence::idle(machine, small.memory) };
    let mut of = |current: &str, path: &Ask| {
        let text = current.to_owned();
        let setting = Setting { text, reach: Reach::Namespace };
        evidence.settings.insert("net.ipv4.tcp_wmem".to_owned(), setting);
        let value = one(tcp_buffers::wmem(&evidence, path)).value.to_string();
        let change = crate::tune::Change::of("net.ipv4.tcp_wmem", current, &value);
        (value, crate::tune::refusal(&change, Some(&machine)))
    };
    let default = "65536 16384 4194304";
    let key = Key::named("net.ipv4.tcp_wmem").unwrap();
    assert_eq!(key.default(&machine).unwrap().to_string(), default);
    let wide = of(default, &path(10_000_000_000, 80_000));
    assert_eq!(wide, ("65536 16384 200000000".to_owned(), None));
    let narrow = path(1_000_000, 120_000);
    assert_eq!(of(default, &narrow), (default.to_owned(), None));
    // 30000 bytes would be less than each socket has.
    assert_eq!(of("65536 16384 20000", &narrow), ("65536 16384 20000".to_owned(), None));
}

#[test]
fn bbr_wants_three_windows() {
    let mut evidence = idle(512);
    let bbr = Setting { text: "bbr".to_owned(), reach: Reach::Namespace };
    evidence.settings.insert("net.ipv4.tcp_congestion_control".to_owned(), bbr);
    let sending = one(tcp_buffers::wmem(&evidence, &path(1_000_000_000, 80_000)));
    assert_eq!(third(&sending), 30_000_000);
}

#[test]
fn a_receiver_at_its_limit_gets_what_its_path_takes() {
    let mut evidence = idle(512);
    evidence.tcp.push(receiver(&evidence));
    // Nothing is known of the path's bandwidth: one step.
    let step = one(tcp_buffers::rmem(&evidence, &Ask::default()));
    assert_eq!((third(&step), step.confidence), (64 << 20, Confidence::Low));
    evidence.link_bits_per_s = Some(10_000_000_000);
    let by_link = one(tcp_buffers::rmem(&evidence, &Ask::default()));
    assert_eq!((third(&by_link), by_link.confidence), (100_000_000, Confidence::Medium));
    let given = one(tcp_buffers::rmem(&evidence, &path(10_000_000_000, 40_000)));
    assert_eq!((third(&given), given.confidence), (100_000_000, Confidence::High));
    let many = Ask { goal: Some(Goal::ManyConnections), ..Ask::default() };
    let pressure = evidence.triple("net.ipv4.tcp_mem").unwrap()[1];
    assert!(pressure * 4096 / 64 > 100_000_000);
    assert_eq!(third(&one(tcp_buffers::rmem(&evidence, &many))), 100_000_000);

    evidence.grown.insert("TcpExtTCPRcvCollapsed".to_owned(), 3);
    let unsure = one(tcp_buffers::rmem(&evidence, &Ask::default()));
    assert_eq!(unsure.confidence, Confidence::Low);
    let latency = Ask { goal: Some(Goal::Latency), ..Ask::default() };
    let judgement = tcp_buffers::rmem(&evidence, &latency);
    assert_eq!((judgement.proposals.len(), judgement.findings.len()), (0, 1));
}

#[test]
fn receivers_that_larger_buffers_do_not_help_are_left_alone() {
    let is_quiet = |change: fn(&mut TcpFlow)| {
        let mut evidence = idle(24);
        let mut flow = receiver(&evidence);
        change(&mut flow);
        evidence.tcp.push(flow);
        tcp_buffers::rmem(&evidence, &Ask::default()).proposals.is_empty()
    };
    assert!(!is_quiet(|_| ()));
    assert!(is_quiet(|flow| flow.rcvbuf_bytes -= 1), "it still grows");
    assert!(is_quiet(|flow| flow.looks_unread = 6), "its program does not read");
    assert!(!is_quiet(|flow| flow.looks_unread = 5));
    assert!(is_quiet(|flow| flow.acked_bytes = flow.received_bytes), "it rather sends");
    let locked = BufferLocks { is_rcvbuf_locked: true, is_sndbuf_locked: false };
    assert!(!is_quiet(|flow| flow.locks = None));
    let mut evidence = idle(24);
    evidence.tcp.push(TcpFlow { locks: Some(locked), ..receiver(&evidence) });
    assert_eq!(tcp_buffers::rmem(&evidence, &Ask::default()), Judgement::default());
}

#[test]
fn senders_are_told_whose_limit_it_is() {
    let mut evidence = idle(24);
    let sender = TcpFlow {
        label: "flow".to_owned(),
        sndbuf_bytes: 4 << 20,
        acked_bytes: 10 << 20,
        busy_us: 1000,
        rwnd_limited_us: 100,
        sndbuf_limited_us: 99,
        ..TcpFlow::default()
    };
    evidence.tcp.push(sender.clone());
    let judgement = tcp_buffers::rmem(&evidence, &Ask::default());
    assert_eq!((judgement.findings.len(), judgement.proposals.len()), (1, 0));
    assert_eq!(tcp_buffers::wmem(&evidence, &Ask::default()), Judgement::default());
    evidence.tcp = vec![TcpFlow { sndbuf_limited_us: 100, rwnd_limited_us: 99, ..sender }];
    assert_eq!(tcp_buffers::rmem(&evidence, &Ask::default()), Judgement::default());
    assert_eq!(third(&one(tcp_buffers::wmem(&evidence, &Ask::default()))), 8 << 20);
    // A fixed buffer of twice what may be asked for wants more of that.
    let locked = BufferLocks { is_rcvbuf_locked: false, is_sndbuf_locked: true };
    evidence.tcp[0].locks = Some(locked);
    evidence.tcp[0].sndbuf_bytes = 8 << 20;
    assert_eq!(tcp_buffers::wmem(&evidence, &Ask::default()), Judgement::default());
    let fixed = one(socket_max::socket_max(&evidence, &Ask::default()));
    assert_eq!((fixed.key, number(&fixed)), ("net.core.wmem_max", 8 << 20));
}

#[test]
fn a_fixed_buffer_gets_room_for_what_was_dropped() {
    let reader = UdpReader {
        label: "udp".to_owned(),
        is_rcvbuf_locked: Some(true),
        rcvbuf_bytes: 8 << 20,
        drops: 20_000,
        worst_pause_drops: 1000,
        looks: 11,
        looks_unread: 10,
    };
    let of = |gib, change: &dyn Fn(&mut UdpReader)| {
        let mut evidence = idle(gib);
        evidence.grown.insert("Udp6RcvbufErrors".to_owned(), 1);
        let mut reader = reader.clone();
        change(&mut reader);
        evidence.udp.push(reader);
        socket_max::socket_max(&evidence, &Ask::default())
    };
    let room = one(of(24, &|_| ()));
    // (8388608 + 1000 x 2304) / 2 = 5346304, which is 1305.25 pages.
    assert_eq!((number(&room), room.bound.as_str()), (1306 * 4096, ""));
    assert_eq!(
        room.formula,
        "packets/s x pause x truesize / 2: (8388608 + 1000 dropped in the worst pause x 2304) / 2 = \
         5349376, in steps of 4096"
    );
    assert_eq!(
        room.evidence,
        ["udp: drops +20000 in 10.0 s, 1000 in the worst pause, rcvbuf 8388608"]
    );
    // How many pauses there were is all one.
    let many = one(of(24, &|reader| reader.drops = u64::MAX));
    assert_eq!(many.value, room.value);
    let least = one(of(24, &|reader| reader.worst_pause_drops = 1));
    assert_eq!(number(&least), (4 << 20) + 4096);
    let most = one(of(512, &|reader| reader.worst_pause_drops = 1 << 40));
    assert_eq!((number(&most), most.bound.as_str()), (16 << 20, "4 x of now = 16777216"));
    // udp_mem[0] of 1 GiB is some 94 MB: a 32nd of it is below what there is.
    let poor = of(1, &|reader| reader.worst_pause_drops = 1 << 40);
    assert_eq!((poor.proposals.len(), poor.findings.len()), (0, 1));
    assert!(poor.findings[0].what.contains("udp_mem[0] / 16 / 2"), "{poor:?}");
    assert_eq!(
        one(of(24, &|reader| reader.is_rcvbuf_locked = None)).confidence,
        Confidence::Medium
    );

    let advised = |change: &dyn Fn(&mut UdpReader)| {
        let judgement = of(24, change);
        assert_eq!((judgement.proposals.len(), judgement.findings.len()), (0, 1));
        judgement.findings[0].advice.join(" ")
    };
    assert!(advised(&|reader| reader.looks_unread = 11).contains("read faster"));
    let small = advised(&|reader| reader.rcvbuf_bytes = 212_992);
    assert!(small.contains("SO_RCVBUF 1261568,"), "(212992 + 2304000) / 2: {small}");
    // As large as rmem_max allows already, if by the default.
    let whole = advised(&|reader| reader.is_rcvbuf_locked = Some(false));
    assert!(whole.contains("rmem_max allows no larger SO_RCVBUF"), "{whole}");
    // Set by SO_RCVBUFFORCE, or in time of a larger rmem_max.
    assert!(advised(&|reader| reader.rcvbuf_bytes += 2).contains("SO_RCVBUFFORCE"));
    // Twice behind in two looks is no always.
    let twice = of(24, &|reader| (reader.looks, reader.looks_unread) = (2, 2));
    assert_eq!(twice.proposals.len(), 1);
    assert!(
        advised(&|reader| (reader.looks, reader.looks_unread) = (3, 3)).contains("read faster")
    );
}

/// Has failed with: a proposal of what there is.
#[test]
fn a_fixed_send_buffer_at_the_bound_is_told_and_not_raised() {
    let of = |wmem_max: u64| {
        let mut evidence = idle(24);
        evidence.settings.get_mut("net.core.wmem_max").unwrap().text = wmem_max.to_string();
        evidence.tcp.push(TcpFlow {
            label: "flow".to_owned(),
            locks: Some(BufferLocks { is_rcvbuf_locked: false, is_sndbuf_locked: true }),
            sndbuf_bytes: wmem_max * 2,
            busy_us: 100,
            sndbuf_limited_us: 10,
            ..TcpFlow::default()
        });
        socket_max::socket_max(&evidence, &Ask::default())
    };
    assert_eq!(number(&one(of((64 << 20) - 1))), 64 << 20);
    for most in [64 << 20, (64 << 20) + 1, 512 << 20] {
        let judgement = of(most);
        assert_eq!((judgement.proposals.len(), judgement.findings.len()), (0, 1), "{most}");
        let finding = &judgement.findings[0];
        assert!(finding.what.contains("64 MiB = 67108864"), "{finding:?}");
        assert!(finding.advice[0].contains("leave SO_SNDBUF out"), "{finding:?}");
    }
}

/// Has failed with: the counters of full buffers not looked at.
#[test]
fn drops_for_another_reason_are_no_want_of_room() {
    let mut evidence = idle(24);
    let reader = UdpReader {
        rcvbuf_bytes: 8 << 20,
        drops: 5,
        worst_pause_drops: 5,
        looks: 2,
        ..UdpReader::default()
    };
    evidence.udp.push(reader);
    for name in ["UdpInCsumErrors", "TcpInSegs"] {
        evidence.grown.insert(name.to_owned(), 4);
    }
    let judgement = socket_max::socket_max(&evidence, &Ask::default());
    assert_eq!((judgement.proposals.len(), judgement.findings.len()), (0, 1));
    let told = judgement.findings[0].evidence.join("\n");
    assert!(told.contains("UdpInCsumErrors +4") && !told.contains("TcpInSegs"), "{told}");
    evidence.grown.insert("UdpRcvbufErrors".to_owned(), 1);
    assert_eq!(one(socket_max::socket_max(&evidence, &Ask::default())).key, "net.core.rmem_max");
}

#[test]
fn a_protocol_gets_twice_what_it_uses() {
    let of = |gib, pages: &dyn Fn(u64) -> u64, refused| {
        let mut evidence = idle(gib);
        let pressure = evidence.triple("net.ipv4.tcp_mem").unwrap()[1];
        let (protocol, error_bar_pages) = (TransportProtocol::Tcp, 512);
        let load = ProtocolLoad { protocol, pages: pages(pressure), error_bar_pages };
        evidence.protocols.push(load);
        if refused {
            evidence.grown.insert("TcpExtTCPMemoryPressures".to_owned(), 1);
        }
        evidence.holders.push("nginx 812: 5 bytes in 1 sockets".to_owned());
        (proto_mem::proto_mem(&evidence, &Ask::default()), pressure)
    };
    for gib in [1, 24, 512] {
        let (quiet, _) = of(gib, &|pressure| pressure / 4 * 3 + 512, false);
        assert_eq!(quiet, Judgement::default(), "the error bar is no evidence");
        let (judgement, pressure) = of(gib, &|pressure| pressure, false);
        assert!(judgement.findings[0].advice[0].contains("nginx 812"));
        let proposal = one(judgement);
        let Value::Triple([low, second, high]) = proposal.value else { panic!() };
        let twice = i64::try_from(pressure * 2).unwrap();
        assert_eq!((low, second, high), (twice / 4 * 3, twice, twice / 4 * 6));
        assert_eq!((proposal.confidence, proposal.bound.as_str()), (Confidence::Low, ""));
        // A quarter of what buffers can be in is 2.7 times what the third number is by default: 3/32.
        let (judgement, _) = of(gib, &|pressure| pressure * 3, true);
        let proposal = one(judgement);
        let Value::Triple([_, _, high]) = proposal.value else { panic!() };
        let quarter = i64::try_from(idle(gib).machine.free_buffer_pages / 4).unwrap();
        assert!(high <= quarter && high > quarter - 16, "{high} {quarter}");
        assert_eq!(proposal.confidence, Confidence::Medium);
        assert!(proposal.bound.starts_with("third number a quarter of the memory for buffers"));
    }
    // Whatever memory is free, a limit that is kept to is none to raise.
    let mut evidence = idle(24);
    let (protocol, error_bar_pages) = (TransportProtocol::Udp, 512);
    let now = evidence.triple("net.ipv4.udp_mem").unwrap();
    evidence.protocols.push(ProtocolLoad { protocol, pages: now[0], error_bar_pages });
    evidence.grown.insert("UdpMemErrors".to_owned(), 1);
    evidence.memory.available_bytes = 0;
    let stays = one(proto_mem::proto_mem(&evidence, &Ask::default()));
    assert_eq!(stays.value, triple(now), "no memory is left to give");
    assert!(!stays.bound.is_empty());
}

/// Has failed with: any growth of a counter taken for the limit; the error bar left out of half of it; orphans
/// that explain it taken for memory.
#[test]
fn what_refuses_far_from_a_limit_is_another_limit() {
    let of = |counter: &str, of_limit: &dyn Fn(u64) -> u64, orphans: Option<u64>| {
        let mut evidence = idle(24);
        let (protocol, key, at) = match counter.starts_with("Udp") {
            true => (TransportProtocol::Udp, "net.ipv4.udp_mem", 0),
            false => (TransportProtocol::Tcp, "net.ipv4.tcp_mem", 1),
        };
        let pages = of_limit(evidence.triple(key).unwrap()[at]);
        evidence.protocols.push(ProtocolLoad { protocol, pages, error_bar_pages: 512 });
        evidence.grown.insert(counter.to_owned(), 1);
        evidence.holders.push("a: b 812: 5 bytes in 1 sockets".to_owned());
        evidence.tcp_orphans = orphans;
        let most = Setting { text: "1000".to_owned(), reach: Reach::Global };
        evidence.settings.insert("net.ipv4.tcp_max_orphans".to_owned(), most);
        let judgement = proto_mem::proto_mem(&evidence, &Ask::default());
        assert_eq!(judgement.findings.len(), 1, "{judgement:?}");
        let finding = &judgement.findings[0];
        assert!(finding.evidence[0].contains(&format!("{counter} +1 in")), "{finding:?}");
        (judgement.proposals.len(), finding.advice.join("\n"))
    };
    let counters =
        ["TcpExtTCPMemoryPressures", "TcpExtTCPAbortOnMemory", "UdpMemErrors", "Udp6MemErrors"];
    for counter in counters {
        let (changes, advice) = of(counter, &|limit| limit.div_ceil(2) - 512, None);
        assert_eq!(changes, 1, "{counter}: it may have been half");
        assert!(advice.contains("look at a: b 812"), "{advice}");
        let (changes, advice) = of(counter, &|limit| limit.div_ceil(2) - 513, None);
        assert_eq!(changes, 0, "{counter}");
        let other = match counter {
            "TcpExtTCPMemoryPressures" => "/proc/buddyinfo",
            "TcpExtTCPAbortOnMemory" => "/proc/net/sockstat, net.ipv4.tcp_max_orphans 1000",
            _ => "/proc/812/cgroup",
        };
        assert!(advice.contains(other), "{advice}");
        assert!(advice.ends_with(" sees more"), "it may have been near in between: {advice}");
    }
    let (half, aborts) = (|limit: u64| limit / 2, "TcpExtTCPAbortOnMemory");
    assert_eq!(of(aborts, &half, Some(250)).0, 1);
    let (changes, advice) = of(aborts, &half, Some(251));
    assert_eq!(changes, 0);
    assert!(advice.contains("251 orphans seen at most, net.ipv4.tcp_max_orphans 1000"), "{advice}");
    assert_eq!(of(aborts, &|limit| limit, Some(251)).0, 1, "memory is short all the same");
    assert_eq!(of("TcpExtTCPMemoryPressures", &half, Some(251)).0, 1, "which orphans do not move");
}

/// Has failed with: nothing said.
#[test]
fn what_is_refused_is_told_where_the_limit_is_not() {
    let mut evidence = idle(24);
    evidence.settings.remove("net.ipv4.udp_mem");
    let protocol = TransportProtocol::Udp;
    evidence.protocols.push(ProtocolLoad { protocol, pages: 1 << 40, error_bar_pages: 0 });
    assert_eq!(proto_mem::proto_mem(&evidence, &Ask::default()), Judgement::default());
    evidence.grown.insert("UdpMemErrors".to_owned(), 3);
    let judgement = proto_mem::proto_mem(&evidence, &Ask::default());
    assert_eq!((judgement.proposals.len(), judgement.findings.len()), (0, 1));
    let finding = &judgement.findings[0];
    let line = &finding.evidence[1];
    assert!(line.ends_with("net.ipv4.udp_mem is not to be read here"), "{line}");
    assert!(finding.what.ends_with("net.ipv4.udp_mem, cannot be read here"), "{finding:?}");
    assert!(finding.advice[0].starts_with("look from the initial network namespace"));
}

/// What is said of a protocol with so much memory, and a counter that grew: what, evidence, advice, formula.
fn said_of(
    protocol: TransportProtocol,
    (pages, counter): (u64, Option<&str>),
    orphans: Option<u64>,
) -> (String, Vec<String>, Vec<String>, String) {
    let mut evidence = idle(24);
    let setting = |text: &str| Setting { text: text.to_owned(), reach: Reach::Global };
    evidence.settings.insert(protocol.limits_key().to_owned(), setting("3000\t4000\t6000"));
    evidence.settings.insert("net.ipv4.tcp_max_orphans".to_owned(), setting("1000"));
    evidence.tcp_orphans = orphans;
    evidence.protocols.push(ProtocolLoad { protocol, pages, error_bar_pages: 512 });
    evidence.grown.extend(counter.map(|name| (name.to_owned(), 2)));
    evidence.holders.push("nginx 812: 5 bytes in 1 sockets".to_owned());
    let mut judgement = proto_mem::proto_mem(&evidence, &Ask::default());
    assert_eq!(judgement.findings.len(), 1, "{judgement:?}");
    let finding = judgement.findings.remove(0);
    let proposal = judgement.proposals.pop();
    if let Some(proposal) = &proposal {
        assert_eq!(proposal.evidence, finding.evidence);
    }
    let formula = proposal.map_or_else(String::new, |proposal| proposal.formula);
    (finding.what, finding.evidence, finding.advice, formula)
}

/// What is said of a protocol's memory, and why, in its words.
///
/// Has failed with: a limit that was far taken for orphans; the name of the other protocol's limit; one cause for
/// each counter; the holders left out; what was refused not counted as used; that it may have been short left
/// out.
#[test]
fn what_is_said_of_a_protocols_memory_names_its_cause() {
    let tcp = |pages, counter, orphans| said_of(TransportProtocol::Tcp, (pages, counter), orphans);
    let udp = |pages, counter| said_of(TransportProtocol::Udp, (pages, counter), None);
    let pressures = "TcpExtTCPMemoryPressures";
    let aborts = "TcpExtTCPAbortOnMemory";

    let (what, evidence, advice, formula) = tcp(4000, None, None);
    assert_eq!(what, "the memory of all tcp sockets is short");
    assert_eq!(evidence, ["tcp memory 4000 pages at most, off by 512 at most, pressure from 4000"]);
    let reading = "a program that does not read what came, or sends to a peer that does not";
    assert_eq!(advice, ["look at nginx 812: 5 bytes in 1 sockets", reading]);
    assert_eq!(formula, "[1] = 2 x 4000 pages, in the ratio 3:4:6 = 6000 8000 12000");
    let (_, evidence, _, formula) = tcp(2000, Some(pressures), None);
    let line = "tcp memory 2000 pages at most, off by 512 at most, pressure from 4000";
    assert_eq!(evidence, ["TcpExtTCPMemoryPressures +2 in 10.0 s", line]);
    assert!(formula.starts_with("[1] = 2 x 4000 pages"), "what is refused is no less: {formula}");

    let (what, _, advice, formula) = tcp(100, Some(pressures), None);
    assert_eq!(
        what,
        "memory of tcp was refused or short, and no look saw it near net.ipv4.tcp_mem"
    );
    let page = "fragmented or short memory counts too, where a page for a send could not be allocated: \
                /proc/buddyinfo, /proc/pressure/memory";
    let shortly = "or it was near net.ipv4.tcp_mem for less than the time between two looks: a longer \
                   --interval sees more";
    assert_eq!((&advice[..], formula.as_str()), (&[page.to_owned(), shortly.to_owned()][..], ""));
    let (what, _, advice, _) = tcp(2000, Some(aborts), Some(300));
    assert_eq!(what, "memory of tcp was refused or short, and orphans are enough for that");
    let orphans = "orphans, connections that their program closed, count too: 300 orphans seen at most, \
                   net.ipv4.tcp_max_orphans 1000; one whose peer is silent counts up to four times";
    assert_eq!(advice, [orphans]);

    let (what, evidence, _, formula) = udp(3000, Some("UdpMemErrors"));
    assert_eq!(what, "the memory of all udp sockets is short");
    assert_eq!(evidence[1], "udp memory 3000 pages at most, off by 512 at most, limited to 3000");
    assert_eq!(formula, "[0] = 2 x 3000 pages, in the ratio 3:4:6 = 6000 8000 12000");
    let (what, _, advice, _) = udp(100, Some("UdpMemErrors"));
    assert_eq!(
        what,
        "memory of udp was refused or short, and no look saw it near net.ipv4.udp_mem"
    );
    let group = "a full memory control group counts too: of the one in /proc/812/cgroup, memory.current \
                 against memory.max, and memory.events";
    assert_eq!(advice[0], group);
    assert!(advice[1].starts_with("or it was near net.ipv4.udp_mem for less"), "{advice:?}");
}

/// The numbers of a machine's `tcp_mem` or `udp_mem` that are proposed for so many pages in use.
fn raised(protocol: TransportProtocol, now: [u64; 3], pages: u64) -> Option<Value> {
    let mut evidence = idle(24);
    let name = protocol.name().to_lowercase();
    let text = now.map(|pages| pages.to_string()).join("\t");
    let setting = Setting { text, reach: Reach::Global };
    evidence.settings.insert(format!("net.ipv4.{name}_mem"), setting);
    evidence.protocols.push(ProtocolLoad { protocol, pages, error_bar_pages: 0 });
    let mut proposals = proto_mem::proto_mem(&evidence, &Ask::default()).proposals;
    proposals.pop().map(|proposal| proposal.value)
}

#[test]
fn udp_is_limited_by_its_first_number() {
    let udp = |now, pages| raised(TransportProtocol::Udp, now, pages);
    assert_eq!(udp([3000, 4000, 6000], 2250), None, "three quarters of the first");
    assert_eq!(udp([3000, 4000, 6000], 2251), Some(Value::Triple([6000, 8000, 12_000])));
    assert_eq!(udp([3000, 4000, 6000], 3300), Some(Value::Triple([6600, 8800, 13_200])));
    // The others are never lowered: they are what somebody set.
    assert_eq!(udp([3000, 40_000, 60_000], 3000), Some(Value::Triple([6000, 40_000, 60_000])));
    assert_eq!(udp([3000, 4000, 60_000], 3000), Some(Value::Triple([6000, 8000, 60_000])));
}

/// Has failed with: the second bounded by what may be added to the third alone; by no quarter of the memory.
#[test]
fn a_third_number_that_stays_gives_the_second_no_room() {
    let of = |available_bytes: u64, pages: u64| {
        let mut evidence = idle(24);
        let text = "287901\t383868\t2000000".to_owned();
        let setting = Setting { text, reach: Reach::Global };
        evidence.settings.insert("net.ipv4.tcp_mem".to_owned(), setting);
        let protocol = TransportProtocol::Tcp;
        evidence.protocols.push(ProtocolLoad { protocol, pages, error_bar_pages: 0 });
        evidence.memory.available_bytes = available_bytes;
        let proposal = one(proto_mem::proto_mem(&evidence, &Ask::default()));
        (proposal.value, proposal.bound)
    };
    let now = [287_901, 383_868, 2_000_000];
    let added = "second number half of the available memory above now = ";
    assert_eq!(of(0, 350_000), (triple(now), format!("{added}383868")));
    let some = triple([292_500, 390_000, now[2]]);
    assert_eq!(of((390_000 - now[1]) * 2 * 4096, 350_000), (some, format!("{added}390000")));
    // All of the memory is free, and the second is in the ratio to a quarter of it, whatever the third is.
    let (value, bound) = of(u64::MAX, 3_000_000);
    let second = idle(24).machine.free_buffer_pages / 4 / 6 * 4;
    assert_eq!(value, triple([second / 4 * 3, second, now[2]]));
    assert_eq!(bound, format!("third number a quarter of the memory for buffers = {second}"));
}

/// Has failed with: the ratio as it is, as has the test above; no change where the third stays.
#[test]
fn no_number_of_a_protocols_memory_is_lowered() {
    let tcp = |now, pages| raised(TransportProtocol::Tcp, now, pages);
    assert_eq!(tcp([3000, 4000, 6000], 4000), Some(Value::Triple([6000, 8000, 12_000])));
    assert_eq!(tcp([7000, 7500, 9000], 6000), Some(Value::Triple([9000, 12_000, 18_000])));
    assert_eq!(tcp([7400, 7500, 7600], 5626), Some(Value::Triple([8439, 11_252, 16_878])));
    assert_eq!(tcp([11_000, 7500, 9000], 6000), Some(Value::Triple([11_000, 12_000, 18_000])));
    // Somebody raised the third: it stays, and the others follow what is used.
    let raised_third = [287_901, 383_868, 2_000_000];
    let proposed = Some(Value::Triple([525_000, 700_000, 2_000_000]));
    assert_eq!(tcp(raised_third, 350_000), proposed);
    let odd = [13_000, 7500, 9000];
    assert_eq!(tcp(odd, 6000), Some(triple(odd)), "what would not ascend is no change");
}

/// A machine on which every rule has something to propose.
fn busy(gib: u64) -> Evidence {
    let mut evidence = idle(gib);
    for (protocol, key) in
        [(TransportProtocol::Tcp, "net.ipv4.tcp_mem"), (TransportProtocol::Udp, "net.ipv4.udp_mem")]
    {
        let pages = evidence.triple(key).unwrap()[1];
        evidence.protocols.push(ProtocolLoad { protocol, pages, error_bar_pages: 0 });
    }
    evidence.grown.insert("UdpRcvbufErrors".to_owned(), 9);
    let two_ticks = Setting { text: "8000".to_owned(), reach: Reach::Global };
    evidence.settings.insert("net.core.netdev_budget_usecs".to_owned(), two_ticks);
    evidence.cpus.push(CpuLoad {
        dropped: 5,
        time_squeeze: 11,
        rounds: Some(1000),
        softirq_percent: Some(10),
        ..CpuLoad::default()
    });
    evidence
}

/// Gives the machine settings, none less than its kernel takes, and sockets that are at their limits.
fn with_settings(mut evidence: Evidence, of: impl Fn(u64) -> u64) -> Evidence {
    for key in KEYS_OF_RULES {
        let Some(setting) = evidence.settings.get_mut(key) else { continue };
        let numbers = setting.text.split_ascii_whitespace().map(|word| word.parse().unwrap());
        let least = Bounds::here(key, &evidence.machine).map_or(0, |bounds| bounds.min);
        let least = u64::try_from(least).unwrap();
        let numbers = numbers.map(|number| of(number).max(least).to_string());
        let numbers: Vec<String> = numbers.collect();
        setting.text = numbers.join("\t");
    }
    let number = |key| evidence.number(key).unwrap();
    let (rmem_max, optmem_max) = (number("net.core.rmem_max"), number("net.core.optmem_max"));
    let reader = UdpReader {
        rcvbuf_bytes: rmem_max * 2,
        drops: 100,
        worst_pause_drops: 100,
        looks: 11,
        ..UdpReader::default()
    };
    let receiver = receiver(&evidence);
    let sender = TcpFlow {
        sndbuf_bytes: evidence.triple("net.ipv4.tcp_wmem").unwrap()[2],
        acked_bytes: 10 << 20,
        busy_us: 100,
        sndbuf_limited_us: 50,
        ..TcpFlow::default()
    };
    let locks = Some(BufferLocks { is_rcvbuf_locked: false, is_sndbuf_locked: true });
    let fixed = TcpFlow { sndbuf_bytes: number("net.core.wmem_max") * 2, locks, ..sender.clone() };
    evidence.udp.push(reader);
    evidence.tcp = vec![receiver, sender, fixed];
    evidence.optmem.push(OptmemUser { label: "udp".to_owned(), peak_bytes: optmem_max });
    for at in 0..evidence.protocols.len() {
        let key = evidence.protocols[at].protocol.limits_key();
        evidence.protocols[at].pages = evidence.triple(key).unwrap()[1];
    }
    evidence
}

fn basis() -> super::super::Basis {
    super::super::Basis {
        kernel_release: "6.18.0".to_owned(),
        boot_id: "x".to_owned(),
        netns_inode: 1,
        made_at_s: 2,
    }
}

/// Settings from nothing to more than any bound: a proposal that changes nothing is a finding, whichever
/// rule made it, and each setting of the rules is met both ways.
///
/// Has failed with: a plan that takes each proposal for a change; a proposal compared by its text.
#[test]
fn what_changes_nothing_is_no_change() {
    let mut settled = std::collections::BTreeSet::new();
    let mut raised = std::collections::BTreeSet::new();
    for gib in [1, 24, 512] {
        for times in [1, 2, 3, 4, 5, 8, 17, 64, 100, 256] {
            let mut evidence = with_settings(busy(gib), |it| (it * times).min(i32::MAX as u64));
            // However large the limits are, memory was refused.
            for name in ["TcpExtTCPMemoryPressures", "UdpMemErrors"] {
                evidence.grown.insert(name.to_owned(), 1);
            }
            for ask in [Ask::default(), path(10_000_000_000, 30_000)] {
                let plan = super::super::plan(&evidence, &ask, basis(), &SetBy::default());
                for change in &plan.changes {
                    let of = |text: &str| Value::parse(text.as_bytes());
                    assert_ne!(of(&change.proposed), of(&change.current), "{change:#?}");
                    raised.insert(change.key.clone());
                }
                for finding in plan.findings.iter().filter(|finding| finding.rule == "R-NOOP") {
                    let words: Vec<_> = finding.what.split(", because ").collect();
                    let [what, why] = words[..] else { panic!("{finding:?}") };
                    let key = what.strip_prefix("no change of ").unwrap();
                    assert!(!why.is_empty() && KEYS_OF_RULES.contains(&key), "{finding:?}");
                    assert!(plan.changes.iter().all(|change| change.key != key), "{finding:?}");
                    settled.insert(key.to_owned());
                }
            }
        }
    }
    let all: std::collections::BTreeSet<String> = KEYS_OF_RULES.map(str::to_owned).into();
    assert_eq!(raised, all);
    // These two rules say themselves that their bound allows no more.
    let told = ["net.core.rmem_max", "net.core.wmem_max"];
    let others = all.iter().filter(|key| !told.contains(&key.as_str())).cloned().collect();
    assert_eq!(settled, others);
}

/// What is proposed can be applied: a machine below the kernel's defaults is no worse off.
#[test]
fn every_change_of_a_plan_passes_the_refusals() {
    // Below the defaults, at them, above, and odd.
    let settings: [fn(u64) -> u64; 4] = [|it| it / 4, |it| it, |it| it + it / 8, |it| it / 7];
    for gib in [1, 24, 512] {
        for (at, of) in settings.into_iter().enumerate() {
            let evidence = with_settings(busy(gib), of);
            for ask in [Ask::default(), path(10_000_000_000, 30_000)] {
                let plan = super::super::plan(&evidence, &ask, basis(), &SetBy::default());
                assert!(plan.changes.len() >= 4, "{gib} GiB, {at}: {plan:#?}");
                for change in &plan.changes {
                    let refused = super::super::refusal(change, Some(&evidence.machine));
                    assert_eq!(refused, None, "{gib} GiB, {at}: {change:#?}");
                }
            }
        }
    }
}

#[test]
fn a_backlog_is_doubled_or_holds_two_milliseconds() {
    let of = |cpu: CpuLoad, now: u64| {
        let mut evidence = idle(24);
        evidence.cpus = vec![CpuLoad::default(), cpu];
        evidence.settings.get_mut("net.core.netdev_max_backlog").unwrap().text = now.to_string();
        softirq::backlog(&evidence, &Ask::default())
    };
    let dropped = CpuLoad { dropped: 5, received_rps: 1, processed: 1000, ..CpuLoad::default() };
    let twice = one(of(dropped, 1000));
    assert_eq!((number(&twice), twice.confidence), (2000, Confidence::High));
    // 30 million in 10 s, 3 Mpps.
    assert_eq!(number(&one(of(CpuLoad { processed: 30_000_000, ..dropped }, 1000))), 6000);
    let most = one(of(dropped, 40_000));
    assert_eq!((number(&most), most.bound.as_str()), (65_536, "at most = 65536"));
    assert_eq!(number(&one(of(dropped, 70_000))), 70_000, "never lowered");
    assert_eq!(one(of(CpuLoad { received_rps: 0, ..dropped }, 1)).confidence, Confidence::Medium);
    let limited = of(CpuLoad { flow_limit: 5, ..dropped }, 1000);
    assert_eq!((limited.proposals.len(), limited.findings.len()), (0, 1));
}

#[test]
fn a_round_gets_packets_and_time_together() {
    let squeezed = CpuLoad {
        time_squeeze: 11,
        rounds: Some(1000),
        softirq_percent: Some(79),
        ..CpuLoad::default()
    };
    let of = |cpu: CpuLoad, packets: u64, time_us: u64, goal| {
        let mut evidence = idle(24);
        evidence.cpus.push(cpu);
        for (key, now) in
            [("net.core.netdev_budget", packets), ("net.core.netdev_budget_usecs", time_us)]
        {
            let setting = Setting { text: now.to_string(), reach: Reach::Global };
            evidence.settings.insert(key.to_owned(), setting);
        }
        let judgement = softirq::budget(&evidence, &Ask { goal, ..Ask::default() });
        let values: Vec<i64> = judgement.proposals.iter().map(number).collect();
        (values, judgement.findings.len())
    };
    assert_eq!(of(squeezed, 300, 8000, None), (vec![600, 16_000], 0));
    assert_eq!(of(squeezed, 900, 20_000, None), (vec![1200, 32_000], 0), "four times the default");
    assert_eq!(of(squeezed, 300, 32_000, None), (vec![300, 32_000], 0), "both or neither");
    let mut evidence = idle(24);
    evidence.cpus.push(squeezed);
    let text = "1200".to_owned();
    let setting = Setting { text, reach: Reach::Global };
    evidence.settings.insert("net.core.netdev_budget".to_owned(), setting);
    let setting = Setting { text: "8000".to_owned(), reach: Reach::Global };
    evidence.settings.insert("net.core.netdev_budget_usecs".to_owned(), setting);
    for proposal in softirq::budget(&evidence, &Ask::default()).proposals {
        assert_eq!(proposal.bound, "net.core.netdev_budget: 4 x the default = 1200");
    }
    assert_eq!(of(squeezed, 300, 8000, Some(Goal::Latency)), (vec![], 1));
    assert_eq!(of(CpuLoad { time_squeeze: 10, ..squeezed }, 300, 8000, None), (vec![], 0), "1 %");
    let few = CpuLoad { time_squeeze: 9, rounds: Some(10), ..squeezed };
    assert_eq!(of(few, 300, 8000, None), (vec![], 0));
    let busy = CpuLoad { softirq_percent: Some(80), ..squeezed };
    assert_eq!(of(busy, 300, 8000, None), (vec![], 1));
    assert_eq!(of(CpuLoad { rounds: None, ..squeezed }, 300, 8000, None), (vec![], 0));
}

/// Has failed with: tasks that wait told whatever the rounds are; as sure of longer rounds while they wait;
/// the share of softirqs not asked for; longer rounds made longer still.
#[test]
fn rounds_are_not_longer_where_tasks_wait_for_a_cpu() {
    let of = |packets: u64, time_us: u64, stall, softirq_percent| {
        let mut evidence = idle(24);
        evidence.cpu_stall_percent = stall;
        evidence.cpus.push(CpuLoad {
            cpu: 3,
            time_squeeze: 11,
            rounds: Some(1000),
            softirq_percent,
            ..CpuLoad::default()
        });
        for (key, now) in
            [("net.core.netdev_budget", packets), ("net.core.netdev_budget_usecs", time_us)]
        {
            let setting = Setting { text: now.to_string(), reach: Reach::Global };
            evidence.settings.insert(key.to_owned(), setting);
        }
        softirq::budget(&evidence, &Ask::default())
    };
    let both = of(600, 16_000, Some(50), Some(10));
    assert_eq!((both.proposals.len(), both.findings.len()), (0, 1));
    assert_eq!(
        both.findings[0].advice,
        ["sysctl -w net.core.netdev_budget=300", "sysctl -w net.core.netdev_budget_usecs=8000"]
    );
    assert_eq!(
        both.findings[0].evidence,
        [
            "/proc/pressure/cpu some: 50 % of 10.0 s",
            "cpu 3: 10 % softirq",
            "net.core.netdev_budget 600, default 300",
            "net.core.netdev_budget_usecs 16000, default 8000"
        ]
    );
    let one_of_them = of(300, 8001, Some(99), Some(70));
    assert_eq!(one_of_them.findings[0].advice, ["sysctl -w net.core.netdev_budget_usecs=8000"]);
    // Others take the CPUs: the rounds are not what tasks wait for.
    let others = of(600, 16_000, Some(99), Some(9));
    assert_eq!((others.proposals.len(), others.findings.len()), (2, 0));
    // What is at its default may be made longer, if that is less sure to help.
    for (stall, confidence) in [(49, Confidence::Medium), (50, Confidence::Low)] {
        let at_default = of(300, 8000, Some(stall), Some(70));
        assert_eq!((at_default.proposals.len(), at_default.findings.len()), (2, 0));
        assert!(at_default.proposals.iter().all(|it| it.confidence == confidence));
        let tells = at_default.proposals[0].evidence.iter().any(|it| it.contains("pressure/cpu"));
        assert_eq!(tells, stall == 50);
    }
    for stall in [Some(49), None] {
        assert_eq!(of(600, 16_000, stall, Some(70)).findings, [], "they do not wait");
    }
    assert_eq!(of(600, 16_000, Some(49), Some(70)).proposals.len(), 2);
}

/// Has failed with: the device's ring left out; a bound met by its equal.
#[test]
fn a_fill_ring_holds_what_is_under_way() {
    let of = |fill, device_ring| {
        let mut evidence = idle(24);
        evidence.xdp.push(XdpLoss {
            inode: 5,
            fill_ring_empty: 7,
            rx_ring_at_least: Some(2048),
            fill_ring_at_most: fill,
            device: Some("eth7".to_owned()),
            device_ring,
            ..XdpLoss::default()
        });
        let mut judgement = zero_copy::zero_copy(&evidence, &Ask::default());
        assert_eq!((judgement.proposals.len(), judgement.findings.len()), (0, 1));
        let finding = judgement.findings.remove(0);
        (finding.evidence, finding.advice.join(" "))
    };
    let (lines, advice) = of(Some(2048), Some(512));
    assert_eq!(
        lines,
        [
            "rx_fill_ring_empty_descs +7 in 10.0 s",
            "fill ring 2048 entries, rx ring 2048, the rx ring of eth7 512"
        ]
    );
    assert!(advice.contains("--fill-ring 4096"), "{advice}");
    let (lines, advice) = of(Some(2560), Some(512));
    assert!(lines.len() == 1 && advice.contains("filled sooner"), "{lines:?}, {advice}");
    assert!(advice.ends_with("--fill-ring 4096, and 1536 frames more"), "{advice}");
    assert_eq!(of(Some(2048), None).0.len(), 1, "a veth has no ring");
    assert_eq!(of(Some(1024), None).0[1], "fill ring 1024 entries, rx ring 2048");
    assert_eq!(of(None, Some(512)).0.len(), 1);
    // A ring has no more entries than that, whatever is under way.
    let most = u32::try_from(zero_copy::RING_ENTRIES_MAX).unwrap();
    let (_, advice) = of(Some(2048), Some(most));
    assert!(advice.contains("--fill-ring 1048576,"), "{advice}");
    let (lines, advice) = of(Some(most), Some(most));
    assert!(lines.len() == 1 && advice.contains("is the largest"), "{lines:?}, {advice}");
}

/// Has failed with: its own memory for its user's; the goal not asked for; the pool's free pages left out.
#[test]
fn a_umem_is_told_by_its_limit_and_its_pages() {
    let holder = UmemHolder {
        label: "fast 74".to_owned(),
        umem_bytes: 6 << 20,
        user_umem_bytes: 6 << 20,
        locked_limit_bytes: Some(8 << 20),
        ..UmemHolder::default()
    };
    let of = |change: &dyn Fn(&mut UmemHolder), goal| {
        let mut evidence = idle(24);
        evidence.huge_pages = Some(HugePagePool { page_bytes: 2 << 20, total: 5, takeable: 1 });
        let mut holder = holder.clone();
        change(&mut holder);
        evidence.umems.push(holder);
        let judgement = zero_copy::zero_copy(&evidence, &Ask { goal, ..Ask::default() });
        assert_eq!(judgement.proposals, []);
        judgement.findings
    };
    assert_eq!(of(&|_| (), None), [], "three quarters");
    let high = of(&|holder| holder.user_umem_bytes += 1, None);
    assert_eq!(high.len(), 1);
    assert!(high[0].evidence[0].contains("6291457 bytes, RLIMIT_MEMLOCK 8388608"), "{high:?}");
    assert!(high[0].advice[0].contains("LimitMEMLOCK=12583936"), "{high:?}");
    assert!(high[0].advice[0].contains("ulimit -l 12289"), "{high:?}");
    assert_eq!(of(&|holder| holder.locked_limit_bytes = None, None), []);

    let small = |holder: &mut UmemHolder| holder.small_page_bytes = (4 << 20) + 4096;
    for goal in [None, Some(Goal::Throughput), Some(Goal::Latency)] {
        assert_eq!(of(&small, goal), []);
    }
    let told = of(&small, Some(Goal::ZeroCopy));
    assert!(told[0].what.contains("fast 74") && told[0].evidence[0].contains("4198400 of 6291456"));
    // Three pages, of which one is to be had.
    let command = "echo 7 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    assert!(told[0].advice[1].starts_with(command), "{told:?}");
    let partly = of(&|holder| holder.small_page_bytes = 4096, Some(Goal::ZeroCopy));
    assert!(partly[0].advice[1].contains("has enough"), "the others are huge: {partly:?}");
    assert!(!told[0].evidence[0].contains("likely"));
    let guessed =
        of(&|holder| (holder.small_page_bytes, holder.is_guess) = (1, true), Some(Goal::ZeroCopy));
    assert!(guessed[0].evidence[0].contains("likely"));
}

#[test]
fn notifications_get_room_for_twice_as_many() {
    let of = |gib, peak_bytes, now: u64| {
        let mut evidence = idle(gib);
        evidence.optmem.push(OptmemUser { label: "udp".to_owned(), peak_bytes });
        evidence.settings.get_mut("net.core.optmem_max").unwrap().text = now.to_string();
        zero_copy::zero_copy(&evidence, &Ask::default())
    };
    let full = one(of(24, 157 * 832, 131_072));
    assert_eq!((number(&full), full.bound.as_str()), (314 * 832, ""));
    assert_eq!(full.formula, "157 in flight x 832 x 2 = 261248");
    assert_eq!(of(24, 131_072 - 832, 131_072), Judgement::default(), "one more has room");
    assert_eq!(one(of(24, 131_072 - 831, 131_072)).key, "net.core.optmem_max");
    // A 1024th of 1 GiB, or 16 MiB.
    assert_eq!(number(&one(of(1, 900_000, 900_000))), 1 << 20);
    assert_eq!(number(&one(of(512, 15 << 20, 15 << 20))), 16 << 20);
    assert_eq!(number(&one(of(512, 20 << 20, 20 << 20))), 20 << 20, "never lowered");
}

/// What a rule says when these counters have grown, and nothing is to be changed.
fn told(
    rule: fn(&Evidence, &Ask) -> Judgement,
    counters: &[&str],
    change: &dyn Fn(&mut Evidence),
) -> Vec<Finding> {
    let mut evidence = idle(24);
    for name in counters {
        evidence.grown.insert(format!("TcpExt{name}"), 3);
    }
    change(&mut evidence);
    let judgement = rule(&evidence, &Ask::default());
    assert_eq!(judgement.proposals, []);
    judgement.findings
}

/// Has failed with: `somaxconn` advised for every backlog; a counter left out; cookies not asked for.
#[test]
fn a_listener_that_does_not_take_connections_is_told_by_its_backlog() {
    let of = |counters: &[&str], peak_and_backlog: Option<(u64, u64)>, cookies: &str| {
        let mut findings = told(listen::listen, counters, &|evidence| {
            evidence.settings.get_mut("net.core.somaxconn").unwrap().text = "4096".to_owned();
            let setting = Setting { text: cookies.to_owned(), reach: Reach::Namespace };
            evidence.settings.insert("net.ipv4.tcp_syncookies".to_owned(), setting);
            evidence.listeners.extend(peak_and_backlog.map(|(accept_queue_peak, backlog)| {
                Listener { label: "web".to_owned(), drops: 3, accept_queue_peak, backlog }
            }));
        });
        assert_eq!(findings.len(), 1, "{findings:?}");
        let finding = findings.remove(0);
        assert_eq!(finding.rule, "R-LISTEN");
        (finding.evidence.join("\n"), finding.advice)
    };
    let both = ["ListenOverflows", "ListenDrops"];
    let (lines, advice) = of(&both, Some((129, 128)), "1");
    assert_eq!(
        lines,
        "TcpExtListenOverflows +3 in 10.0 s\nTcpExtListenDrops +3 in 10.0 s\n\
         web: drops +3 in 10.0 s, 129 waited to be accepted at most, backlog 128"
    );
    let expected = "web: in its program: accept(2) sooner, or a backlog above 128 at listen(2), of which \
                    net.core.somaxconn allows 4096";
    assert_eq!(advice, [expected]);
    let (_, advice) = of(&both, Some((4097, 4096)), "1");
    assert!(advice[0].contains("its backlog is net.core.somaxconn 4096") && advice.len() == 1);
    // It was not full when it was looked at.
    for seen in [None, Some((128, 128))] {
        let (_, advice) = of(&both, seen, "1");
        assert!(advice[0].starts_with("ss -ltn") && advice.len() == 1, "{advice:?}");
    }
    let (_, advice) = of(&["ListenDrops"], None, "1");
    assert!(advice[0].starts_with("drops of neither kind") && advice.len() == 1, "{advice:?}");
    for (cookies, expected) in [("0", "tcp_syncookies is 0"), ("1", "larger one at listen(2)")] {
        let (lines, advice) = of(&["TCPReqQFullDrop", "ListenDrops"], None, cookies);
        assert!(lines.contains("TCPReqQFullDrop +3"), "{lines}");
        assert!(advice[0].contains(expected) && advice.len() == 1, "{advice:?}");
    }
}

/// Has failed with: a counter left out; loss not told apart from collapsing; readers that keep up named.
#[test]
fn segments_that_found_no_room_are_told_with_who_does_not_read() {
    let reading = |evidence: &mut Evidence| {
        let flow = receiver(evidence);
        let locks = BufferLocks { is_rcvbuf_locked: true, is_sndbuf_locked: false };
        let of = |label: &str| TcpFlow { label: label.to_owned(), ..flow.clone() };
        let behind = TcpFlow { looks_unread: 6, ..of("behind") };
        let fixed = TcpFlow { looks_unread: 5, locks: Some(locks), ..of("fixed") };
        let acked_bytes = flow.received_bytes;
        let sends = TcpFlow { acked_bytes, locks: Some(locks), ..of("sends") };
        evidence.tcp = vec![behind, fixed, sends];
    };
    let no_room = ["RcvPruned", "OfoPruned", "TCPRcvQDrop", "TCPOFODrop"];
    let collapsed = ["PruneCalled", "TCPRcvCollapsed"];
    let closed = ["TCPToZeroWindowAdv", "TCPZeroWindowDrop"];
    let kinds: [(&[&str], &str); 4] = [
        (&no_room, "were dropped that found no room"),
        (&collapsed, "were collapsed"),
        (&["TCPBacklogDrop"], "a call of their program held the socket"),
        (&closed, "windows were closed"),
    ];
    for (counters, what) in kinds {
        for counter in counters {
            let findings = told(tcp_drops::tcp_drops, &[counter], &reading);
            assert_eq!(findings.len(), 1, "{counter}: {findings:?}");
            let finding = &findings[0];
            assert!(finding.what.contains(what), "{counter}: {finding:?}");
            assert_eq!(finding.evidence, [format!("TcpExt{counter} +3 in 10.0 s")]);
            let advice = finding.advice.join("\n");
            assert!(!advice.contains("fixed: in its program: read sooner"), "{advice}");
            assert!(!advice.contains("sends: "), "whose receive buffer is not full: {advice}");
            if *counter != "TCPBacklogDrop" {
                assert!(advice.contains("more than half full in 6 of 11 looks"), "{advice}");
            }
            let is_of_room = what.contains("no room") || what.contains("collapsed");
            assert_eq!(advice.contains("fixed: in its program: SO_RCVBUF fixed"), is_of_room);
        }
    }
    let all = [&no_room[..], &collapsed, &["TCPBacklogDrop"], &closed].concat();
    assert_eq!(told(tcp_drops::tcp_drops, &all, &|_| ()).len(), 3);
    let nobody = told(tcp_drops::tcp_drops, &closed[..1], &|_| ());
    assert!(nobody[0].advice[0].starts_with("ss -tnm"), "{nobody:?}");
    assert_eq!(told(tcp_drops::tcp_drops, &["TCPFromZeroWindowAdv"], &reading), []);
}

#[test]
fn rings_and_queues_are_advised_only() {
    let mut evidence = idle(24);
    evidence.cpus = vec![CpuLoad::default(); 4];
    let loss =
        DeviceLoss { name: "eth7".to_owned(), rx_missed: 3, rx_queues: 2, ..DeviceLoss::default() };
    evidence.devices.push(loss);
    let lost = XdpLoss { inode: 5, rx_ring_full: 1, fill_ring_empty: 1, ..XdpLoss::default() };
    evidence.xdp.push(lost);
    let queues = queues::queues(&evidence, &Ask::default());
    let advice = queues.findings[0].advice.join("\n");
    assert!(advice.contains("(ethtool -g eth7)") && advice.contains("ethtool -L eth7 combined 4"));
    assert!(advice.contains("ethtool -l eth7 first"), "{advice}");
    let rings = zero_copy::zero_copy(&evidence, &Ask::default());
    assert_eq!((queues.proposals.len(), rings.proposals.len(), rings.findings.len()), (0, 0, 2));
}

/// Has failed with: more than the device takes; the largest ring advised once more; a ring of an unknown size
/// taken for one of 1.
#[test]
fn commands_for_rings_have_their_figures() {
    let device = |rx_ring| {
        let mut evidence = idle(24);
        let name = "eth7".to_owned();
        evidence.devices.push(DeviceLoss { name, rx_fifo: 1, rx_ring, ..DeviceLoss::default() });
        queues::queues(&evidence, &Ask::default()).findings[0].advice[0].clone()
    };
    let larger = |to, now, most| {
        format!("ethtool -G eth7 rx {to}: it has {now} entries now, and takes {most} at most")
    };
    assert_eq!(device(Some((512, 4096))), larger(1024, 512, 4096));
    assert_eq!(device(Some((3000, 4096))), larger(4096, 3000, 4096));
    assert_eq!(
        device(Some((4096, 4096))),
        "its rx ring has 4096 entries, and the device takes no more"
    );
    let xdp = |lost: XdpLoss| {
        let mut evidence = idle(24);
        evidence.xdp.push(lost);
        zero_copy::zero_copy(&evidence, &Ask::default()).findings[0].advice[0].clone()
    };
    let full =
        |entries| xdp(XdpLoss { rx_ring_full: 1, rx_ring_at_least: entries, ..XdpLoss::default() });
    assert!(full(Some(2048)).ends_with("netmem respond --rx-ring 4096"));
    for unknown in [None, Some(1)] {
        assert!(full(unknown).ends_with("a larger rx ring"), "{}", full(unknown));
    }
    let most = u32::try_from(zero_copy::RING_ENTRIES_MAX).unwrap();
    assert!(full(Some(most)).ends_with("entries is the largest"), "{}", full(Some(most)));
    let empty = |fill, frames| {
        xdp(XdpLoss {
            fill_ring_empty: 1,
            rx_ring_at_least: Some(512),
            fill_ring_at_most: fill,
            frames,
            ..XdpLoss::default()
        })
    };
    let enough = empty(Some(64), Some(4096));
    assert!(enough.ends_with("netmem respond --fill-ring 512 --frames 4544"), "{enough}");
    let twice = empty(Some(1024), Some(4096));
    assert!(twice.ends_with("netmem respond --fill-ring 2048 --frames 5120"), "{twice}");
    assert!(empty(Some(most), None).ends_with("is the largest: filled sooner"));
    assert!(empty(None, Some(4096)).contains("entries are not told"));
}

//! R-MEMCG at its bounds, and what other rules say of a memory control group as a cause.

use super::*;
use crate::proc::CgroupVersion;
use crate::tune::evidence::GroupLoad;

const MIB: u64 = 1 << 20;

/// A group of version 2 with a limit of 64 MiB that is far from it.
fn group() -> GroupLoad {
    GroupLoad {
        group: "/a/b".to_owned(),
        version: CgroupVersion::V2,
        folder: "/sys/fs/cgroup/a/b".to_owned(),
        charged_bytes: 8 * MIB,
        limit_bytes: Some(64 * MIB),
        sock_bytes: 4 * MIB,
        met: Some(0),
        oom_kills: Some(0),
        sock_throttled: None,
        processes: vec!["nginx 812".to_owned()],
    }
}

fn with(kernel: (u32, u32), groups: Vec<GroupLoad>) -> Evidence {
    let mut evidence = idle(24);
    evidence.machine.kernel = kernel;
    evidence.holders.push("nginx 812: 4194304 bytes in 3 sockets".to_owned());
    Evidence { groups, has_all_groups: true, ..evidence }
}

/// What is found of a group: what, evidence, advice.
fn of(
    kernel: (u32, u32),
    change: impl Fn(&mut GroupLoad),
) -> Option<(String, Vec<String>, Vec<String>)> {
    let mut group = group();
    change(&mut group);
    let judgement = memcg::memcg(&with(kernel, vec![group]), &Ask::default());
    assert_eq!(judgement.proposals, [], "a group is never written");
    let mut findings = judgement.findings;
    assert!(findings.len() <= 1, "{findings:?}");
    let finding = findings.pop()?;
    assert_eq!(finding.rule, "R-MEMCG");
    Some((finding.what, finding.evidence, finding.advice))
}

/// Has failed with: a limit met at 14/16; what was met left out where there is room again; any group that is full
/// whatever its sockets have; a sixteenth for an eighth; sockets that were throttled told of a full group alone.
#[test]
fn a_full_group_is_told_where_sockets_are_a_real_part_of_it() {
    let is_told = |change: fn(&mut GroupLoad)| of((6, 18), change).is_some();
    assert!(!is_told(|_| ()));
    let near = |group: &mut GroupLoad| {
        group.charged_bytes = 60 * MIB;
        group.sock_bytes = 60 * MIB / 8;
    };
    assert!(is_told(near));
    assert!(!is_told(|group| (group.charged_bytes, group.sock_bytes) = (60 * MIB - 1, 60 * MIB)));
    assert!(!is_told(
        |group| (group.charged_bytes, group.sock_bytes) = (60 * MIB, 60 * MIB / 8 - 1)
    ));
    assert!(!is_told(|group| (group.charged_bytes, group.limit_bytes) = (60 * MIB, None)));
    assert!(!is_told(
        |group| (group.limit_bytes, group.charged_bytes, group.sock_bytes) = (Some(0), 0, 0)
    ));
    assert!(is_told(|group| group.met = Some(1)));
    assert!(!is_told(|group| (group.met, group.sock_bytes) = (Some(1), MIB - 1)));
    assert!(!is_told(|group| group.met = None));
    assert!(is_told(|group| (group.sock_throttled, group.sock_bytes) = (Some(1), 0)));
    assert!(!is_told(|group| group.sock_throttled = Some(0)));
    // Beyond what a figure holds.
    assert!(is_told(|group| {
        (group.charged_bytes, group.limit_bytes) = (u64::MAX, Some(u64::MAX));
        group.sock_bytes = u64::MAX;
    }));
}

fn v1(group: &mut GroupLoad) {
    group.version = CgroupVersion::V1;
}

/// A group that is full of its sockets.
fn full(group: &mut GroupLoad) {
    (group.charged_bytes, group.sock_bytes) = (64 * MIB - 4096, 40 * MIB + MIB / 2);
    (group.met, group.oom_kills) = (Some(12), Some(1));
}

/// Has failed with: the figures of sockets and of what is charged exchanged; the other version's names of files,
/// and what it does; holders of other groups named.
#[test]
fn a_full_group_is_told_with_its_figures() {
    let (what, evidence, advice) = of((6, 18), full).unwrap();
    assert_eq!(
        what,
        "the memory control group /a/b is at its limit, and sockets hold 40.5 MiB of it"
    );
    assert_eq!(
        evidence,
        [
            "memory.current 63.9 MiB (67104768) of memory.max 64 MiB (67108864), of it sockets 40.5 MiB \
             (42467328)",
            "`max` of memory.events.local +12 in 10.0 s",
            "oom_kill +1 in 10.0 s",
            "its processes: nginx 812",
        ]
    );
    assert!(advice[0].starts_with("what comes in is charged above the limit"), "{advice:?}");
    assert!(advice[0].ends_with("(Documentation/admin-guide/cgroup-v2.rst)"), "{advice:?}");
    assert!(advice[1].starts_with("look at nginx 812: 4194304 bytes in 3 sockets: "), "{advice:?}");
    assert_eq!(
        advice[2..],
        [
            "what else is in it: cat /sys/fs/cgroup/a/b/memory.stat",
            "a larger limit, where its maker allows it: echo 134217728 > /sys/fs/cgroup/a/b/memory.max",
        ]
    );
    let (_, evidence, advice) = of((6, 12), |group| {
        full(group);
        group.version = CgroupVersion::V1;
        group.oom_kills = None;
        group.processes = (0..5).map(|pid| format!("x {pid}")).collect();
    })
    .unwrap();
    assert_eq!(
        evidence[0],
        "memory.kmem.tcp.usage_in_bytes 63.9 MiB (67104768) of memory.kmem.tcp.limit_in_bytes 64 MiB \
         (67108864)"
    );
    assert_eq!(evidence[1], "memory.kmem.tcp.failcnt +12 in 10.0 s");
    assert_eq!(evidence[2], "its processes: x 0, x 1, x 2 and 2 more");
    assert!(advice[0].starts_with("its sockets get no more"), "{advice:?}");
    assert!(advice[0].ends_with("(Documentation/admin-guide/cgroup-v1/memory.rst)"), "{advice:?}");
    assert_eq!(advice.len(), 2, "{advice:?}");
    assert!(advice[1].ends_with("memory.kmem.tcp.limit_in_bytes"), "{advice:?}");
    let (_, _, advice) = of((5, 15), full).unwrap();
    assert!(advice[0].starts_with("its sockets get no more"), "{advice:?}");
}

/// Has failed with: a limit above what is available; one that is no larger; systemd's groups written past it; a word
/// that a shell takes apart.
#[test]
fn the_command_for_a_full_group_has_its_figures() {
    let command = |change: &dyn Fn(&mut GroupLoad)| {
        let (_, _, advice) = of((6, 18), |group| {
            full(group);
            change(group);
        })
        .unwrap();
        advice.last().unwrap().split_once(": ").unwrap().1.to_owned()
    };
    let unit = command(&|group| group.group = "/system.slice/a\\x2db.service".to_owned());
    assert_eq!(unit, "systemctl set-property 'a\\x2db.service' MemoryMax=134217728");
    let odd = command(&|group| group.folder = "/sys/fs/cgroup/it's".to_owned());
    assert_eq!(odd, "echo 134217728 > '/sys/fs/cgroup/it'\\''s/memory.max'");
    // Of 24 GiB half are available, and half of these may be added.
    let large = command(&|group| group.limit_bytes = Some(20 * GIB));
    assert_eq!(large, format!("echo {} > /sys/fs/cgroup/a/b/memory.max", 26 * GIB));
    let mut evidence = with((6, 18), vec![GroupLoad { met: Some(1), ..group() }]);
    evidence.memory.available_bytes = 8191;
    let judgement = memcg::memcg(&evidence, &Ask::default());
    let last = judgement.findings[0].advice.last().unwrap();
    assert_eq!(last, "no larger limit: of the machine's memory 7.9 KiB are available");
}

/// What is said of a group as a cause.
fn told(lost: memcg::Lost, kernel: (u32, u32), change: &dyn Fn(&mut Evidence)) -> String {
    let mut evidence = with(kernel, vec![group()]);
    change(&mut evidence);
    memcg::cause(&evidence, lost)
}

/// Has failed with: a group at half of its limit taken for far; a group that came meanwhile taken for one that met
/// nothing; a ruling out where the kernel does not count; one where not all groups are known; the kernel's
/// version left out for datagrams; the fullest group not told.
#[test]
fn a_group_is_ruled_out_as_a_cause_only_where_all_is_known() {
    let segments = |kernel, change: &dyn Fn(&mut GroupLoad)| {
        told(memcg::Lost::Segments, kernel, &|evidence| change(&mut evidence.groups[0]))
    };
    let far = "the one with a limit of all processes with sockets was below half of it";
    assert_eq!(
        segments((6, 18), &|_| ()),
        format!("no memory control group is the cause: {far}, and did not meet it")
    );
    assert_eq!(
        segments((6, 0), &|_| ()),
        format!("hardly a full memory control group: {far} at both looks")
    );
    assert!(segments((6, 14), &v1).starts_with("no memory control group is the cause"));
    assert!(segments((6, 15), &v1).starts_with("hardly a full memory control group"));
    let is_ruled_out =
        |change: &dyn Fn(&mut GroupLoad)| segments((6, 18), change).starts_with("no memory");
    assert!(is_ruled_out(&|group| group.charged_bytes = 32 * MIB - 1));
    assert!(!is_ruled_out(&|group| group.charged_bytes = 32 * MIB));
    assert!(!is_ruled_out(&|group| group.met = None));
    assert_eq!(
        segments((6, 18), &|group| group.charged_bytes = 32 * MIB),
        "a full memory control group counts too; the fullest: of the control group /a/b of nginx 812: \
         memory.current 32 MiB of 64 MiB"
    );
    assert_eq!(
        segments((6, 18), &|group| (group.charged_bytes, group.met) = (64 * MIB, Some(12))),
        "a full memory control group counts too: of the control group /a/b of nginx 812: \
         memory.current 64 MiB of 64 MiB, `max` of memory.events.local grew by 12"
    );
    let not_all = |evidence: &mut Evidence| evidence.has_all_groups = false;
    assert_eq!(
        told(memcg::Lost::Segments, (6, 18), &not_all),
        "a full memory control group counts too; the one with a limit that could be looked at was below half of it"
    );
    assert_eq!(
        segments((6, 18), &|group| group.limit_bytes = None),
        "no memory control group is the cause: those of all processes with sockets have no limit"
    );

    let two = told(memcg::Lost::Segments, (6, 18), &|evidence| evidence.groups.push(group()));
    assert!(two.contains("the 2 with a limit") && two.ends_with("none met its limit"), "{two}");
}

/// Has failed with: the kernel's version left out; version 1 taken for version 2; nothing said without figures.
#[test]
fn datagrams_are_not_refused_where_the_kernel_takes_them_all() {
    let datagrams = |kernel, change: &dyn Fn(&mut GroupLoad)| {
        told(memcg::Lost::Datagrams, kernel, &|evidence| change(&mut evidence.groups[0]))
    };
    let at_limit = |group: &mut GroupLoad| group.charged_bytes = 64 * MIB;
    let all_taken = "no memory control group is the cause: since kernel 6.1 one of version 2 takes datagrams \
                     above its memory.max too";
    assert_eq!(datagrams((6, 1), &at_limit), all_taken);
    assert!(datagrams((6, 0), &at_limit).contains("memory.current 64 MiB of 64 MiB"));
    let full_v1 = |group: &mut GroupLoad| {
        at_limit(group);
        v1(group);
    };
    let said = datagrams((6, 18), &full_v1);
    assert!(said.contains("memory.kmem.tcp.usage_in_bytes 64 MiB of 64 MiB"), "{said}");
    let nothing = told(memcg::Lost::Datagrams, (6, 18), &|evidence| evidence.groups.clear());
    assert!(nothing.contains("the one in /proc/812/cgroup"), "{nothing}");
}

/// Has failed with: the words without figures in either rule.
#[test]
fn rules_of_lost_memory_tell_the_groups_figures() {
    let full = GroupLoad { charged_bytes: 64 * MIB, version: CgroupVersion::V1, ..group() };
    let mut evidence = with((6, 18), vec![full]);
    let protocol = TransportProtocol::Udp;
    evidence.protocols.push(ProtocolLoad { protocol, pages: 9, error_bar_pages: 0 });
    evidence.grown.insert("UdpMemErrors".to_owned(), 3);
    evidence.grown.insert("TcpExtTCPRcvQDrop".to_owned(), 3);
    for rule in [proto_mem::proto_mem, tcp_drops::tcp_drops] {
        let judgement = rule(&evidence, &Ask::default());
        let advice = judgement.findings[0].advice.join("\n");
        assert!(
            advice.contains("/a/b of nginx 812: memory.kmem.tcp.usage_in_bytes 64 MiB"),
            "{advice}"
        );
    }
}

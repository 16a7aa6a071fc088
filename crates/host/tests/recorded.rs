//! Recorded machines, whole: every reader understands every kernel that was recorded, and what it says is
//! what the files say. Forms that no machine at hand prints are made by hand (`fixtures/README.md`).
//!
//! Planted and caught: pages taken for 4096 bytes; a cache looked up by its own name alone; an absent
//! `mem_pcpu_rsv` read as 0; the walk of cgroups that ends at a group without the controller; softnet's
//! columns as decimal numbers; a node's huge pages left out; `optmem_max` that changes at another version.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::fs;
use std::path::{Path, PathBuf};

use netmem_host::proc::{
    Bounds, Buddyinfo, CgroupVersion, Counters, Hugepages, Interrupts, Level, Limits, Meminfo,
    MemoryPressure, PacketSockets, Pressure, ProtocolMemory, Protocols, Provenance, SlabAliases,
    Slabinfo, SocketCgroup, SocketCgroups, Sockstat, Sockstat6, Softnet, UdpSockets, Vmstat,
    Zoneinfo, network_caches, page_size_bytes,
};
use netmem_host::source::{Reading, Root, SourceState, read_with};
use netmem_host::sysctl::{self, KEYS, Machine, Value};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn machine(name: &str) -> Root {
    Root::at(fixtures().join(name))
}

/// The machines that were recorded whole: folders named by a version.
fn recorded() -> Vec<(String, Root)> {
    let entries = fs::read_dir(fixtures()).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let versions = names.filter(|name| name.starts_with(|first: char| first.is_ascii_digit()));
    let versions: Vec<_> = versions.map(|name| (name.clone(), machine(&name))).collect();
    assert!(!versions.is_empty());
    versions
}

#[track_caller]
fn state<T>(reading: &Reading<T>) -> SourceState {
    SourceState::of(reading)
}

#[test]
fn every_reader_understands_every_kernel() {
    for (name, root) in recorded() {
        let states = [
            ("sockstat", state(&Sockstat::read(&root))),
            ("sockstat6", state(&Sockstat6::read(&root))),
            ("protocols", state(&Protocols::read(&root))),
            ("softnet_stat", state(&Softnet::read(&root))),
            ("counters", state(&Counters::read(&root))),
            ("packet", state(&PacketSockets::read(&root))),
            ("udp", state(&UdpSockets::read(&root))),
            ("slabinfo", state(&Slabinfo::read(&root))),
            ("buddyinfo", state(&Buddyinfo::read(&root))),
            ("zoneinfo", state(&Zoneinfo::read(&root))),
            ("meminfo", state(&Meminfo::read(&root))),
            ("vmstat", state(&Vmstat::read(&root))),
            ("interrupts", state(&Interrupts::read(&root))),
            ("limits", state(&read_with(&root.proc("self/limits"), Limits::parse))),
            ("machine", state(&Machine::read(&root))),
            ("memory", state(&ProtocolMemory::read(&root))),
        ];
        for (reader, state) in states {
            assert_eq!(state, SourceState::Ok, "{name}: {reader}");
        }
        // What a kernel may lack is absent, not misunderstood.
        let optional = [
            state(&Hugepages::read(&root)),
            state(&SlabAliases::read(&root)),
            state(&Pressure::read(&root, "memory")),
            state(&SocketCgroups::read(&root, Bounds::default())),
        ];
        let known = [SourceState::Ok, SourceState::Absent];
        assert!(optional.iter().all(|state| known.contains(state)), "{name}: {optional:?}");
    }
}

#[test]
fn settings_have_their_form_on_every_kernel() {
    for (name, root) in recorded() {
        let mut there = 0;
        for key in KEYS {
            match sysctl::read(&root, key.name) {
                Ok(value) => {
                    assert_eq!(value.arity(), key.arity, "{name}: {}", key.name);
                    there += 1;
                }
                Err(why) => assert_eq!(why.state, SourceState::Absent, "{name}: {why}"),
            }
        }
        assert!(there > 50, "{name}: {there}");
        // Computed from today's memory, which may have changed since the boot.
        let machine = Machine::read(&root).unwrap();
        for key in ["net.ipv4.tcp_mem", "net.ipv4.udp_mem"] {
            let triple = |value| match value {
                Value::Triple(numbers) => numbers,
                other => panic!("{other}"),
            };
            let set = triple(sysctl::read(&root, key).unwrap());
            let computed = triple(sysctl::Key::named(key).unwrap().default(&machine).unwrap());
            for (set, computed) in set.into_iter().zip(computed) {
                assert!(
                    (computed - set).abs() * 4 < set,
                    "{name}: {key} is {set}, computed {computed}"
                );
            }
        }
    }
}

/// Emulated machines of 1 GiB on which nobody has tuned anything.
const UNTOUCHED: [&str; 3] = ["6.1", "6.12", "7.3"];

#[test]
fn an_untouched_machine_has_the_defaults() {
    for name in UNTOUCHED {
        let root = machine(name);
        let kernel = Machine::read(&root).unwrap();
        assert_eq!(kernel.kernel, Machine::parse_release(name.as_bytes()).unwrap());
        let mut told = 0;
        for key in KEYS {
            let Ok(set) = sysctl::read(&root, key.name) else { continue };
            let Some(computed) = key.default(&kernel) else { continue };
            told += 1;
            match (&set, &computed) {
                // By the memory that was free at the boot; some has been used since.
                (Value::Triple(set), Value::Triple(computed)) => {
                    for (set, computed) in set.iter().zip(computed) {
                        let off = (computed - set).abs();
                        assert!(
                            off * 50 < *set,
                            "{name}: {}: {set}, computed {computed}",
                            key.name
                        );
                    }
                }
                (set, computed) => assert_eq!(set, computed, "{name}: {}", key.name),
            }
        }
        assert!(told > 45, "{name}: {told}");
    }
}

/// What the kernels print differently, and that it is read so.
#[test]
fn untouched_machines_differ_by_their_kernels() {
    let [old, middle, new] = UNTOUCHED.map(machine);
    let columns = |root| {
        let softnet = Softnet::read(root).unwrap();
        let [row] = &softnet.cpus[..] else { panic!("{softnet:?}") };
        (row.cpu, row.backlog_len.is_some(), row.input_qlen.is_some())
    };
    assert_eq!(columns(&old), (Some(0), true, false));
    assert_eq!([columns(&middle), columns(&new)], [(Some(0), true, true); 2]);

    let scalar = |root, key| match sysctl::read(root, key) {
        Ok(Value::Scalar(number)) => Some(number),
        Ok(other) => panic!("{other}"),
        Err(why) => {
            assert_eq!(why.state, SourceState::Absent);
            None
        }
    };
    let of_all = |key| [&old, &middle, &new].map(|root| scalar(root, key));
    let some = |numbers: [i64; 3]| numbers.map(Some);
    assert_eq!(of_all("net.core.rmem_max"), some([212_992, 212_992, 4 << 20]));
    assert_eq!(of_all("net.core.optmem_max"), some([20_480, 131_072, 131_072]));
    assert_eq!(of_all("net.core.skb_defer_max"), some([64, 64, 128]));
    assert_eq!(of_all("net.ipv4.tcp_limit_output_bytes"), some([1 << 20, 1 << 20, 4 << 20]));
    // 6 MiB, until 6.16 made it 32 MiB; a 128th of 1 GiB is between.
    let most = |root| match sysctl::read(root, "net.ipv4.tcp_rmem").unwrap() {
        Value::Triple([4096, 131_072, most]) => most,
        other => panic!("{other}"),
    };
    assert_eq!([most(&old), most(&middle)], [6 << 20; 2]);
    assert!((6 << 20..8 << 20).contains(&most(&new)), "{}", most(&new));

    // UDP-Lite has gone.
    let rows = |root| {
        Protocols::read(root).unwrap().rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>()
    };
    let has_udp_lite = |root| rows(root).iter().any(|name| name == "UDP-Lite");
    assert_eq!([&old, &middle, &new].map(has_udp_lite), [true, true, false]);
    let udp_lite = |root| Sockstat::read(root).unwrap().udplite_inuse;
    assert_eq!([&old, &middle, &new].map(udp_lite), [Some(0), Some(0), None]);

    // Heads of small packets have a cache since 6.3. Clones share one, which lists itself by another name
    // on newer kernels.
    let caches = |root| {
        let (slabinfo, aliases) = (Slabinfo::read(root).unwrap(), SlabAliases::read(root).unwrap());
        network_caches(&slabinfo, &aliases, 4096)
    };
    let shared = |root, name| {
        let caches = caches(root);
        let cache = caches.into_iter().find(|cache| cache.name == name)?;
        assert!(cache.bytes > 0 || cache.cache.objects == 0, "{cache:?}");
        Some(!cache.shared_with.is_empty())
    };
    let of_all = |name| [&old, &middle, &new].map(|root| shared(root, name));
    assert_eq!(of_all("skbuff_head_cache"), [Some(false); 3]);
    assert_eq!(of_all("skbuff_small_head"), [None, Some(false), Some(false)]);
    assert_eq!(of_all("skbuff_fclone_cache"), [Some(true); 3]);
    assert_eq!(of_all("UDP"), [Some(true), Some(true), Some(false)]);
    let is_listed = |root| Slabinfo::read(root).unwrap().named("skbuff_fclone_cache").is_some();
    assert_eq!([&old, &middle, &new].map(is_listed), [true, false, false]);
    for root in [&old, &middle, &new] {
        let own = SocketCgroup::of_process(root, None).unwrap();
        assert_eq!((own.version, own.group.as_str(), own.tcp), (CgroupVersion::V2, "/", None));
        assert_eq!(own.events, None, "the root has none");
        assert!(own.memory_pressure.unwrap().some.is_some());
    }
}

#[test]
fn a_machine_of_6_18() {
    let root = machine("6.18");
    assert_eq!(page_size_bytes(&root).unwrap(), 4096);
    let sockstat = Sockstat::read(&root).unwrap();
    let [tcp, udp] = ProtocolMemory::read(&root).unwrap();
    assert_eq!(tcp.pages, sockstat.tcp_mem_pages);
    assert_eq!((tcp.bytes, udp.bytes), (tcp.pages * 4096, udp.pages * 4096));
    assert_eq!((tcp.error_bar_bytes, tcp.reserve.provenance), (2 << 20, Provenance::Read));
    assert_eq!(tcp.pressure, Ok(MemoryPressure::No));
    assert_eq!(udp.pressure, Ok(MemoryPressure::NotImplemented));
    assert_eq!(tcp.limits.unwrap().max_pages, 575_802);
    let cpus: Vec<_> = Softnet::read(&root).unwrap().cpus.iter().map(|row| row.cpu).collect();
    assert_eq!(cpus, [Some(0), Some(1)]);
    assert_eq!(Interrupts::read(&root).unwrap().cpus, [0, 1]);
    let counters = Counters::read(&root).unwrap();
    for evidence in netmem_host::proc::EVIDENCE {
        assert!(counters.value(evidence.name).is_some(), "{}", evidence.name);
    }
    let socket = SocketCgroup::of_process(&root, None).unwrap();
    assert_eq!((socket.version, socket.tcp.unwrap().limit_bytes), (CgroupVersion::V1, None));
}

#[test]
fn merged_caches_of_6_18_are_found() {
    let root = machine("6.18");
    let (slabinfo, aliases) = (Slabinfo::read(&root).unwrap(), SlabAliases::read(&root).unwrap());
    assert!(slabinfo.named("skbuff_fclone_cache").is_none(), "merged away");
    let caches = network_caches(&slabinfo, &aliases, 4096);
    let of = |name| caches.iter().find(|cache| cache.name == name).unwrap();
    let clones = of("skbuff_fclone_cache");
    assert!(clones.shared_with.contains(&"pool_workqueue".to_owned()), "{clones:?}");
    assert!(clones.shared_with.contains(&clones.cache.name) && clones.bytes > 0, "{clones:?}");
    assert_eq!(clones.cache.object_bytes, 512);
    assert!(of("xsk_generic_xmit_cache").shared_with.contains(&"skbuff_ext_cache".to_owned()));
    assert!(of("skbuff_head_cache").shared_with.is_empty());
    let heads = slabinfo.named("skbuff_head_cache").unwrap();
    assert_eq!(of("skbuff_head_cache").bytes, heads.slabs * heads.pages_per_slab * 4096);
}

#[test]
fn huge_pages_of_6_18_add_up() {
    let hugepages = Hugepages::read(&machine("6.18")).unwrap();
    for pool in hugepages.pools.iter().filter(|pool| pool.node.is_none()) {
        let nodes = hugepages.pools.iter();
        let nodes = nodes.filter(|of| of.node.is_some() && of.page_bytes == pool.page_bytes);
        let sum = nodes.fold((0, 0), |(total, free), of| (total + of.total, free + of.free));
        assert_eq!(sum, (pool.total, pool.free));
        assert!(pool.reserved.is_some() && pool.overcommit.is_some());
    }
    assert!(hugepages.pools.len() >= 4, "two sizes, of the machine and of a node");
}

#[test]
fn an_older_machine() {
    let root = machine("made-old");
    let softnet = Softnet::read(&root).unwrap();
    let row = &softnet.cpus[1];
    assert_eq!((row.processed, row.dropped, row.received_rps), (u32::MAX, 10, Some(255)));
    assert_eq!((row.cpu, row.backlog_len, row.input_qlen), (None, None, None));
    let counters = Counters::read(&root).unwrap();
    assert_eq!((counters.udp_rcvbuf_errors(), counters.prune_called()), (Some(43), Some(7)));
    assert_eq!((counters.udp_mem_errors(), counters.tcp_ofo_drop()), (None, None));
    let caches = network_caches(&Slabinfo::read(&root).unwrap(), &SlabAliases::default(), 4096);
    assert_eq!(caches.iter().map(|cache| cache.bytes).collect::<Vec<_>>(), [30 << 12, 8 << 13]);
    assert_eq!(SlabAliases::read(&root).unwrap_err().state, SourceState::Absent);
    let vmstat = Vmstat::read(&root).unwrap();
    assert_eq!((vmstat.allocstall, vmstat.oom_kill, vmstat.pinned_pages()), (10, None, None));
    assert_eq!(Meminfo::read(&root).unwrap().available_bytes, None);
    // No auxiliary vector: the page size is not known, and not guessed.
    assert_eq!(ProtocolMemory::read(&root).unwrap_err().state, SourceState::Absent);
}

#[test]
fn a_machine_with_large_pages() {
    let root = machine("made-v2");
    let [tcp, udp] = ProtocolMemory::read(&root).unwrap();
    assert_eq!((tcp.pages, tcp.bytes), (61, 61 * 65536));
    assert_eq!((tcp.reserve.pages_per_cpu, tcp.reserve.cpus), (16, 4));
    assert_eq!((tcp.reserve.provenance, tcp.error_bar_bytes), (Provenance::Assumed, 4 << 20));
    assert_eq!(tcp.levels(), Some((Level::UpToMin, Level::UpToMin)));
    assert_eq!(udp.limits.unwrap_err().state, SourceState::Malformed);
    let interrupts = Interrupts::read(&root).unwrap();
    let row = interrupts.numbered(45).unwrap();
    assert_eq!((row.device(), row.queue(), row.total()), (Some("eth0"), Some(1), 987));
    assert_eq!(interrupts.numbered(11).unwrap().names, ["arch_timer"]);
}

#[test]
fn cgroups_of_version_2() {
    let root = machine("made-v2");
    let own = SocketCgroup::of_process(&root, None).unwrap();
    assert_eq!((own.version, own.sock_bytes), (CgroupVersion::V2, 2 << 20));
    let events = own.events.unwrap();
    assert_eq!((events.max, events.sock_throttled), (31, Some(4)));
    assert!((own.memory_pressure.unwrap().full.unwrap().avg10_percent - 1.0).abs() < 1e-9);
    let outside = SocketCgroup::of_process(&root, Some(77)).unwrap_err();
    assert_eq!(outside.state, SourceState::Absent);

    let all = SocketCgroups::read(&root, Bounds::default()).unwrap();
    let groups: Vec<_> = all.groups.iter().map(|group| group.group.as_str()).collect();
    let expected = ["/", "/system.slice", "/system.slice/web.service", "/system.slice/db.service"];
    assert_eq!(groups, expected, "most first, idle ones not");
    assert_eq!((all.looked_at, all.is_whole), (6, true));
    let bounded = SocketCgroups::read(&root, Bounds { groups: 2, depth: 16 }).unwrap();
    assert_eq!((bounded.looked_at, bounded.is_whole), (2, false));
    let shallow = SocketCgroups::read(&root, Bounds { groups: 99, depth: 1 }).unwrap();
    assert_eq!((shallow.looked_at, shallow.is_whole), (3, false));
}

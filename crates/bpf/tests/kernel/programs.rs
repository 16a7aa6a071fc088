//! Programs: the verifier's log, test runs, ids.

use super::*;

#[test]
fn counts_per_cpu_and_decides_by_the_first_byte() {
    if !privileged("counts_per_cpu_and_decides_by_the_first_byte") {
        return;
    }
    let counters = map(MapKind::PerCpuArray, 8, 2);
    let program = load("netmem_count", &first_byte_counter(&counters)).unwrap();
    let mut out = vec![9; 3];
    let cpus = possible_cpus().unwrap();
    let mut expected = vec![0; cpus.len()];
    thread::scope(|scope| {
        // On a thread of its own, so that the affinity ends with it.
        scope.spawn(|| {
            for (position, &cpu) in cpus.iter().enumerate() {
                let mut only = CpuSet::new();
                only.set(usize::try_from(cpu).unwrap()).unwrap();
                if sched_setaffinity(Pid::from_raw(0), &only).is_err() {
                    continue; // possible, but offline or not ours
                }
                for first in 0..=position.min(200) {
                    let mut frame = [0xaa; 60];
                    frame[0] = 1;
                    let run = program.test_run(&frame, &mut out).unwrap();
                    assert_eq!((run.action, run.frame_len), (XdpAction::Pass, 60));
                    assert_eq!(out, frame);
                    expected[position] += 1;
                    frame[0] = 2 + u8::try_from(first).unwrap();
                    assert_eq!(program.test_run(&frame, &mut out).unwrap().action, XdpAction::Drop);
                }
            }
        });
    });
    assert_eq!(counters.lookup_per_cpu_u64(1).unwrap(), expected);
    assert_eq!(counters.lookup_per_cpu_u64(0).unwrap(), expected);
    assert_eq!(counters.sum_u64(1).unwrap(), expected.iter().sum());
    assert!(counters.sum_u64(1).unwrap() > 0);
    assert_eq!(counters.sum_u64(2).unwrap_err().errno(), Some(libc::ENOENT));
}

#[test]
fn frames_grow_shrink_and_have_a_shortest_length() {
    if !privileged("frames_grow_shrink_and_have_a_shortest_length") {
        return;
    }
    let adjust = |helper, delta| {
        assemble(|a| {
            let failed = a.label();
            a.mov(R2, delta).call(helper).jump_if(Cond::Ne, R0, 0, failed);
            a.mov(R0, XdpAction::Tx).exit().bind(failed).mov(R0, XdpAction::Aborted).exit();
        })
    };
    let frame: Vec<u8> = (0..100).collect();
    let mut out = Vec::new();
    let shorter = load("shorter", &adjust(Helper::XdpAdjustTail, -40)).unwrap();
    let run = shorter.test_run(&frame, &mut out).unwrap();
    assert_eq!((run.action, run.frame_len), (XdpAction::Tx, 60));
    assert_eq!(out, frame[..60]);
    let longer = load("longer", &adjust(Helper::XdpAdjustHead, -128)).unwrap();
    let run = longer.test_run(&frame, &mut out).unwrap();
    assert_eq!((run.action, run.frame_len), (XdpAction::Tx, 228));
    assert_eq!(out[128..], frame);
    assert_eq!(longer.test_run(&frame[..14], &mut out).unwrap().frame_len, 142);
    let error = longer.test_run(&frame[..13], &mut out).unwrap_err();
    assert_eq!(
        error.to_string(),
        "test run xdp program longer: frame has 13 bytes, the kernel wants at least 14"
    );
}

#[test]
fn redirect_map_without_a_socket_passes() {
    if !privileged("redirect_map_without_a_socket_passes") {
        return;
    }
    let sockets = map(MapKind::XskMap, 4, 4);
    let instructions = assemble(|a| {
        a.load(Size::W, R2, R1, xdp_md::RX_QUEUE_INDEX)
            .load_map(R1, &sockets)
            .mov(R3, XdpAction::Pass)
            .call(Helper::RedirectMap)
            .exit();
    });
    let program = Program::load(&LoadSpec {
        name: "netmem_redirect",
        instructions: &instructions,
        frags: Frags::Yes,
    });
    let program = match program {
        Err(e) if e.hint().is_some_and(|hint| hint.contains("5.18")) => {
            return skip("redirect_map_without_a_socket_passes", &e.to_string());
        }
        result => result.unwrap(),
    };
    let run = program.test_run(&[0; 64], &mut Vec::new()).unwrap();
    assert_eq!(run.action, XdpAction::Pass);
    assert_eq!(program.info().unwrap().map_count, 1);

    let no_socket = map(MapKind::Array, 4, 1);
    let error = sockets.set_socket(0, no_socket.as_fd()).unwrap_err();
    assert!(matches!(error.errno(), Some(libc::ENOTSOCK | libc::EOPNOTSUPP)), "{error}");
    assert!(error.to_string().starts_with("set socket in map netmem_test queue 0: "), "{error}");
    assert_eq!(no_socket.set_socket(0, sockets.as_fd()).unwrap_err().errno(), None);
    assert!(!sockets.delete(&9_u32.to_ne_bytes()).unwrap_or(false));
}

#[test]
fn a_rejected_program_shows_the_verifiers_log() {
    if !privileged("a_rejected_program_shows_the_verifiers_log") {
        return;
    }
    // Reads a packet byte without a bounds check, after one instruction of each form.
    let instructions = assemble(|a| {
        let (far, near) = (a.label(), a.label());
        a.load(Size::W, R6, R1, xdp_md::DATA);
        a.load_imm64(R2, 0x1122_3344_5566_7788).mov32(R3, -1).alu(Alu::Lsh, R3, 4).neg(R3);
        a.alu32(Alu::Xor, R3, R2).be16(R3).be64(R2).alu(Alu::Mod, R3, 7).alu(Alu::Arsh, R3, R2);
        a.store(Size::Dw, R10, -8, R2).store_imm(Size::H, R10, -16, -2);
        a.mov(R4, 1).atomic_add(Size::Dw, R10, -8, R4);
        a.call(Helper::GetPrandomU32).jump_if(Cond::SignedGt, R0, -1, near);
        a.bind(near).jump_if32(Cond::Set, R0, 0x10, far);
        a.bind(far).load(Size::B, R0, R6, 3).exit();
    });
    let error = load("netmem_bad", &instructions).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EACCES));
    let text = error.to_string();
    assert!(
        text.starts_with("load xdp program netmem_bad: permission denied (EACCES): verifier: "),
        "{text}"
    );
    let log = error.log.unwrap();
    assert!(log.contains("invalid access to packet"), "{log}");
    // The verifier's text of each instruction it walked is ours.
    let listing = disassemble(&instructions);
    for line in listing.lines().take_while(|line| !line.ends_with("exit")) {
        let walked = log.lines().any(|l| l.split(';').next().is_some_and(|l| l.trim() == line));
        assert!(walked, "{line}\nis not in\n{log}");
    }
}

#[test]
fn names_and_empty_programs_are_refused() {
    if !privileged("names_and_empty_programs_are_refused") {
        return;
    }
    let text = load("not a name", &[]).unwrap_err().to_string();
    assert!(text.starts_with("load xdp program not a name: names have at most 15"), "{text}");
    let error = load("netmem_empty", &[]).unwrap_err();
    assert_eq!(error.log, None);
    assert!(matches!(error.errno(), Some(libc::E2BIG | libc::EINVAL)), "{error}");
}

#[test]
fn programs_are_found_by_id() {
    if !privileged("programs_are_found_by_id") {
        return;
    }
    let program = pass().unwrap();
    assert!(close_on_exec(program.as_fd()));
    let info = program.info().unwrap();
    assert_eq!((info.name.as_str(), info.program_type, info.map_count), ("netmem_pass", 6, 0));
    assert_eq!(info.tag, pass().unwrap().info().unwrap().tag);
    assert_ne!(info.tag, [0; 8]);
    match program_ids() {
        Ok(ids) => assert!(ids.contains(&info.id)),
        Err(e) if e.hint() == Some("needs CAP_SYS_ADMIN") => {
            return skip("programs_are_found_by_id", &e.to_string());
        }
        Err(e) => panic!("{e}"),
    }
    assert_eq!(ProgramInfo::by_id(info.id).unwrap(), info);
    drop(program);
    wait_until("program gone", || {
        ProgramInfo::by_id(info.id).is_err_and(|e| e.errno() == Some(libc::ENOENT))
    });
}

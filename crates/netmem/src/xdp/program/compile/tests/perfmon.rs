//! Loading without CAP_PERFMON, which the verifier asks for before it lets a program add a variable
//! to a packet pointer or subtract two of them.

use super::*;

/// `struct __user_cap_header_struct`, version 3: two sets of 32 capabilities.
#[repr(C)]
struct CapHeader {
    version: u32,
    /// 0: the calling thread.
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapSet {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;

/// Takes CAP_PERFMON, and CAP_SYS_ADMIN which stands for it, from the calling thread.
fn drop_perfmon() {
    let mut header = CapHeader { version: 0x2008_0522, pid: 0 };
    let mut sets = [CapSet::default(); 2];
    // SAFETY: both point to what version 3 of the call reads and writes.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    assert_eq!(read, 0);
    sets[0].effective &= !(1 << CAP_SYS_ADMIN);
    sets[1].effective &= !(1 << (CAP_PERFMON - 32));
    // SAFETY: as above; the call reads only, and changes this thread alone.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    assert_eq!(written, 0);
}

/// A program that subtracts two packet pointers.
fn loads_with_pointer_arithmetic() -> bool {
    let mut asm = Assembler::new();
    asm.load(Size::W, R2, R1, xdp_md::DATA)
        .load(Size::W, R3, R1, xdp_md::DATA_END)
        .alu(Alu::Sub, R3, R2)
        .mov(R0, XdpAction::Pass)
        .exit();
    let instructions = asm.finish().unwrap();
    let spec = netmem_bpf::LoadSpec {
        name: "",
        instructions: &instructions,
        frags: netmem_bpf::Frags::No,
    };
    netmem_bpf::Program::load(&spec).is_ok()
}

#[test]
fn rules_load_and_decide_without_perfmon() {
    const NAME: &str = "rules_load_and_decide_without_perfmon";
    if Run::load(NAME, &Rules::default()).is_none() {
        return;
    }
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let check = |(rules, frames): (Rules, Vec<Vec<u8>>)| {
        let mut run = Run::load(NAME, &rules).expect("may load, as above");
        for frame in frames {
            run.classify(&frame);
        }
        run.finish();
        Ok(())
    };
    // Capabilities are those of a thread; it takes them with it when it ends.
    let check = move || {
        drop_perfmon();
        if Run::load(NAME, &Rules::default()).is_none() {
            return;
        }
        assert!(!loads_with_pointer_arithmetic());
        TestRunner::new(config).run(&(rules(), vec(frames(), 16)), check).unwrap();
        // Long lists of everything that is read.
        let nets = (0..200_u128).map(|last| Ipv6Net::host(Ipv6Addr::from(last)));
        let lists = nets.flat_map(|net| {
            [Test::Source6Net(net), Test::NdTarget(net), Test::Destination6Net(net)]
        });
        let all = [Test::Fragment, Test::TcpFlags { mask: 2, value: 2 }, Test::Ip6Protocol(6)];
        let rules = Rules::new([
            Rule::new("list", Expr::any(lists), Action::Take),
            Rule::new("all", Expr::any(all), Action::Take),
        ]);
        let mut run = Run::load(NAME, &rules).expect("may load, as above");
        let packet = ip6(&[(60, extension(60, 1, 0))], 6, &[2; 20]);
        assert_eq!(run.classify(&framed(&[], 0x86dd, &packet)).0, 0);
    };
    std::thread::spawn(check).join().unwrap();
}

//! Loading without CAP_PERFMON, which the verifier asks for before it lets a program add a variable
//! to a packet pointer or subtract two of them.

use std::process::Command;

use super::*;

/// Set in the process that has not the capability.
const WITHOUT: &str = "NETMEM_WITHOUT_PERFMON";

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

/// Runs itself once more without CAP_PERFMON, and without CAP_SYS_ADMIN, which stands for it.
#[test]
fn rules_load_and_decide_without_perfmon() {
    const NAME: &str = "rules_load_and_decide_without_perfmon";
    if Run::load(NAME, &Rules::default()).is_none() {
        return;
    }
    if std::env::var_os(WITHOUT).is_some() {
        return decide();
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let run = Command::new("setpriv")
        .arg("--bounding-set=-perfmon,-sys_admin")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{NAME}")])
        .env(WITHOUT, "1")
        .output();
    let Ok(output) = run else { return skip(NAME, "setpriv is not installed") };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{output:?}");
}

fn decide() {
    const NAME: &str = "rules_load_and_decide_without_perfmon";
    assert!(!loads_with_pointer_arithmetic());
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let check = |(rules, frames): (Rules, Vec<Vec<u8>>)| {
        let mut run = Run::load(NAME, &rules).expect("may load, as before");
        for frame in frames {
            run.classify(&frame);
        }
        run.finish();
        Ok(())
    };
    TestRunner::new(config).run(&(rules(), vec(frames(), 16)), check).unwrap();
    // Long lists of everything that is read.
    let nets = (0..200_u128).map(|last| Ipv6Net::host(Ipv6Addr::from(last)));
    let lists = nets
        .flat_map(|net| [Test::Source6Net(net), Test::NdTarget(net), Test::Destination6Net(net)]);
    let all = [Test::Fragment, Test::TcpFlags { mask: 2, value: 2 }, Test::Ip6Protocol(6)];
    let rules = Rules::new([
        Rule::new("list", Expr::any(lists), Action::Take),
        Rule::new("all", Expr::any(all), Action::Take),
    ]);
    let mut run = Run::load(NAME, &rules).expect("may load, as before");
    let packet = ip6(&[(60, extension(60, 1, 0))], 6, &[2; 20]);
    assert_eq!(run.classify(&framed(&[], 0x86dd, &packet)).0, 0);
}

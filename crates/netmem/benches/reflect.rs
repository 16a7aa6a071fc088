//! What `cargo xtask bench reflect` runs: a program that reflects frames, in a closed loop over a veth
//! pair of its own.
//!
//! ```text
//!   namespace lab.client                          namespace lab.server
//!   nm-client: XDP checks, counts, XDP_TX  ══veth══  nm-server: the program under test
//!        ^ 128 frames are put in once, and go round and round; all of it on cpu 1
//! ```
//! Nothing is generated during a window and nothing can be lost to a full ring: a veth takes 256 frames.
//! Each frame has a number and is counted by it at the far end, after its addresses and its length were
//! compared with what a reflector makes: that is the same count for every program.
//!
//! - `reflect window MILLISECONDS CPU PROGRAM [ARGUMENT..]` starts PROGRAM, waits until it reflects, and
//!   measures one window. CPU is `pinned` (the program runs on cpu 1) or `free` (it pins itself).
//! - `reflect until-end PROGRAM [ARGUMENT..]` keeps the frames going round until PROGRAM ends.
//!
//! `IFACE` in an argument stands for the interface. What was
//! seen is printed as lines of `name value`; `xtask` rejects, compares and writes records.
//!
//! Planted into the program under test and told: source address not moved; one frame dropped (127 of 128
//! are alive); a byte of one frame changed (1 is wrong); nothing sent.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

#[path = "reflect/bouncer.rs"]
mod bouncer;
#[path = "shared/checks.rs"]
mod checks;
#[path = "reflect/load.rs"]
mod load;
#[path = "shared/machine.rs"]
mod machine;
#[path = "reflect/program.rs"]
mod program;

use std::{
    env,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use bouncer::Bouncer;
use checks::Frame;
use load::Load;
use machine::{OUTSIDE_CPU, TESTED_CPU};
use netmem_bpf::{Generator, Stamp};
use netmem_host::lab::{Lab, missing_privilege};
use program::{Cpu, Program};

/// Frames that go round: fewer than the 256 that a veth's ring takes.
const FRAMES: u32 = 128;
/// The number, and one word that follows from it: the far end shall cost little.
const STAMP: Stamp = Stamp { offset: 16, words: 2 };
const FAR_MAC: [u8; 6] = [0x02, b'n', b'm', 0, 0, 1];
const TESTED_MAC: [u8; 6] = [0x02, b'n', b'm', 0, 0, 2];

/// How long a program may take until it reflects the first frame, or the next.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Frames go round for so long before the window.
const WARM_UP: Duration = Duration::from_millis(200);
/// The exit code that says a privilege is missing.
const EXIT_NO_PRIVILEGE: u8 = 3;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        // `cargo test` and `cargo bench` run this without arguments: nothing to do.
        [] => return ExitCode::SUCCESS,
        _ if let Some(missing) = missing_privilege() => {
            println!("skipped {missing}");
            return ExitCode::from(EXIT_NO_PRIVILEGE);
        }
        ["window", millis, cpu, program, arguments @ ..] => window(millis, cpu, program, arguments),
        ["until-end", program, arguments @ ..] => until_end(program, arguments),
        _ => Err("usage: reflect window MILLISECONDS pinned|free PROGRAM [ARGUMENT..]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reflect: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A frame on its way to the program under test, without its number.
fn made() -> Frame {
    checks::frame(TESTED_MAC, FAR_MAC)
}

/// A frame that was reflected.
fn reflected() -> Frame {
    checks::frame(FAR_MAC, TESTED_MAC)
}

/// Measures one window and prints what was seen.
fn window(millis: &str, cpu: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let window = Duration::from_millis(millis.parse()?);
    let cpu = match cpu {
        "pinned" => Cpu::Tested,
        "free" => Cpu::Own,
        _ => return Err(format!("cpu is {cpu}, not pinned or free").into()),
    };
    let probes = load::probe_all()?;
    let course = Course::new()?;
    let mut program = course.start(program, arguments, cpu)?;
    // After the start: the program would inherit it.
    machine::pin(OUTSIDE_CPU)?;
    course.fill(&mut program)?;
    thread::sleep(WARM_UP);
    let before = (Instant::now(), course.bouncer.rounds()?, Load::now(program.id())?);
    thread::sleep(window);
    let after = (Instant::now(), course.bouncer.rounds()?, Load::now(program.id())?);
    program.check()?;
    drop(program);
    let took = after.0 - before.0;
    let rounds: Vec<u64> = after.1.iter().zip(&before.1).map(|(now, then)| now - then).collect();
    println!("frames {}", rounds.iter().sum::<u64>());
    println!("seconds {:.6}", took.as_secs_f64());
    println!("alive {}", rounds.iter().filter(|rounds| **rounds > 0).count());
    println!("wrong {}", course.bouncer.wrong()?);
    after.2.since(&before.2, took).print();
    for (cpu, (before, after)) in probes.into_iter().zip(load::probe_all()?).enumerate() {
        println!("probe_{cpu} {before:.0} {after:.0}");
    }
    Ok(())
}

/// Keeps frames going round until the program ends, and prints how many rounds they made.
fn until_end(program: &str, arguments: &[&str]) -> Result<()> {
    let course = Course::new()?;
    let mut program = course.start(program, arguments, Cpu::Tested)?;
    machine::pin(OUTSIDE_CPU)?;
    course.fill(&mut program)?;
    let (mut frames, mut moved) = (0, Instant::now());
    while !program.is_done()? {
        thread::sleep(Duration::from_millis(50));
        let now: u64 = course.bouncer.rounds()?.iter().sum();
        if now > frames {
            (frames, moved) = (now, Instant::now());
        } else if moved.elapsed() > READY_WITHIN {
            return Err(format!("{frames} frames were reflected, then none").into());
        }
    }
    println!("frames {}", course.bouncer.rounds()?.iter().sum::<u64>());
    println!("wrong {}", course.bouncer.wrong()?);
    Ok(())
}

/// Where frames go round.
struct Course {
    lab: Lab,
    bouncer: Bouncer,
}

impl Course {
    fn new() -> Result<Self> {
        let lab = Lab::builder().macs(FAR_MAC, TESTED_MAC).build()?;
        let far = lab.client_link().index;
        let bouncer = lab.client.run(|| Bouncer::attach(far))??;
        Ok(Self { lab, bouncer })
    }

    /// Starts the program under test in the server's namespace.
    fn start(&self, program: &str, arguments: &[&str], cpu: Cpu) -> Result<Program> {
        let interface = self.lab.server_link().name.as_str();
        self.lab.server.run(|| Program::start(program, arguments, interface, cpu))?
    }

    /// Waits until the program reflects, and puts the frames in.
    fn fill(&self, program: &mut Program) -> Result<()> {
        let patience = Instant::now() + READY_WITHIN;
        let mut asking = made();
        STAMP.write(&mut asking, bouncer::PROBE.into());
        let far = self.lab.client_link().index;
        while self.bouncer.probes()? == 0 {
            program.check()?;
            if self.bouncer.wrong()? > 0 {
                return Err("frames come back that are not as a reflector makes them".into());
            }
            if Instant::now() > patience {
                return Err(format!("no frame was reflected within {READY_WITHIN:?}").into());
            }
            // Without NAPI at the other end, which an XDP program brings, the veth takes no frame.
            let ask = || Generator::load(far, None)?.send(&asking, 1, 1);
            self.lab.client.run(ask)??;
            thread::sleep(Duration::from_millis(20));
        }
        // What had been asked before it was ready may still be on its way.
        thread::sleep(Duration::from_millis(100));
        let fill = || -> Result<u32> {
            machine::pin(TESTED_CPU)?;
            Ok(Generator::load(far, Some(STAMP))?.send(&made(), FRAMES, FRAMES)?)
        };
        self.lab.client.run(fill)??;
        Ok(())
    }
}

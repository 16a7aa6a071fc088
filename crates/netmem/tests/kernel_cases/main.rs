//! The 36 cases of the kernel's own AF_XDP suite (xskxceiver, tools/testing/selftests/bpf), one test of
//! each name, mode and way of polling: `send_receive::native`, `send_receive::native_busy_poll`,
//! `send_receive::generic`, ... What each name means is the kernel's; how it is done is ours.
//!
//! ```text
//!   cases::*  what is sent, what must come of it           one thread drives both ends
//!   traffic   window, order, content, completions      tx end --- wire ---> program ---> rx end
//!   end       PortEnd: the public API                       (bed: a veth in a namespace of its own,
//!   raw_end   RawEnd: xdp::raw, with books of its own              or the interfaces of NETMEM_CASES_PAIR)
//! ```
//! A case about programs that behave has ports at both ends; one about invalid descriptors, rings that
//! nobody releases or drains, chains as long as the kernel takes, or two sockets on one queue has raw
//! ones. Behind the kernel's cases come faults of our own, `fault_*`.
//!
//! Each packet is held against what was sent, every byte of it (word `w` of packet `n` is `n << 16 | w`),
//! in order, and at `XDP_PACKET_HEADROOM` and the UMEM's own headroom from its frame's start. No frame
//! completes that is not outstanding, and none arrives that was not given. Each case ends with an audit:
//! of the pools, before and after the close; of a raw end's books against its rings.
//!
//! By default the modes are those that a veth has, copy mode with a native and a generic program. With
//! `NETMEM_CASES_PAIR` zero copy is added. What a device cannot do is skipped in the kernel's words.
//! Unaligned cases lie on base pages, which copy mode allows, and in zero copy on huge ones.
//!
//! Planted and caught (native unless said): completions counted twice (send_receive, bidirectional); ring
//! entries read and not passed (poll_tx, aligned_inv_desc, stat_tx_invalid, too_many_frags generic);
//! headroom ignored (umem_headroom, stat_rx_dropped generic); fill ring not published (send_receive,
//! poll_rx generic);
//! packets lent one byte off (send_receive_single_pkt, xdp_drop_half, xdp_adjust_tail_shrink); their offset
//! told one off (send_receive_2k_frame); a ring range wrong behind the wrap (send_receive_9k_packets);
//! slots not given back at the close (teardown); sockets registered for the next queue (send_receive
//! generic); poll for POLLIN only and without waiting (poll_tx, poll_rxq_full, poll_txq_full); rx entries
//! released that were not to be (stat_rx_full);
//! the continuation bit lost (send_receive_9k_packets, too_many_frags, aligned_inv_desc_multi_buff,
//! xdp_adjust_tail_shrink_multi_buff, xdp_metadata_copy_multi_buff generic); the kernel not woken to send
//! (bidirectional generic); a refill that gives up once the kernel has no slot left (both faults of a
//! starved fill ring); ENETDOWN taken for the end (fault_link_flap). The cases of several frames had raw
//! ends when they were tried. Not caught: busy polling that is not switched on, whose packets come all
//! the same, by the kernel's timer.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

mod bed;
mod cases;
mod end;
mod programs;
mod raw_end;
mod stream;
mod traffic;

use std::{
    env,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
};

use libtest_mimic::{Arguments, Failed, Trial};
use netmem::xdp::XdpMode;
use netmem_host::lab::{missing_privilege, skip};

use self::{
    bed::{Stop, Way},
    cases::Case,
};

/// The variable that names the modes to run, for example `zero-copy,native`.
const MODES: &str = "NETMEM_CASES_MODES";
/// The variable that asks for one line on stdout for each case that ran.
const REPORT: &str = "NETMEM_CASES_REPORT";

/// How many lines were reported.
static REPORTED: AtomicU32 = AtomicU32::new(0);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Read here, in the namespace that has it.
    bed::max_skb_frags();
    if bed::pair().is_some() {
        // There is one pair of interfaces.
        arguments.test_threads = Some(1);
    }
    let modes = match modes() {
        Ok(modes) => modes,
        Err(unknown) => {
            let _ = writeln!(io::stderr(), "{MODES}: no mode is called {unknown:?}");
            return ExitCode::FAILURE;
        }
    };
    let trials = modes.into_iter().flat_map(|mode| {
        let ways = [false, true].map(|busy_poll| Way { mode, busy_poll });
        ways.into_iter().flat_map(|way| cases::ALL.map(|(name, case)| trial(name, case, way)))
    });
    let is_list = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if is_reported() && !is_list {
        print(&format!("netmem-vm done cases={}", REPORTED.load(Ordering::Relaxed)));
    }
    conclusion.exit_code()
}

fn trial(name: &'static str, case: Case, way: Way) -> Trial {
    let mode = way.mode.name().replace('-', "_");
    let full = format!("{name}::{mode}{}", if way.busy_poll { "_busy_poll" } else { "" });
    Trial::test(full.clone(), move || {
        if let Some(missing) = missing_privilege() {
            report(name, way, "skip", &missing);
            skip(&full, &missing);
            return Ok(());
        }
        match panic::catch_unwind(AssertUnwindSafe(|| bed::run(way, case))) {
            Ok(Ok(())) => report(name, way, "pass", ""),
            Ok(Err(Stop::Impossible(why))) => {
                report(name, way, "impossible", &why);
                skip(&full, &why);
            }
            Ok(Err(Stop::Failed(why))) => {
                report(name, way, "fail", &why);
                return Err(Failed::from(why));
            }
            Err(panic) => {
                report(name, way, "fail", "it panicked");
                panic::resume_unwind(panic);
            }
        }
        Ok(())
    })
}

/// The modes that the environment names; by default those that a veth has, and all on a given pair.
fn modes() -> Result<Vec<XdpMode>, String> {
    let Ok(names) = env::var(MODES) else {
        let from = usize::from(bed::pair().is_none());
        return Ok(XdpMode::ALL[from..].to_vec());
    };
    let mode = |name: &str| {
        let mode = XdpMode::ALL.into_iter().find(|mode| mode.name() == name.trim());
        mode.ok_or_else(|| name.to_owned())
    };
    names.split(',').map(mode).collect()
}

fn is_reported() -> bool {
    env::var(REPORT).is_ok_and(|value| value == "1")
}

fn report(name: &str, way: Way, result: &str, why: &str) {
    if !is_reported() {
        return;
    }
    REPORTED.fetch_add(1, Ordering::Relaxed);
    let why = why.replace(['"', '\n'], " ");
    print(&format!(
        "netmem-vm case={name} mode={} device={} busy_poll={} result={result} why=\"{why}\"",
        way.mode.name(),
        bed::driver(),
        u8::from(way.busy_poll),
    ));
}

fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    // Whoever closed it does not want to know.
    let _ = writeln!(stdout, "\n{line}").and_then(|()| stdout.flush());
}

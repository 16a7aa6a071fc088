//! The interface, its queue or its XDP program is taken away, or somebody else has it.

use std::{
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use netmem::{
    mem::{Pool, PoolConfig, Region},
    xdp::{Port, XdpMode},
};
use netmem_bpf::{LinkInfo, detach_by_id, link_ids};
use netmem_wire::filter::{self, ResponderConfig};

use crate::support::{Bed, PATIENCE, Respond, has_programs, scenario, texts};

/// It looks every 20 ms; the rest is what a busy machine may take.
const NOTICED: Duration = Duration::from_secs(10);

/// Deleted while it is flooded: noticed at once, one message, exit code 4, the audit closed.
#[test]
fn removed_under_traffic() {
    scenario("interface::removed_under_traffic", |bed| {
        let started = Instant::now();
        let mut respond = Respond::start(bed, &["--json"]);
        let traffic = bed.traffic();
        traffic.until_right(101);
        bed.delete_interface();
        let until = (started.elapsed() + NOTICED).as_secs_f64();
        let ended = respond.wait(PATIENCE);
        ended.assert_refused(4, &["nm-server queue 0", "the interface was removed"]);
        let summary = ended.closed_summary();
        assert!(summary["seconds"].as_f64().unwrap() < until, "noticed: {summary}");
        let score = traffic.stop();
        assert!(score.right > 100, "{score:?}");
        assert!(summary["completed"].as_u64().unwrap() >= score.right, "{summary}");
    });
}

/// Set down and up 100 times under traffic: the responder goes on, and afterwards answers all.
#[test]
fn flaps_under_traffic() {
    scenario("interface::flaps_under_traffic", |bed| {
        let mut respond = Respond::start(bed, &["--json"]);
        let program = bed.program_id();
        let traffic = bed.traffic();
        bed.flap(100, Duration::from_millis(5));
        traffic.until_right(101);
        let score = traffic.settle();
        assert!(score.right > 100, "some came through: {score:?}");
        assert!(score.missing > 0, "some were lost while it was down: {score:?}");
        assert_eq!(bed.program_id(), program, "the same program all the time");
        bed.assert_bursts_answered(50, 64);
        let summary = respond.interrupt().assert_ended_well();
        assert_eq!(summary["transmitted"], summary["completed"], "{summary}");
    });
}

/// Stopped while the interface is down: it ends as ever, and the interface comes up without it.
#[test]
fn stopped_while_down() {
    scenario("interface::stopped_while_down", |bed| {
        let mut respond = Respond::start(bed, &["--json"]);
        bed.assert_bursts_answered(5, 64);
        let ended = bed.while_down(|| respond.interrupt());
        let summary = ended.closed_summary();
        assert_eq!(ended.code, Some(0), "{summary}");
        assert!(summary["completed"].as_u64().unwrap() >= 5 * 64, "{summary}");
    });
}

/// `ip link set xdp off` of another process: the kernel refuses, because a link holds the program.
#[test]
fn xdp_off_from_outside() {
    if !has_programs("interface::xdp_off_from_outside", &["ip"]) {
        return;
    }
    scenario("interface::xdp_off_from_outside", |bed| {
        let mut respond = Respond::start(bed, &["--json"]);
        let program = bed.program_id();
        let traffic = bed.traffic();
        traffic.until_right(1);
        for off in ["xdp", "xdpdrv", "xdpgeneric"] {
            let mut ip = Command::new("ip");
            ip.args(["link", "set", "dev", bed.interface(), off, "off"]);
            let output = bed.lab.server.run(|| ip.output().unwrap()).unwrap();
            // Nothing is in the generic place, so there is nothing to take off.
            if off != "xdpgeneric" {
                assert!(!output.status.success(), "{off}: {:?}", texts(&output));
            }
        }
        assert_eq!(bed.program_id(), program);
        assert!(traffic.settle().right > 0);
        bed.assert_bursts_answered(10, 64);
        let summary = respond.interrupt().assert_ended_well();
        // Nobody else answered these.
        assert!(summary["completed"].as_u64().unwrap() >= 640, "{summary}");
    });
}

/// The link is detached by force, as an administrator can: noticed at once, and said.
#[test]
fn detached_from_outside() {
    scenario("interface::detached_from_outside", |bed| {
        let started = Instant::now();
        let mut respond = Respond::start(bed, &["--json"]);
        let traffic = bed.traffic();
        traffic.until_right(1);
        detach(bed);
        let until = (started.elapsed() + NOTICED).as_secs_f64();
        let ended = respond.wait(PATIENCE);
        let said = "nm-server queue 0 (native): the xdp program was detached from outside";
        ended.assert_refused(4, &[said, "hint: "]);
        let summary = ended.closed_summary();
        assert!(summary["seconds"].as_f64().unwrap() < until, "noticed: {summary}");
        assert!(traffic.stop().right > 0);
        assert_eq!(summary["audit"]["owners"]["free"], summary["audit"]["slots"], "{summary}");
        // Nothing is in the way of the next one.
        let mut next = Respond::start(bed, &["--json"]);
        bed.assert_bursts_answered(5, 64);
        next.interrupt().assert_ended_well();
    });
}

/// A second responder on the queue is refused at once, with what to do; the first one goes on.
#[test]
fn second_responder() {
    scenario("interface::second_responder", |bed| {
        let mut first = Respond::start(bed, &["--json"]);
        let id = bed.program_id().unwrap();
        let traffic = bed.traffic();
        traffic.until_right(1);
        let started = Instant::now();
        let second = bed.netmem_in_server(&["respond", bed.interface(), "--ip", "192.0.2.9"]);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let whose = format!("\"netmem_respond\" id {id} is already attached and is not replaced");
        second.assert_refused(4, &[&whose, "hint: end the process that attached it"]);
        traffic.goes_on();
        assert!(traffic.settle().right > 0);
        bed.assert_bursts_answered(10, 64);
        first.interrupt().assert_ended_well();
    });
}

/// The queue's place is taken by a socket without a program: EBUSY, and not for ever tried again; once it
/// is free, the next one gets it.
#[test]
fn queue_is_taken() {
    scenario("interface::queue_is_taken", |bed| {
        let (release, released) = mpsc::channel::<()>();
        let (bound, is_bound) = mpsc::channel();
        let (interface, address) = (bed.interface().to_owned(), bed.server_ip());
        let holder = bed.lab.server.spawn("holder", move || {
            let handle =
                Pool::new(Region::builder(64 * 2048).build().unwrap(), PoolConfig::default());
            let handle = handle.unwrap().handle();
            let port =
                Port::builder(&interface, filter::responder(&ResponderConfig::ipv4(&[address])));
            let port = port.modes(&[XdpMode::Native]).open(&handle).unwrap();
            bound.send(()).unwrap();
            // Gone when the sender is.
            let _ = released.recv();
            port.close().quarantined
        });
        is_bound.recv().unwrap();
        detach(bed);
        let started = Instant::now();
        let ran = bed.netmem_in_server(&["respond", bed.interface(), "--ip", "192.0.2.2"]);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let busy = "bind nm-server queue 0 (native): device or resource busy (EBUSY)";
        ran.assert_refused(4, &[busy, "hint: another AF_XDP socket has this queue"]);
        drop(release);
        assert_eq!(holder.unwrap().join().unwrap(), 0);
        let mut next = Respond::start(bed, &["--json"]);
        bed.assert_bursts_answered(5, 64);
        next.interrupt().assert_ended_well();
    });
}

/// Takes the program on the server's interface off, whoever holds its link.
fn detach(bed: &Bed) {
    let program = bed.program_id().unwrap();
    let infos = link_ids().unwrap().into_iter().filter_map(|id| LinkInfo::by_id(id).ok());
    let link = infos.into_iter().find(|info| info.program_id == program).unwrap();
    detach_by_id(link.id).unwrap();
}

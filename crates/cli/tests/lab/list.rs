//! `list` and `detach` against programs and sockets of running, stopped and vanished owners.
//!
//! Planted and caught: the kernel not asked whether there is a link; the first of several links taken;
//! nobody seen taken for nobody, in `detach` and in `list`; force not needed against a running owner;
//! sockets of other namespaces listed.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    process::Command,
    time::{Duration, Instant},
};

use netmem_bpf::{
    AttachMode, Frags, LoadSpec, Program, XdpAction, XdpLink,
    asm::{Assembler, Reg},
};
use netmem_host::netlink::{AdminState, LinkSpec, Route, XdpMode};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use serde_json::Value;

use crate::support::{Bed, PATIENCE, Respond, has_programs, json, scenario};

/// The list as JSON, which ended well.
fn list(bed: &Bed, words: &[&str]) -> Value {
    let ran = bed.netmem_in_server(&[&["list", "--json"], words].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let list = json(&ran.stdout);
    assert_eq!(list["schema"], "netmem.list/1");
    list
}

fn interface<'a>(list: &'a Value, name: &str) -> &'a Value {
    let all = list["interfaces"].as_array().unwrap();
    all.iter().find(|one| one["interface"] == name).unwrap_or_else(|| panic!("{name}: {list}"))
}

/// A program that passes everything, and its number.
fn pass(name: &str) -> (Program, u32) {
    let mut assembler = Assembler::new();
    assembler.mov(Reg::R0, XdpAction::Pass).exit();
    let instructions = assembler.finish().unwrap();
    let spec = LoadSpec { name, instructions: &instructions, frags: Frags::No };
    let program = Program::load(&spec).unwrap();
    let id = program.info().unwrap().id;
    (program, id)
}

fn attach(bed: &Bed, program: &Program) -> XdpLink {
    let index = bed.lab.server_link().index;
    let attach = || XdpLink::attach(program, index, AttachMode::Native).unwrap();
    bed.lab.server.run(attach).unwrap()
}

fn attach_by_netlink(bed: &Bed, program: &Program) {
    let attach = || Route::open()?.attach_xdp(bed.interface(), program, XdpMode::Native);
    bed.lab.server.run(attach).unwrap().unwrap();
}

/// Sends a signal, and waits until the list shows the owner of the program in `state`.
fn signal(bed: &Bed, respond: &Respond, name: &str, state: &str) {
    let (pid, option) = (respond.child.id().to_string(), format!("-{name}"));
    assert!(Command::new("kill").args([&option, &pid]).status().unwrap().success());
    let sent = Instant::now();
    loop {
        let list = list(bed, &[bed.interface()]);
        let owners = &list["interfaces"][0]["programs"][0]["owners"];
        if owners[0]["state"] == state {
            return;
        }
        assert!(sent.elapsed() < PATIENCE, "{owners}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes the link `nm-other` in the server's namespace, and attaches a program to it.
fn attach_beside(bed: &Bed, program: &Program) -> XdpLink {
    let (near, far) = (LinkSpec::new("nm-other"), LinkSpec::new("nm-other-peer"));
    let make = || -> netmem_host::Result<u32> {
        let mut route = Route::open()?;
        route.create_veth(&near, &far, &bed.lab.server)?;
        route.set_state("nm-other", AdminState::Up)?;
        Ok(route.link("nm-other")?.index)
    };
    let index = bed.lab.server.run(make).unwrap().unwrap();
    let attach = || XdpLink::attach(program, index, AttachMode::Generic).unwrap();
    bed.lab.server.run(attach).unwrap()
}

/// A running responder is listed with mode, queue and owner, and a program of somebody else beside it.
#[test]
fn listed() {
    scenario("list::listed", |bed| {
        // One in another namespace, on an interface of the same name and index, is not seen.
        let other = crate::support::bed();
        let _elsewhere = Respond::start(&other, &[]);
        let empty = list(bed, &[]);
        assert_eq!(empty["interfaces"], Value::Array(Vec::new()), "{empty}");
        assert_eq!(empty["other_sockets"], Value::Array(Vec::new()), "{empty}");
        let ran = bed.netmem_in_server(&["list"]);
        assert!(
            ran.stdout.contains("none of this network namespace has an XDP program or a queue"),
            "{ran:?}"
        );

        let respond = Respond::start(bed, &[]);
        let pid = respond.child.id();
        let (program, foreign_id) = pass("somebody_else");
        let link = attach_beside(bed, &program);

        let list = list(bed, &[]);
        assert_eq!(list["interfaces"].as_array().unwrap().len(), 2, "{list}");
        let ours = interface(&list, bed.interface());
        assert_eq!(ours["index"], bed.lab.server_link().index);
        assert_eq!(ours["queues"], json("[0]"), "{list}");
        let program = &ours["programs"][0];
        assert_eq!(program["id"], bed.program_id().unwrap());
        assert_eq!((&program["mode"], &program["attached_by"]), (&"native".into(), &"link".into()));
        assert!(program["name"].as_str().unwrap().starts_with("netmem_respon"), "{program}");
        assert_eq!(program["owners"].as_array().unwrap().len(), 1, "{program}");
        let owner = json(&format!(r#"{{"pid":{pid},"name":"netmem","state":"running"}}"#));
        assert_eq!(program["owners"][0], owner);
        // Its socket: placed by socket diagnosis, or at least found with its owner.
        let unplaced = list["other_sockets"].as_array().unwrap();
        let placed = ours["sockets"].as_array().unwrap();
        assert_eq!(unplaced.len() + placed.len(), 1, "{list}");
        assert_eq!(placed.iter().chain(unplaced).next().unwrap()["owners"][0], owner);
        let diagnosed =
            list["not_known"].as_array().unwrap().iter().all(|gap| gap["topic"] != "sockets");
        assert_eq!(diagnosed, unplaced.is_empty(), "{list}");

        let foreign = interface(&list, "nm-other");
        assert_eq!(foreign["queues"], json("[]"), "{list}");
        let program = &foreign["programs"][0];
        assert_eq!(program["id"], foreign_id);
        assert_eq!(
            (&program["mode"], &program["name"]),
            (&"generic".into(), &"somebody_else".into())
        );
        assert_eq!(program["links"][0], link.info().unwrap().id);
        assert_eq!(program["owners"][0]["pid"], std::process::id());

        let ran = bed.netmem_in_server(&["list"]);
        println!("listed:\n{}", ran.stdout);
        let ran = bed.netmem_in_server(&["list", bed.interface()]);
        let id = bed.program_id().unwrap();
        for text in [&format!("native id {id}"), &format!("netmem (pid {pid})"), "on queue 0"] {
            assert!(ran.stdout.contains(text), "{text}: {ran:?}");
        }
        assert!(!ran.stdout.contains("nm-other"), "{ran:?}");
        let delete = || Route::open()?.delete_link("nm-other");
        bed.lab.server.run(delete).unwrap().unwrap();
    });
}

/// What the list says of the netmem process `pid`, if it shows itself.
fn process(list: &Value, pid: u32) -> Option<Value> {
    let all = list["processes"].as_array().unwrap();
    all.iter().find(|process| process["pid"] == pid).cloned()
}

/// The same, as soon as it is as it shall be.
fn process_when(bed: &Bed, pid: u32, is_so: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let shown = process(&list(bed, &[bed.interface()]), pid);
        if let Some(shown) = shown.filter(&is_so) {
            return shown;
        }
        assert!(since.elapsed() < PATIENCE, "publishes twice a second");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const SMALL: [&str; 5] = ["--frames", "1024", "--pages", "4k", "--no-sandbox"];

/// A running responder shows itself: what it does, where, since when, and its packets and memory; in its
/// own namespace and from others. Killed, it is gone.
#[test]
fn shows_itself() {
    scenario("list::shows_itself", |bed| {
        let other = crate::support::bed();
        assert_eq!(bed.lab.server_link().index, other.lab.server_link().index);
        let before = Instant::now();
        let mut respond = Respond::start(bed, &SMALL);
        let pid = respond.child.id();
        bed.assert_bursts_answered(2, 64);
        // It publishes twice a second: in a while all of the bursts is told.
        std::thread::sleep(Duration::from_millis(500));
        let shown = process_when(bed, pid, |shown| {
            let count = |name: &str| shown["packets"][name].as_u64().unwrap_or(0);
            count("received") >= 128 && count("transmitted") >= 128
        });
        let is = |key: &str, value: Value| assert_eq!(shown[key], value, "{shown}");
        is("command", "respond".into());
        is("state", "running".into());
        is("complete", true.into());
        is("workers", 1.into());
        is("memory", json(r#"[{"bytes":2097152,"page_bytes":4096,"tier":"4k","numa_node":null}]"#));
        let age = Duration::from_nanos(shown["age_ns"].as_u64().unwrap());
        assert!((Duration::from_millis(500)..before.elapsed()).contains(&age), "{shown}");
        let port = &shown["ports"][0];
        assert_eq!(port["interface"], bed.interface(), "{shown}");
        assert_eq!(port["index"], bed.lab.server_link().index, "{shown}");
        assert_eq!((&port["queue"], &port["mode"]), (&0.into(), &"native".into()), "{shown}");
        assert_eq!(port["in_this_namespace"], true, "{shown}");
        assert_eq!(port["kernel"]["rx_dropped"], 0, "{shown}");
        let packets = &shown["packets"];
        let count = |name: &str| packets[name].as_u64().unwrap();
        assert!(count("received") >= 128 && count("transmitted") >= 128, "{shown}");
        assert_eq!(port["received"], packets["received"], "{shown}");
        let owners = shown["frames"]["owners"].as_object().unwrap();
        let frames: u64 = owners.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!((frames, &shown["frames"]["slots"]), (1024, &1024.into()), "at rest: {shown}");

        let text = bed.netmem_in_server(&["list", bed.interface()]).stdout;
        for part in
            [&format!("respond (pid {pid}), started "), "queue 0, native: ", "2 MiB in pages"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        // From the other namespace it is not on the interface of that name and index.
        assert_eq!(process(&list(&other, &[other.interface()]), pid), None);
        let elsewhere = process(&list(&other, &[]), pid).unwrap();
        assert_eq!(elsewhere["ports"][0]["in_this_namespace"], false, "{elsewhere}");

        let summary = respond.interrupt();
        assert_eq!(summary.code, Some(0), "{summary:?}");
        assert_eq!(process(&list(&other, &[]), pid), None);
        let mut respond = Respond::start(bed, &["--no-sandbox"]);
        let pid = respond.child.id();
        let since = Instant::now();
        while process(&list(bed, &[]), pid).is_none() {
            assert!(since.elapsed() < PATIENCE, "publishes at its start");
        }
        respond.child.kill().unwrap();
        respond.child.wait().unwrap();
        assert_eq!(process(&list(bed, &[]), pid), None, "SIGKILL leaves nothing");
    });
}

/// A running owner is left alone without force; with force its program goes, and it says so and ends.
#[test]
fn detach_by_force() {
    scenario("list::detach_by_force", |bed| {
        let mut respond = Respond::start(bed, &["--json"]);
        let (pid, id) = (respond.child.id(), bed.program_id().unwrap());
        let holder = format!("netmem (pid {pid}, running)");
        let refused = bed.netmem_in_server(&["detach", bed.interface()]);
        refused.assert_refused(1, &[&holder, &format!("id {id}"), "hint: ", "--force"]);
        assert_eq!(bed.program_id(), Some(id), "left alone");
        bed.assert_bursts_answered(2, 64);

        let done = bed.netmem_in_server(&["detach", bed.interface(), "--force"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.contains(&format!("id {id}")) && done.stdout.contains(&holder));
        assert_eq!(bed.program_id(), None);
        let ended = respond.wait(PATIENCE);
        ended.assert_refused(4, &["detached from outside"]);
        ended.closed_summary();

        let again = bed.netmem_in_server(&["detach", bed.interface()]);
        assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
        assert_eq!(again.stdout, "nothing to detach: nm-server has no xdp program\n");
        bed.netmem_in_server(&["detach", "nm-missing"])
            .assert_refused(4, &["nm-missing", "ENODEV"]);
        bed.netmem_in_server(&["list", "nm-missing"]).assert_refused(4, &["nm-missing", "ENODEV"]);
    });
}

/// A stopped owner cannot answer: its program is taken off without force.
#[test]
fn detach_stopped() {
    scenario("list::detach_stopped", |bed| {
        let mut respond = Respond::start(bed, &["--json"]);
        signal(bed, &respond, "STOP", "stopped");
        let done = bed.netmem_in_server(&["detach", bed.interface()]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let holder = format!("netmem (pid {}, stopped)", respond.child.id());
        assert!(done.stdout.contains(&holder), "{done:?}");
        assert_eq!(bed.program_id(), None);
        bed.assert_kernel_answers();
        let ended = respond.signal("CONT");
        ended.assert_refused(4, &["detached from outside"]);
    });
}

/// A link that no process holds any more, here on its way through a socket that nobody reads.
#[test]
fn detach_orphaned() {
    scenario("list::detach_orphaned", |bed| {
        let (program, id) = pass("left_behind");
        let link = attach(bed, &program);
        let (near, far) = pair();
        send(&near, &link);
        drop(link);
        assert_eq!(bed.program_id(), Some(id), "still attached");
        let listed = bed.netmem_in_server(&["list", "--json", bed.interface()]);
        let listed = json(&listed.stdout);
        let owners = &listed["interfaces"][0]["programs"][0]["owners"];
        let gaps = listed["not_known"].as_array().unwrap();
        if gaps.iter().any(|gap| gap["topic"] == "processes") {
            // One that cannot be looked into may hold it: it is not taken off without force.
            println!("detach_orphaned: not all processes can be seen here: {listed}");
            assert!(owners.is_null(), "{listed}");
            let refused = bed.netmem_in_server(&["detach", bed.interface()]);
            refused.assert_refused(1, &["a process that is not known", "hint: --force"]);
            assert_eq!(bed.program_id(), Some(id), "left alone");
            let done = bed.netmem_in_server(&["detach", bed.interface(), "--force"]);
            assert_eq!(done.code, Some(0), "{done:?}");
            assert!(done.stdout.contains("whose holder is not known"), "{done:?}");
        } else {
            assert_eq!(owners, &json("[]"), "{listed}");
            let done = bed.netmem_in_server(&["detach", bed.interface()]);
            assert_eq!(done.code, Some(0), "{done:?}");
            assert!(done.stdout.contains("which no process held"), "{done:?}");
        }
        assert_eq!(bed.program_id(), None);
        drop(far);
    });
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// Puts a descriptor of the link into the other end's queue.
fn send(socket: &OwnedFd, link: &XdpLink) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [link.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(socket, &[IoSlice::new(b"l")], &mut control, SendFlags::empty()).unwrap();
}

/// What is attached without a link has no owner: it goes by force only. A link of another namespace,
/// to an interface of the same index and with the same program, is neither taken for it nor touched.
#[test]
fn detach_netlink() {
    scenario("list::detach_netlink", |bed| {
        let other = crate::support::bed();
        assert_eq!(bed.lab.server_link().index, other.lab.server_link().index);
        for elsewhere in [false, true] {
            let (program, id) = pass("by_netlink");
            attach_by_netlink(bed, &program);
            let link = elsewhere.then(|| attach(&other, &program));
            let refused = bed.netmem_in_server(&["detach", bed.interface()]);
            refused.assert_refused(1, &["attached by netlink", "hint: ", "--force"]);
            assert_eq!(bed.program_id(), Some(id), "left alone");
            let done = bed.netmem_in_server(&["detach", bed.interface(), "--force"]);
            assert_eq!(done.code, Some(0), "{done:?}");
            assert!(done.stdout.contains("anybody may attach it again"), "{done:?}");
            assert_eq!(bed.program_id(), None);
            assert!(link.is_none_or(|link| link.is_attached().unwrap()), "untouched");
        }
    });
}

/// Two links with the same program, to interfaces of the same index: nothing tells which is ours, and
/// so neither is taken off.
#[test]
fn detach_ambiguous() {
    scenario("list::detach_ambiguous", |bed| {
        let other = crate::support::bed();
        let (program, _) = pass("twice");
        let links = [attach(bed, &program), attach(&other, &program)];
        for words in [&["detach", bed.interface()][..], &["detach", bed.interface(), "--force"]] {
            let refused = bed.netmem_in_server(words);
            refused.assert_refused(1, &["cannot be told apart", "hint: "]);
        }
        assert!(links.iter().all(|link| link.is_attached().unwrap()));
    });
}

/// Without the privileges to ask, what is not known is said to be so, and is no "none".
#[test]
fn not_known() {
    let test = "list::not_known";
    if !has_programs(test, &["setpriv"]) {
        return;
    }
    scenario(test, |bed| {
        let respond = Respond::start(bed, &[]);
        let (pid, id) = (respond.child.id(), bed.program_id().unwrap());
        let by = |dropped, words: &[&str]| {
            let wrapper = ["setpriv", "--bounding-set", dropped, "--inh-caps=-all"];
            bed.netmem_in_server_by(&wrapper, words)
        };
        let topics = |list: &Value| -> Vec<String> {
            let gaps = list["not_known"].as_array().unwrap();
            gaps.iter().map(|gap| gap["topic"].as_str().unwrap().to_owned()).collect()
        };
        let ran = by("-sys_admin,-bpf", &["list", "--json", bed.interface()]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        let list = json(&ran.stdout);
        let program = &list["interfaces"][0]["programs"][0];
        assert_eq!((&program["id"], &program["mode"]), (&id.into(), &"native".into()));
        assert!(program["attached_by"].is_null() && program["owners"].is_null(), "{list}");
        assert!(topics(&list).contains(&"links".to_owned()), "{list}");

        let ran = by("-sys_ptrace", &["list", "--json", bed.interface()]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        let list = json(&ran.stdout);
        let program = &list["interfaces"][0]["programs"][0];
        assert_eq!(program["attached_by"], "link", "{list}");
        assert!(program["owners"].is_null(), "{list}");
        assert!(topics(&list).contains(&"processes".to_owned()), "{list}");
        assert!(topics(&list).contains(&"netmem".to_owned()), "{list}");
        assert_eq!(process(&list, pid), None, "{list}");
        let ran = by("-sys_ptrace", &["list", bed.interface()]);
        assert!(ran.stdout.contains("held by a process that is not known"), "{ran:?}");
        assert!(ran.stdout.contains("no process of it can be seen"), "{ran:?}");

        // Nobody seen is not nobody.
        let refused = by("-sys_ptrace", &["detach", bed.interface()]);
        refused.assert_refused(1, &["a process that is not known", "CAP_SYS_PTRACE", "hint: "]);
        let refused = by("-sys_admin,-bpf", &["detach", bed.interface()]);
        refused.assert_refused(3, &["CAP_SYS_ADMIN"]);
        let refused = by("-sys_admin,-bpf,-net_admin", &["detach", bed.interface()]);
        refused.assert_refused(3, &["EPERM"]);
        assert_eq!(bed.program_id(), Some(id), "left alone: pid {pid}");
    });
}

//! Links on interfaces of a namespace of their own.

use super::*;

#[test]
fn a_link_attaches_and_goes() {
    in_namespace("a_link_attaches_and_goes", || {
        let program = pass().unwrap();
        let program_id = program.info().unwrap().id;
        let link = XdpLink::attach(&program, LOOPBACK, AttachMode::Generic).unwrap();
        assert!(close_on_exec(link.as_fd()));
        drop(program);
        let info = link.info().unwrap();
        assert_eq!((info.program_id, info.ifindex), (program_id, LOOPBACK));
        assert_eq!(info.link_type, LinkType::Xdp);
        assert!(link.is_attached().unwrap());
        assert!(link_ids().unwrap().contains(&info.id));
        assert_eq!(LinkInfo::by_id(info.id).unwrap(), info);

        link.detach().unwrap();
        let again = XdpLink::attach(&pass().unwrap(), LOOPBACK, AttachMode::Generic).unwrap();
        let id = again.info().unwrap().id;
        drop(again);
        wait_until("link gone", || {
            LinkInfo::by_id(id).is_err_and(|e| e.errno() == Some(libc::ENOENT))
        });
        assert!(!link_ids().unwrap().contains(&id));
    });
}

#[test]
fn a_foreign_program_is_not_replaced() {
    in_namespace("a_foreign_program_is_not_replaced", || {
        let (foreign, ours) = (pass().unwrap(), pass().unwrap());
        let held = XdpLink::attach(&foreign, LOOPBACK, AttachMode::Generic).unwrap();
        let error = XdpLink::attach(&ours, LOOPBACK, AttachMode::Generic).unwrap_err();
        assert!(matches!(error.errno(), Some(libc::EBUSY | libc::EEXIST)), "{error}");
        assert_eq!(error.hint(), Some("another xdp program is attached to the interface"));
        let text = error.to_string();
        let start = "attach xdp program netmem_pass to interface 1 (generic): ";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(held.info().unwrap().program_id, foreign.info().unwrap().id);
    });
}

#[test]
fn impossible_attachments_say_why() {
    in_namespace("impossible_attachments_say_why", || {
        let program = pass().unwrap();
        let error = XdpLink::attach(&program, LOOPBACK, AttachMode::Native).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EOPNOTSUPP), "{error}");
        assert!(error.hint().unwrap().contains("generic"));
        let error = XdpLink::attach(&program, 4711, AttachMode::Generic).unwrap_err();
        assert!(matches!(error.errno(), Some(libc::EINVAL | libc::ENODEV)), "{error}");
    });
}

#[test]
fn a_forced_detach_is_seen() {
    in_namespace("a_forced_detach_is_seen", || {
        let program = pass().unwrap();
        let link = XdpLink::attach(&program, LOOPBACK, AttachMode::Generic).unwrap();
        let id = link.info().unwrap().id;
        detach_by_id(id).unwrap();
        assert!(!link.is_attached().unwrap());
        let info = link.info().unwrap();
        assert_eq!((info.id, info.ifindex), (id, 0));
        // The place is free, and detaching what is detached is no error.
        let other = XdpLink::attach(&program, LOOPBACK, AttachMode::Generic).unwrap();
        link.detach().unwrap();
        assert!(other.is_attached().unwrap());
        let error = detach_by_id(u32::MAX - 1).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT), "{error}");
    });
}

#[test]
fn a_link_outlives_its_interface_detached() {
    let link = in_namespace("a_link_outlives_its_interface_detached", || {
        XdpLink::attach(&pass().unwrap(), LOOPBACK, AttachMode::Generic).unwrap()
    });
    // The namespace went with its only thread, and `lo` with it.
    if let Some(link) = link {
        wait_until("interface gone", || !link.is_attached().unwrap());
    }
}

#[test]
fn an_attached_program_drops_real_packets() {
    const TEST: &str = "an_attached_program_drops_real_packets";
    in_namespace(TEST, || {
        if !ip(TEST, "link set lo up") {
            return;
        }
        let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0"));
        let to = to.unwrap();
        to.set_nonblocking(true).unwrap();
        let send = || from.send_to(b"netmem", to.local_addr().unwrap()).unwrap();
        let counters = map(MapKind::PerCpuArray, 8, 2);
        // Loopback frames start with a zero address byte: dropped.
        let program = load("netmem_count", &first_byte_counter(&counters)).unwrap();
        let link = XdpLink::attach(&program, LOOPBACK, AttachMode::Generic).unwrap();
        (0..5).for_each(|_| assert_eq!(send(), 6));
        wait_until("5 frames counted", || counters.sum_u64(0).unwrap() == 5);
        assert_eq!(to.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
        link.detach().unwrap();
        send();
        wait_until("frame received", || to.recv(&mut [0; 16]).is_ok_and(|len| len == 6));
        assert_eq!(counters.sum_u64(0).unwrap(), 5);
    });
}

#[test]
fn native_mode_on_veth_excludes_generic_and_goes_with_the_interface() {
    const TEST: &str = "native_mode_on_veth_excludes_generic_and_goes_with_the_interface";
    in_namespace(TEST, || {
        if !ip(TEST, "link add name nm0 index 10 type veth peer name nm1 index 11") {
            return;
        }
        let program = pass().unwrap();
        let link = XdpLink::attach(&program, 10, AttachMode::Native).unwrap();
        let error = XdpLink::attach(&program, 10, AttachMode::Generic).unwrap_err();
        assert!(matches!(error.errno(), Some(libc::EBUSY | libc::EEXIST)), "{error}");
        let other_end = XdpLink::attach(&program, 11, AttachMode::Generic).unwrap();
        assert_eq!(other_end.info().unwrap().ifindex, 11);
        assert!(ip(TEST, "link delete nm0"));
        wait_until("both ends gone", || {
            !link.is_attached().unwrap() && !other_end.is_attached().unwrap()
        });
        link.detach().unwrap();
    });
}

//! The screen without a terminal: each pane by what it says, and every key.

use netmem_host::{
    maps::{
        self, Entries, PacketLevel, PacketLevels, PacketUnit, Place, QueueName, Ring, RingLook,
        Statistics,
    },
    netlink::{InetProtocol, InetSocket, PacketRing, PacketSocket},
    sample::{
        LinkSample, PacketSocketSample, ProcessName, ProcessSockets, ProtocolSockets,
        SocketsSample, TopSocket, XdpSocketSample,
    },
    sockets::{BufferLocks, MemorySum},
    source::{Root, Unavailable},
};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::*;
use crate::top::observe::Observer;

/// The recorded machine of netmem-host's tests: it has no netlink.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/tests/fixtures/6.18");

fn recorded() -> Observed {
    Observer::new(Root::at(RECORDED), None).observe().unwrap()
}

/// A message of socket diagnosis: `struct inet_diag_msg` and its memory.
fn socket(port: u16, rmem: u32, drops: u32) -> InetSocket {
    let mut body = vec![0; 72];
    (body[0], body[1]) = (2, 1);
    body[4..6].copy_from_slice(&port.to_be_bytes());
    body[8..12].copy_from_slice(&[127, 0, 0, 1]);
    body.extend([40u16.to_ne_bytes(), 7u16.to_ne_bytes()].concat());
    let memory = [rmem, 65_536, 0, 65_536, 0, 0, 0, 0, drops];
    body.extend(memory.map(u32::to_ne_bytes).concat());
    InetSocket::parse(InetProtocol::Tcp, &body).unwrap()
}

/// The recorded machine, with sockets, a link and a packet socket as netlink would tell of them.
fn machine() -> Observed {
    let mut observed = recorded();
    let namespace = &mut observed.sample.namespaces[0];
    let process = |pid, name: &str| ProcessName { pid, name: name.to_owned() };
    let top = |port, rmem, drops, owner| TopSocket {
        socket: socket(port, rmem, drops),
        held_bytes: rmem.into(),
        owners: vec![owner],
        locks: Ok(BufferLocks { is_rcvbuf_locked: true, is_sndbuf_locked: false }),
    };
    let mut sum = MemorySum::default();
    for of in [socket(7, 65_536, 43), socket(8, 9_000, 0)] {
        sum.add(of.memory.as_ref());
    }
    let mut sockets = SocketsSample::default();
    sockets.protocols = vec![
        ProtocolSockets { protocol: InetProtocol::Tcp, sum: Ok(sum) },
        ProtocolSockets {
            protocol: InetProtocol::Raw,
            sum: Err(Unavailable::absent("socket diagnosis of RAW", "the kernel cannot tell")),
        },
    ];
    sockets.top =
        vec![top(7, 65_536, 43, process(71, "slow")), top(8, 9_000, 0, process(72, "quick"))];
    sockets.processes = vec![ProcessSockets { process: process(71, "slow"), sum }];
    namespace.sockets = Ok(sockets);
    namespace.links = Ok(vec![LinkSample {
        name: "nm-a".to_owned(),
        counters: netmem_host::netlink::LinkCounters::default(),
    }]);
    let mut socket = PacketSocket::default();
    socket.version = 2;
    let mut ring = PacketRing::default();
    (ring.block_bytes, ring.blocks, ring.frame_bytes, ring.frames) = (8192, 4, 2048, 16);
    socket.rx_ring = Some(ring);
    let level = PacketLevel { unit: PacketUnit::Blocks, used: 3, of: 4 };
    let packet = PacketSocketSample {
        levels: Ok(PacketLevels { rx: Some(level), tx: None }),
        socket,
        owners: vec![process(73, "capture")],
    };
    namespace.packet_sockets = Ok(vec![packet]);
    namespace.xdp_sockets.all = vec![xdp_socket(process(74, "fast"))];
    observed
}

/// One with three rings: 12 entries in the rx ring, 63 of 64 or fewer in the fill ring, and no tx ring.
fn xdp_socket(owner: ProcessName) -> XdpSocketSample {
    let ring = |ring, entries, level| RingLook {
        ring,
        mapping: None,
        entries: Some(entries),
        indices: None,
        level,
        of_one_moment: level.is_some(),
        needs_wakeup: None,
    };
    let queue = QueueName { interface: "nm-a".to_owned(), ifindex: 0, queue: 3 };
    let statistics = Statistics {
        rx_dropped: 0,
        rx_invalid_descs: 0,
        tx_invalid_descs: 0,
        rx_ring_full: Some(77),
        rx_fill_ring_empty_descs: None,
        tx_ring_empty_descs: Some(0),
    };
    let look = maps::Socket {
        inode: 4711,
        descriptors: vec![5],
        netns_cookie: None,
        zero_copy: Some(false),
        place: Place::Bound { queue, proof: "the test says so" },
        rings: vec![
            ring(Ring::Rx, Entries::Exactly(2048), Some(12)),
            ring(Ring::Fill, Entries::AtMost(64), Some(63)),
            ring(Ring::Completion, Entries::Exactly(512), None),
        ],
        statistics: Ok(statistics),
        umem_reach_bytes: None,
        umem_bytes: None,
    };
    XdpSocketSample { inode: 4711, owners: vec![owner], listed: None, look: Ok(look) }
}

fn app(observed: Observed) -> App {
    let mut app = App::new(1);
    app.observe(observed);
    app
}

fn press(app: &mut App, keys: &str) {
    keys.chars().for_each(|key| code(app, KeyCode::Char(key)));
}

fn code(app: &mut App, code: KeyCode) {
    app.key(KeyEvent::new(code, KeyModifiers::NONE));
}

fn buffer(app: &mut App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| app.draw(frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn screen(app: &mut App) -> Vec<String> {
    lines(&buffer(app, 120, 60))
}

#[track_caller]
fn assert_shows(screen: &[String], texts: &[&str]) {
    let is_there = |line: &&String| texts.iter().all(|text| line.contains(text));
    assert!(screen.iter().any(|line| is_there(&line)), "no line with {texts:?}: {screen:#?}");
}

/// Has failed with: the levels of TCP.
#[test]
fn udp_is_limited_by_its_first_number_and_never_above_pressure() {
    let mut observed = machine();
    let protocols = observed.sample.machine.protocols.as_mut().unwrap();
    for protocol in protocols.iter_mut() {
        let limits = protocol.limits.as_ref().unwrap();
        protocol.pages = limits.pressure_pages + 1;
        protocol.reserve.pages_per_cpu = 0;
    }
    let mut app = app(observed);
    press(&mut app, "1");
    let shown = screen(&mut app);
    assert_shows(&shown, &["TCP", "above pressure"]);
    assert_shows(&shown, &["UDP", "limited: above min", "has no such state"]);
    assert_shows(&shown, &["min is what limits UDP", "net.ipv4.udp_rmem_min"]);
    let of_udp = shown.iter().find(|line| line.contains("UDP") && line.contains("MiB"));
    assert!(of_udp.is_none_or(|line| !line.contains("above pressure")), "{shown:#?}");
}

#[test]
fn each_pane_shows_what_it_is_for() {
    let mut app = app(machine());
    let mut pane = |key: &str| {
        press(&mut app, key);
        screen(&mut app)
    };
    let protocols = pane("1");
    let stat = app_fixture("proc/net/sockstat");
    let inuse = stat.lines().find_map(|line| line.strip_prefix("TCP: inuse ")).unwrap();
    assert_shows(&protocols, &["TCP", inuse.split(' ').next().unwrap(), "in TIME-WAIT"]);
    assert_shows(&protocols, &["UDP", "has no such state"]);
    assert_shows(&protocols, &["TCP", "below min"]);
    let sockets = pane("2");
    assert_shows(&sockets, &["TCP", "2", "72.8 KiB", "43", "1"]);
    assert_shows(&sockets, &["ESTAB", "127.0.0.1:7", "64.0 KiB", "rcv", "43", "slow/71"]);
    assert_shows(&sockets, &["RAW not known", "the kernel cannot tell"]);
    assert_shows(&pane("3"), &["slow/71", "2", "72.8 KiB", "43"]);
    let receive = pane("4");
    assert_shows(&receive, &["nm-a", "0"]);
    let processed = app_fixture("proc/net/softnet_stat");
    let processed = u32::from_str_radix(processed.split(' ').next().unwrap(), 16).unwrap();
    assert_shows(&receive, &["0", &processed.to_string()]);
    let memory = pane("5");
    assert_shows(&memory, &["0 Normal"]);
    assert_shows(&memory, &["blocks of order 3", "can be had"]);
    let rings = pane("6");
    assert_shows(&rings, &["capture/73", "nothing", "3/4 x 8192 B", "-"]);
    assert_shows(&rings, &["4711", "fast/74", "nm-a 3", "yes", "?", "77", "?"]);
    assert_shows(&rings, &["4711", "63/64 at most", "12/2048", "-", "?/512"]);
    assert_shows(&rings, &["what only socket diagnosis tells is not known: "]);
    assert_shows(&rings, &["there may be more: "]);
    assert_shows(&pane("7"), &["UdpRcvbufErrors", "own receive buffer was full"]);
    assert_shows(&pane("8"), &["links", "absent", "no netlink"]);
}

fn app_fixture(path: &str) -> String {
    std::fs::read_to_string(format!("{RECORDED}/{path}")).unwrap()
}

#[test]
fn none_and_cannot_tell_never_look_alike() {
    let mut blind = recorded();
    let mut app_blind = app(blind.clone());
    press(&mut app_blind, "6");
    let unknown = screen(&mut app_blind);
    assert_shows(&unknown, &["not known: ", "no netlink"]);
    assert!(!unknown.iter().any(|line| line.contains("no packet socket")), "{unknown:#?}");
    blind.sample.namespaces[0].packet_sockets = Ok(Vec::new());
    let mut seeing = app(blind);
    press(&mut seeing, "6");
    assert_shows(&screen(&mut seeing), &["no packet socket"]);
}

#[test]
fn a_filter_leaves_rows_with_its_text_and_escape_takes_it_off() {
    let mut app = app(machine());
    press(&mut app, "2/QUICK");
    assert_shows(&screen(&mut app), &["filter: QUICK_"]);
    code(&mut app, KeyCode::Enter);
    let shown = screen(&mut app);
    assert_shows(&shown, &["quick/72"]);
    assert!(!shown.iter().any(|line| line.contains("slow/71")), "{shown:#?}");
    code(&mut app, KeyCode::Esc);
    assert_shows(&screen(&mut app), &["slow/71"]);
    // While it is typed, letters are no commands.
    press(&mut app, "/q");
    code(&mut app, KeyCode::Backspace);
    code(&mut app, KeyCode::Enter);
    assert!(!app.is_done() && app.filter.is_empty());
}

#[test]
fn tables_are_sorted_by_the_column_that_is_chosen() {
    let mut app = app(machine());
    press(&mut app, "2");
    let place = |app: &mut App| {
        let shown = screen(app);
        let at = |name: &str| shown.iter().position(|line| line.contains(name)).unwrap();
        (at("slow/71"), at("quick/72"))
    };
    let (slow, quick) = place(&mut app);
    assert!(slow < quick);
    // Down into the table of the sockets; "held" is its fifth column.
    (0..slow).for_each(|_| press(&mut app, "j"));
    place(&mut app);
    press(&mut app, "sssss");
    assert_shows(&screen(&mut app), &["held▼"]);
    press(&mut app, "r");
    let (slow, quick) = place(&mut app);
    assert!(quick < slow, "9000 is less than 65536");
    assert_shows(&screen(&mut app), &["held▲"]);
}

#[test]
fn keys_choose_panes_pause_help_and_end() {
    let mut app = app(machine());
    code(&mut app, KeyCode::BackTab);
    assert_eq!(app.pane, 7);
    code(&mut app, KeyCode::Tab);
    assert_eq!(app.pane, 0);
    press(&mut app, "p");
    assert!(app.is_paused());
    assert_shows(&screen(&mut app), &["PAUSED"]);
    press(&mut app, " ?");
    assert!(!app.is_paused());
    assert_shows(&screen(&mut app), &["Ctrl-C", "quit"]);
    press(&mut app, "q");
    assert!(!app.is_done(), "any key leaves the help, and does nothing else");
    press(&mut app, "q");
    assert!(app.is_done());
    let mut other = self::app(machine());
    press(&mut other, "/");
    other.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(other.is_done());
}

#[test]
fn the_cursor_stays_on_the_screen() {
    let mut app = app(machine());
    press(&mut app, "7G");
    let reversed = |buffer: &Buffer| {
        let is_body = 1..buffer.area.height - 1;
        let of = |y: &u16| buffer[(0, *y)].modifier.contains(Modifier::REVERSED);
        is_body.filter(of).count()
    };
    for height in [10, 5, 24, 60] {
        assert_eq!(reversed(&buffer(&mut app, 80, height)), 1, "{height}");
    }
    let last = app.views[app.pane].cursor;
    assert!(last > 20, "{last}");
    press(&mut app, "k");
    assert_eq!(app.views[app.pane].cursor, last - 1);
    press(&mut app, "g");
    assert_eq!(reversed(&buffer(&mut app, 80, 10)), 1);
    assert_eq!(app.views[app.pane].offset, 0);
}

#[test]
fn no_size_of_a_window_is_too_small() {
    let mut app = app(machine());
    for key in '1'..='8' {
        press(&mut app, &key.to_string());
        for (width, height) in [(1, 1), (1, 2), (3, 3), (40, 10), (41, 9), (200, 100)] {
            let shown = lines(&buffer(&mut app, width, height));
            if (width, height) == (40, 10) {
                assert_shows(&shown, &[Pane::ALL[app.pane].name(), "of 8"]);
                assert_shows(&shown, &["? help"]);
            }
        }
    }
}

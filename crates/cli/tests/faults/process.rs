//! The process itself: signals, its standard streams, and privileges that it lacks.

use std::io::{BufRead as _, BufReader};

use crate::support::{PATIENCE, Respond, has_programs, json, scenario};

/// The signals that service managers and closing terminals send end it as Ctrl-C does.
#[test]
fn ended_by_signals() {
    scenario("process::ended_by_signals", |bed| {
        for signal in ["INT", "TERM", "HUP"] {
            let mut respond = Respond::start(bed, &["--json"]);
            let traffic = bed.traffic();
            traffic.until_right(1);
            let summary = respond.signal(signal).assert_ended_well();
            let score = traffic.stop();
            assert!(score.right > 0, "{signal}: {score:?}");
            assert!(summary["completed"].as_u64().unwrap() >= score.right, "{signal}: {summary}");
            assert_eq!(bed.program_id(), None, "{signal}");
        }
    });
}

/// The reader of the status goes away: it ends without a word and without a failure, as programs in
/// front of `head` do.
#[test]
fn broken_pipe() {
    scenario("process::broken_pipe", |bed| {
        let mut respond = Respond::start(bed, &["--json", "--interval", "1"]);
        let traffic = bed.traffic();
        let mut reader = BufReader::new(respond.child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(json(&line)["kind"], "status");
        traffic.until_right(1);
        drop(reader);
        let ended = respond.wait(PATIENCE);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.stderr.contains("netmem: ") && !ended.stderr.contains("panic"), "{ended:?}");
        assert!(traffic.stop().right > 0);

        // Without a status in between it is the summary that finds nobody.
        let mut respond = Respond::start(bed, &["--json", "--interval", "0"]);
        drop(respond.child.stdout.take());
        bed.assert_bursts_answered(2, 64);
        let ended = respond.signal("TERM");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.stderr.contains("netmem: "), "{ended:?}");

        // A fault is told all the same.
        let mut respond = Respond::start(bed, &["--json", "--interval", "0"]);
        drop(respond.child.stdout.take());
        bed.delete_interface();
        respond.wait(PATIENCE).assert_refused(4, &["the interface was removed"]);
    });
}

/// Nobody reads the notes either: a message that cannot be told changes neither the end nor the code.
#[test]
fn broken_pipe_of_notes() {
    scenario("process::broken_pipe_of_notes", |bed| {
        let mut respond = Respond::start(bed, &["--json"]);
        // The start's notes are read first, to the last: what comes later finds nobody.
        assert!(respond.has_said("copy mode only)\n", PATIENCE));
        drop(respond.child.stderr.take());
        bed.assert_bursts_answered(2, 64);
        bed.delete_interface();
        let ended = respond.wait(PATIENCE);
        assert_eq!(ended.code, Some(4), "{ended:?}");
        ended.closed_summary();
    });
}

/// Started without standard streams, as some service managers do: it answers, and ends when told.
#[test]
fn closed_streams() {
    scenario("process::closed_streams", |bed| {
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let shell = format!("exec \"$0\" \"$@\" {closed}");
            let mut respond = Respond::start_by(bed, &["sh", "-c", &shell], &["--json"]);
            bed.assert_bursts_answered(5, 64);
            let ended = respond.signal("TERM");
            assert_eq!(ended.code, Some(0), "{closed}: {ended:?}");
            assert!(!ended.stderr.contains("netmem: "), "{closed}: {ended:?}");
            if !closed.contains(">&- ") && closed != ">&-" {
                ended.assert_ended_well();
            }
        }
    });
}

/// Standard output takes no more: one message, and the responder ends.
#[test]
fn full_disk() {
    scenario("process::full_disk", |bed| {
        let shell = "exec \"$0\" \"$@\" >/dev/full";
        // Time for the bursts before the first status, with which it ends.
        let extra = ["--json", "--interval", "5"];
        let mut respond = Respond::start_by(bed, &["sh", "-c", shell], &extra);
        bed.assert_bursts_answered(5, 64);
        let ended = respond.wait(PATIENCE);
        ended.assert_refused(4, &["print results: no space left on device"]);
    });
}

/// Without CAP_BPF (and CAP_SYS_ADMIN, which includes it): exit code 3, and the capability is named.
#[test]
fn without_cap_bpf() {
    let test = "process::without_cap_bpf";
    if !has_programs(test, &["setpriv"]) {
        return;
    }
    scenario(test, |bed| {
        for (dropped, named) in [
            ("-bpf,-sys_admin", "CAP_BPF"),
            ("-net_raw", "CAP_NET_RAW"),
            ("-net_admin,-sys_admin", "CAP_NET_ADMIN"),
        ] {
            let wrapper = ["setpriv", "--bounding-set", dropped, "--inh-caps=-all"];
            let words = ["respond", bed.interface(), "--ip", "192.0.2.2"];
            let ran = bed.netmem_in_server_by(&wrapper, &words);
            ran.assert_refused(3, &["operation not permitted (EPERM)", "hint: ", named]);
            assert_eq!(bed.program_id(), None);
        }
        // With what is needed and nothing more, it works.
        let only = "-all,+net_admin,+net_raw,+bpf,+ipc_lock";
        let wrapper = ["setpriv", "--bounding-set", only, "--inh-caps=-all"];
        let mut respond = Respond::start_by(bed, &wrapper, &["--json"]);
        bed.assert_bursts_answered(5, 64);
        respond.interrupt().assert_ended_well();
    });
}

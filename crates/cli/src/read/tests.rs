use std::{fs, path::PathBuf};

use super::*;

fn captures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/pcaps")
}

/// What a run says: its outcome, or the failure in words; standard output, the notes.
fn read(file: &Path, filter: &[&str], json: bool) -> (Result<Outcome, String>, String, String) {
    let filter = filter.iter().map(|&word| word.to_owned()).collect();
    let args = ReadArgs { file: file.to_owned(), filter, json };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let ended = run(&args, &mut out, &mut notes).map_err(|failure| {
        let mut text = Vec::new();
        failure.print(&mut text).unwrap();
        format!("{:?} {}", failure.outcome(), String::from_utf8(text).unwrap())
    });
    (ended, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00.000000007Z"),
        (951_782_400, "2000-02-29T00:00:00.000000007Z"),
        (1_709_164_800, "2024-02-29T00:00:00.000000007Z"),
        (4_107_542_399, "2100-02-28T23:59:59.000000007Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
        (-1, "1969-12-31T23:59:59.000000007Z"),
    ] {
        assert_eq!(Utc(Timestamp { seconds, nanoseconds: 7 }).to_string(), expected);
    }
    // No time that a file can hold is too much.
    for seconds in [i64::MIN, i64::MAX] {
        assert!(Utc(Timestamp { seconds, nanoseconds: 0 }).to_string().ends_with('Z'));
    }
}

// Planted and caught: fields of a header that is not there.
/// A line a packet, and an object a packet that says the same.
#[test]
fn every_packet_of_every_capture_has_a_line_and_an_object() {
    for entry in fs::read_dir(captures()).unwrap() {
        let path = entry.unwrap().path();
        let (ended, lines, notes) = read(&path, &[], false);
        let (json_ended, objects, json_notes) = read(&path, &[], true);
        assert_eq!((&ended, &notes), (&json_ended, &json_notes), "{}", path.display());
        let objects: Vec<serde_json::Value> =
            objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.lines().count(), objects.len(), "{}", path.display());
        for (line, object) in lines.lines().zip(objects) {
            assert!(line.starts_with(object["time"].as_str().unwrap()), "{line}");
            if !line.contains("is not dissected") {
                assert!(line.ends_with(object["summary"].as_str().unwrap()), "{line}");
            }
        }
        match ended {
            Ok(Outcome::Done) => assert!(notes.ends_with("; whole file\n"), "{notes}"),
            Ok(Outcome::Finding) => assert!(notes.contains("; stopped: "), "{notes}"),
            other => assert!(other.unwrap_err().starts_with("Missing netmem: read ")),
        }
    }
}

// Planted and caught: a missing file taken for a finding; a cut file taken for a whole one.
#[test]
fn what_cannot_be_read_is_told_with_its_exit_code() {
    let folder = std::env::temp_dir().join(format!("netmem-read-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let capture = [&b"\xd4\xc3\xb2\xa1\x02\0\x04\0"[..], &[0; 8], b"\0\0\x01\0", b"\x01\0\0\0"];
    let capture = capture.concat();
    let record = [&[0; 8][..], b"\x0e\0\0\0", b"\x0e\0\0\0", &[8; 14]].concat();
    let missing = [
        (folder.join("absent"), "no such file or directory\nhint: check the path"),
        (folder.clone(), "is a directory\nhint: name a file in it"),
        (file("empty", b""), "the file is empty\nhint: nothing was captured"),
        (file("text", b"hello"), "begins with 68 65 6c 6c\nhint: netmem reads pcap and pcapng"),
        (file("cut", &capture[..20]), "pcap header at byte 0: 24 bytes needed"),
    ];
    for (path, words) in missing {
        let (ended, out, _) = read(&path, &[], false);
        let text = ended.unwrap_err();
        assert!(text.starts_with("Missing netmem: read ") && text.contains(words), "{text}");
        assert_eq!(out, "");
    }
    let whole = [capture, record].concat();
    let (ended, out, notes) = read(&file("whole", &whole), &[], false);
    assert_eq!((ended, out.lines().count()), (Ok(Outcome::Done), 1));
    assert_eq!(notes, "1 packets read, 1 matched; whole file\n");
    let (ended, out, notes) = read(&file("more", &[&whole[..], b"x"].concat()), &[], false);
    assert_eq!((ended, out.lines().count()), (Ok(Outcome::Finding), 1));
    let expected = "stopped: pcap record at byte 54: 16 bytes needed, the file ends after 1\n";
    assert_eq!(notes, format!("1 packets read, 1 matched; {expected}"));
    fs::remove_dir_all(folder).unwrap();
}

// Planted and caught: packets of raw IP that never match; words that are not joined.
#[test]
fn a_filter_chooses() {
    let count = |name: &str, filter: &[&str]| {
        let (ended, lines, notes) = read(&captures().join(name), filter, false);
        assert!(ended.is_ok(), "{ended:?}");
        assert!(notes.contains(&format!(" {} matched", lines.lines().count())), "{notes}");
        lines.lines().count()
    };
    let all = count("802.1ad_QinQ.pcap", &[]);
    assert_eq!(count("802.1ad_QinQ.pcap", &["arp"]), 2);
    assert_eq!(count("802.1ad_QinQ.pcap", &["not", "arp"]), all - 2);
    // Without Ethernet header.
    assert_eq!(count("LINKTYPE_RAW_ipv4.pcap", &["udp port 53"]), 1);
    assert_eq!(count("LINKTYPE_RAW_ipv4.pcap", &["ip6"]), 0);
    assert_eq!(count("LINKTYPE_RAW_ipv6.pcap", &["ip6", "and", "udp"]), 1);
    let (ended, out, _) = read(&captures().join("802.1ad_QinQ.pcap"), &["tcp", "prt", "80"], false);
    let text = ended.unwrap_err();
    assert!(text.starts_with("Usage netmem: filter at byte ") && text.contains('^'), "{text}");
    assert_eq!(out, "");
}

// Planted and caught: a tag in a cooked capture that no filter sees, not even `not arp`.
#[test]
fn a_filter_sees_tags_of_cooked_captures() {
    let header = [&[0, 0, 0, 1][..], &[0; 10], &[0x81, 0]].concat();
    let frame =
        [&header[..], &[0, 5, 8, 0], &[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6], &[0; 10]].concat();
    let level = dissect(LinkType::Sll, &frame);
    for (filter, expected) in
        [("vlan 5", true), ("vlan 6", false), ("not arp", true), ("vlan 5 and tcp", true)]
    {
        assert_eq!(matches(&filter.parse().unwrap(), &level), expected, "{filter}");
    }
    let names: Vec<_> = layers(&level)
        .iter()
        .map(|layer| serde_json::to_value(layer).unwrap()["layer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["vlan", "ipv4"]);
}

// Planted and caught: an address taken from behind a routing header that has none.
#[test]
fn a_routing_header_without_address_leads_nowhere_else() {
    use netmem_wire::{Udp, UdpRepr};

    let (a, b) = ([1; 16].into(), [2; 16].into());
    let mut udp = [0; 12];
    let repr = UdpRepr { source_port: 1, destination_port: 2, payload_len_bytes: 4 };
    let _: Udp<_> = repr.emit_v6(&mut udp, a, b).unwrap();
    // Segment routing, one segment left, no address; then 16 bytes of destination options.
    let extensions = [&[60, 0, 4, 1, 0, 0, 0, 0][..], &[17, 1, 1, 12], &[0; 12]].concat();
    let header = [&[0x60, 0, 0, 0, 0, 36, 43, 64][..], &[1; 16], &[2; 16]].concat();
    let packet = [&header[..], &extensions, &udp].concat();
    let layers = layers(&dissect(LinkType::Ipv6, &packet));
    let last = serde_json::to_value(layers.last().unwrap()).unwrap();
    assert_eq!((&last["layer"], &last["checksum"]), (&"udp".into(), &"good".into()));
}

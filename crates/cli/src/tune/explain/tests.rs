//! Planted and caught: a value in pages told as bytes; a setting without its folder not found; mistakes left
//! out.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use super::*;

fn printed(name: &str) -> String {
    let explained = Explained::of(find(name).unwrap(), &Root::live()).unwrap();
    let mut out = Vec::new();
    print(&mut out, &explained).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_setting_is_explained_under_each_of_its_names() {
    for key in KEYS {
        for name in [key.name, &key.name.replace('.', "/"), &format!("/proc/sys/{}", key.name)] {
            assert_eq!(find(name).unwrap().name, key.name, "{name}");
        }
        // Of several the first is meant, and names the others.
        let meant = find(last(key)).unwrap();
        assert_eq!(last(meant), last(key));
        assert!(printed(last(key)).contains(key.name), "{}", key.name);
        let explained = Explained::of(key, &Root::live()).unwrap();
        assert!(explained.now.is_some() != explained.now_unavailable.is_some(), "{}", key.name);
        let mut out = Vec::new();
        print(&mut out, &explained).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in
            ["setting  ", "what  ", "form  ", "scope  ", "now  ", "default  ", "documented  "]
        {
            assert!(text.contains(&format!("{part:<14}")) || text.contains(part), "{part}: {text}");
        }
        assert!(text.contains(key.citation) && text.contains(key.unit.name()), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

/// What this machine boots with, in pages, in bytes and as a share, is one amount.
#[test]
fn pages_are_told_in_bytes_and_as_a_share_of_the_memory() {
    let explained = Explained::of(find("tcp_mem").unwrap(), &Root::live()).unwrap();
    let default = explained.default.unwrap();
    let page = netmem_host::proc::page_size_bytes(&Root::live()).unwrap();
    let Value::Triple(pages) = default.value else { panic!("{default:?}") };
    let bytes: Vec<_> = pages.iter().map(|pages| i128::from(*pages) * i128::from(page)).collect();
    assert_eq!(default.bytes.as_deref(), Some(&bytes[..]));
    assert!(default.spelled.contains(&format!("{} ", pages[0])), "{}", default.spelled);
    assert!(default.spelled.contains("pages (") && default.spelled.contains(" % of the machine's"));
    assert!(printed("tcp_mem").contains("It is in pages, not in bytes: "));
    assert!(printed("udp_wmem_min").contains("effect         none on this kernel\n"));
    assert!(!printed("udp_rmem_min").contains("none on this kernel"));
}

#[test]
fn what_is_no_setting_is_said_so_with_what_is_near() {
    let failure = find("net.core.rmem_mx").unwrap_err();
    assert_eq!(failure.outcome(), Outcome::Usage);
    assert_eq!(failure.to_string(), "explain net.core.rmem_mx: not a setting of network memory");
    let mut notes = Vec::new();
    failure.print(&mut notes).unwrap();
    assert!(String::from_utf8(notes).unwrap().contains("near: net.core.rmem_max, "));
    assert!(find("net.core.xdp").unwrap_err().to_string().contains("there is no such setting"));
    assert!(find("").is_err() && find(".").is_err() && find("mem").is_err());
}

#[test]
fn it_is_serialized_with_its_schema() {
    let explained = Explained::of(find("udp_rmem_min").unwrap(), &Root::live()).unwrap();
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json["schema"], "netmem.tune.explain/1");
    assert_eq!(json["setting"]["name"], "net.ipv4.udp_rmem_min");
    assert_eq!(json["bounds"][1], i32::MAX);
    assert_eq!(json["default"]["bytes"][0], 4096);
    assert_eq!(json["has_effect"], true);
}

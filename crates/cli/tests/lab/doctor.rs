//! `doctor` and `explain` as they are used: on a veth, of which the answers are known, and by a user
//! without privileges, who is told what is closed to him.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use std::{os::unix::process::CommandExt as _, process::Command};

use serde_json::Value;

use crate::support::{Ran, alone, bed, json, netmem, run, scenario, texts, turn};

/// The lines of a check on an interface, or on the host.
fn lines<'a>(report: &'a Value, interface: Option<&str>, check: &str) -> Vec<&'a Value> {
    let all = report["lines"].as_array().unwrap().iter();
    all.filter(|line| line["interface"].as_str() == interface && line["check"] == check).collect()
}

fn verdict<'a>(report: &'a Value, interface: Option<&str>, check: &str) -> &'a str {
    let lines = lines(report, interface, check);
    assert_eq!(lines.len(), 1, "{check}: {report}");
    lines[0]["verdict"].as_str().unwrap()
}

/// The exit code is what the lines say: findings are those of the machine that runs this.
fn checked(ran: &Ran) -> Value {
    let report = json(&ran.stdout);
    assert_eq!(report["schema"], "netmem.doctor/1");
    let all = report["lines"].as_array().unwrap();
    let code = if all.iter().any(|line| line["denied"] == true) {
        3
    } else {
        i32::from(all.iter().any(|line| line["verdict"] == "finding"))
    };
    assert_eq!(ran.code, Some(code), "{ran:?}");
    report
}

#[test]
fn veth() {
    scenario("doctor::veth", |bed| {
        let name = bed.interface();
        let ran = bed.netmem_in_server(&["doctor", name, "--json"]);
        let report = checked(&ran);
        let on = |check| verdict(&report, Some(name), check);
        assert_eq!((on("state"), on("xdp"), on("zero copy")), ("ok", "ok", "note"), "{report}");
        assert_eq!(
            (on("multi-buffer"), on("program"), on("ktls")),
            ("ok", "ok", "note"),
            "{report}"
        );
        assert_eq!(on("rss"), "ok", "one queue: {report}");
        let copy = lines(&report, Some(name), "zero copy")[0];
        assert!(copy["evidence"].as_str().unwrap().contains("driver veth"), "{copy}");
        let host = |check| verdict(&report, None, check);
        assert_eq!((host("privileges"), host("af_xdp")), ("ok", "ok"), "{report}");
        let sent = lines(&report, None, "msg_zerocopy")[0];
        let evidence = sent["evidence"].as_str().unwrap();
        // Loopback is down in this namespace, or it is up and copies.
        assert!(sent["verdict"] == "unknown" || evidence.contains("COPIED"), "{sent}");

        // Without a name all interfaces of this namespace are checked, and none of another.
        let other = crate::support::bed();
        let all = checked(&bed.netmem_in_server(&["doctor", "--json"]));
        drop(other);
        let names: std::collections::BTreeSet<_> = all["lines"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|l| l["interface"].as_str())
            .collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), [name]);

        let text = bed.netmem_in_server(&["doctor", name]).stdout;
        assert!(
            text.starts_with("host\n") && text.contains(&format!("\ninterface {name}\n")),
            "{text}"
        );
        bed.netmem_in_server(&["doctor", "nm-missing"])
            .assert_refused(4, &["nm-missing", "ENODEV"]);
    });
}

/// The probe binds, says which mode it got, and leaves nothing; a program that is there is a finding.
#[test]
fn probed() {
    scenario("doctor::probed", |bed| {
        let name = bed.interface();
        let report = checked(&bed.netmem_in_server(&["doctor", name, "--probe", "--json"]));
        let bind = lines(&report, Some(name), "bind")[0];
        assert_eq!(bind["what"], "a port gets native mode", "{bind}");
        assert!(bind["evidence"].as_str().unwrap().starts_with("not zero-copy: "), "{bind}");
        assert!(!bed.has_program(), "the probe is gone");

        let (link, _) = bed.attach_foreign("somebody_else");
        let report = checked(&bed.netmem_in_server(&["doctor", name, "--json"]));
        assert_eq!(verdict(&report, Some(name), "program"), "finding");
        drop(link);
        let ran = bed.netmem_in_server(&["doctor", "--probe"]);
        assert_eq!(ran.code, Some(2), "a probe wants a name: {ran:?}");
    });
}

/// Who may not look is told so, and nothing of it is ok.
#[test]
fn without_privilege() {
    let Some(_turn) = turn("doctor::without_privilege") else { return };
    let as_nobody = |words: &[&str]| {
        // A copy that anybody may run.
        let program = std::env::temp_dir().join(format!("netmem-doctor-{}", std::process::id()));
        std::fs::copy(netmem(), &program).unwrap();
        let output = Command::new(&program).args(words).uid(65534).gid(65534).output();
        std::fs::remove_file(&program).unwrap();
        let output = output.unwrap();
        let (stdout, stderr) = texts(&output);
        Ran { code: output.status.code(), stdout, stderr }
    };
    let bed = bed();
    let (ran, slab) = bed
        .lab
        .server
        .run(|| (as_nobody(&["doctor", "--json"]), as_nobody(&["explain", "sk_buff", "--json"])))
        .unwrap();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let report = checked(&ran);
    assert_eq!(verdict(&report, None, "privileges"), "finding");
    let socket = lines(&report, None, "af_xdp")[0];
    assert_eq!(
        (&socket["verdict"], &socket["denied"]),
        (&"unknown".into(), &true.into()),
        "{socket}"
    );
    assert!(socket["evidence"].as_str().unwrap().contains("EPERM"), "{socket}");

    assert_eq!(slab.code, Some(0), "{slab:?}");
    let slab = json(&slab.stdout);
    let now = &slab["entries"][0]["now"][0];
    assert!(now["value"].is_null(), "{now}");
    assert_eq!(now["unavailable"]["state"], "denied", "{now}");
}

#[test]
fn words() {
    // Another test may be writing a program that it runs: a process that is started now would keep it open.
    let _alone = alone();
    let ran = run(&["explain", "page", "pool"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("word           page_pool (pages and DMA)\n"), "{ran:?}");
    let ran = run(&["explain", "net/ipv4/tcp_mem", "--json"]);
    let pages = &json(&ran.stdout)["entries"][0]["now"][0]["value"];
    let file = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").unwrap();
    let file = file.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(pages.as_str(), Some(&file[..]), "{ran:?}");
    run(&["explain", "pagepol"]).assert_refused(2, &["no such word", "page pool"]);
    let ran = run(&["explain"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("umem") && ran.stdout.contains("memcg"));
}

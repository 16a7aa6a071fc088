//! Texts whose settings were called wrong, or went without a word.
//!
//! Each table failed before what it is about was done.

use super::*;

/// Verdicts of a text as `LINE VERDICT TARGET`.
fn told(text: &str) -> Vec<String> {
    let one = |verdict: &Verdict| {
        format!("{} {} {}", verdict.line, verdict.verdict.name(), verdict.target)
    };
    lint(text, &MACHINE).iter().map(one).collect()
}

fn all_are_told(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(told(text), *expected, "{text}\n{:#?}", lint(text, &MACHINE));
    }
}

/// What IFS divides that is not as a shell begins is not known, and what it leaves alone is.
#[test]
fn what_another_ifs_divides_is_not_known() {
    const LINES: &str =
        "L=\"net.core.rmem_max=16777216\nnet.ipv4.tcp_rmem=4096 131072 67108864\"\n";
    let each = "for s in $L; do sysctl -w \"$s\"; done\n";
    for ifs in ["IFS=$'\\n'", "IFS=", "f() { local IFS=$'\\n'; }", "IFS=$A", "read IFS", "IFS=, f"]
    {
        let text = format!("{LINES}{ifs}\n{each}");
        let verdicts = lint(&text, &MACHINE);
        assert!(verdicts.iter().all(|one| !one.verdict.is_finding()), "{text}: {verdicts:?}");
        assert!(!verdicts.is_empty(), "{text}");
    }
    all_are_told(&[
        // What is read is divided, and nothing else.
        (
            "V='4096 131072 67108864'\nwhile IFS= read -r A; do :; done\nset -- $V\nsysctl -w net.ipv4.tcp_rmem=$V",
            &["4 wrong-arity net.ipv4.tcp_rmem"],
        ),
        // A number, what stands in quotes, a command, and values without what it divides.
        (
            "IFS=,\nA=212992 B='4096 131072 67108864' C='sysctl -q -w'\nsysctl -w net.core.rmem_max=$A\n\
             sysctl -w net.ipv4.tcp_rmem=\"$B\"\n$C net.core.rmem_max=16777216\n",
            &[
                "3 lowers-the-default net.core.rmem_max",
                "4 fine net.ipv4.tcp_rmem",
                "5 fine net.core.rmem_max",
            ],
        ),
        // It is given back.
        (
            "A=net.core.rmem_max=16777216 B='4096 131072 67108864'\nO=$IFS; IFS=$'\\n'; IFS=\"$O\"\n\
             sysctl -w $A\nsysctl -w net.ipv4.tcp_rmem=$B",
            &["3 fine net.core.rmem_max", "4 unknown net.ipv4.tcp_rmem"],
        ),
        // A script inside has its own.
        (
            "IFS=$'\\n'\nsh -c 'B=\"4096 131072 67108864\"; sysctl -w net.ipv4.tcp_rmem=$B'",
            &["2 wrong-arity net.ipv4.tcp_rmem"],
        ),
    ]);
}

/// A file of process 1 is of the initial namespace wherever /proc is mounted, and of others only what is known.
#[test]
fn the_first_processs_namespace_is_known_by_any_proc() {
    for (file, expected) in [
        ("=/host/proc/1/ns/net", "fine"),
        ("=/host/proc/1/ns/net --mount=/host/proc/1/ns/mnt", "fine"),
        ("=/rootfs/proc/1/ns/net", "fine"),
        ("=/hostproc/1/ns/net", "fine"),
        ("=$HOST_PROC/1/ns/net", "fine"),
        ("=/proc/11/ns/net", "no-effect"),
        ("=/var/run/netns/blue", "no-effect"),
        ("=/run/netns/blue", "no-effect"),
        ("=/run/netns/$NAME", "unknown"),
        ("=/proc/4711/root/proc/1/ns/net", "unknown"),
        ("=/proc/$PID/ns/net", "unknown"),
        ("=/run/docker/netns/default", "unknown"),
        ("=$NETNS", "unknown"),
    ] {
        let text = format!("nsenter --net{file} -- sysctl -w net.core.rmem_max=16777216");
        assert_eq!(brief(&text), [(1, expected)], "{text}");
        let text = format!("nsenter --net{file} -- sysctl -w net.ipv4.udp_rmem_min=8192");
        assert_eq!(brief(&text), [(1, "fine")], "{text}");
    }
    let short = "nsenter -n/host/proc/1/ns/net sysctl -w net.core.rmem_max=16777216";
    assert_eq!(brief(short), [(1, "fine")]);
}

/// What goes into a file whose name is not known has a word a line; what is known of the name counts.
#[test]
fn settings_in_a_file_of_unknown_name_are_told() {
    let body = "<<'EOF'\n# off\nnet.ipv4.tcp_sack = 0\nkey = 5\nEOF\n";
    for (start, expected) in [
        ("F=\"/etc/sysctl.d/99-$(hostname -s).conf\"\ncat >> $F", "4 dangerous"),
        ("F=/etc/sysctl.d/99-$(date +%F).conf\ncat > \"$F\"", "4 dangerous"),
        ("S=$(date); F=/etc/sysctl.d/$S.conf\nsudo tee $F", "4 dangerous"),
        ("F=/etc/sysctl.d/$A; F=/etc/sysctl.d/$B.conf\ncat > $F", "4 unknown"),
        ("F=\"${1:-/etc/sysctl.d/9.conf}\"\ncat > \"$F\"", "4 unknown"),
        ("if x; then F=/etc/sysctl.d/9.conf; else F=/etc/sysctl.conf; fi\ncat > $F", "4 unknown"),
        ("w() { local out=$1\ncat > \"$out\"", "4 unknown"),
        ("f() { cat > \"$1\"; }\nf /etc/sysctl.d/9.conf", "4 unknown"),
        ("F=$(mktemp)\ntee $F x", "4 unknown"),
    ] {
        let text = format!("{start} {body}");
        let of_line =
            brief(&text).iter().map(|(line, one)| format!("{line} {one}")).collect::<Vec<_>>();
        assert_eq!(of_line, [expected], "{text}\n{:?}", told(&text));
    }
    all_are_told(&[
        (
            "F=/etc/sysctl.d/$(date +%F).conf\necho 'net.ipv4.tcp_sack=0' > $F\nF=x\necho net.ipv4.tcp_sack=0 > $F",
            &["2 unknown net.ipv4.tcp_sack", "4 unknown net.ipv4.tcp_sack"],
        ),
        // A known file elsewhere, and lines of something else.
        ("cat > notes <<E\nnet.ipv4.tcp_sack = 0\nE\ncat > $F <<E\nname = 5\nE", &[]),
    ]);
}

/// What goes into a file that the text loads, or puts into place, is judged on its line.
#[test]
fn settings_in_a_file_that_is_loaded_are_judged() {
    let off = "net.ipv4.tcp_sack = 0";
    for (text, expected) in [
        ("cat > /tmp/n.conf <<E\nW\nE\nsysctl -p /tmp/n.conf", "2 dangerous"),
        ("cat <<E | tee /tmp/n.conf\nW\nE\nsysctl -q --load=/tmp/n.conf", "2 dangerous"),
        ("echo 'W' > x\nsysctl -px", "1 dangerous"),
        ("load() { sysctl -p x; }\necho 'W' > x; load", "2 dangerous"),
        (
            "{ echo 'vm.x = 1'; echo 'W'; } > x\nnsenter -t 1 -n sysctl -ep x",
            "1 unknown,1 dangerous",
        ),
        ("cat > t.conf <<E\nW\nE\nsudo cp t.conf /etc/sysctl.d/99-t.conf", "2 dangerous"),
        ("cat > t <<E\nW\nE\nsudo install -m 644 t /etc/sysctl.d/", "2 dangerous"),
        ("cd /tmp\necho 'W' > x\ncd /\nmv /tmp/x /etc/sysctl.conf", "2 dangerous"),
        // What is in the file in the end, or where it goes, is not known.
        ("echo 'W' > x\necho key > x\nsysctl -p x", "1 unknown"),
        ("echo 'W' > x\nmv x \"$1\"", "1 unknown"),
        ("T=$(mktemp)\ncat > $T <<E\nW\nE\nsysctl -p $T", "3 unknown,5 unknown"),
        ("sysctl -p <(echo 'W')", "1 unknown"),
        // Nobody loads it.
        ("echo 'W' > x\nsysctl -p y\ncp x y", ""),
        ("sysctl -p /etc/sysctl.d/9.conf; sysctl -p; sysctl --system", ""),
    ] {
        let text = text.replace('W', off);
        let given: Vec<_> =
            brief(&text).iter().map(|(line, verdict)| format!("{line} {verdict}")).collect();
        assert_eq!(given.join(","), expected, "{text}\n{:?}", told(&text));
    }
    // In another network namespace, it is loaded there.
    let text = "echo net.core.rmem_max=16777216 > x\nip netns exec blue sysctl -p x";
    assert_eq!(brief(text), [(1, "no-effect")]);
}

/// Settings by a /proc of the machine are told, and looks at them are none.
#[test]
fn a_write_by_another_proc_is_told() {
    for text in [
        "echo 212992 > /host/proc/sys/net/core/rmem_max",
        "echo 212992 | tee /hostproc/sys/net/core/rmem_max",
        "echo 212992 | tee x /host/proc/sys/net/core/rmem_max",
        "echo 212992 > ${HOST_ROOT}/proc/sys/net/core/rmem_max",
        "{ echo 212992; } > $PROC/proc/sys/net/core/rmem_max",
        "cd /host; echo 212992 > proc/sys/net/core/rmem_max",
    ] {
        let verdict = only(text, &MACHINE);
        let is_told = verdict.reasons[0].contains("which network namespace it reaches");
        assert_eq!(
            (verdict.verdict, &verdict.target[..], verdict.value.as_deref(), is_told),
            (Judgement::Unknown, "net.core.rmem_max", Some("212992"), true),
            "{text}"
        );
    }
    assert_eq!(told("cat /host/proc/sys/net/core/rmem_max"), [""; 0]);
}

/// What sysctl(8) is given and does not take for a setting is not set, and no look.
#[test]
fn words_of_sysctl_are_what_it_takes_them_for() {
    all_are_told(&[
        ("sysctl net.core.rmem_max 16777216", &["1 no-effect net.core.rmem_max"]),
        ("sysctl net.ipv4.tcp_rmem 4096 131072 67108864", &["1 no-effect net.ipv4.tcp_rmem"]),
        (
            "sysctl net.core.rmem_max net.core.wmem_max",
            &["1 fine /proc/sys/net/core/rmem_max", "1 fine /proc/sys/net/core/wmem_max"],
        ),
        (
            "sysctl -w net.ipv4.tcp_rmem='4096 131072 67108864' net.core.rmem_max=67108864 -p",
            &["1 no-effect net.ipv4.tcp_rmem", "1 no-effect net.core.rmem_max"],
        ),
        ("sysctl -p a/b=c", &[]),
    ]);
    for text in [
        "while read -r line; do sysctl -w \"$line\"; done",
        "grep -v '^#' tune.conf | xargs -I{} sysctl -qw {}",
        "sysctl --write $KEY",
    ] {
        let verdict = only(text, &MACHINE);
        assert_eq!(
            (verdict.subject, verdict.verdict),
            (Subject::Write, Judgement::Unknown),
            "{text}"
        );
        assert!(verdict.reasons[0].contains("which setting"), "{text}: {verdict:?}");
    }
    let read = only("sysctl $KEY", &MACHINE);
    assert_eq!((read.subject, read.verdict), (Subject::Read, Judgement::Unknown));
    let value = only("sysctl net.ipv4.tcp_rmem 4096 131072 67108864", &MACHINE).value;
    assert_eq!(value.as_deref(), Some("4096 131072 67108864"));
}

/// An editor that puts settings into a file is told; one that takes them out, or shows them, is not.
#[test]
fn settings_that_an_editor_writes_are_told() {
    for text in [
        "sed -i 's/^net.core.rmem_max.*/net.core.rmem_max = 212992/' /etc/sysctl.conf",
        "sudo sed -i '$ a net.ipv4.tcp_sack = 0' /etc/sysctl.conf",
        "sed -i '$a\\net.ipv4.tcp_sack=0' /etc/sysctl.conf",
        "sed -i.bak \"\\$anet.ipv4.tcp_sack=0\" /etc/sysctl.d/99.conf",
        "sed -ri 's/^(net\\.core\\.rmem_max).*/\\1 = 5/' x",
        "sed --in-place -e 's/a/net.core.rmem_max=5/' $F",
        "perl -pi -e 's/^net.ipv4.tcp_sack.*/net.ipv4.tcp_sack=0/' /etc/sysctl.conf",
    ] {
        let verdict = only(text, &MACHINE);
        assert_eq!(
            (verdict.subject, verdict.verdict),
            (Subject::Other, Judgement::Unknown),
            "{text}"
        );
        assert!(verdict.target.contains("net"), "{verdict:?}");
    }
    for text in [
        "sed -i '/net.core.rmem_max/d' /etc/sysctl.conf",
        "sed -n 's/net.core.rmem_max=//p' /etc/sysctl.conf",
        "sed 's/net.core.rmem_max=1/net.core.rmem_max=2/' /etc/sysctl.conf",
        "sed -i 's/subnet=1/subnet=2/' x",
    ] {
        assert_eq!(told(text), [""; 0], "{text}");
    }
}

/// Commands that go into a file which the machine runs are told, each on its line.
#[test]
fn settings_in_a_file_of_commands_are_told() {
    for (text, lines) in [
        ("echo 'sysctl -w net.core.rmem_max=212992' >> /etc/rc.local", &[1][..]),
        ("echo \"echo 0 > /proc/sys/net/ipv4/tcp_sack\" | sudo tee -a /etc/rc.local", &[1]),
        (
            "cat >> /etc/rc.d/rc.local <<'E'\n# sysctl -w net.core.rmem_max=5\n\
             sysctl -w net.core.wmem_max=212992\necho 0 > /proc/sys/net/ipv4/tcp_sack\nE",
            &[3, 4],
        ),
        (
            "sudo tee /etc/systemd/system/t.service <<'E'\n[Service]\n\
             ExecStart=/sbin/sysctl -w net.core.rmem_max=212992\nE",
            &[3],
        ),
        ("echo '@reboot root sysctl -w net.core.rmem_max=5' > /etc/cron.d/x", &[1]),
        ("echo 'exit 0' >> /etc/rc.local\necho 'sysctl -w net.core.rmem_max=5' > notes", &[]),
    ] {
        let expected: Vec<_> = lines.iter().map(|line| (*line, "unknown")).collect();
        assert_eq!(brief(text), expected, "{text}");
    }
}

/// bash's own echo and printf write a line at a time, and what is not its own, or dash's, all at once.
#[test]
fn lines_of_bashs_own_echo_are_writes_of_their_own() {
    let parts = &["wrong-arity", "no-effect", "no-effect"][..];
    for (text, expected) in [
        ("echo -e '4096\\n131072\\n67108864' > F", parts),
        ("printf '%s\\n' 4096 131072 67108864 > F", parts),
        ("{ printf '4096\\n131072\\n67108864'; } > F", parts),
        ("V='4096\n131072\n67108864'\necho \"$V\" > F", parts),
        ("printf '%s\\t' 4096 131072 67108864 > F", &["fine"]),
        ("printf '4096 131072 67108864\\n\\n' > F", &["fine"]),
        ("/bin/echo -e '4096\\n131072\\n67108864' > F", &["fine"]),
        ("sudo printf '%s\\n' 4096 131072 67108864 > F", &["no-effect"]),
        ("cat > F <<E\n4096\n131072\n67108864\nE", &["fine"]),
        ("#!/bin/dash\nprintf '%s\\n' 4096 131072 67108864 > F", &["fine"]),
    ] {
        let text = text.replace('F', "/proc/sys/net/ipv4/tcp_rmem");
        let given: Vec<_> = brief(&text).into_iter().map(|(_, verdict)| verdict).collect();
        assert_eq!(given, expected, "{text}");
    }
}

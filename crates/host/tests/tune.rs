//! Plans carried out and undone: on made machines, which are folders, and on the running kernel in network
//! namespaces of the tests' own.
//!
//! Planted and caught: the count of a write not looked at; what is read back not compared; drift not looked
//! at; the value that failed taken for somebody else's; the boot not compared; the lock not taken; no undoing
//! when an application is dropped in the middle; no look at the request to stop; a line without its end not
//! cut off; a persisted file that loses its other settings; of two files of one name the weaker folder's
//! read; a plan of another state not refused; whom a setting concerns taken from the plan; a plan written over
//! one that waits; a journal that cannot be read taken for the end of all; a link followed for the lock; what
//! undoing left taken for undone; what boot has set again not looked at.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netmem_host::lab::{NetNs, missing_privilege, skip};
use netmem_host::netns::Namespaces;
use netmem_host::source::Root;
use netmem_host::sysctl;
use netmem_host::tune::{
    self, Applying, Basis, Caution, Change, Confidence, Drift, End, NotApplied, NotRolledBack,
    PLAN_SCHEMA, Place, Plan, Reach, Report, State, Store, Terms, check, confirm, persist,
    rollback, rollback_unconfirmed,
};

/// A lock that was given back is free once no process has its descriptor: a child that another test starts has
/// it until it runs its program.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of the test's own, gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netmem-tune-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn store(&self) -> Store {
        Store::at(self.0.join("state"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A made machine of three settings.
fn machine() -> (Folder, Root) {
    let folder = Folder::new();
    let write = |path: &str, text: &str| {
        let path = folder.0.join("proc").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("sys/kernel/osrelease", "6.18.44\n");
    write("sys/kernel/random/boot_id", "first\n");
    write("sys/net/core/rmem_max", "4194304\n");
    write("sys/net/core/wmem_max", "4194304\n");
    write("sys/net/ipv4/tcp_rmem", "4096\t131072\t33554432\n");
    // Only in the initial namespace.
    write("sys/net/ipv4/tcp_mem", "287832\t383779\t575664\n");
    fs::create_dir_all(folder.0.join("proc/thread-self/ns")).unwrap();
    symlink("net:[77]", folder.0.join("proc/thread-self/ns/net")).unwrap();
    let root = Root::at(&folder.0);
    (folder, root)
}

fn change(key: &str, reach: Reach, current: &str, proposed: &str) -> Change {
    Change {
        key: key.to_owned(),
        reach,
        current: current.to_owned(),
        default: None,
        proposed: proposed.to_owned(),
        set_by: Vec::new(),
        rule: "R-TEST".to_owned(),
        evidence: vec!["UdpRcvbufErrors +4312".to_owned()],
        formula: String::new(),
        bound: String::new(),
        citation: String::new(),
        confidence: Confidence::High,
    }
}

fn plan(place: &Place, changes: Vec<Change>) -> Plan {
    let here = place.identity().unwrap();
    Plan {
        schema: PLAN_SCHEMA.to_owned(),
        basis: Basis {
            kernel_release: here.kernel_release,
            boot_id: here.boot_id,
            netns_inode: here.netns_inode,
            made_at_s: 0,
        },
        goal: None,
        findings: Vec::new(),
        changes,
        not_known: Vec::new(),
    }
}

fn usual(place: &Place) -> Plan {
    plan(
        place,
        vec![
            change("net.core.rmem_max", Reach::Global, "4194304", "8388608"),
            change(
                "net.ipv4.tcp_rmem",
                Reach::Namespace,
                "4096\t131072\t33554432",
                "4096 131072 67108864",
            ),
            change("net.core.wmem_max", Reach::Global, "4194304", "8388608"),
        ],
    )
}

fn apply(store: &Store, place: Place, plan: &Plan, caution: Caution) -> Result<Report, NotApplied> {
    let terms = Terms { caution, ..Terms::default() };
    Applying::begin(store, place, plan, &terms).map(|applying| applying.write(&|| false))
}

/// Applies a plan, and writes it to a file of sysctl.d.
fn apply_to(store: &Store, root: &Root, plan: &Plan, path: &Path) -> String {
    let terms = Terms { persist_to: Some(path.to_owned()), ..Terms::default() };
    let place = Place::here(root.clone());
    let applying = Applying::begin(store, place, plan, &terms).unwrap();
    applying.write(&|| false).id
}

fn to_confirm() -> Terms {
    Terms { confirm_within_s: Some(9), ..Terms::default() }
}

/// Every setting's bytes, by path.
fn settings(root: &Root) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["sys/net/core", "sys/net/ipv4"] {
        for entry in fs::read_dir(root.proc(folder)).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

fn text(root: &Root, key: &str) -> String {
    fs::read_to_string(sysctl::path(root, key).unwrap()).unwrap()
}

#[test]
fn what_is_applied_is_there_and_what_is_undone_is_as_before() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    check(&plan, &Place::here(root.clone()), Caution::Refuse).unwrap();
    assert_eq!(settings(&root), before);
    assert!(!folder.0.join("state").exists(), "a check leaves nothing");

    let report = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap();
    assert_eq!((report.end, &report.left[..]), (End::Applied, &[][..]));
    assert_eq!(text(&root, "net.core.rmem_max"), "8388608");
    assert_eq!(text(&root, "net.ipv4.tcp_rmem"), "4096 131072 67108864");
    let all = store.history().unwrap().applications;
    assert_eq!((all.len(), all[0].state, all[0].entries.len()), (1, State::Applied, 3));

    let undone = rollback(&store, root.clone(), None, Drift::Leave).unwrap().unwrap();
    assert_eq!((undone.end, &undone.id), (End::RolledBack, &report.id));
    assert_eq!(settings(&root), before);
    assert_eq!(store.history().unwrap().applications[0].state, State::RolledBack);
    assert_eq!(rollback(&store, root.clone(), None, Drift::Leave).unwrap(), None);
    let again = rollback(&store, root, Some(&report.id), Drift::Leave).unwrap_err();
    assert!(again.to_string().ends_with("it is rolled back already"), "{again}");
}

#[test]
fn a_plan_for_another_machine_is_refused_with_what_differs() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let good = usual(&Place::here(root.clone()));
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        apply(&store, Place::here(root.clone()), &plan, Caution::IKnow).unwrap_err().to_string()
    };
    for (what, part) in [
        (
            refused(&|p| p.basis.kernel_release = "6.1.0".into()),
            "the kernel was \"6.1.0\", and is \"6.18.44\"",
        ),
        (refused(&|p| p.basis.boot_id = "zeroth".into()), "the boot was \"zeroth\""),
        (refused(&|p| p.basis.netns_inode = 78), "the network namespace was \"78\", and is \"77\""),
        (
            refused(&|p| p.changes[2].current = "1".into()),
            "net.core.wmem_max was \"1\", and is \"4194304\"",
        ),
        (refused(&|p| p.schema = "x/1".into()), "its schema is \"x/1\""),
        (
            refused(&|p| {
                p.basis.netns_inode = 78;
                p.changes[1].reach = Reach::Global;
            }),
            "net.ipv4.tcp_rmem concerns a network namespace here, and not the machine",
        ),
        (refused(&|p| p.changes[0].reach = Reach::Namespace), "concerns the machine here"),
        (refused(&|p| p.changes[2].key = "net.core.rmem_max".into()), "there twice"),
        (refused(&|p| p.changes[0].proposed = "1\n2".into()), "more than a line"),
        (refused(&|p| p.changes[0].rule = "R-\u{1b}[2J".into()), "the rule of net.core.rmem_max"),
        (
            refused(&|p| p.changes[0].key = "net/../../etc/passwd".into()),
            "\"net/../../etc/passwd\" is no setting of network memory",
        ),
        (
            refused(&|p| p.changes[0].key = "kernel.core_pattern".into()),
            "\"kernel.core_pattern\" is no setting of network memory",
        ),
        (
            refused(&|p| p.changes[0].key = "net.core.rmem_max\n".into()),
            "\"net.core.rmem_max\\n\" is no setting",
        ),
        (refused(&|p| p.changes[0].key = "net.core.busy_poll".into()), "ENOENT"),
    ] {
        assert!(what.contains(part), "{part}: {what}");
    }
    // Without a setting of the namespace the namespace does not matter.
    let mut global = good.clone();
    global.basis.netns_inode = 78;
    global.changes.remove(1);
    check(&global, &Place::here(root.clone()), Caution::Refuse).unwrap();
    assert_eq!(settings(&root), before);
    assert_eq!(store.history().unwrap().applications, []);
}

#[test]
fn harmful_values_are_written_by_insistence_only() {
    let (folder, root) = machine();
    let (store, place) = (folder.store(), Place::here(root.clone()));
    let low = vec![change("net.core.rmem_max", Reach::Global, "4194304", "2147483000")];
    let low = plan(&place, low);
    let refused = apply(&store, place, &low, Caution::Refuse).unwrap_err();
    assert!(matches!(&refused, NotApplied::Refused(all) if all.len() == 1), "{refused}");
    assert_eq!(text(&root, "net.core.rmem_max"), "4194304\n");
    let report = apply(&store, Place::here(root.clone()), &low, Caution::IKnow).unwrap();
    assert_eq!(report.end, End::Applied);
    assert_eq!(text(&root, "net.core.rmem_max"), "2147483000");

    // So is writing beside a program that does the same.
    rollback(&store, root.clone(), None, Drift::Leave).unwrap();
    process(&root, "tuned", [0, 0], 77);
    let plan = usual(&Place::here(root.clone()));
    let refused = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap_err();
    assert!(refused.to_string().contains("process 812 (tuned): it changes"), "{refused}");
    apply(&store, Place::here(root.clone()), &plan, Caution::IKnow).unwrap();
}

/// A process 812 of a made machine.
fn process(root: &Root, name: &str, [uid, euid]: [u32; 2], netns_inode: u64) {
    let folder = root.proc("812");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("ns")).unwrap();
    fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
    let status = format!("Name:\t{name}\nUid:\t{uid}\t{euid}\t0\t0\nGid:\t0\t0\t0\t0\n");
    fs::write(folder.join("status"), status).unwrap();
    symlink(format!("net:[{netns_inode}]"), folder.join("ns/net")).unwrap();
}

/// Has failed with: a user's process of that name believed; the real user alone asked for, and the effective one
/// alone; the namespace not compared; bpftune's compared too.
#[test]
fn a_name_alone_stands_in_nobodys_way() {
    let (_folder, root) = machine();
    let place = || Place::here(root.clone());
    let plan = usual(&place());
    for (name, uids, netns_inode, is_rival) in [
        ("tuned", [0, 0], 77, true),
        ("tuned", [0, 1000], 77, false),
        // A link to a program like su, which waits.
        ("tuned", [1000, 0], 77, false),
        ("tuned", [0, 0], 78, false),
        ("bpftune", [0, 0], 77, true),
        ("bpftune", [0, 0], 78, true),
        ("bpftune", [0, 1000], 77, false),
        ("bpftune", [1000, 0], 77, false),
        ("tuned-adm", [0, 0], 77, false),
    ] {
        process(&root, name, uids, netns_inode);
        let refused = check(&plan, &place(), Caution::Refuse);
        let what = format!("{name} of {uids:?} in {netns_inode}: {refused:?}");
        assert_eq!(matches!(refused, Err(NotApplied::Refused(_))), is_rival, "{what}");
        assert_eq!(refused.is_err(), is_rival, "{what}");
    }
    // One that has ended meanwhile is nobody.
    fs::remove_file(root.proc("812/status")).unwrap();
    fs::write(root.proc("812/comm"), "tuned\n").unwrap();
    check(&plan, &place(), Caution::Refuse).unwrap();
}

#[test]
fn the_first_failure_undoes_all() {
    let (folder, root) = machine();
    let store = folder.store();
    // Takes every byte, and keeps none.
    let lost = sysctl::path(&root, "net.core.wmem_max").unwrap();
    fs::remove_file(&lost).unwrap();
    symlink("/dev/null", &lost).unwrap();
    let before = settings(&root);
    let place = Place::here(root.clone());
    let mut plan = usual(&place);
    plan.changes[2].current.clear();
    let report = apply(&store, place, &plan, Caution::Refuse).unwrap();
    assert!(report.why.as_ref().unwrap().contains("it reads \"\" after"), "{report:?}");
    assert_eq!((report.end, settings(&root)), (End::RolledBack, before));
    assert_eq!(store.history().unwrap().applications[0].state, State::RolledBack);
}

#[test]
fn a_request_to_stop_and_a_panic_undo_what_was_done() {
    for at in 0..4 {
        let (folder, root) = machine();
        let (store, before) = (folder.store(), settings(&root));
        let plan = usual(&Place::here(root.clone()));
        let begin = || {
            let place = Place::here(root.clone());
            Applying::begin(&store, place, &plan, &Terms::default()).unwrap()
        };
        let asked = AtomicU32::new(0);
        let report = begin().write(&|| asked.fetch_add(1, Ordering::Relaxed) == at);
        assert_eq!((report.end, settings(&root)), (End::RolledBack, before.clone()), "{at}");
        assert_eq!(report.why.as_deref(), Some("it was stopped by a signal"));

        let (asked, applying) = (AtomicU32::new(0), begin());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            applying.write(&|| {
                assert!(asked.fetch_add(1, Ordering::Relaxed) < at, "as wanted");
                false
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(settings(&root), before, "{at}");
        let states: Vec<_> =
            store.history().unwrap().applications.iter().map(|one| one.state).collect();
        assert_eq!(states, [State::RolledBack; 2]);
    }
}

#[test]
fn drift_is_told_and_left_alone() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap();
    fs::write(sysctl::path(&root, "net.core.rmem_max").unwrap(), "9999999\n").unwrap();
    let report = rollback(&store, root.clone(), None, Drift::Leave).unwrap().unwrap();
    assert_eq!((report.end, report.left.len()), (End::Incomplete, 1));
    assert!(report.left[0].contains("net.core.rmem_max reads \"9999999\""), "{report:?}");
    assert_eq!(text(&root, "net.core.rmem_max"), "9999999\n");
    assert_eq!(text(&root, "net.core.wmem_max"), "4194304\n", "the others are undone");
    assert_eq!(store.history().unwrap().applications[0].state, State::Incomplete);
    let report = rollback(&store, root.clone(), None, Drift::Overwrite).unwrap().unwrap();
    assert_eq!((report.end, settings(&root)), (End::RolledBack, before));
}

/// Has failed with: the last entry taken for ours whatever it reads.
#[test]
fn drift_on_what_was_written_last_is_left_alone_too() {
    let (folder, root) = machine();
    let store = folder.store();
    let plan = usual(&Place::here(root.clone()));
    let place = Place::here(root.clone());
    let applying = Applying::begin(&store, place, &plan, &Terms::default()).unwrap();
    let path = sysctl::path(&root, "net.core.wmem_max").unwrap();
    let asked = AtomicU32::new(0);
    let report = applying.write(&|| {
        let is_last = asked.fetch_add(1, Ordering::Relaxed) == 3;
        if is_last {
            fs::write(&path, "9999999\n").unwrap();
        }
        is_last
    });
    assert_eq!((report.end, report.left.len()), (End::Incomplete, 1), "{report:?}");
    assert_eq!(text(&root, "net.core.wmem_max"), "9999999\n");
    assert_eq!(text(&root, "net.core.rmem_max"), "4194304\n");
}

/// As after SIGKILL between a write that the kernel took in part and its mark. Has failed with: any value taken
/// for ours; a part taken for ours beside a mark; a part taken for drift.
#[test]
fn a_part_of_a_value_is_ours_where_its_mark_is_missing() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let place = Place::here(root.clone());
    let (key, old) = ("net.ipv4.tcp_rmem", "4096\t131072\t33554432");
    let plan = plan(&place, vec![change(key, Reach::Namespace, old, "8192 65536 x")]);
    let terms = Terms { caution: Caution::IKnow, ..Terms::default() };
    let id = Applying::begin(&store, place, &plan, &terms).unwrap().write(&|| false).id;
    let journal = folder.0.join(format!("state/{id}.jsonl"));
    let text = fs::read_to_string(&journal).unwrap();
    let unmarked = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    assert!(unmarked.ends_with("\"evidence\":[\"UdpRcvbufErrors +4312\"]}\n"), "{unmarked}");
    let mark = r#"{"at_s":7,"record":"written","number":0,"reads":"8192 65536 x"}"#;
    let marked = format!("{unmarked}{mark}\n");
    for (now, journal_text, end) in [
        ("8192\t131072\t33554432\n", &unmarked, End::RolledBack),
        ("8192\t65536\t33554432\n", &unmarked, End::RolledBack),
        ("4096\t131072\t33554432\n", &unmarked, End::RolledBack),
        ("8192\t65536\t8192\n", &unmarked, End::Incomplete),
        ("4096\t65536\t33554432\n", &unmarked, End::Incomplete),
        ("1\t2\t3\n", &unmarked, End::Incomplete),
        ("8192\t131072\t33554432\n", &marked, End::Incomplete),
    ] {
        let file = sysctl::path(&root, key).unwrap();
        fs::write(&file, now).unwrap();
        fs::write(&journal, journal_text).unwrap();
        let report = rollback(&store, root.clone(), Some(&id), Drift::Leave).unwrap().unwrap();
        assert_eq!(report.end, end, "{now:?}: {report:?}");
        match end {
            End::RolledBack => assert_eq!(settings(&root), before, "{now:?}"),
            _ => assert_eq!(fs::read_to_string(&file).unwrap(), now),
        }
    }
}

/// Has failed with: what was put back tried again.
#[test]
fn what_was_put_back_is_not_touched_again() {
    let (folder, root) = machine();
    let store = folder.store();
    let plan = usual(&Place::here(root.clone()));
    let id = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap().id;
    let write = |key: &str, text: &str| fs::write(sysctl::path(&root, key).unwrap(), text).unwrap();
    write("net.core.rmem_max", "9999999\n");
    let undo = |drift| rollback(&store, root.clone(), Some(&id), drift).unwrap().unwrap();
    assert_eq!(undo(Drift::Leave).end, End::Incomplete);
    assert_eq!(text(&root, "net.core.wmem_max"), "4194304\n");
    let is_restored = |one: usize| store.application(&id).unwrap().restored.contains(&one);
    assert_eq!([0, 1, 2].map(is_restored), [false, true, true]);

    // Somebody sets what was written, by himself.
    write("net.core.wmem_max", "8388608");
    for (drift, end) in [(Drift::Leave, End::Incomplete), (Drift::Overwrite, End::RolledBack)] {
        assert_eq!(undo(drift).end, end);
        assert_eq!(text(&root, "net.core.wmem_max"), "8388608", "{drift:?}");
    }
    assert_eq!(text(&root, "net.core.rmem_max"), "4194304\n");

    // A journal that does not say what was put back is read, and put back as far as it is as written.
    let journal = folder.0.join(format!("state/{id}.jsonl"));
    let lines = fs::read_to_string(&journal).unwrap();
    let old = lines.lines().take_while(|line| !line.contains("\"record\":\"restored\""));
    fs::write(&journal, old.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(undo(Drift::Leave).end, End::RolledBack);
    assert_eq!(text(&root, "net.core.wmem_max"), "4194304\n");
}

/// Has failed with: no look at later applications; the namespace not compared; what the earlier one has put
/// back counted.
#[test]
fn what_a_later_one_wrote_over_it_is_undone_first() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let place = || Place::here(root.clone());
    let write = |key: &str, text: &str| fs::write(sysctl::path(&root, key).unwrap(), text).unwrap();
    let set = |key: &str, to: &str| {
        let reach = if key.contains("tcp") { Reach::Namespace } else { Reach::Global };
        let plan = plan(&place(), vec![change(key, reach, text(&root, key).trim_end(), to)]);
        apply(&store, place(), &plan, Caution::Refuse).unwrap().id
    };
    let undo = |id: &str, drift| rollback(&store, root.clone(), Some(id), drift);
    let end = |id: &str| undo(id, Drift::Leave).unwrap().unwrap().end;
    let blocked = |id: &str| match undo(id, Drift::Leave).unwrap_err() {
        NotRolledBack::Later { later, what, .. } => (later, what),
        other => panic!("{other}"),
    };
    let first = apply(&store, place(), &usual(&place()), Caution::Refuse).unwrap().id;
    let (second, third) =
        (set("net.core.rmem_max", "9000000"), set("net.core.rmem_max", "10000000"));
    let applied = settings(&root);
    let rmem = "net.core.rmem_max".to_owned();
    assert_eq!(blocked(&first), (third.clone(), rmem.clone()));
    let said = undo(&second, Drift::Leave).unwrap_err().to_string();
    let wrote = format!("{third} wrote {rmem} after it, and is not rolled back");
    assert_eq!(said, format!("roll back {second}: {wrote}"));
    assert_eq!(settings(&root), applied);
    assert_eq!([end(&third), end(&second), end(&first)], [End::RolledBack; 3]);
    assert_eq!(settings(&root), before);

    // Undone in part: what was put back is no longer its own, what was not is.
    let first = apply(&store, place(), &usual(&place()), Caution::Refuse).unwrap().id;
    write("net.core.rmem_max", "7777777\n");
    assert_eq!(end(&first), End::Incomplete);
    let second = set("net.core.wmem_max", "8388608");
    assert_eq!(end(&first), End::Incomplete);
    let third = set("net.core.rmem_max", "8388608");
    assert_eq!(blocked(&first), (third, rmem));
    let forced = undo(&first, Drift::Overwrite).unwrap().unwrap();
    assert_eq!(forced.end, End::RolledBack);
    assert_eq!(text(&root, "net.core.rmem_max"), "4194304\n");
    assert_eq!(text(&root, "net.core.wmem_max"), "8388608");
    assert_eq!(end(&second), End::RolledBack);

    // Another namespace has a value of its own.
    let first = set("net.ipv4.tcp_rmem", "4096 131072 67108864");
    fs::remove_file(root.proc("thread-self/ns/net")).unwrap();
    symlink("net:[78]", root.proc("thread-self/ns/net")).unwrap();
    set("net.ipv4.tcp_rmem", "4096 131072 134217728");
    assert_eq!(end(&first), End::RolledBack);
    assert_eq!(text(&root, "net.ipv4.tcp_rmem"), "4096 131072 134217728");
}

/// Values went with the boot that they were written in: who wrote one then is neither held back by others nor
/// holds anybody back. What is left of the first is its file.
///
/// Has failed with: values live in every boot; the boot of the earlier one alone looked at, and that of the later
/// one alone.
#[test]
fn values_of_an_earlier_boot_hold_nobody_back() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let place = || Place::here(root.clone());
    let boot = |name: &str| {
        fs::write(root.proc("sys/kernel/random/boot_id"), format!("{name}\n")).unwrap();
        before.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    };
    let rmem = "net.core.rmem_max";
    let set = |to: &str| {
        let plan = plan(&place(), vec![change(rmem, Reach::Global, text(&root, rmem).trim(), to)]);
        apply(&store, place(), &plan, Caution::Refuse).unwrap().id
    };
    let undo = |id: &str| rollback(&store, root.clone(), Some(id), Drift::Leave);
    let persisted = |name: &str| {
        let path = folder.0.join(name);
        let id = apply_to(&store, &root, &usual(&place()), &path);
        persist(&store, &root, &id, &folder.0).unwrap();
        (id, path)
    };
    // Both of the earlier boot.
    let (first, file) = persisted("90-first.conf");
    set("9000000");
    assert!(matches!(undo(&first).unwrap_err(), NotRolledBack::Later { .. }), "in that boot");
    boot("second");
    assert_eq!((undo(&first).unwrap().unwrap().end, file.exists()), (End::RolledBack, false));
    assert_eq!(settings(&root), before);
    // The later one alone is of this boot: it keeps its value.
    let (second, file) = persisted("91-second.conf");
    boot("third");
    let later = set("7000000");
    assert_eq!((undo(&second).unwrap().unwrap().end, file.exists()), (End::RolledBack, false));
    assert_eq!(text(&root, rmem), "7000000");
    // The earlier one alone.
    let other = set("9000000");
    let journal = folder.0.join(format!("state/{other}.jsonl"));
    let of_third = fs::read_to_string(&journal).unwrap();
    let of_fourth = of_third.replace("\"boot_id\":\"third\"", "\"boot_id\":\"fourth\"");
    assert!(undo(&later).is_err());
    fs::write(&journal, of_fourth).unwrap();
    fs::write(sysctl::path(&root, rmem).unwrap(), "7000000").unwrap();
    assert_eq!(undo(&later).unwrap().unwrap().end, End::RolledBack);
    assert_eq!(settings(&root), before);
}

/// Has failed with: the file left out; one name of it compared with another.
#[test]
fn a_file_that_a_later_one_wrote_is_taken_back_first() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let set = |key: &str, path: &Path| {
        let place = Place::here(root.clone());
        let plan = plan(&place, vec![change(key, Reach::Global, "4194304", "8388608")]);
        let id = apply_to(&store, &root, &plan, path);
        persist(&store, &root, &id, &folder.0).unwrap();
        id
    };
    let other_name = folder.0.join("proc/../90-netmem.conf");
    let (first, second) = (set("net.core.rmem_max", &path), set("net.core.wmem_max", &other_name));
    let undo = |id: &str| rollback(&store, root.clone(), Some(id), Drift::Leave);
    let refused = undo(&first).unwrap_err();
    let file = path.display().to_string();
    let later = NotRolledBack::Later { id: first.clone(), later: second.clone(), what: file };
    assert_eq!(refused, later);
    assert_eq!(text(&root, "net.core.rmem_max"), "8388608");
    for id in [&second, &first] {
        assert_eq!(undo(id).unwrap().unwrap().end, End::RolledBack);
    }
    assert!(!path.exists());
}

#[test]
fn a_journal_of_another_boot_restores_no_value() {
    let (folder, root) = machine();
    let store = folder.store();
    let plan = usual(&Place::here(root.clone()));
    let id = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap().id;
    fs::write(root.proc("sys/kernel/random/boot_id"), "second\n").unwrap();
    let applied = settings(&root);
    assert_eq!(rollback(&store, root.clone(), None, Drift::Leave).unwrap(), None);
    let report = rollback(&store, root.clone(), Some(&id), Drift::Overwrite).unwrap().unwrap();
    assert_eq!((report.end, report.notes.len()), (End::RolledBack, 1));
    assert_eq!(settings(&root), applied);
}

#[test]
fn what_boot_has_set_again_is_told() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let place = || Place::here(root.clone());
    let plan = usual(&place());
    let file = folder.0.join("90-netmem.conf");
    let id = apply_to(&store, &root, &plan, &file);
    persist(&store, &root, &id, &folder.0).unwrap();
    fs::write(root.proc("sys/kernel/random/boot_id"), "second\n").unwrap();
    // Somebody has set one of them meanwhile.
    fs::write(sysctl::path(&root, "net.core.wmem_max").unwrap(), "7\n").unwrap();
    let undo = || rollback(&store, root.clone(), None, Drift::Leave).unwrap().unwrap();
    let report = undo();
    let tcp = "net.ipv4.tcp_rmem still reads 4096 131072 67108864: boot set it by the file; \
        sysctl -w net.ipv4.tcp_rmem='4096 131072 33554432'";
    let rmem = "net.core.rmem_max still reads 8388608: boot set it by the file; \
        sysctl -w net.core.rmem_max='4194304'";
    assert_eq!((report.end, &report.left[..]), (End::Incomplete, &[tcp.into(), rmem.into()][..]));
    assert!(!file.exists());
    for (path, bytes) in &before {
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(undo().end, End::RolledBack);
}

/// Has failed with: one that has gone in the way for ever; taken for gone without insistence, or at a later boot not;
/// namespaces made meanwhile not told.
#[test]
fn a_setting_that_has_gone_is_in_nobodys_way_who_insists() {
    for is_later in [false, true] {
        let (folder, root) = machine();
        let store = folder.store();
        let plan = usual(&Place::here(root.clone()));
        let file = folder.0.join("90-netmem.conf");
        let id = apply_to(&store, &root, &plan, &file);
        persist(&store, &root, &id, &folder.0).unwrap();
        let gone = sysctl::path(&root, "net.core.wmem_max").unwrap();
        fs::remove_file(&gone).unwrap();
        let undo = |drift| rollback(&store, root.clone(), Some(&id), drift).unwrap().unwrap();
        if is_later {
            fs::write(root.proc("sys/kernel/random/boot_id"), "second\n").unwrap();
            for key in ["net.ipv4.tcp_rmem", "net.core.rmem_max"] {
                fs::write(sysctl::path(&root, key).unwrap(), "1\n").unwrap();
            }
            assert_eq!(undo(Drift::Leave).end, End::RolledBack);
            continue;
        }
        let report = undo(Drift::Leave);
        assert_eq!((report.end, report.left.len()), (End::Incomplete, 1), "{report:?}");
        assert!(report.left[0].contains("wmem_max"), "{report:?}");
        let kept =
            "net.ipv4.tcp_rmem: network namespaces made meanwhile keep the value that it had";
        assert_eq!(report.notes, [kept]);
        let report = undo(Drift::Overwrite);
        let note = "net.core.wmem_max is not there any more".to_owned();
        assert_eq!((report.end, report.notes), (End::RolledBack, vec![note]));
        assert!(!gone.exists() && !file.exists());
    }
}

/// What undoes an application in a container, and its journal, may end with that. Has failed with: the host's network
/// namespace changed from one; a container's own not.
#[test]
fn a_container_changes_its_own_namespace_only() {
    let (folder, root) = machine();
    fs::create_dir_all(root.proc("self/ns")).unwrap();
    symlink("pid:[4026532999]", root.proc("self/ns/pid")).unwrap();
    let place = || Place::here(root.clone());
    let mut of_namespace = usual(&place());
    of_namespace.changes.retain(|change| change.reach == Reach::Namespace);
    let try_it = |plan: &Plan| match apply(&folder.store(), place(), plan, Caution::Refuse) {
        Err(NotApplied::Refused(refused)) => refused[0].why.clone(),
        result => format!("{:?}", result.unwrap().end),
    };
    assert!(try_it(&usual(&place())).starts_with("it is the whole machine's"));
    let refused = try_it(&of_namespace);
    assert!(refused.starts_with("it is the host's network namespace's"), "{refused}");
    assert!(refused.ends_with("this process is in a container: a PID namespace of its own"));
    fs::remove_file(root.proc("sys/net/ipv4/tcp_mem")).unwrap();
    assert_eq!(try_it(&of_namespace), "Applied");
}

#[test]
fn a_journal_that_was_cut_off_is_undone() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    let id = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap().id;
    let (path, applied) = (folder.0.join(format!("state/{id}.jsonl")), settings(&root));
    let journal = fs::read(&path).unwrap();
    // Only cuts from which the machine could have been left like this: all three entries are there.
    let third = journal.windows(9).rposition(|part| part == b"\"number\":").unwrap();
    let end = third + journal[third..].iter().position(|byte| *byte == b'\n').unwrap();
    for cut in [end, end + 1, end + 2, journal.len() - 1, journal.len()] {
        for (path, bytes) in &applied {
            fs::write(path, bytes).unwrap();
        }
        fs::write(&path, &journal[..cut]).unwrap();
        let report = rollback(&store, root.clone(), Some(&id), Drift::Leave).unwrap().unwrap();
        assert_eq!((report.end, settings(&root)), (End::RolledBack, before.clone()), "{cut}");
        assert_eq!(store.history().unwrap().applications[0].state, State::RolledBack, "{cut}");
    }
}

#[test]
fn one_at_a_time_and_the_holder_is_named() {
    let (folder, root) = machine();
    let store = folder.store();
    let plan = usual(&Place::here(root.clone()));
    let held = store.lock(Duration::ZERO).unwrap();
    let refused = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap_err();
    let holder = format!("process {} holds it", std::process::id());
    assert!(refused.to_string().ends_with(&holder), "{refused}");
    drop(held);
    apply(&store, Place::here(root), &plan, Caution::Refuse).unwrap();
}

#[test]
fn one_that_is_not_settled_is_settled_first() {
    let (folder, root) = machine();
    let store = folder.store();
    let plan = usual(&Place::here(root.clone()));
    let begin = || {
        let place = Place::here(root.clone());
        Applying::begin(&store, place, &plan, &to_confirm())
    };
    let settle = |id: &str| {
        rollback(&store, root.clone(), Some(id), Drift::Leave).unwrap();
    };
    let id = begin().unwrap().write(&|| false).id;
    let other = change("net.core.optmem_max", Reach::Namespace, "131072", "262144");
    fs::write(sysctl::path(&root, &other.key).unwrap(), "131072\n").unwrap();
    let other = self::plan(&Place::here(root.clone()), vec![other]);
    let again = || apply(&store, Place::here(root.clone()), &other, Caution::Refuse);
    let unconfirmed = NotApplied::Pending { id: id.clone(), state: State::Unconfirmed };
    assert_eq!(again().unwrap_err(), unconfirmed);
    // Its writes without their end, as of a process that was killed.
    let journal = folder.0.join(format!("state/{id}.jsonl"));
    let text = fs::read_to_string(&journal).unwrap();
    let lines: Vec<_> = text.lines().collect();
    fs::write(&journal, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let unfinished = NotApplied::Pending { id: id.clone(), state: State::Unfinished };
    assert_eq!(again().unwrap_err(), unfinished);
    settle(&id);
    assert_eq!(again().unwrap().end, End::Applied);
    // That of another boot is nobody's.
    let id = begin().unwrap().write(&|| false).id;
    let text = fs::read_to_string(folder.0.join(format!("state/{id}.jsonl"))).unwrap();
    settle(&id);
    let text = text.replace("\"boot_id\":\"first\"", "\"boot_id\":\"zeroth\"");
    fs::write(folder.0.join(format!("state/{id}.jsonl")), text).unwrap();
    apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap();
}

/// What would be refused is refused, and nothing is left. Has failed with: the file not tried; other applications
/// not looked at; a file told in which nothing could stand.
#[test]
fn a_rehearsal_checks_all_and_leaves_nothing() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let (plan, etc) = (usual(&Place::here(root.clone())), folder.0.join("etc"));
    let rehearse = |file: &str| {
        let terms = Terms { persist_to: Some(folder.0.join(file)), ..Terms::default() };
        tune::rehearse(&store, &Place::here(root.clone()), &plan, &terms)
    };
    let refused = rehearse("etc/x.conf").unwrap_err().to_string();
    assert!(refused.ends_with("etc/x.conf: its folder is not there"), "{refused}");
    fs::create_dir(&etc).unwrap();
    let found = rehearse("etc/x.conf").unwrap();
    assert_eq!((found.persist_to, found.unreadable), (Some(etc.join("x.conf")), vec![]));
    assert_eq!(fs::read_dir(&etc).unwrap().count(), 0, "what was tried is there");
    assert!(!folder.0.join("state").exists());
    assert_eq!(settings(&root), before);
    let place = Place::here(root.clone());
    let id = Applying::begin(&store, place, &plan, &to_confirm()).unwrap().write(&|| false).id;
    for (path, bytes) in &before {
        fs::write(path, bytes).unwrap();
    }
    let waits = NotApplied::Pending { id, state: State::Unconfirmed };
    assert_eq!(rehearse("etc/x.conf").unwrap_err(), waits);
    fs::remove_dir_all(folder.0.join("state")).unwrap();
    // In another namespace than the initial one.
    fs::remove_file(sysctl::path(&root, "net.ipv4.tcp_mem").unwrap()).unwrap();
    let mut own = plan.clone();
    own.changes.retain(|change| change.reach == Reach::Namespace);
    let terms = Terms { persist_to: Some(etc.join("x.conf")), ..Terms::default() };
    let found = tune::rehearse(&store, &Place::here(root.clone()), &own, &terms).unwrap();
    assert_eq!(found.persist_to, None);
}

#[test]
fn a_journal_that_cannot_be_read_hides_no_other() {
    let (folder, root) = machine();
    plan_of(&root, "net.core.netdev_budget", "300", "600");
    let (store, before) = (folder.store(), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    let id = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap().id;
    fs::write(folder.0.join("state/000002-x.jsonl"), "{}\n").unwrap();
    let history = store.history().unwrap();
    assert_eq!((history.applications.len(), history.unreadable.len()), (1, 1));
    assert!(history.unreadable[0].to_string().contains("000002-x.jsonl: line 1: "));
    assert!(store.application("000002-x").is_err());
    // It may wait to be settled, which nobody can tell: who applies is told, and not stopped.
    let other = plan_of(&root, "net.core.netdev_budget", "300", "600");
    let applying = begin(&store, &root, &other);
    assert_eq!(applying.unreadable(), history.unreadable);
    assert_eq!(applying.write(&|| false).end, End::Applied);
    for _ in 0..2 {
        rollback(&store, root.clone(), None, Drift::Leave).unwrap().unwrap();
    }
    assert_eq!(store.application(&id).unwrap().state, State::RolledBack);
    assert_eq!(settings(&root), before);
}

/// A plan of one setting of the whole machine, which is made where it is not there.
fn plan_of(root: &Root, key: &str, current: &str, proposed: &str) -> Plan {
    let path = sysctl::path(root, key).unwrap();
    if !path.exists() {
        fs::write(&path, format!("{current}\n")).unwrap();
    }
    plan(&Place::here(root.clone()), vec![change(key, Reach::Global, current, proposed)])
}

fn begin(store: &Store, root: &Root, plan: &Plan) -> Applying {
    Applying::begin(store, Place::here(root.clone()), plan, &Terms::default()).unwrap()
}

#[test]
fn the_lock_is_its_owners_alone_and_no_link() {
    let folder = Folder::new();
    let (store, path) = (folder.store(), folder.0.join("state/lock"));
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(store.lock(PATIENCE).unwrap());
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(store.lock(PATIENCE).unwrap());
    assert_eq!(mode(), 0o600);

    fs::remove_file(&path).unwrap();
    let other = folder.0.join("other");
    fs::write(&other, "its content").unwrap();
    symlink(&other, &path).unwrap();
    let refused = store.lock(Duration::ZERO).unwrap_err();
    assert!(refused.to_string().contains("ELOOP"), "{refused}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "its content");
}

#[test]
fn a_lock_that_cannot_be_asked_for_writes_nothing() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    let id = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap().id;
    rollback(&store, root.clone(), None, Drift::Leave).unwrap();
    let lock = folder.0.join("state/lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let why = format!("lock {}: is a directory (EISDIR)", lock.display());
    let refused = apply(&store, Place::here(root.clone()), &plan, Caution::Refuse).unwrap_err();
    assert_eq!((refused.to_string(), settings(&root)), (why.clone(), before));
    let undone = rollback(&store, root.clone(), Some(&id), Drift::Overwrite).unwrap_err();
    assert_eq!(undone.to_string(), why);
    assert_eq!(rollback_unconfirmed(&store, root.clone(), &id).unwrap_err().to_string(), why);
    assert_eq!(confirm(&store, &root, Some(&id)).unwrap_err().to_string(), why);
    assert_eq!(store.history().unwrap().applications.len(), 1);
}

/// Has failed with: no look at the folder; a link followed by the slash behind its name.
#[test]
fn the_state_folder_is_its_users_alone() {
    let (folder, root) = machine();
    let (state, before) = (folder.0.join("state"), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    drop(folder.store().lock(PATIENCE).unwrap());
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o700);
    let refused = |store: &Store| {
        let why = apply(store, Place::here(root.clone()), &plan, Caution::IKnow).unwrap_err();
        assert!(matches!(why, NotApplied::Failed(_)), "{why}");
        assert_eq!(settings(&root), before);
        why.to_string()
    };
    for mode in [0o720, 0o702, 0o1777] {
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
        let may = format!("others than its owner may write to it (mode {mode:04o})");
        let why = refused(&folder.store());
        assert_eq!(why, format!("use state folder {}: {may}", state.display()));
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    drop(folder.store().lock(PATIENCE).unwrap());
    let link = folder.0.join("link");
    symlink(&state, &link).unwrap();
    for name in ["link", "link/", "link/."] {
        let why = refused(&Store::at(folder.0.join(name)));
        assert!(why.ends_with("it is a symbolic link"), "{name}: {why}");
    }
    fs::write(folder.0.join("file"), "").unwrap();
    assert!(refused(&Store::at(folder.0.join("file"))).ends_with("it is no folder"));
    // Only root can give it away.
    if chown(&state, Some(4711), None).is_ok() {
        let why = refused(&folder.store());
        assert!(why.contains("user 4711 owns it, and this is user "), "{why}");
    }
}

#[test]
fn what_is_not_confirmed_can_be_undone_and_what_is_stays() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let plan = usual(&Place::here(root.clone()));
    let apply = || {
        let place = Place::here(root.clone());
        let applying = Applying::begin(&store, place, &plan, &to_confirm()).unwrap();
        applying.write(&|| false).id
    };
    let id = apply();
    assert_eq!(store.application(&id).unwrap().state, State::Unconfirmed);
    let report = rollback_unconfirmed(&store, root.clone(), &id).unwrap().unwrap();
    assert_eq!((report.end, settings(&root)), (End::RolledBack, before.clone()));
    assert_eq!(rollback_unconfirmed(&store, root.clone(), &id).unwrap(), None);
    let late = confirm(&store, &root, Some(&id)).unwrap_err();
    assert!(late.to_string().ends_with("it is rolled back already"), "{late}");
    assert!(confirm(&store, &root, None).is_err());

    // What is left by one attempt is undone by the next.
    let (id, key) = (apply(), sysctl::path(&root, "net.core.rmem_max").unwrap());
    fs::write(&key, "9999999\n").unwrap();
    let report = rollback_unconfirmed(&store, root.clone(), &id).unwrap().unwrap();
    assert_eq!((report.end, report.left.len()), (End::Incomplete, 1));
    fs::write(&key, "8388608").unwrap();
    let report = rollback_unconfirmed(&store, root.clone(), &id).unwrap().unwrap();
    assert_eq!((report.end, settings(&root)), (End::RolledBack, before.clone()));

    let id = apply();
    assert_eq!(confirm(&store, &root, None).unwrap(), id);
    assert_eq!(rollback_unconfirmed(&store, root.clone(), &id).unwrap(), None);
    assert_ne!(settings(&root), before);
    assert!(confirm(&store, &root, Some("../x")).is_err());
}

#[test]
fn persisted_settings_have_their_reasons_and_go_with_a_rollback() {
    let (folder, root) = machine();
    let store = folder.store();
    let [etc, lib] = ["etc/sysctl.d", "usr/lib/sysctl.d"].map(|name| folder.0.join(name));
    for one in [&etc, &lib] {
        fs::create_dir_all(one).unwrap();
    }
    fs::write(lib.join("99-x.conf"), "# net.core.rmem_max = 1\n-net/core/rmem_max=7\n").unwrap();
    fs::write(lib.join("99-y.conf"), "net.core.rmem_max = 8\n").unwrap();
    fs::write(etc.join("99-y.conf"), "net.core.other = 8\n").unwrap();
    fs::write(etc.join("10-z.conf"), "net.core.rmem_max = 9\n").unwrap();
    // Not for a key that a line names.
    fs::write(etc.join("95-p.conf"), "net.core.* = 9\nnet.ipv4.tcp_* = 9\n").unwrap();
    fs::write(folder.0.join("etc/sysctl.conf"), "net.ipv4.tcp_rmem = 1 2 3\n").unwrap();
    let path = etc.join("90-netmem.conf");
    let place = || Place::here(root.clone());
    let run = |plan: &Plan| {
        let id = apply_to(&store, &root, plan, &path);
        persist(&store, &root, &id, &folder.0).map(|persisted| (id, persisted))
    };
    let (first, persisted) = run(&usual(&place())).unwrap();
    assert!(persisted.is_read_at_boot && persisted.of_namespace.is_empty());
    let overridden = [
        format!("{}:2: net.core.rmem_max = 7", lib.join("99-x.conf").display()),
        format!(
            "{}:1: net.ipv4.tcp_rmem = 1 2 3 (sysctl --system of procps only)",
            folder.0.join("etc/sysctl.conf").display()
        ),
    ];
    assert_eq!(persisted.overridden_by, overridden);
    let before = fs::read_to_string(&path).unwrap();
    let reason = format!("\n# net.core.rmem_max: R-TEST, journal {first}, 2");
    assert!(before.contains(&reason), "{before}");
    assert!(
        before.contains("\n#   UdpRcvbufErrors +4312\nnet.core.rmem_max = 8388608\n"),
        "{before}"
    );

    // A second one keeps what it does not set.
    let mut second = change("net.core.rmem_max", Reach::Global, "8388608", "16777216");
    second.evidence = vec!["two\nlines = 1".to_owned()];
    let (second, _) = run(&plan(&place(), vec![second])).unwrap();
    let both = fs::read_to_string(&path).unwrap();
    assert!(
        both.contains("net.core.rmem_max = 16777216\n") && !both.contains("8388608\n\n# net.ipv4")
    );
    assert!(both.contains("net.core.wmem_max = 8388608\n"), "{both}");
    assert_eq!(both.matches("net.core.rmem_max = ").count(), 1, "{both}");
    assert!(both.contains("#   two lines = 1\n"), "{both}");

    let undo = |id: &str| rollback(&store, root.clone(), Some(id), Drift::Leave).unwrap().unwrap();
    assert_eq!(undo(&second).end, End::RolledBack);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(undo(&first).end, End::RolledBack);
    assert!(!path.exists(), "it was not there before");
    let others: Vec<_> = fs::read_dir(&etc).unwrap().flatten().collect();
    assert_eq!(others.len(), 3, "no temporary file is left: {others:?}");

    a_file_of_somebody_elses_is_left_alone(&folder, &root, &path);
}

fn a_file_of_somebody_elses_is_left_alone(folder: &Folder, root: &Root, path: &Path) {
    let (store, place) = (folder.store(), || Place::here(root.clone()));
    fs::write(path, "net.core.rmem_max = 1\n").unwrap();
    for (path, part) in [
        (path.to_owned(), "netmem has not written it"),
        (folder.0.join("no-folder/90-netmem.conf"), "its folder is not there"),
    ] {
        let terms = Terms { persist_to: Some(path), ..Terms::default() };
        let refused = Applying::begin(&store, place(), &usual(&place()), &terms).unwrap_err();
        assert!(refused.to_string().ends_with(part), "{refused}");
        assert_eq!(text(root, "net.core.rmem_max"), "4194304\n", "before anything is written");
    }
    assert_eq!(fs::read_to_string(path).unwrap(), "net.core.rmem_max = 1\n");
}

/// Has failed with: the file written back as it was before the earlier one.
#[test]
fn what_others_have_persisted_since_stays() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let run = |key: &str| {
        let changes = vec![change(key, Reach::Global, "4194304", "8388608")];
        let id = apply_to(&store, &root, &plan(&Place::here(root.clone()), changes), &path);
        persist(&store, &root, &id, &folder.0).unwrap();
        id
    };
    let undo = |id: &str, drift| rollback(&store, root.clone(), Some(id), drift);
    let (first, second) = (run("net.core.rmem_max"), run("net.core.wmem_max"));
    let refused = undo(&first, Drift::Leave).unwrap_err();
    assert!(refused.to_string().contains(&format!("{second} wrote")), "{refused}");
    let end = |id: &str| undo(id, Drift::Overwrite).unwrap().unwrap().end;
    assert_eq!(end(&first), End::RolledBack);
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.contains("net.core.wmem_max = 8388608\n") && !kept.contains("rmem_max"), "{kept}");
    assert_eq!(end(&second), End::RolledBack);
    assert!(!fs::read_to_string(&path).unwrap_or_default().contains("mem_max"));
    assert_eq!(text(&root, "net.core.rmem_max"), "4194304\n");
}

/// Whoever confirms persists, and who applied comes after. Has failed with: what was done done again; the file's
/// mode and owner not kept; what is left of a killed process written to.
#[test]
fn what_is_persisted_is_so_once_and_the_file_keeps_its_owner() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let place = || Place::here(root.clone());
    let whose = || fs::metadata(&path).map(|it| (it.mode() & 0o7777, it.uid(), it.gid())).unwrap();
    let terms = Terms { persist_to: Some(path.clone()), ..to_confirm() };
    let run = |key: &str| {
        let plan = plan(&place(), vec![change(key, Reach::Global, "4194304", "8388608")]);
        let applying = Applying::begin(&store, place(), &plan, &terms).unwrap();
        let id = applying.write(&|| false).id;
        let early = persist(&store, &root, &id, &folder.0).unwrap_err().to_string();
        assert!(early.ends_with("it is not applied, or not confirmed"), "{early}");
        confirm(&store, &root, Some(&id)).unwrap();
        let first = persist(&store, &root, &id, &folder.0).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(persist(&store, &root, &id, &folder.0).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it was written again");
        let journal = fs::read_to_string(folder.0.join(format!("state/{id}.jsonl"))).unwrap();
        assert_eq!(journal.matches("\"record\":\"persisted\"").count(), 1, "{journal}");
        id
    };
    run("net.core.rmem_max");
    assert_eq!(whose().0 & 0o600, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let _ = chown(&path, Some(4711), Some(4712));
    let (kept, other) = (whose(), folder.0.join("other"));
    fs::write(&other, "its content").unwrap();
    symlink(&other, folder.0.join(format!(".90-netmem.conf.{}", std::process::id()))).unwrap();
    let second = run("net.core.wmem_max");
    assert_eq!(whose(), kept);
    assert!(fs::read_to_string(&path).unwrap().contains("net.core.wmem_max = 8388608\n"));
    assert_eq!(fs::read_to_string(&other).unwrap(), "its content");
    rollback(&store, root.clone(), Some(&second), Drift::Leave).unwrap();
    assert_eq!(whose(), kept);
    assert!(!fs::read_to_string(&path).unwrap().contains("net.core.wmem_max"));

    let plain = apply(&store, place(), &plan(&place(), Vec::new()), Caution::Refuse).unwrap().id;
    let unasked = persist(&store, &root, &plain, &folder.0).unwrap_err().to_string();
    assert!(unasked.ends_with("it was applied without that"), "{unasked}");
}

/// Has failed with: the link followed, so that a file takes its place; the link removed by a rollback, and by one
/// that is forced.
#[test]
fn a_link_is_neither_followed_nor_replaced() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let (real, before) = (folder.0.join("real.conf"), settings(&root));
    let plan = plan_of(&root, "net.core.rmem_max", "4194304", "8388608");
    let place = || Place::here(root.clone());
    let terms = Terms { persist_to: Some(path.clone()), ..Terms::default() };
    let left_alone =
        format!("it is a symbolic link, which is left alone; name {} itself", real.display());
    // Also one that leads nowhere.
    for is_there in [false, true] {
        symlink(&real, &path).unwrap();
        let refused = Applying::begin(&store, place(), &plan, &terms).unwrap_err().to_string();
        assert_eq!(refused, format!("persist to {}: {left_alone}", path.display()));
        assert_eq!(settings(&root), before);
        fs::remove_file(&path).unwrap();
        if !is_there {
            fs::write(&real, "").unwrap();
        }
    }
    // Made when the settings are written already, and when the file is.
    let id = apply_to(&store, &root, &plan, &path);
    symlink(&real, &path).unwrap();
    let refused = persist(&store, &root, &id, &folder.0).unwrap_err().to_string();
    assert!(refused.ends_with(&left_alone), "{refused}");
    fs::remove_file(&path).unwrap();
    persist(&store, &root, &id, &folder.0).unwrap();
    let written = fs::read_to_string(&path).unwrap();
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    for drift in [Drift::Leave, Drift::Overwrite] {
        let report = rollback(&store, root.clone(), Some(&id), drift).unwrap().unwrap();
        assert_eq!((report.end, report.left.len()), (End::Incomplete, 1), "{report:?}");
        assert!(report.left[0].ends_with(&left_alone), "{report:?}");
        assert!(path.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), written);
    }
    assert_eq!(settings(&root), before);
}

/// Has failed with: what is begun in the journal taken for what is in the file.
#[test]
fn what_could_not_be_persisted_can_be_later() {
    let (folder, root) = machine();
    let (store, before) = (folder.store(), settings(&root));
    let etc = folder.0.join("etc");
    let path = etc.join("90-netmem.conf");
    fs::create_dir(&etc).unwrap();
    let plan = usual(&Place::here(root.clone()));
    let id = apply_to(&store, &root, &plan, &path);
    // Its folder goes between the check and the file.
    fs::remove_dir(&etc).unwrap();
    for _ in 0..2 {
        let failed = persist(&store, &root, &id, &folder.0).unwrap_err().to_string();
        assert!(failed.starts_with("write ") && failed.ends_with("(ENOENT)"), "{failed}");
    }
    assert_eq!(store.application(&id).unwrap().state, State::Applied);
    assert_eq!(text(&root, "net.core.rmem_max"), "8388608");
    fs::create_dir(&etc).unwrap();
    persist(&store, &root, &id, &folder.0).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("net.core.rmem_max = 8388608\n"));
    let report = rollback(&store, root.clone(), Some(&id), Drift::Leave).unwrap().unwrap();
    assert_eq!((report.end, settings(&root)), (End::RolledBack, before));
    assert!(!path.exists());
}

/// A second time the file is not what was there before: rollback would put back what it holds of ours. Has failed
/// with: no look at who changed it since; the journal's mark alone looked at.
#[test]
fn what_somebody_else_changed_is_not_persisted_again() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let key = "net.core.rmem_max";
    let run = |to: &str| {
        let now = text(&root, key);
        let id = apply_to(&store, &root, &plan_of(&root, key, now.trim_end(), to), &path);
        persist(&store, &root, &id, &folder.0).unwrap();
        (id, fs::read_to_string(&path).unwrap())
    };
    let refused = |id: &str| {
        let (file, of) = (fs::read(&path).unwrap(), folder.0.join(format!("state/{id}.jsonl")));
        let journal = fs::read(&of).unwrap();
        let why = persist(&store, &root, id, &folder.0).unwrap_err().to_string();
        let what = "it was written there, and somebody else has changed it since";
        assert_eq!(why, format!("persist to {}: {what}", path.display()));
        assert_eq!((fs::read(&path).unwrap(), fs::read(&of).unwrap()), (file, journal));
    };
    let (first, written) = run("8388608");
    // Somebody adds a line, whether or not the journal says that the file was written.
    let journal = folder.0.join(format!("state/{first}.jsonl"));
    let whole = fs::read_to_string(&journal).unwrap();
    let unmarked: String = whole
        .lines()
        .filter(|line| !line.contains("\"persisted\""))
        .map(|line| format!("{line}\n"))
        .collect();
    for lines in [&unmarked, &whole] {
        fs::write(&path, format!("{written}\n-net.core.wmem_max = 7\n")).unwrap();
        fs::write(&journal, lines).unwrap();
        refused(&first);
        let report = rollback(&store, root.clone(), Some(&first), Drift::Leave).unwrap().unwrap();
        assert_eq!((report.end, report.left.len()), (End::Incomplete, 1), "{report:?}");
        fs::write(&journal, lines).unwrap();
    }
    // As it was written, and as it was before: nothing is lost.
    fs::write(&path, &written).unwrap();
    fs::write(sysctl::path(&root, key).unwrap(), "8388608").unwrap();
    persist(&store, &root, &first, &folder.0).unwrap();
    fs::remove_file(&path).unwrap();
    persist(&store, &root, &first, &folder.0).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    // A later one writes another value there.
    let (second, both) = run("9000000");
    refused(&first);
    assert!(both.contains("net.core.rmem_max = 9000000\n"), "{both}");
    for id in [&second, &first] {
        let report = rollback(&store, root.clone(), Some(id), Drift::Leave).unwrap().unwrap();
        assert_eq!(report.end, End::RolledBack, "{report:?}");
    }
    assert!(!path.exists());
}

/// As after SIGKILL between the journal's line and the file. Has failed with: what was begun taken for what was
/// written, by all who ask, by who restores alone, and by who looks at what boot set alone.
#[test]
fn a_file_that_was_never_written_is_nothing_to_put_back() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let run = |key: &str| {
        let id = apply_to(&store, &root, &plan_of(&root, key, "4194304", "8388608"), &path);
        persist(&store, &root, &id, &folder.0).unwrap();
        id
    };
    let undo = |id: &str, drift| rollback(&store, root.clone(), Some(id), drift);
    let end = |id: &str, drift| undo(id, drift).unwrap().unwrap().end;
    let first = run("net.core.rmem_max");
    let of_first = fs::read_to_string(&path).unwrap();
    let second = run("net.core.wmem_max");
    let of_both = fs::read_to_string(&path).unwrap();
    let journal = folder.0.join(format!("state/{second}.jsonl"));
    let marked = fs::read_to_string(&journal).unwrap();
    let unmarked = marked.lines().take(marked.lines().count() - 1);
    let unmarked: String = unmarked.map(|line| format!("{line}\n")).collect();
    fs::write(&journal, &unmarked).unwrap();
    // It was written, and its mark is missing.
    let later = undo(&first, Drift::Leave).unwrap_err();
    assert!(
        matches!(&later, NotRolledBack::Later { what, .. } if *what == path.display().to_string())
    );
    assert!(!store.application(&second).unwrap().is_persisted);
    persist(&store, &root, &second, &folder.0).unwrap();
    assert!(store.application(&second).unwrap().is_persisted);
    // It was not: somebody's lines are in the file instead.
    let others = format!("{of_first}\nnet.core.wmem_max = 8388608\n");
    for (drift, boot) in
        [(Drift::Leave, "first"), (Drift::Overwrite, "first"), (Drift::Leave, "second")]
    {
        fs::write(&journal, &unmarked).unwrap();
        fs::write(&path, &others).unwrap();
        fs::write(sysctl::path(&root, "net.core.wmem_max").unwrap(), "8388608").unwrap();
        fs::write(root.proc("sys/kernel/random/boot_id"), format!("{boot}\n")).unwrap();
        assert_eq!(end(&second, drift), End::RolledBack, "{drift:?} {boot}");
        assert_eq!(fs::read_to_string(&path).unwrap(), others);
    }
    fs::write(root.proc("sys/kernel/random/boot_id"), "first\n").unwrap();
    fs::write(&journal, &unmarked).unwrap();
    fs::write(&path, &of_first).unwrap();
    assert_eq!(end(&first, Drift::Leave), End::RolledBack, "the later one wrote nothing");
    assert!(!path.exists());
    // Written, without its mark: it goes with its rollback.
    fs::write(&path, &of_both).unwrap();
    fs::write(&journal, &unmarked).unwrap();
    assert_eq!(end(&second, Drift::Leave), End::RolledBack);
    assert_eq!(fs::read_to_string(&path).unwrap(), of_first);
}

/// On file systems of a mount namespace of the thread's own. Has failed with: no file tried; one without
/// content tried; what was tried left behind.
#[test]
fn lab_what_cannot_be_persisted_is_not_written_at_all() {
    let test = "lab_what_cannot_be_persisted_is_not_written_at_all";
    if let Some(reason) = missing_privilege() {
        return skip(test, &reason);
    }
    let (folder, root) = machine();
    let work = || persist_where_there_is_no_room(&folder, &root);
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
}

fn persist_where_there_is_no_room(folder: &Folder, root: &Root) {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
    let (store, before) = (folder.store(), settings(root));
    let etc = folder.0.join("etc");
    fs::create_dir(&etc).unwrap();
    let memory = |flags: MsFlags| {
        mount(Some("tmpfs"), &etc, Some("tmpfs"), flags, Some("size=4k,mode=0755")).unwrap();
    };
    let terms = Terms { persist_to: Some(etc.join("90-netmem.conf")), ..Terms::default() };
    let plan = plan_of(root, "net.core.rmem_max", "4194304", "8388608");
    let begin = || Applying::begin(&store, Place::here(root.clone()), &plan, &terms);
    memory(MsFlags::empty());
    let names = || fs::read_dir(&etc).unwrap().flatten().count();
    begin().unwrap().abandon("it was only begun");
    assert_eq!(names(), 0, "what was tried is there");
    fs::write(etc.join("filler"), "x").unwrap();
    let full = begin().unwrap_err().to_string();
    assert!(full.starts_with("write ") && full.ends_with("(ENOSPC)"), "{full}");
    assert_eq!(names(), 1, "what was tried is there");
    memory(MsFlags::MS_RDONLY);
    let read_only = begin().unwrap_err().to_string();
    assert!(read_only.ends_with("(EROFS)"), "{read_only}");
    assert_eq!(settings(root), before);
    assert_eq!(store.history().unwrap().applications.len(), 1);
    // What has no place at boot needs none.
    fs::remove_file(sysctl::path(root, "net.ipv4.tcp_mem").unwrap()).unwrap();
    let (own, old) = ("net.ipv4.tcp_rmem", "4096\t131072\t33554432");
    let own = change(own, Reach::Namespace, old, "4096 131072 67108864");
    let own = self::plan(&Place::here(root.clone()), vec![own]);
    let place = Place::here(root.clone());
    Applying::begin(&store, place, &own, &terms).unwrap().abandon("it was only begun");
}

/// What nobody has tried in this boot is not for each. Has failed with: the boot not compared; the values not;
/// of a namespace's settings none read.
#[test]
fn only_what_is_in_force_is_persisted() {
    let (folder, root) = machine();
    let (store, path) = (folder.store(), folder.0.join("90-netmem.conf"));
    let id = apply_to(&store, &root, &usual(&Place::here(root.clone())), &path);
    let (boot, applied) = (root.proc("sys/kernel/random/boot_id"), settings(&root));
    let refused = |part: &str| {
        let why = persist(&store, &root, &id, &folder.0).unwrap_err().to_string();
        assert_eq!(why, format!("persist {id}: {part}"));
        assert!(!path.exists());
    };
    fs::write(&boot, "second\n").unwrap();
    refused("it is of another boot, and its values went with that");
    fs::write(&boot, "first\n").unwrap();
    for (key, now, new) in [
        ("net.core.wmem_max", "7\n", "8388608"),
        ("net.ipv4.tcp_rmem", "1\t2\t3\n", "4096 131072 67108864"),
    ] {
        let file = sysctl::path(&root, key).unwrap();
        fs::write(&file, now).unwrap();
        refused(&format!("{key} reads {:?}, and {new:?} was written", now.trim_end()));
        fs::write(&file, &applied[&file]).unwrap();
    }
    // As the kernel prints it.
    let file = sysctl::path(&root, "net.ipv4.tcp_rmem").unwrap();
    fs::write(file, "4096\t131072\t67108864\n").unwrap();
    let first = persist(&store, &root, &id, &folder.0).unwrap();
    // What is done is done.
    fs::write(&boot, "second\n").unwrap();
    assert_eq!(persist(&store, &root, &id, &folder.0).unwrap(), first);
}

#[test]
fn another_namespace_has_no_place_at_boot() {
    let (folder, root) = machine();
    let store = folder.store();
    fs::remove_file(sysctl::path(&root, "net.ipv4.tcp_mem").unwrap()).unwrap();
    let place = Place::here(root.clone());
    let plan = usual(&place);
    let path = folder.0.join("90-netmem.conf");
    let id = apply_to(&store, &root, &plan, &path);
    let persisted = persist(&store, &root, &id, &folder.0).unwrap();
    let own = [("net.ipv4.tcp_rmem".to_owned(), "4096 131072 67108864".to_owned())];
    assert_eq!((persisted.of_namespace, persisted.is_read_at_boot), (own.to_vec(), false));
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.contains("net.core.rmem_max") && !written.contains("tcp_rmem"), "{written}");
}

#[test]
fn a_setting_that_is_to_read_only_is_refused() {
    let (folder, root) = machine();
    let path = sysctl::path(&root, "net.core.wmem_max").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let place = Place::here(root.clone());
    let plan = usual(&place);
    let refused = apply(&folder.store(), place, &plan, Caution::IKnow).unwrap_err().to_string();
    assert!(refused.contains("wmem_max: it is to read only here"), "{refused}");
    assert_eq!(text(&root, "net.core.rmem_max"), "4194304\n");
}

/// A namespace, and what its settings of the tests' read; skips without privileges.
fn namespace(test: &str) -> Option<NetNs> {
    if let Some(reason) = missing_privilege() {
        skip(test, &reason);
        return None;
    }
    Some(NetNs::create().unwrap())
}

const KEYS: [&str; 5] = [
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.udp_rmem_min",
    "net.ipv4.ipfrag_time",
    "net.ipv4.tcp_congestion_control",
];

fn live(ns: &NetNs) -> Vec<String> {
    ns.run(|| KEYS.map(|key| text(&Root::live(), key)).to_vec()).unwrap()
}

/// A change of a setting of a namespace, from what it reads.
fn live_change(key: &str, proposed: &str) -> Change {
    let now = text(&Root::live(), key);
    change(key, Reach::Namespace, now.trim_end_matches('\n'), proposed)
}

/// A process in a namespace, ended with this value.
struct Inside(Child);

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn lab_a_namespace_is_changed_and_restored() {
    let test = "lab_a_namespace_is_changed_and_restored";
    let Some(ns) = namespace(test) else { return };
    let (folder, before) = (Folder::new(), live(&ns));
    let outside = KEYS.map(|key| text(&Root::live(), key));
    let inside = ns.run(|| Command::new("sleep").arg("600").stdout(Stdio::null()).spawn()).unwrap();
    let Ok(inside) = inside else { return skip(test, "the sleep program is not installed") };
    let inside = Inside(inside);
    let pid = inside.0.id().to_string();
    let named = || Place::named(Root::live(), &pid).unwrap();
    let plan = ns
        .run(|| {
            let changes = vec![
                live_change("net.ipv4.tcp_rmem", "8192 131072 67108864"),
                live_change("net.ipv4.ipfrag_time", "31"),
                live_change("net.ipv4.udp_rmem_min", "8192"),
            ];
            plan(&Place::here(Root::live()), changes)
        })
        .unwrap();
    // Only looked at: a plan of another namespace that is written here would stay.
    let stale = check(&plan, &Place::here(Root::live()), Caution::Refuse);
    assert!(matches!(stale, Err(NotApplied::Stale(_))), "{stale:?}");
    let report = apply(&folder.store(), named(), &plan, Caution::Refuse).unwrap();
    assert_eq!(report.end, End::Applied, "{report:?}");
    let changed = ["8192\t131072\t67108864\n", &before[1], "8192\n", "31\n", &before[4]];
    assert_eq!(live(&ns), changed);
    // From outside: its namespace is found by the journal.
    let report = rollback(&folder.store(), Root::live(), None, Drift::Leave).unwrap().unwrap();
    assert_eq!((report.end, live(&ns)), (End::RolledBack, before), "{report:?}");
    assert_eq!(KEYS.map(|key| text(&Root::live(), key)), outside, "nothing outside changed");

    let id = apply(&folder.store(), named(), &plan, Caution::Refuse).unwrap().id;
    drop((inside, ns));
    // In a namespace of the test's own: what is restored by mistake changes nothing of the machine.
    let other = NetNs::create().unwrap();
    let undo = |drift| {
        let undone = || rollback(&folder.store(), Root::live(), Some(&id), drift).unwrap();
        other.run(undone).unwrap().unwrap()
    };
    let mut report = undo(Drift::Leave);
    if Namespaces::scan(&Root::live()).unwrap().gap.is_some() {
        // Some process hides what it holds: it might be this namespace.
        assert_eq!((report.end, report.left.len()), (End::Incomplete, 3), "{report:?}");
        report = undo(Drift::Overwrite);
    }
    assert_eq!((report.end, report.notes.len()), (End::RolledBack, 1), "{report:?}");
    assert_eq!(KEYS.map(|key| text(&Root::live(), key)), outside);
}

#[test]
fn lab_a_short_write_is_seen_and_undone() {
    let Some(ns) = namespace("lab_a_short_write_is_seen_and_undone") else { return };
    let (folder, before) = (Folder::new(), live(&ns));
    for (key, bad, part) in [
        ("net.ipv4.udp_rmem_min", "8192 87380 16777216", "5 of 19 bytes were taken"),
        ("net.ipv4.tcp_wmem", "4096 16384 8388608 1", "of 20 bytes were taken"),
        ("net.ipv4.ipfrag_time", "many", "EINVAL"),
        ("net.ipv4.tcp_congestion_control", "no-such", "ENOENT"),
    ] {
        let report = ns
            .run(|| {
                let changes = vec![
                    live_change("net.ipv4.tcp_rmem", "8192 131072 67108864"),
                    live_change(key, bad),
                ];
                let place = Place::here(Root::live());
                let plan = plan(&place, changes);
                apply(&folder.store(), place, &plan, Caution::IKnow).unwrap()
            })
            .unwrap();
        assert!(report.why.as_ref().unwrap().contains(part), "{report:?}");
        assert_eq!((report.end, live(&ns)), (End::RolledBack, before.clone()), "{report:?}");
    }
}

#[test]
fn lab_a_global_setting_is_refused_in_a_namespace() {
    let Some(ns) = namespace("lab_a_global_setting_is_refused_in_a_namespace") else { return };
    let folder = Folder::new();
    for (key, part) in
        [("net.core.rmem_max", "read only here"), ("net.ipv4.tcp_mem", "global, and not in every")]
    {
        let changes = vec![change(key, Reach::Global, "1", "2")];
        let refused = ns.run(|| {
            let place = Place::here(Root::live());
            let plan = plan(&place, changes);
            apply(&folder.store(), place, &plan, Caution::IKnow).unwrap_err()
        });
        let refused = refused.unwrap();
        assert!(matches!(refused, NotApplied::Unwritable(_)), "{refused}");
        assert!(refused.to_string().contains(part), "{refused}");
    }
    assert!(!folder.0.join("state").exists());
}

#[test]
fn the_folder_of_journals_need_not_be_there() {
    let store = Store::at(Path::new("/no/such/folder"));
    assert_eq!(store.history().unwrap().applications, []);
    assert_eq!(rollback(&store, Root::live(), None, Drift::Leave).unwrap(), None);
    assert!(store.application("x").is_err());
}

//! Namespaces of the running kernel: what keeps one is found, and what is found can be entered.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;

use netmem_host::lab::{NetNs, missing_privilege, skip};
use netmem_host::netlink::{LinkSpec, Route};
use netmem_host::netns::{Namespaces, enter};
use netmem_host::source::{Root, SourceState};

fn able(test: &str) -> bool {
    let missing = missing_privilege();
    if let Some(reason) = &missing {
        skip(test, reason);
    }
    missing.is_none()
}

/// Has failed with: no look at descriptors.
#[test]
fn lab_a_namespace_of_a_descriptor_alone_is_found() {
    if !able("lab_a_namespace_of_a_descriptor_alone_is_found") {
        return;
    }
    let ns = NetNs::create().unwrap();
    // A mark that only a thread in that namespace sees.
    let mut route = ns.run(Route::open).unwrap().unwrap();
    route.create_veth(&LinkSpec::new("mark"), &LinkSpec::new("mark2"), &ns).unwrap();
    let namespaces = Namespaces::scan(&Root::live()).unwrap();
    let found = namespaces.of(ns.inode()).unwrap();
    let own = (std::process::id(), ns.as_fd().as_raw_fd());
    assert!(found.descriptors.iter().any(|held| (held.pid, held.fd) == own), "{found:?}");
    assert!(found.pids.is_empty() && found.names.is_empty(), "{found:?}");
    let links = enter(found, || Route::open().unwrap().links().unwrap()).unwrap();
    assert!(links.iter().any(|link| link.name == "mark"));
    // It is gone with its descriptors.
    let found = found.clone();
    drop((ns, route));
    let unavailable = enter(&found, || ()).unwrap_err();
    assert_eq!(unavailable.state, SourceState::Stale, "{unavailable}");
}

/// Has failed with: a look at each process's first thread only.
#[test]
fn lab_a_namespace_of_a_thread_is_found() {
    if !able("lab_a_namespace_of_a_thread_is_found") {
        return;
    }
    let ns = NetNs::create().unwrap();
    let (inode, (done, wait)) = (ns.inode(), mpsc::channel::<()>());
    let thread = ns.spawn("inside", move || wait.recv().is_err()).unwrap();
    drop(ns);
    let namespaces = Namespaces::scan(&Root::live()).unwrap();
    let found = namespaces.of(inode).unwrap();
    assert_eq!((&found.pids[..], found.descriptors.len()), (&[std::process::id()][..], 0));
    let entered = enter(found, || NetNs::current().unwrap().inode()).unwrap();
    assert_eq!(entered, inode);
    drop(done);
    assert!(thread.join().unwrap());
}

/// Has failed with: mounts of each process's first thread only.
#[test]
fn lab_a_namespace_of_a_mount_is_found() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    if !able("lab_a_namespace_of_a_mount_is_found") {
        return;
    }
    let ns = NetNs::create().unwrap();
    let inode = ns.inode();
    let (ready, made) = mpsc::channel();
    let (done, wait) = mpsc::channel::<()>();
    // In a thread's own mount namespace: the mount goes with it.
    let folder = std::env::temp_dir().join(format!("nm netns {}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let place = folder.join("blue");
    fs::write(&place, "").unwrap();
    let (target, source) = (place.clone(), format!("/proc/self/fd/{}", ns.as_fd().as_raw_fd()));
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(source.as_str()), &target, none, MsFlags::MS_BIND, none).unwrap();
        ready.send(()).unwrap();
        let _ = wait.recv();
    });
    made.recv().unwrap();
    drop(ns);
    let found = Namespaces::scan(&Root::live()).unwrap().of(inode).cloned();
    let entered = found.as_ref().map(|found| enter(found, || NetNs::current().unwrap().inode()));
    drop(done);
    thread.join().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let found = found.unwrap();
    assert_eq!((&found.mounts[..], entered), (&[place][..], Some(Ok(inode))), "{found:?}");
}

#[test]
fn this_namespace_is_found() {
    let own = NetNs::current().unwrap().inode();
    let namespaces = Namespaces::scan(&Root::live()).unwrap();
    assert!(namespaces.of(own).unwrap().pids.contains(&std::process::id()));
    assert!(namespaces.all.is_sorted_by_key(|namespace| namespace.inode));
}

//! What each fuzz target does with its bytes: plain functions, run by libFuzzer, by the stable tests
//! that replay the corpus, and by their own driver. A body panics when it finds something.
#![allow(unreachable_pub, reason = "the library of the fuzz targets, and a module of stable tests")]

#[path = "bodies/layers.rs"]
pub mod layers;
#[path = "bodies/lint.rs"]
pub mod lint;
#[path = "bodies/maps.rs"]
pub mod maps;
#[path = "bodies/netlink.rs"]
pub mod netlink;
#[path = "bodies/oracle.rs"]
mod oracle;
#[path = "bodies/proc.rs"]
pub mod proc;
#[path = "bodies/responder.rs"]
pub mod responder;
#[path = "bodies/wire_views.rs"]
pub mod wire_views;

/// A body.
pub type Body = fn(&[u8]);

/// Every target: its name, which is also its corpus' folder, and its body.
pub const TARGETS: [(&str, Body); 7] = [
    ("layers", layers::run),
    ("lint", lint::run),
    ("maps", maps::run),
    ("netlink", netlink::run),
    ("proc", proc::run),
    ("responder", responder::run),
    ("wire_views", wire_views::run),
];

//! What a set does with an interface's driver, on a veth that says to have another one.
//!
//! Planted and caught: zero copy tried although it would cut packets; refused whatever the frames are;
//! the list ended instead of gone on with.

use netmem_host::lab::{Lab, missing_privilege, skip};
use netmem_wire::filter::Rules;

use super::*;
use crate::{
    mem::{PageTier, PoolConfig, Region},
    xdp::Port,
};

/// Tries zero copy and native mode with frames of this size, on a veth whose driver is said to be
/// `driver`: why zero copy was refused.
fn refusal(driver: &str, frame_bytes: u32) -> String {
    let region = Region::builder(64 * frame_bytes as usize).tiers(&[PageTier::Base4K]);
    let region = region.build().unwrap();
    let pool = Pool::new(region, PoolConfig { frame_bytes, ..PoolConfig::default() }).unwrap();
    let lab = Lab::builder().build().unwrap();
    let interface = lab.client_link().name.clone();
    let bind = || {
        let handle = pool.handle();
        let modes = [XdpMode::ZeroCopy, XdpMode::Native];
        let builder = Port::builder(&interface, Rules::new([])).modes(&modes);
        let mut plan = Plan::of(&builder, handle.pool()).unwrap();
        assert_eq!(plan.details.driver.as_deref(), Ok("veth"));
        plan.details.driver = Ok(driver.to_owned());
        let registration = Registration::ByBind;
        let mut binder = Binder {
            handle: &handle,
            share: 32,
            registration,
            umems: Vec::new(),
            busy_until: None,
        };
        let ports = binder.interface(&plan).unwrap();
        drop(binder);
        let [port] = &ports[..] else { panic!("{ports:?}") };
        let report = port.report().clone();
        ports.into_iter().for_each(BoundPort::close);
        report
    };
    let report = lab.client.run(bind).unwrap();
    assert_eq!(report.mode, XdpMode::Native);
    let [RefusedMode { mode: XdpMode::ZeroCopy, why }] = &report.refused[..] else {
        panic!("{report:?}")
    };
    why.clone()
}

#[test]
fn lab_zero_copy_that_would_cut_packets_is_not_tried() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_zero_copy_that_would_cut_packets_is_not_tried", &missing);
    }
    let words = "igb in zero copy receives 1024 bytes into a frame of 2048: longer packets would be cut; \
                 use frames of 4096";
    assert_eq!(refusal("igb", 2048), words);
    // Where it fits, the kernel is asked, and says what it says of a veth.
    for (driver, frame_bytes) in [("igb", 4096), ("veth", 2048)] {
        let why = refusal(driver, frame_bytes);
        assert!(why.starts_with("bind: operation not supported"), "{driver}: {why}");
    }
    let why = refusal("veth", 3000);
    assert!(why.starts_with("frames of 3000 bytes lie across pages"), "{why}");
    let why = refusal("virtio_net", 2048);
    assert!(why.contains("bind: operation not supported"), "{why}");
    assert!(why.contains("; known of virtio_net: the bind fails with EINVAL"), "{why}");
}

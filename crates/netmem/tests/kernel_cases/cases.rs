//! The 36 cases, by the names of the kernel's own suite, and faults of our own.

mod changed;
mod faults;
mod flow;
mod invalid;
mod limits;

use crate::bed::{Bed, Stop};

/// One case: what it does on a bed.
pub(crate) type Case = fn(&Bed) -> Result<(), Stop>;

/// Every case, in the order of the kernel's suite; then the faults.
pub(crate) const ALL: [(&str, Case); 40] = [
    ("send_receive", flow::send_receive),
    ("send_receive_2k_frame", flow::send_receive_2k_frame),
    ("send_receive_single_pkt", flow::send_receive_single_pkt),
    ("poll_rx", flow::poll_rx),
    ("poll_tx", flow::poll_tx),
    ("poll_rxq_full", limits::poll_rxq_full),
    ("poll_txq_full", limits::poll_txq_full),
    ("aligned_inv_desc", invalid::aligned_inv_desc),
    ("aligned_inv_desc_2k_frame_size", invalid::aligned_inv_desc_2k_frame_size),
    ("umem_headroom", flow::umem_headroom),
    ("bidirectional", flow::bidirectional),
    ("stat_rx_dropped", limits::stat_rx_dropped),
    ("stat_tx_invalid", limits::stat_tx_invalid),
    ("stat_rx_full", limits::stat_rx_full),
    ("stat_fill_empty", limits::stat_fill_empty),
    ("xdp_prog_cleanup", flow::xdp_prog_cleanup),
    ("xdp_drop_half", changed::xdp_drop_half),
    ("xdp_shared_umem", flow::xdp_shared_umem),
    ("xdp_metadata_copy", changed::xdp_metadata_copy),
    ("xdp_metadata_copy_multi_buff", changed::xdp_metadata_copy_multi_buff),
    ("aligned_inv_desc_multi_buff", invalid::aligned_inv_desc_multi_buff),
    ("too_many_frags", limits::too_many_frags),
    ("xdp_adjust_tail_shrink", changed::xdp_adjust_tail_shrink),
    ("tx_queue_consumer", limits::tx_queue_consumer),
    ("xdp_adjust_tail_shrink_multi_buff", changed::xdp_adjust_tail_shrink_multi_buff),
    ("xdp_adjust_tail_grow", changed::xdp_adjust_tail_grow),
    ("xdp_adjust_tail_grow_multi_buff", changed::xdp_adjust_tail_grow_multi_buff),
    ("send_receive_9k_packets", flow::send_receive_9k_packets),
    ("send_receive_unaligned", flow::send_receive_unaligned),
    ("send_receive_unaligned_9k_packets", flow::send_receive_unaligned_9k_packets),
    ("unaligned_inv_desc", invalid::unaligned_inv_desc),
    ("unaligned_inv_desc_4001_frame_size", invalid::unaligned_inv_desc_4001_frame_size),
    ("unaligned_inv_desc_multi_buff", invalid::unaligned_inv_desc_multi_buff),
    ("hw_sw_min_ring_size", limits::hw_sw_min_ring_size),
    ("hw_sw_max_ring_size", limits::hw_sw_max_ring_size),
    ("teardown", flow::teardown),
    ("fault_fill_ring_starved", faults::fault_fill_ring_starved),
    ("fault_fill_ring_starved_often", faults::fault_fill_ring_starved_often),
    ("fault_link_flap", faults::fault_link_flap),
    ("fault_rebind", faults::fault_rebind),
];

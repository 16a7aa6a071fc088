//! How a TCP connection does (`struct tcp_info` in include/uapi/linux/tcp.h).
//!
//! The kernel only ever appends to the structure: 232 bytes since 5.4, 280 in 6.18. What is behind those
//! 232 bytes is read by length; a shorter one is of a kernel that netmem does not run on.

use serde::Serialize;

use super::{cut, u32_at, u64_at};
use crate::error::Cause;

/// Up to and with `tcpi_snd_wnd`.
const LEN_MIN_BYTES: usize = 232;

/// What the kernel tells of a TCP connection. Times are in microseconds, unless the name says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Smoothed round-trip time (`tcpi_rtt`).
    pub rtt_us: u32,
    /// Its mean deviation.
    pub rtt_var_us: u32,
    /// Least round-trip time of late; `u32::MAX` before the first sample.
    pub min_rtt_us: u32,
    /// Round-trip time as the receiver guesses it; 0 before the first sample.
    pub rcv_rtt_us: u32,
    /// Congestion window, in segments.
    pub snd_cwnd_segments: u32,
    /// Largest segment sent, in bytes.
    pub snd_mss_bytes: u32,
    /// What the receiver's program reads in a round trip (`tcpi_rcv_space`): autotuning aims at it.
    pub rcv_space_bytes: u32,
    /// Upper limit of the window that is offered (`tcpi_rcv_ssthresh`).
    pub rcv_ssthresh_bytes: u32,
    /// Window that the peer offers.
    pub snd_wnd_bytes: u32,
    /// Window that is offered to the peer (`tcpi_rcv_wnd`); kernel 6.2.
    pub rcv_wnd_bytes: Option<u32>,
    /// Segments sent and not acknowledged.
    pub unacked_segments: u32,
    /// Segments held lost.
    pub lost_segments: u32,
    /// Segments being sent again now.
    pub retrans_segments: u32,
    /// Segments ever sent again; wraps at 2^32.
    pub total_retrans_segments: u32,
    /// Written by the program and not sent yet.
    pub notsent_bytes: u32,
    /// Sent, with what was sent again.
    pub bytes_sent: u64,
    /// Sent again.
    pub bytes_retrans: u64,
    /// Sent and acknowledged.
    pub bytes_acked: u64,
    /// Received in order.
    pub bytes_received: u64,
    /// Rate at which data was delivered of late, in bytes per second.
    pub delivery_rate_bytes_per_s: u64,
    /// Rate at which it is sent at most, in bytes per second; `u64::MAX` is no limit.
    pub pacing_rate_bytes_per_s: u64,
    /// Time with data to send.
    pub busy_us: u64,
    /// Of it, held back by the peer's receive window.
    pub rwnd_limited_us: u64,
    /// Of it, held back by the send buffer.
    pub sndbuf_limited_us: u64,
    /// Segments received out of order; wraps at 2^32.
    pub rcv_ooo_segments: u32,
}

impl TcpInfo {
    /// Parses the structure.
    ///
    /// # Errors
    /// It is shorter than that of kernel 5.4.
    pub fn parse(value: &[u8]) -> Result<Self, Cause> {
        if value.len() < LEN_MIN_BYTES {
            return Err(cut("tcp_info", value));
        }
        Ok(Self {
            snd_mss_bytes: u32_at(value, 16)?,
            unacked_segments: u32_at(value, 24)?,
            lost_segments: u32_at(value, 32)?,
            retrans_segments: u32_at(value, 36)?,
            rcv_ssthresh_bytes: u32_at(value, 64)?,
            rtt_us: u32_at(value, 68)?,
            rtt_var_us: u32_at(value, 72)?,
            snd_cwnd_segments: u32_at(value, 80)?,
            rcv_rtt_us: u32_at(value, 92)?,
            rcv_space_bytes: u32_at(value, 96)?,
            total_retrans_segments: u32_at(value, 100)?,
            pacing_rate_bytes_per_s: u64_at(value, 104)?,
            bytes_acked: u64_at(value, 120)?,
            bytes_received: u64_at(value, 128)?,
            notsent_bytes: u32_at(value, 144)?,
            min_rtt_us: u32_at(value, 148)?,
            delivery_rate_bytes_per_s: u64_at(value, 160)?,
            busy_us: u64_at(value, 168)?,
            rwnd_limited_us: u64_at(value, 176)?,
            sndbuf_limited_us: u64_at(value, 184)?,
            bytes_sent: u64_at(value, 200)?,
            bytes_retrans: u64_at(value, 208)?,
            rcv_ooo_segments: u32_at(value, 224)?,
            snd_wnd_bytes: u32_at(value, 228)?,
            rcv_wnd_bytes: u32_at(value, 232).ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each 4 bytes say where they are.
    fn counted(len: usize) -> Vec<u8> {
        let word = |at: usize| u32::try_from(at).unwrap().to_ne_bytes();
        (0..len).step_by(4).flat_map(word).collect()
    }

    #[test]
    fn fields_are_read_from_their_places() {
        let info = TcpInfo::parse(&counted(280)).unwrap();
        assert_eq!((info.rtt_us, info.rcv_space_bytes, info.notsent_bytes), (68, 96, 144));
        assert_eq!(
            (info.min_rtt_us, info.snd_wnd_bytes, info.rcv_wnd_bytes),
            (148, 228, Some(232))
        );
        let long = |at| u64_at(&counted(280), at).unwrap();
        assert_eq!((info.busy_us, info.rwnd_limited_us), (long(168), long(176)));
        assert_eq!((info.sndbuf_limited_us, info.bytes_retrans), (long(184), long(208)));
    }

    #[test]
    fn an_older_kernels_is_read_by_its_length() {
        let info = TcpInfo::parse(&counted(232)).unwrap();
        assert_eq!((info.snd_wnd_bytes, info.rcv_wnd_bytes), (228, None));
        assert!(TcpInfo::parse(&counted(228)).is_err());
    }
}

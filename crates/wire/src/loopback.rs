//! BSD loopback: four bytes of address family in front of a packet.

//! VXLAN (RFC 7348): 8 bytes between UDP and an inner Ethernet frame.

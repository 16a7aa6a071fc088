//! GRE (RFC 2784, RFC 2890): 4 to 16 bytes in front of an inner packet.

//! SCTP (RFC 9260): 12 bytes of common header, then chunks.

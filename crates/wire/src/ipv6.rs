//! IPv6 (RFC 8200): 40 bytes, then extension headers.

//! TCP (RFC 9293): 20 bytes and options.

//! GENEVE (RFC 8926): 8 bytes and options in front of an inner frame.

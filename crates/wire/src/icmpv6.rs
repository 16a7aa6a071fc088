//! `ICMPv6` (RFC 4443): 4 bytes of header in front of a body that depends on the type.

//! Headers written in front of a payload, back to front, without moving it.

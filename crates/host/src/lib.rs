//! Reads and changes a machine's network memory.

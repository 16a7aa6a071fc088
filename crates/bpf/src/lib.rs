//! eBPF without a compiler.

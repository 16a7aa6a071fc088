//! Zero-copy packets on Linux over one accounted pool of huge-page memory.

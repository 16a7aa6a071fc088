//! One pass over a frame: what its layers are and where they begin.

//! 802.2 LLC and SNAP: what an 802.3 frame, whose type is a length, begins with.

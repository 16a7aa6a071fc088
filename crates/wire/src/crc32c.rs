//! CRC32c (Castagnoli), the checksum of SCTP: RFC 9260 appendix A.

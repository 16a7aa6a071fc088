//! IGMP (RFC 1112, RFC 2236, RFC 3376): who listens to which IPv4 group.

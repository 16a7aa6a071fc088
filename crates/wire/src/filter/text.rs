//! The filter as text: what a user of tcpdump writes.
//!
//! `"tcp dst port 80 and net 10.0.0.0/8".parse::<Expr>()` gives an [`Expr`]. The words and their
//! meaning are those of pcap-filter(7) (libpcap 1.10), except where the table below says so.
//!
//! **`and` and `or` have EQUAL precedence and group from left to right**, as in pcap-filter(7):
//! `arp or ip and udp` is `(arp or ip) and udp`. `not` binds tightest. Use parentheses.
//!
//! # Grammar
//!
//! ```text
//! filter    =                                       every frame
//!           | expr
//! expr      = operand { ("and" | "&&" | "or" | "||") operand }
//! operand   = ("not" | "!") operand | "(" expr ")" | primitive | value
//! primitive = "ip" | "ip6" | "arp" | "rarp" | "icmp" | "icmp6" | "igmp" | "tcp" | "udp" | "sctp"
//!           | "ah" | "esp" | "pim" | "igrp" | "vrrp" | "carp"
//!           | [family] [direction] ["host"] values  an address, IPv4 or IPv6
//!           | [family] [direction] "net" values     10.0.0.0/8, 10, 192.168, 2001:db8::/32,
//!                                                   10.0.0.0 mask 255.0.0.0
//!           | [carrier] [direction] ("port" | "portrange") values       80, http; 6000-6008
//!           | ["ip" | "ip6" | "ether"] "proto" values                   a number or a name
//!           | "ether" [direction] ["host"] values   02:00:00:00:00:01, or with - or .
//!           | ["ether" | "ip" | "ip6"] "multicast" | ["ether"] "broadcast"
//!           | "vlan" [id] | "less" n | "greater" n | "len" compare n
//!           | "fragment"                            any fragment, IPv4 or IPv6 (our word)
//!           | "always"                              every frame (our word)
//!           | field                                 also as "(" field ")" where it has no compare
//! family    = "ip" | "ip6" | "arp"
//! carrier   = "tcp" | "udp" | "sctp" | "ip" | "ip6"
//! direction = "src" | "dst" | "src or dst" | "src and dst"
//! values    = value | "not" values | "(" values { ("and" | "or") values } ")"
//! field     = "tcp[tcpflags]" ["&" mask] compare flags    also tcp[13]; = == != and > 0
//!           | "icmp[icmptype]" compare type               also icmp[0]; = == !=
//!           | "icmp[icmpcode]" compare code               also icmp[1]; = == !=
//!           | "icmp6[icmp6type]" compare type             also icmp6[0]; = == !=
//! ```
//!
//! At least one qualifier stands before a first value. A value alone after `and` or `or` has the
//! qualifiers of the value before it: `tcp port 80 or 443` is `tcp port 80 or tcp port 443`, and
//! `port 80 and not 443` works too. Numbers are decimal or begin with `0x`. A name that is also a
//! keyword needs a backslash where it follows `and` or `or`: `ip proto tcp or \udp`.
//!
//! Host, network and `/etc/services` names are not looked up: a text means the same everywhere.
//! Ports have the usual names; a name that belongs to one protocol asks for that protocol, too.
//!
//! # Where the meaning differs from tcpdump's
//!
//! | Text | tcpdump | here |
//! | --- | --- | --- |
//! | everything behind a VLAN tag | only after the word `vlan` | always, behind up to two tags |
//! | `vlan`, `vlan N` | moves what stands after it one tag inwards; 0x9100 is a tag | moves nothing: asks for the outermost tag, so `vlan 1 and vlan 2` matches nothing; 0x9100 is no tag |
//! | a packet that is cut before the field | fails the whole filter, `not` or not | the test is false, so `not` of it is true |
//! | an IPv4 or IPv6 header that is no such header (version, header length) | read all the same | has no fields but its Ethernet type |
//! | IPv6 extension headers | looks behind a fragment header for `tcp`, `ip6 proto` and the like, never for ports and types | looks behind up to six, for everything; they are no protocols themselves: `ip6 proto 44` is refused |
//! | `port` | TCP, UDP, SCTP | UDP-Lite too |
//! | `host`, `net` without family | IP, ARP, RARP | IP and ARP (Ethernet and IPv4 only) |
//! | `tcp[tcpflags]` | IPv4 only | IPv4 and IPv6 |
//! | `less`, `greater`, `len` | length on the wire | length of the frame as captured |
//! | `icmp[icmptype] != N` | false for a message without type | a packet cut before its type matches |
//! | `net 0` | the address 0.0.0.0 | the network 0.0.0.0/8, as the manual says |
//! | `host 10.1` | the network 10.1.0.0/16 | refused: write `net` |
//! | numbers with a leading zero | octal | refused |
//!
//! More is allowed than there, where it can have one meaning only: `net 10/8`, `src 10.0.0.0/8`,
//! `ip proto tcp` without backslash, `ip port 80`, `ether 02:00:00:00:00:01`.
//!
//! Not supported, and said so: offsets into headers other than those above, arithmetic, masks
//! with gaps, `ip broadcast` (nobody here knows the netmask), `gateway`, `protochain`, MPLS,
//! PPPoE, GENEVE and LLC words, and those of other links than Ethernet.
//!
//! A text may have [`MAX_TEXT_LEN_BYTES`] and nest [`MAX_TEXT_DEPTH`] deep: an expression is
//! evaluated and dropped recursively, and no text may exhaust the stack.
//!
//! ```
//! use netmem_wire::filter::Expr;
//!
//! let expr: Expr = "udp dst port 53 or 5353 and not src net 192.168".parse().unwrap();
//! let error = "host 10.0.0.1 and prot 80".parse::<Expr>().unwrap_err();
//! assert_eq!((error.offset_bytes(), error.len_bytes()), (18, 4));
//! ```

mod error;
mod lexer;
mod names;
mod primitive;
mod relation;
#[cfg(test)]
mod tests;
mod value;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;

use super::Expr;
pub use error::ParseError;
use error::quoted;
use lexer::{Kind, Token};
use value::Qualifiers;

/// The longest filter text in bytes.
pub const MAX_TEXT_LEN_BYTES: usize = 65536;

/// How deep a filter text may nest: parentheses, `not`, and changes between `and` and `or` each
/// count one.
pub const MAX_TEXT_DEPTH: usize = 64;

impl FromStr for Expr {
    type Err = ParseError;

    /// Reads a filter as tcpdump's users write it; an empty text matches every frame.
    ///
    /// `and` and `or` have equal precedence, from left to right; `not` binds tightest. The grammar,
    /// and where the meaning differs from tcpdump's, is on the page of [`text`](self).
    ///
    /// # Errors
    /// [`ParseError`] with the place in the text; [`ParseError::caret`] shows it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_TEXT_LEN_BYTES {
            let start = text.floor_char_boundary(MAX_TEXT_LEN_BYTES);
            let message = format!("a filter has at most {MAX_TEXT_LEN_BYTES} bytes");
            return Err(ParseError::new(start, text.len() - start, message));
        }
        Parser { tokens: lexer::tokens(text)?, at: 0, nesting: 0 }.filter()
    }
}

/// What may stand where an operand is expected.
#[derive(Clone, Copy)]
enum Context {
    /// Primitives.
    Start,
    /// Primitives, and values with the qualifiers of the value before.
    Inherit(Qualifiers),
    /// Values of a list in parentheses.
    Values(Qualifiers),
}

/// A part of the text as an expression.
struct Part {
    expr: Expr,
    /// The depth of `expr`, not counting what a single primitive becomes (four at most).
    depth: usize,
    /// What a value that follows inherits.
    qualifiers: Option<Qualifiers>,
}

impl Part {
    /// A primitive that hands on no qualifiers.
    fn plain(expr: impl Into<Expr>) -> Self {
        Self { expr: expr.into(), depth: 1, qualifiers: None }
    }

    fn qualified(expr: Expr, qualifiers: Qualifiers) -> Self {
        Self { expr, depth: 1, qualifiers: Some(qualifiers) }
    }
}

struct Parser<'t> {
    /// Ends with the only token of kind `End`.
    tokens: Vec<Token<'t>>,
    at: usize,
    /// How many parentheses and negations are open.
    nesting: usize,
}

impl<'t> Parser<'t> {
    fn filter(mut self) -> Result<Expr, ParseError> {
        if self.peek(0).kind == Kind::End {
            return Ok(Expr::Always);
        }
        let part = self.expr(Context::Start)?;
        match self.peek(0) {
            Token { kind: Kind::End, .. } => Ok(part.expr),
            token @ Token { kind: Kind::Close, .. } => {
                Err(token.error("this parenthesis was not opened"))
            }
            token => Err(not_joined(token, "the end")),
        }
    }

    /// The token `ahead` places from here, or the last one.
    fn peek(&self, ahead: usize) -> Token<'t> {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    /// Takes a token; the last one stays.
    fn next(&mut self) -> Token<'t> {
        let token = self.peek(0);
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Operands joined by `and` and `or`, from left to right.
    fn expr(&mut self, context: Context) -> Result<Part, ParseError> {
        let mut left = self.operand(context)?;
        // The word that made `left` what it is: more of the same go into its list.
        let mut joined = None;
        loop {
            let token = self.peek(0);
            if !matches!(token.kind, Kind::And | Kind::Or) {
                return Ok(left);
            }
            self.next();
            let right = self.operand(match (context, left.qualifiers) {
                (Context::Values(_), _) => context,
                (_, Some(qualifiers)) => Context::Inherit(qualifiers),
                (_, None) => Context::Start,
            })?;
            let below = if joined == Some(token.kind) { left.depth - 1 } else { left.depth };
            let depth = shallow(token, 1 + below.max(right.depth))?;
            let expr = match (left.expr, token.kind) {
                (Expr::All(mut parts) | Expr::Any(mut parts), kind) if joined == Some(kind) => {
                    parts.push(right.expr);
                    list(kind, parts)
                }
                (expr, kind) => list(kind, vec![expr, right.expr]),
            };
            joined = Some(token.kind);
            left = Part { expr, depth, qualifiers: right.qualifiers };
        }
    }

    fn operand(&mut self, context: Context) -> Result<Part, ParseError> {
        let token = self.peek(0);
        match (token.kind, context) {
            (Kind::Not, _) => {
                self.next();
                let inner = self.nested(token, |parser| parser.operand(context))?;
                let depth = shallow(token, inner.depth + 1)?;
                Ok(Part { expr: Expr::not(inner.expr), depth, qualifiers: inner.qualifiers })
            }
            (Kind::Open, Context::Values(_)) => self.parenthesized(context),
            (Kind::Open, _) => match self.grouped_field() {
                true => self.field(),
                false => self.parenthesized(context),
            },
            (Kind::Word, Context::Values(qualifiers)) => self.value(qualifiers),
            (Kind::Word, Context::Inherit(qualifiers))
                if !primitive::is_keyword(token.keyword()) =>
            {
                self.value(qualifiers)
            }
            (Kind::Word, _) => self.primitive(),
            (_, Context::Values(qualifiers)) => Err(token.expected(qualifiers.what())),
            _ => Err(token.expected("a primitive such as `tcp` or `host 10.0.0.1`")),
        }
    }

    fn parenthesized(&mut self, context: Context) -> Result<Part, ParseError> {
        let open = self.next();
        let inner = self.nested(open, |parser| parser.expr(context))?;
        let close = self.next();
        match close.kind {
            Kind::Close => {}
            Kind::End => return Err(open.error("this parenthesis is not closed")),
            _ => return Err(not_joined(close, "`)`")),
        }
        // As in libpcap's grammar: a value behind inherits what one in front would.
        let qualifiers = match context {
            Context::Start => None,
            Context::Inherit(qualifiers) | Context::Values(qualifiers) => Some(qualifiers),
        };
        Ok(Part { qualifiers, ..inner })
    }

    /// Parses one level deeper.
    fn nested(
        &mut self,
        token: Token<'_>,
        inner: impl FnOnce(&mut Self) -> Result<Part, ParseError>,
    ) -> Result<Part, ParseError> {
        self.nesting += 1;
        shallow(token, self.nesting)?;
        let part = inner(self)?;
        self.nesting -= 1;
        Ok(part)
    }
}

/// The error for a token that neither joins operands nor ends them.
fn not_joined(token: Token<'_>, end: &str) -> ParseError {
    let hint = match token.kind {
        Kind::Word if token.text.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("; a port is `port {}`", token.text)
        }
        Kind::BitAnd | Kind::BitOr => {
            format!("; that is `{0}{0}`, one is for flags", token.text)
        }
        _ => String::new(),
    };
    token.error(format!("expected `and`, `or` or {end}, not {}{hint}", quoted(token.text)))
}

/// Passes a depth on, or refuses it.
fn shallow(token: Token<'_>, depth: usize) -> Result<usize, ParseError> {
    if depth <= MAX_TEXT_DEPTH {
        return Ok(depth);
    }
    Err(token.error(format!("a filter nests at most {MAX_TEXT_DEPTH} deep")))
}

fn list(kind: Kind, parts: Vec<Expr>) -> Expr {
    if kind == Kind::And { Expr::All(parts) } else { Expr::Any(parts) }
}

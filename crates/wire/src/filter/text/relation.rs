//! Comparisons: TCP flags, ICMP types, the length.

use alloc::format;

use super::error::{ParseError, quoted};
use super::lexer::Kind;
use super::primitive::above;
use super::value::int;
use super::{Parser, Part, names, shallow};
use crate::filter::{Expr, Test};

/// What can be compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    TcpFlags,
    IcmpType,
    IcmpCode,
    Icmp6Type,
}

impl Field {
    /// What a value is, for messages.
    const fn what(self) -> &'static str {
        match self {
            Self::TcpFlags => "TCP flag",
            Self::IcmpType => "ICMP type",
            Self::IcmpCode => "ICMP code",
            Self::Icmp6Type => "ICMPv6 type",
        }
    }

    /// The number that a name of this field stands for.
    fn value(self, name: &str) -> Option<u8> {
        match self {
            Self::TcpFlags => names::tcp_flag(name),
            Self::IcmpType => names::icmp_type(name),
            Self::IcmpCode => None,
            Self::Icmp6Type => names::icmp6_type(name),
        }
    }
}

impl Parser<'_> {
    /// Tells whether the parenthesis here is around a field, but not around its comparison.
    pub(super) fn grouped_field(&self) -> bool {
        if self.peek(1).kind != Kind::Word || self.peek(2).kind != Kind::OpenIndex {
            return false;
        }
        let mut open = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token.kind {
                Kind::Open => open += 1,
                Kind::Close if open == 1 => {
                    return self.tokens.get(at + 1).is_some_and(|next| compares(next.kind));
                }
                Kind::Close => open -= 1,
                // No field contains these, so the search ends early in a long filter.
                Kind::And | Kind::Or | Kind::Not => return false,
                _ => {}
            }
        }
        false
    }

    /// `icmp`, `icmp6` or `len`, alone or as a field.
    pub(super) fn field_or_protocol(&mut self) -> Result<Part, ParseError> {
        let token = self.peek(0);
        if self.peek(1).kind == Kind::OpenIndex {
            return self.field();
        }
        self.next();
        match token.text {
            "icmp" => Ok(Part::plain(Test::IpProtocol(1))),
            "icmp6" => Ok(Part::plain(Test::Ip6Protocol(58))),
            _ => self.len_compare(),
        }
    }

    /// A field, perhaps in parentheses, and what it is compared with.
    pub(super) fn field(&mut self) -> Result<Part, ParseError> {
        let open = self.peek(0).kind == Kind::Open;
        if open {
            self.next();
        }
        let field = self.index()?;
        let mut mask = None;
        if self.peek(0).kind == Kind::BitAnd {
            let token = self.next();
            if field != Field::TcpFlags {
                return Err(token.error("only TCP flags can be masked"));
            }
            mask = Some(self.constant(field)?);
            if matches!(self.peek(0).kind, Kind::BitAnd | Kind::BitOr) {
                return Err(self.peek(0).error("put the mask in parentheses"));
            }
        }
        if open && self.peek(0).kind != Kind::Close {
            return Err(self.peek(0).expected("`)`"));
        } else if open {
            self.next();
        }
        let operator = self.next();
        if !compares(operator.kind) {
            return Err(operator.expected("a comparison such as `!= 0`"));
        }
        let value_token = self.peek(0);
        let value = self.constants(field)?;
        let equal = match (operator.kind, field, value) {
            (Kind::Equal, ..) => true,
            (Kind::NotEqual, ..) | (Kind::Greater, Field::TcpFlags, 0) => false,
            (Kind::Greater, Field::TcpFlags, _) => {
                return Err(value_token.error("`>` is for 0 only: write `==` or `!=`"));
            }
            _ => return Err(operator.error("a field is compared with `==` or `!=` only")),
        };
        Ok(Part::plain(compared(field, mask.unwrap_or(0xff), value, equal)))
    }

    /// `tcp[tcpflags]` and the like.
    fn index(&mut self) -> Result<Field, ParseError> {
        let protocol = self.next();
        self.next();
        let index = self.next();
        let close = self.next();
        if index.kind != Kind::Word {
            return Err(index.expected("`tcpflags`, `icmptype` or `icmp6type`"));
        }
        if close.kind != Kind::CloseIndex {
            return Err(close.expected("`]`"));
        }
        match (protocol.keyword(), index.text.strip_suffix(":1").unwrap_or(index.text)) {
            ("tcp", "tcpflags" | "13") => Ok(Field::TcpFlags),
            ("icmp", "icmptype" | "0") => Ok(Field::IcmpType),
            ("icmp", "icmpcode" | "1") => Ok(Field::IcmpCode),
            ("icmp6", "icmp6type" | "0") => Ok(Field::Icmp6Type),
            _ => Err(protocol.error_to(
                close,
                "of bytes by offset only tcp[tcpflags], icmp[icmptype], icmp[icmpcode] and \
                 icmp6[icmp6type] can be tested",
            )),
        }
    }

    /// Constants joined by `|`.
    fn constants(&mut self, field: Field) -> Result<u8, ParseError> {
        let mut value = self.constant(field)?;
        while self.peek(0).kind == Kind::BitOr {
            self.next();
            value |= self.constant(field)?;
        }
        Ok(value)
    }

    /// One constant, or some in parentheses.
    fn constant(&mut self, field: Field) -> Result<u8, ParseError> {
        let token = self.next();
        match token.kind {
            Kind::Open => {
                self.nesting += 1;
                shallow(token, self.nesting)?;
                let value = self.constants(field)?;
                self.nesting -= 1;
                let close = self.next();
                if close.kind == Kind::Close {
                    return Ok(value);
                }
                Err(close.expected("`)` or `|`"))
            }
            Kind::Word => match field.value(token.text) {
                Some(value) => Ok(value),
                None if token.text.starts_with(|c: char| c.is_ascii_digit()) => {
                    int(token, u8::MAX, "value of one byte")
                }
                None => Err(token.error(format!("{} is no {}", quoted(token.text), field.what()))),
            },
            _ => Err(token.expected("a value")),
        }
    }

    /// The rest of `len <= n`.
    fn len_compare(&mut self) -> Result<Part, ParseError> {
        let operator = self.next();
        if !compares(operator.kind) {
            return Err(operator.expected("a comparison such as `<= 128`"));
        }
        let token = self.next();
        if token.kind != Kind::Word {
            return Err(token.expected("a length in bytes"));
        }
        let len_bytes: u32 = int(token, u32::MAX, "length")?;
        let at_least = Expr::from(Test::LenAtLeast(len_bytes));
        let equal = || Expr::all([at_least.clone(), Expr::not(above(len_bytes))]);
        Ok(Part::plain(match operator.kind {
            Kind::Less => Expr::not(at_least),
            Kind::LessEqual => Expr::not(above(len_bytes)),
            Kind::Greater => above(len_bytes),
            Kind::GreaterEqual => at_least,
            Kind::NotEqual => Expr::not(equal()),
            _ => equal(),
        }))
    }
}

const fn compares(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Equal
            | Kind::NotEqual
            | Kind::Less
            | Kind::LessEqual
            | Kind::Greater
            | Kind::GreaterEqual
    )
}

/// A field compared. Inequality needs a field to be there.
fn compared(field: Field, mask: u8, value: u8, equal: bool) -> Expr {
    let icmp = || Expr::all([Test::IpProtocol(1), Test::FirstFragment]);
    let icmp6 = || Expr::all([Test::Ip6Protocol(58), Test::FirstFragment]);
    let (there, test) = match field {
        // Every byte of flags is 0 behind an empty mask.
        Field::TcpFlags => {
            (Test::TcpFlags { mask: 0, value: 0 }.into(), Test::TcpFlags { mask, value })
        }
        Field::IcmpType => (icmp(), Test::IcmpType(value)),
        Field::IcmpCode => (icmp(), Test::IcmpCode(value)),
        Field::Icmp6Type => (icmp6(), Test::Icmp6Type(value)),
    };
    match test {
        _ if equal => test.into(),
        // A single flag that is not clear is set, and the other way round.
        Test::TcpFlags { mask, value } if mask.is_power_of_two() && value & !mask == 0 => {
            Test::TcpFlags { mask, value: value ^ mask }.into()
        }
        _ => Expr::all([there, Expr::not(test)]),
    }
}

//! Which of the two formats a client wants (RFC 9110, section 12.5.1).
//!
//! Of the ranges that match a format the most specific one decides, its `q` is the weight, and the
//! higher weight wins. OpenMetrics wins a tie, and is what a client gets that says nothing or accepts
//! neither. Parameters that are not known (`escaping`, `charset`) do not matter; a version does.

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Classic,
}

/// A range of an Accept header.
#[derive(Debug)]
struct Range<'a> {
    kind: &'a str,
    version: Option<&'a str>,
    /// Thousandths.
    weight: u32,
}

impl Format {
    /// What it is called in an answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Picks one by the value of an Accept header; several headers are joined by commas.
    pub(super) fn of(accept: &str) -> Self {
        let ranges: Vec<Range<'_>> = accept.split(',').filter_map(Range::parse).collect();
        let weight = |format: Self| {
            let matching =
                ranges.iter().filter_map(|range| Some((range.specificity(format)?, range.weight)));
            matching.max().map_or(0, |(_, weight)| weight)
        };
        match weight(Self::Classic) > weight(Self::OpenMetrics) {
            true => Self::Classic,
            false => Self::OpenMetrics,
        }
    }

    fn of_type(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenMetrics => ("application/openmetrics-text", "application/*", "1.0.0"),
            Self::Classic => ("text/plain", "text/*", "0.0.4"),
        }
    }
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let mut range = Self { kind, version: None, weight: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                // Not a number: as little wanted as can be.
                name if name.eq_ignore_ascii_case("q") => range.weight = thousandths(value),
                _ => {}
            }
        }
        Some(range)
    }

    /// How closely it names a format; `None` if it does not.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (kind, group, version) = format.of_type();
        match (self.kind, self.version) {
            (named, Some(wanted)) if named.eq_ignore_ascii_case(kind) => {
                (wanted == version).then_some(3)
            }
            (named, None) if named.eq_ignore_ascii_case(kind) => Some(2),
            (named, _) if named.eq_ignore_ascii_case(group) => Some(1),
            ("*/*" | "*", _) => Some(0),
            _ => None,
        }
    }
}

/// Parses `0`, `0.5`, `1.000`.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.len() != 1 || fraction.len() > 3 || !is_number(whole) || !is_number(fraction) {
        return 0;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().unwrap_or(0);
    (whole.parse().unwrap_or(0) * 1000 + fraction).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kills: q not read; the last range instead of the most specific; `*/*` before `text/plain`; a
    /// version that is not heeded; a tie that goes to the older text.
    #[test]
    fn the_higher_weight_of_the_most_specific_range_wins() {
        use Format::{Classic, OpenMetrics};
        let cases = [
            ("", OpenMetrics),
            ("*/*", OpenMetrics),
            ("text/plain", Classic),
            ("Text/Plain; Version=\"0.0.4\"", Classic),
            ("text/*", Classic),
            ("text/html,application/xhtml+xml,*/*;q=0.8", OpenMetrics),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Classic),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.6", OpenMetrics),
            ("*/*;q=0.9,text/plain;q=0.2", OpenMetrics),
            ("application/openmetrics-text;q=0,*/*", Classic),
            ("application/openmetrics-text;version=0.0.1,text/plain;q=0.1", Classic),
            ("text/plain;version=1.0.0,application/openmetrics-text;q=0.1", OpenMetrics),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Classic),
            ("application/openmetrics-text;q=0.5,text/plain;q=0.5", OpenMetrics),
            ("application/openmetrics-text;q=0.499,text/plain;q=0.5", Classic),
            ("text/plain;q=9,application/openmetrics-text", OpenMetrics),
            ("text/plain;q=x", OpenMetrics),
            ("image/png", OpenMetrics),
            (";;,,=;q", OpenMetrics),
            // What Prometheus 2.42 and 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;\
                 version=0.0.4;q=0.3,*/*;q=0.1",
                OpenMetrics,
            ),
        ];
        for (accept, expected) in cases {
            assert_eq!(Format::of(accept), expected, "{accept:?}");
        }
    }
}

//! A strict reader of OpenMetrics 1.0.0 text, as far as netmem writes it: it refuses what the
//! specification forbids, and what a client could read in two ways.
#![allow(clippy::unwrap_used, reason = "a test helper: what cannot go on, panics")]

use std::collections::{BTreeMap, BTreeSet};

/// Samples by name and labels: `name{a="b"}`, as they are written.
pub(crate) type Samples = BTreeMap<String, f64>;

/// Reads a whole answer, or says what is wrong with which line.
pub(crate) fn parse(text: &str) -> Result<Samples, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("the last line is not # EOF")?;
    let mut samples = Samples::new();
    let mut families = BTreeSet::new();
    let (mut family, mut kind, mut has_samples) = (String::new(), String::new(), false);
    for line in body.split_terminator('\n') {
        let fail = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if !is_name(name) || help.is_empty() {
                return fail("no name or no help");
            }
            if !families.insert(name.to_owned()) {
                return fail("a family that was there before");
            }
            (family, kind, has_samples) = (name.to_owned(), String::new(), false);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            match rest.split_once(' ') {
                Some((name, told @ ("counter" | "gauge" | "info"))) if name == family => {
                    if name.ends_with("_total") || name.ends_with("_info") {
                        return fail("a family named like a sample");
                    }
                    told.clone_into(&mut kind);
                }
                _ => return fail("not the type of this family"),
            }
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let is_right = rest
                .split_once(' ')
                .is_some_and(|(name, unit)| name == family && name.ends_with(&format!("_{unit}")));
            if !is_right || has_samples {
                return fail("not the unit of this family");
            }
        } else if line.starts_with('#') {
            return fail("not a comment that is known");
        } else {
            let (name, key, value) = sample(line).map_err(|why| format!("{why}: {line}"))?;
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                "gauge" => "",
                _ => return fail("a sample before the type"),
            };
            if name != format!("{family}{suffix}") {
                return fail("a sample of another family");
            }
            if kind == "counter" && (value < 0.0 || value.is_nan())
                || kind == "info" && value != 1.0
            {
                return fail("a value that its type cannot have");
            }
            if samples.insert(key, value).is_some() {
                return fail("a sample that was there before");
            }
            has_samples = true;
        }
    }
    Ok(samples)
}

/// Splits `name{a="b",c="d"} 1` and checks each part.
fn sample(line: &str) -> Result<(String, String, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let name = &line[..end];
    if !is_name(name) {
        return Err("not a name".into());
    }
    let mut rest = &line[end..];
    let mut seen = BTreeSet::new();
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or("not a label")?;
            if !is_name(label) || label.contains(':') || !seen.insert(label.to_owned()) {
                return Err("not a label's name, or twice".into());
            }
            rest = &behind[quoted(behind)? + 1..];
            match rest.split_at_checked(1) {
                Some((",", behind)) => rest = behind,
                Some(("}", behind)) => break rest = behind,
                _ => return Err("labels without an end".into()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let number: f64 = value.parse().map_err(|_| "not a number")?;
    Ok((name.to_owned(), line[..line.len() - value.len() - 1].to_owned(), number))
}

/// Where the quote is that ends a label's value.
fn quoted(text: &str) -> Result<usize, String> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok(at),
            b'\\' if !matches!(bytes.next(), Some((_, b'\\' | b'"' | b'n'))) => {
                return Err("an escape that is not known".into());
            }
            _ => {}
        }
    }
    Err("a value without an end".into())
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

/// Each rule refuses what it is for: a reader that takes everything would prove nothing.
#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_bytes B.\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n\
                a_bytes{x=\"1\\\"\",y=\"2\"} 3.5\n# HELP c C.\n# TYPE c counter\nc_total 7\n# EOF\n";
    let samples = parse(good).unwrap();
    assert_eq!(samples["a_bytes{x=\"1\\\"\",y=\"2\"}"], 3.5);
    assert_eq!(samples["c_total"], 7.0);
    for (what, with) in [
        ("# EOF\n", ""),
        ("c_total 7", "c 7"),
        ("c_total 7", "c_total -7"),
        ("c_total 7", "c_total 7\nc_total 8"),
        ("c_total 7", "d_total 7"),
        ("c_total 7", "c_total{x=\"1\"}7"),
        ("c_total 7", "c_total{x=\"\\q\"} 7"),
        ("c_total 7", "c_total{x=\"1\",x=\"2\"} 7"),
        ("c_total 7", "c_total{1x=\"1\"} 7"),
        ("c_total 7", "c_total x"),
        ("# UNIT a_bytes bytes", "# UNIT a_bytes seconds"),
        ("# TYPE c counter\n", ""),
        ("# HELP c C.\n# TYPE c counter", "# HELP a_bytes C.\n# TYPE a_bytes counter"),
        ("# TYPE c counter", "# TYPE c wrong"),
    ] {
        assert!(good.contains(what));
        assert!(parse(&good.replace(what, with)).is_err(), "{what} -> {with}");
    }
}

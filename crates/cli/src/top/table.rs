//! A table of figures: what panes are made of, and how it is laid out in so many columns of text.
//!
//! ```text
//!   cell  unknown "?"   the kernel does not tell; a note below the table or the pane "sources" says why
//!         none    "-"   there is no such thing here
//!   no rows             the table's own words for none: "no packet socket"
//! ```
//! The text on paper and the one on the screen are the same lines. Names come from other processes, so
//! control characters are replaced before anything is shown.

use std::cmp::Ordering;

use crate::report::harmless;

/// Narrowest that a column of text gets before columns at the right end are left out.
const NARROWEST: usize = 10;
const GAP: usize = 2;

/// A table.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What is said of the rows when there are none.
    pub(super) empty: &'static str,
    /// Below the rows.
    pub(super) notes: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    is_number: bool,
    /// Whether the end of a text tells more than its begin, should it have to be cut: an address's port.
    keeps_end: bool,
}

/// A figure or a text.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    key: Key,
    /// Whether it deserves a look: drops, a limit that is reached.
    pub(super) is_warning: bool,
}

/// What a cell is sorted by.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    Number(f64),
    Text,
}

/// How rows are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: usize,
    pub(super) order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Descending,
    Ascending,
}

/// A line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: LineKind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Title,
    Header,
    Row,
    /// A row with something that deserves a look.
    Warning,
    Note,
}

impl Column {
    pub(super) const fn text(name: &'static str) -> Self {
        Self { name, is_number: false, keeps_end: false }
    }

    pub(super) const fn number(name: &'static str) -> Self {
        Self { name, is_number: true, keeps_end: false }
    }

    /// A text of which the end is kept.
    pub(super) const fn address(name: &'static str) -> Self {
        Self { name, is_number: false, keeps_end: true }
    }
}

#[allow(clippy::cast_precision_loss, reason = "keys of an order, and rounded figures")]
impl Cell {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), key: Key::Text, is_warning: false }
    }

    pub(super) fn count(count: u64) -> Self {
        Self { key: Key::Number(count as f64), ..Self::text(count.to_string()) }
    }

    /// A count that is nothing to worry about only if it is 0.
    pub(super) fn bad(count: u64) -> Self {
        Self { is_warning: count > 0, ..Self::count(count) }
    }

    pub(super) fn bytes(bytes: u64) -> Self {
        Self { key: Key::Number(bytes as f64), ..Self::text(size(bytes)) }
    }

    pub(super) fn rate(per_second: f64) -> Self {
        let text = match per_second {
            rate if rate >= 1e7 => format!("{:.1}M/s", rate / 1e6),
            rate if rate >= 1e4 => format!("{:.1}k/s", rate / 1e3),
            rate if rate == 0.0 || rate >= 10.0 => format!("{rate:.0}/s"),
            rate => format!("{rate:.1}/s"),
        };
        Self { key: Key::Number(per_second), ..Self::text(text) }
    }

    pub(super) fn unknown() -> Self {
        Self { key: Key::Number(-1.0), ..Self::text("?") }
    }

    pub(super) fn none() -> Self {
        Self { key: Key::Number(-2.0), ..Self::text("-") }
    }

    pub(super) fn warn_if(self, is_warning: bool) -> Self {
        Self { is_warning, ..self }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.key, &other.key) {
            (Key::Number(one), Key::Number(other)) => one.total_cmp(other),
            _ => self.text.cmp(&other.text),
        }
    }
}

impl Table {
    pub(super) fn new(title: impl Into<String>, columns: &[Column], empty: &'static str) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), empty, ..Self::default() }
    }

    /// A table of what the kernel cannot tell: it has the reason, and no word of none.
    pub(super) fn unknown(title: impl Into<String>, why: &impl std::fmt::Display) -> Self {
        let note = format!("not known: {why}");
        Self { title: title.into(), notes: vec![note], ..Self::default() }
    }

    /// Whether a row has the text, in whatever case.
    pub(super) fn matches(row: &[Cell], filter: &str) -> bool {
        let filter = filter.to_lowercase();
        row.iter().any(|cell| cell.text.to_lowercase().contains(&filter))
    }

    /// Leaves only the rows with the text; says so if that leaves none.
    pub(super) fn filter(&mut self, filter: &str) {
        if filter.is_empty() || self.rows.is_empty() {
            return;
        }
        self.rows.retain(|row| Self::matches(row, filter));
        if self.rows.is_empty() {
            self.empty = "no row has the filter's text";
        }
    }

    pub(super) fn sort(&mut self, sort: Sort) {
        self.rows.sort_by(|a, b| {
            let (Some(a), Some(b)) = (a.get(sort.column), b.get(sort.column)) else {
                return Ordering::Equal;
            };
            match sort.order {
                Order::Ascending => a.cmp(b),
                Order::Descending => b.cmp(a),
            }
        });
    }

    /// Lays it out in `width` columns of text; columns that find no room are left out, and told of.
    pub(super) fn lines(&self, width: usize, sort: Option<Sort>) -> Vec<Line> {
        let mut lines = vec![Line::new(LineKind::Title, cut(&self.title, width))];
        if self.rows.is_empty() {
            let none = (!self.empty.is_empty()).then_some(self.empty);
            lines.extend(
                none.map(|none| Line::new(LineKind::Note, cut(&format!("  {none}"), width))),
            );
        } else {
            let widths = self.widths(width.saturating_sub(GAP), sort);
            let names = self.columns.iter().enumerate().map(|(at, column)| {
                match sort.filter(|sort| sort.column == at) {
                    Some(Sort { order: Order::Descending, .. }) => format!("{}▼", column.name),
                    Some(_) => format!("{}▲", column.name),
                    None => column.name.to_owned(),
                }
            });
            let names: Vec<_> = names.collect();
            let names = names.iter().map(String::as_str);
            lines.push(Line::new(LineKind::Header, self.line(&widths, names)));
            for row in &self.rows {
                let is_warning = row.iter().any(|cell| cell.is_warning);
                let kind = if is_warning { LineKind::Warning } else { LineKind::Row };
                let texts = row.iter().map(|cell| cell.text.as_str());
                lines.push(Line::new(kind, self.line(&widths, texts)));
            }
            let hidden = self.columns.len() - widths.len();
            if hidden > 0 {
                let note = format!("  {hidden} more columns in a wider window");
                lines.push(Line::new(LineKind::Note, cut(&note, width)));
            }
        }
        let notes = self.notes.iter().flat_map(|note| wrap(note, width.saturating_sub(GAP)));
        lines.extend(notes.map(|note| Line::new(LineKind::Note, format!("  {note}"))));
        lines
    }

    /// The widths of the columns that find room.
    fn widths(&self, room: usize, sort: Option<Sort>) -> Vec<usize> {
        let natural = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
            let mark = usize::from(sort.is_some_and(|sort| sort.column == at));
            widest.max(column.name.chars().count() + mark)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
        loop {
            let over = total(&widths).saturating_sub(room);
            if over == 0 || widths.len() == 1 {
                widths[0] = widths[0].min(room);
                return widths;
            }
            let texts = (0..widths.len()).filter(|at| !self.columns[*at].is_number);
            match texts.max_by_key(|at| widths[*at]).filter(|at| widths[*at] > NARROWEST) {
                Some(at) => widths[at] = widths[at].saturating_sub(over).max(NARROWEST),
                None => {
                    widths.pop();
                }
            }
        }
    }

    fn line<'a>(&self, widths: &[usize], texts: impl Iterator<Item = &'a str>) -> String {
        let mut line = String::from("  ");
        for ((text, width), column) in texts.zip(widths).zip(&self.columns) {
            let text = if column.keeps_end { cut_front(text, *width) } else { cut(text, *width) };
            let fill = " ".repeat(width - text.chars().count());
            let parts = if column.is_number { [&fill, &text] } else { [&text, &fill] };
            line.extend(parts.map(String::as_str));
            line += "  ";
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl Line {
    fn new(kind: LineKind, text: String) -> Self {
        Self { kind, text }
    }
}

/// Spells a number of bytes in a unit that leaves one to four digits.
#[allow(clippy::cast_precision_loss, reason = "rounded to one digit behind the point")]
pub(super) fn size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Cuts a text to a width, and shows that it was cut.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.extend((width > 0).then_some('…'));
    short
}

/// Cuts a text to a width at its begin, and shows that it was cut.
fn cut_front(text: &str, width: usize) -> String {
    let len = text.chars().count();
    if len <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(len - width.saturating_sub(1));
    (width > 0).then_some('…').into_iter().chain(kept).collect()
}

/// Breaks a text into lines.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&cut(word, width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [Column::text("name"), Column::number("held"), Column::text("what")];
        let mut table = Table::new("Things", &columns, "no thing");
        for (name, held, what) in
            [("a", 2048, "x"), ("b\u{1b}[2J", 5 << 20, "a long text of many words")]
        {
            table.rows.push(vec![Cell::text(name), Cell::bytes(held), Cell::text(what)]);
        }
        table
    }

    fn text(table: &Table, width: usize) -> Vec<String> {
        table.lines(width, None).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn columns_line_up_and_control_characters_do_nothing() {
        let lines = text(&table(), 60);
        assert_eq!(lines[1], "  name      held  what");
        assert_eq!(lines[2], "  a      2.0 KiB  x");
        assert_eq!(lines[3], "  b\u{fffd}[2J  5.0 MiB  a long text of many words");
    }

    #[test]
    fn no_line_is_wider_than_the_window() {
        for width in 3..80 {
            for line in text(&table(), width) {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
        let narrow = text(&table(), 24);
        assert!(narrow.iter().any(|line| line.contains("1 more columns")), "{narrow:?}");
    }

    #[test]
    fn an_address_that_is_cut_keeps_its_port() {
        let columns = [Column::address("local"), Column::text("process")];
        let mut table = Table::new("Things", &columns, "no thing");
        table.rows.push(vec![Cell::text("192.0.2.1:38080"), Cell::text("a-long-name/4711")]);
        assert_eq!(text(&table, 24)[2], "  …2.1:38080  a-long-na…");
        assert_eq!(text(&table, 60)[2], "  192.0.2.1:38080  a-long-name/4711");
        assert_eq!(cut_front("12345", 0), "");
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_unknown_is_the_least() {
        let mut table = table();
        table.rows.push(vec![Cell::text("c"), Cell::unknown(), Cell::text("")]);
        table.sort(Sort { column: 1, order: Order::Descending });
        let order: Vec<_> = table.rows.iter().map(|row| &row[1].text[..]).collect();
        assert_eq!(order, ["5.0 MiB", "2.0 KiB", "?"]);
        table.sort(Sort { column: 0, order: Order::Ascending });
        assert_eq!(table.rows[0][0].text, "a");
    }

    #[test]
    fn none_and_not_known_read_differently() {
        let none = Table::new("Things", &[Column::text("name")], "no thing");
        assert_eq!(text(&none, 40), ["Things", "  no thing"]);
        let unknown = Table::unknown("Things", &"socket diagnosis: absent");
        assert_eq!(text(&unknown, 40), ["Things", "  not known: socket diagnosis: absent"]);
        let mut filtered = table();
        filtered.filter("MANY");
        assert_eq!(filtered.rows.len(), 1);
        filtered.filter("nowhere");
        assert_eq!(text(&filtered, 40)[1], "  no row has the filter's text");
    }

    #[test]
    fn sizes_and_rates_have_few_digits() {
        assert_eq!([0, 1023, 1024, 9 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "9.0 GiB"]);
        let rates = [0.0, 0.26, 12.4, 12_345.0, 1.25e7].map(|rate| Cell::rate(rate).text);
        assert_eq!(rates, ["0/s", "0.3/s", "12/s", "12.3k/s", "12.5M/s"]);
    }
}

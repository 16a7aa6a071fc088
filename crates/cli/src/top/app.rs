//! What the screen of `top` shows and what keys do to it; pure, so that tests need no terminal.
//!
//! ```text
//!   keys, samples --> App --draw--> 1 protocols  2 sockets ...            panes
//!                                   a line of a table                     the cursor is a line
//!                                   a line of a table
//!                                   net:[...], 2 of 41 sources missing    status, or the filter
//! ```

use ratatui::{
    Frame,
    crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::Rect,
    style::{Modifier, Style},
    text::{Line as TextLine, Span},
    widgets::{Clear, Paragraph},
};

use super::{
    observe::Observed,
    panes::Pane,
    table::{Line, LineKind, Order, Sort, Table},
    text,
};

/// What `?` shows.
const HELP: [&str; 16] = [
    "keys",
    "",
    "1 to 8, Tab     a pane",
    "j k, arrows     a line down, up",
    "PgDn PgUp g G   a page down, up; to the top, the end",
    "/               show rows with a text only; Esc shows all",
    "s               sort the table of the cursor by the next column",
    "r               reverse its order",
    "p, Space        pause, go on",
    "q, Ctrl-C       quit",
    "",
    "?  not told by the kernel: the pane sources says why",
    "-  there is no such thing here",
    "",
    "Memory is truesize: buffers with their overhead.",
    "Any key goes back.",
];

/// The state of the screen.
#[derive(Debug)]
pub(super) struct App {
    pane: usize,
    views: [View; Pane::ALL.len()],
    filter: String,
    mode: Mode,
    is_paused: bool,
    is_done: bool,
    interval_s: u32,
    observed: Option<Observed>,
    /// Lines that the body had room for when it was drawn last.
    page: usize,
    /// Behind which line each table ended then, and how many columns it has.
    ends: Vec<(usize, usize)>,
}

/// Where the cursor of a pane is.
#[derive(Debug, Clone, Default)]
struct View {
    cursor: usize,
    /// First line that shows.
    offset: usize,
    /// How each table is sorted that is not as it came.
    sorts: Vec<(usize, Sort)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Panes,
    /// The filter is being typed.
    Filter,
    Help,
}

impl App {
    pub(super) fn new(interval_s: u32) -> Self {
        Self {
            pane: 0,
            views: std::array::from_fn(|_| View::default()),
            filter: String::new(),
            mode: Mode::Panes,
            is_paused: false,
            is_done: false,
            interval_s,
            observed: None,
            page: 10,
            ends: Vec::new(),
        }
    }

    /// Takes over a new sample.
    pub(super) fn observe(&mut self, observed: Observed) {
        self.observed = Some(observed);
    }

    pub(super) fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Does what a key is for.
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            self.is_done = true;
            return;
        }
        match self.mode {
            Mode::Help => self.mode = Mode::Panes,
            Mode::Filter => self.filter_key(key.code),
            Mode::Panes => self.pane_key(key.code),
        }
    }

    fn filter_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.mode = Mode::Panes,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Panes;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }

    fn pane_key(&mut self, code: KeyCode) {
        let (panes, page) = (Pane::ALL.len(), self.page.max(1));
        match code {
            KeyCode::Char('q') => self.is_done = true,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => self.reverse(),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::Right => self.pane = (self.pane + 1) % panes,
            KeyCode::BackTab | KeyCode::Left => self.pane = (self.pane + panes - 1) % panes,
            KeyCode::Char(digit @ '1'..='8') => self.pane = digit as usize - '1' as usize,
            KeyCode::Char('j') | KeyCode::Down => self.go(|at| at.saturating_add(1)),
            KeyCode::Char('k') | KeyCode::Up => self.go(|at| at.saturating_sub(1)),
            KeyCode::PageDown => self.go(|at| at.saturating_add(page)),
            KeyCode::PageUp => self.go(|at| at.saturating_sub(page)),
            KeyCode::Char('g') | KeyCode::Home => self.go(|_| 0),
            // Drawing knows where the end is.
            KeyCode::Char('G') | KeyCode::End => self.go(|_| usize::MAX),
            _ => {}
        }
    }

    fn go(&mut self, to: impl FnOnce(usize) -> usize) {
        let view = &mut self.views[self.pane];
        view.cursor = to(view.cursor);
    }

    /// Goes through the columns of the cursor's table, largest first, and back to the order as it came.
    fn sort_by_next(&mut self) {
        let Some((table, columns)) = self.table_of_cursor() else { return };
        let sorts = &mut self.views[self.pane].sorts;
        let place = sorts.iter().position(|(of, _)| *of == table);
        match place {
            None => sorts.push((table, Sort { column: 0, order: Order::Descending })),
            Some(at) if sorts[at].1.column + 1 < columns => {
                let column = sorts[at].1.column + 1;
                sorts[at].1 = Sort { column, order: Order::Descending };
            }
            Some(at) => {
                sorts.remove(at);
            }
        }
    }

    fn reverse(&mut self) {
        let Some((table, _)) = self.table_of_cursor() else { return };
        if let Some((_, sort)) = self.views[self.pane].sorts.iter_mut().find(|(of, _)| *of == table)
        {
            sort.order = match sort.order {
                Order::Ascending => Order::Descending,
                Order::Descending => Order::Ascending,
            };
        }
    }

    /// The number of the cursor's table, and how many columns it has.
    fn table_of_cursor(&self) -> Option<(usize, usize)> {
        let cursor = self.views[self.pane].cursor;
        let at = self.ends.iter().position(|(end, _)| cursor < *end)?;
        Some((at, self.ends[at].1))
    }

    /// The tables of the pane, filtered and sorted.
    fn tables(&self) -> Vec<Table> {
        let Some(observed) = &self.observed else { return Vec::new() };
        let mut tables = Pane::ALL[self.pane].tables(observed);
        for (at, table) in tables.iter_mut().enumerate() {
            table.filter(&self.filter);
            if let Some(sort) = self.sort_of(at) {
                table.sort(sort);
            }
        }
        tables
    }

    fn sort_of(&self, table: usize) -> Option<Sort> {
        let sorts = &self.views[self.pane].sorts;
        sorts.iter().find(|(of, _)| *of == table).map(|(_, sort)| *sort)
    }

    /// Draws everything.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let [first, body, last] = rows(area);
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(self.bar(area.width.into())), first);
        if self.mode == Mode::Help {
            let lines: Vec<_> = HELP.iter().map(|line| TextLine::from(*line)).collect();
            frame.render_widget(Paragraph::new(lines), body);
        } else {
            let lines = self.body(body);
            frame.render_widget(Paragraph::new(lines), body);
        }
        let status = Paragraph::new(TextLine::from(self.status()));
        frame.render_widget(status.style(Style::new().add_modifier(Modifier::REVERSED)), last);
    }

    /// The names of the panes; only that of the one that shows where there is no room.
    fn bar(&self, width: usize) -> TextLine<'static> {
        let names =
            Pane::ALL.iter().enumerate().map(|(at, pane)| format!(" {} {} ", at + 1, pane.name()));
        let names: Vec<_> = names.collect();
        let shown = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        if names.iter().map(String::len).sum::<usize>() > width {
            let name = format!("{}of {}, Tab for more", names[self.pane], Pane::ALL.len());
            return TextLine::from(Span::styled(name, shown));
        }
        let spans = names.into_iter().enumerate().map(|(at, name)| {
            Span::styled(name, if at == self.pane { shown } else { Style::new() })
        });
        TextLine::from(spans.collect::<Vec<_>>())
    }

    fn body(&mut self, area: Rect) -> Vec<TextLine<'static>> {
        let mut lines: Vec<Option<Line>> = Vec::new();
        self.ends.clear();
        for (at, table) in self.tables().iter().enumerate() {
            if at > 0 {
                lines.push(None);
            }
            lines.extend(table.lines(area.width.into(), self.sort_of(at)).into_iter().map(Some));
            self.ends.push((lines.len() + 1, table.columns.len()));
        }
        let height = usize::from(area.height);
        self.page = height;
        let view = &mut self.views[self.pane];
        view.cursor = view.cursor.min(lines.len().saturating_sub(1));
        let least = (view.cursor + 1).saturating_sub(height);
        view.offset = view.offset.clamp(least, view.cursor.max(least));
        // Nothing empty below where there is something above.
        view.offset = view.offset.min(lines.len().saturating_sub(height));
        let (cursor, offset) = (view.cursor, view.offset);
        let shown = lines.into_iter().enumerate().skip(offset).take(height);
        shown.map(|(at, line)| styled(line, at == cursor)).collect()
    }

    fn status(&self) -> String {
        let filter = &self.filter;
        if self.mode == Mode::Filter {
            return format!("filter: {filter}_");
        }
        let mut parts = Vec::new();
        if self.is_paused {
            parts.push("PAUSED".to_owned());
        }
        if !filter.is_empty() {
            parts.push(format!("filter: {filter}"));
        }
        parts.push("? help".to_owned());
        parts.push(format!("{} s", self.interval_s));
        let summary = self.observed.as_ref().map(text::summary);
        parts.extend(summary.map(|text| text.replace("netmem top: ", "")));
        parts.join(" | ")
    }
}

fn rows(area: Rect) -> [Rect; 3] {
    let row = |at: u16, height: u16| Rect { y: area.y + at, height, ..area };
    match area.height {
        0 => [row(0, 0); 3],
        1 => [row(0, 1), row(0, 0), row(0, 0)],
        height => [row(0, 1), row(1, height - 2), row(height - 1, 1)],
    }
}

/// A line of a table; none is an empty one between two.
fn styled(line: Option<Line>, is_cursor: bool) -> TextLine<'static> {
    let (kind, text) = line.map_or((LineKind::Row, String::new()), |line| (line.kind, line.text));
    let plain = Style::new();
    let style = match kind {
        LineKind::Title => plain.add_modifier(Modifier::BOLD),
        LineKind::Header => plain.add_modifier(Modifier::UNDERLINED),
        LineKind::Note => plain.add_modifier(Modifier::DIM),
        LineKind::Warning => plain.fg(ratatui::style::Color::Yellow),
        LineKind::Row => plain,
    };
    // An empty line shows the cursor as well.
    let text = if is_cursor && text.is_empty() { " ".to_owned() } else { text };
    TextLine::from(Span::styled(
        text,
        if is_cursor { style.add_modifier(Modifier::REVERSED) } else { style },
    ))
}

#[cfg(test)]
mod tests;

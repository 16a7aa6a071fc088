//! What commands print, piece by piece: each piece is one write(2), as shells and their programs make it.
//!
//! echo and printf of bash itself write each line on its own, as its standard output is line buffered wherever it
//! goes (shell.c, 5.2); those of dash, and programs, write all at once.

use super::command::UNKNOWN;

/// Settings that take each of several writes to a file that is opened once, so that the last one counts; of
/// all others the first one does.
///
/// Those that proc_douintvec and proc_dou8vec_minmax read: they leave the position in the file where it is,
/// and so do not see that a write is not the first (kernel/sysctl.c, 6.18).
pub(super) const LAST_WRITE: &[&str] = &[
    "net.ipv4.fib_sync_mem",
    "net.ipv4.tcp_app_win",
    "net.ipv4.tcp_autocorking",
    "net.ipv4.tcp_backlog_ack_defer",
    "net.ipv4.tcp_child_ehash_entries",
    "net.ipv4.tcp_fack",
    "net.ipv4.tcp_min_tso_segs",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_shrink_window",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tso_win_divisor",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.udp_child_hash_entries",
];

/// What each line costs that is gone through once more, in letters.
const LINE_COST: usize = 32;

/// What a command prints at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// On which line it begins.
    pub(super) line: usize,
    /// Without the newline at its end that `ends_line` tells.
    pub(super) text: String,
    /// Whether its lines are lines of the script.
    pub(super) has_lines: bool,
    /// Whether a newline ends it.
    pub(super) ends_line: bool,
    /// Whether a command is known to print it; else it may be anything, or nothing.
    pub(super) is_told: bool,
    /// Whether it is printed whatever else happens.
    pub(super) is_certain: bool,
    /// Whether each of its lines is a write(2) of its own.
    pub(super) is_by_lines: bool,
}

/// What goes through a pipe: the pieces where they are known, and the read that they are from.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) outputs: Option<Vec<Output>>,
    pub(super) read: Option<usize>,
    /// Whether there is one.
    pub(super) is_there: bool,
}

impl Output {
    /// A text from a command on this line.
    pub(super) fn text(line: usize, text: String) -> Self {
        Self {
            line,
            text,
            has_lines: false,
            ends_line: true,
            is_told: true,
            is_certain: true,
            is_by_lines: false,
        }
    }

    /// Lines that stand in the script from this one on.
    pub(super) fn lines(line: usize, text: String) -> Self {
        Self { has_lines: true, ..Self::text(line, text) }
    }

    /// What a command prints that is not known.
    pub(super) fn unknown(line: usize) -> Self {
        Self { is_told: false, ..Self::text(line, UNKNOWN.into()) }
    }
}

/// What it costs to go through pieces once more, in letters.
pub(super) fn cost(outputs: &[Output]) -> usize {
    let of_lines = |text: &str| text.lines().count().max(1) * LINE_COST;
    outputs.iter().map(|output| output.text.len() + of_lines(&output.text)).sum()
}

/// Pieces as they are written, if that is otherwise; a line with nothing in it sets nothing.
pub(super) fn by_lines(outputs: &[Output]) -> Option<Vec<Output>> {
    let is_divided = |output: &Output| output.is_by_lines && output.text.trim().contains('\n');
    if !outputs.iter().any(is_divided) {
        return None;
    }
    let of = |output: &Output| {
        let lines = output.text.lines().filter(|line| !line.trim().is_empty());
        let piece = |line: &str| Output { text: line.to_owned(), ..output.clone() };
        match is_divided(output) {
            true => lines.map(piece).collect(),
            false => vec![output.clone()],
        }
    };
    Some(outputs.iter().flat_map(of).collect())
}

/// Pieces as whole lines: what does not end its line goes on in the next piece.
pub(super) fn joined(outputs: &[Output]) -> Vec<Output> {
    let mut all: Vec<Output> = Vec::new();
    for output in outputs {
        match all.last_mut().filter(|last| !last.ends_line) {
            Some(last) => {
                last.text.push_str(&output.text);
                last.ends_line = output.ends_line;
                last.has_lines &= output.has_lines;
            }
            None => all.push(output.clone()),
        }
    }
    all
}

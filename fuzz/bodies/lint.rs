//! A tuning script, or a file of settings, behind a byte that chooses the machine: nothing panics or hangs,
//! each verdict is of a line that is there and says why, and the same text has the same verdicts again.

use netmem_host::{
    sysctl::Machine,
    tune::lint::{LINT_SCHEMA, Report, Subject, lint},
};

/// Kernels of different defaults, the oldest from before the position in a file counted.
const KERNELS: [(u32, u32); 4] = [(6, 18), (6, 1), (4, 19), (4, 4)];

/// Takes the first byte as the machine, the rest as the text.
pub fn run(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let machine = machine(*choice);
    let text = String::from_utf8_lossy(text);
    let report = Report::of("fuzz", &text, &machine);
    let lines = text.lines().count().max(1);
    assert_eq!(report.schema, LINT_SCHEMA);
    for verdict in &report.verdicts {
        assert!((1..=lines).contains(&verdict.line), "{verdict:?}");
        assert!(!verdict.reasons.is_empty(), "{verdict:?}");
        assert!(verdict.reasons.iter().all(|reason| !reason.contains('\0')), "{verdict:?}");
        assert!(!verdict.target.contains('\0'), "{verdict:?}");
        assert!(verdict.subject == Subject::Write || verdict.value.is_none(), "{verdict:?}");
    }
    let findings = report.verdicts.iter().filter(|verdict| verdict.verdict.is_finding()).count();
    assert_eq!(report.findings, findings);
    assert!(report.verdicts.is_sorted_by_key(|verdict| verdict.line));
    assert_eq!(report.verdicts, lint(&text, &machine));
}

fn machine(choice: u8) -> Machine {
    Machine {
        free_buffer_pages: 1 << (10 + u32::from(choice / 16)),
        page_bytes: if choice & 8 == 0 { 4096 } else { 65_536 },
        kernel: KERNELS[usize::from(choice) % KERNELS.len()],
        tcp_hash_buckets: (choice & 4 == 0).then_some(262_144),
        two_ticks_us: Some(8000),
    }
}

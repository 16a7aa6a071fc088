//! A comparison as a table for a person and as JSON for git.

use std::fs;

use super::figures::{Claim, Spread, Window};
use super::{Candidate, Round, Wanted};

/// The table, and what may be said.
pub(super) fn table(candidates: &[Candidate], rounds: &[Round]) -> String {
    let mut text = String::from(
        "\nprogram     Mpps [min-max]          cycles/frame  user    softirq of cpu 1\n",
    );
    for (index, candidate) in candidates.iter().enumerate() {
        let all = |value: fn(&Window) -> f64| Spread::of(rounds.iter().map(|r| value(&r[index])));
        let (Some(mpps), Some(cycles), Some(user), Some(softirq)) = (
            all(Window::mpps),
            all(Window::cycles_per_frame),
            all(|window| window.user_share),
            all(|window| window.softirq_share),
        ) else {
            continue;
        };
        text += &format!(
            "{:10}  {:.3} [{:.3}-{:.3}]  {:13.0}  {:4.1} %  {:4.1} %\n",
            candidate.name,
            mpps.median,
            mpps.min,
            mpps.max,
            cycles.median,
            user.median * 100.0,
            softirq.median * 100.0
        );
    }
    for (peer, candidate) in candidates.iter().enumerate().skip(1) {
        for (what, ratios) in [("frames", frames(rounds, peer)), ("cycles", cycles(rounds, peer))] {
            let Some(spread) = Spread::of(ratios.iter().copied()) else { continue };
            let Spread { median, min, max } = spread;
            text += &format!(
                "{} / {} by {what}: {median:.3} [{min:.3}-{max:.3}], {} rounds: {}\n",
                candidates[0].name,
                candidate.name,
                ratios.len(),
                Claim::of(&ratios).text()
            );
        }
    }
    text
}

/// Frames per second of the first by those of `peer`, per round.
fn frames(rounds: &[Round], peer: usize) -> Vec<f64> {
    rounds.iter().map(|round| round[0].mpps() / round[peer].mpps()).collect()
}

/// The same by calibrated cycles: above 1, the first needs fewer.
fn cycles(rounds: &[Round], peer: usize) -> Vec<f64> {
    let ratio = |round: &Round| round[peer].cycles_per_frame() / round[0].cycles_per_frame();
    rounds.iter().map(ratio).collect()
}

/// The record.
pub(super) fn json(candidates: &[Candidate], rounds: &[Round], wanted: &Wanted) -> String {
    let proc = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        quoted(line.rsplit(": ").next().unwrap_or_default())
    };
    let programs = candidates.iter().map(|candidate| {
        let Candidate { name, program, arguments, .. } = candidate;
        // The folder it was built in says nothing.
        let program = program.rsplit('/').next().unwrap_or_default();
        let command = quoted(&format!("{program} {}", arguments.join(" ")));
        format!("    {}: {command}", quoted(name))
    });
    let ratios = candidates.iter().enumerate().skip(1).flat_map(|(peer, candidate)| {
        [("frames", frames(rounds, peer)), ("cycles", cycles(rounds, peer))].map(|(what, ratios)| {
            let Spread { median, min, max } =
                Spread::of(ratios.iter().copied()).unwrap_or(Spread { median: 0.0, min: 0.0, max: 0.0 });
            format!(
                "    {{\"peer\": {}, \"by\": \"{what}\", \"median\": {median:.4}, \"min\": {min:.4}, \
                 \"max\": {max:.4}, \"claim\": {}}}",
                quoted(&candidate.name),
                quoted(Claim::of(&ratios).text())
            )
        })
    });
    let windows = rounds.iter().map(|round| {
        let windows = candidates.iter().zip(round).map(|(candidate, window)| {
            format!("      {}: {}", quoted(&candidate.name), window_json(window))
        });
        format!("    {{\n{}\n    }}", windows.collect::<Vec<_>>().join(",\n"))
    });
    format!(
        "{{\n  \"schema\": \"netmem.bench-reflect/1\",\n  \"kernel\": {},\n  \"processor\": {},\n  \"mode\": \
         \"native\",\n  \"frame_bytes\": 64,\n  \"frames_in_flight\": 128,\n  \"window_seconds\": {},\n  \
         \"foreign_limit\": {},\n  \"programs\": {{\n{}\n  }},\n  \"ratios\": [\n{}\n  ],\n  \"rounds_asked\": \
         {},\n  \"rounds\": [\n{}\n  ]\n}}\n",
        proc("/proc/sys/kernel/osrelease", ""),
        proc("/proc/cpuinfo", "model name"),
        wanted.seconds,
        wanted.foreign_limit,
        programs.collect::<Vec<_>>().join(",\n"),
        ratios.collect::<Vec<_>>().join(",\n"),
        wanted.rounds,
        windows.collect::<Vec<_>>().join(",\n"),
    )
}

fn window_json(window: &Window) -> String {
    format!(
        "{{\"frames\": {:.0}, \"seconds\": {:.6}, \"mpps\": {:.4}, \"cycles_per_frame\": {:.1}, \"user_share\": \
         {:.4}, \"softirq_share\": {:.4}, \"foreign\": {:.4}}}",
        window.frames,
        window.seconds,
        window.mpps(),
        window.cycles_per_frame(),
        window.user_share,
        window.softirq_share,
        window.foreign
    )
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.trim().chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(mpps: &[(f64, f64)]) -> Vec<Round> {
        let window = |mpps: f64| Window {
            frames: mpps * 1e6,
            seconds: 1.0,
            alive: 128.0,
            probe: [500e6, 700e6],
            ..Window::default()
        };
        mpps.iter().map(|(ours, theirs)| vec![window(*ours), window(*theirs)]).collect()
    }

    fn candidates() -> [Candidate; 2] {
        let mut ours = Candidate::testpmd();
        ours.name = "netmem".to_owned();
        ours.program = "/here/a\"b".to_owned();
        [ours, Candidate::testpmd()]
    }

    #[test]
    fn the_ratio_is_taken_within_a_round() {
        // The machine slowed down: between rounds by half, within each by nothing.
        let rounds = rounds(&[(2.2, 2.0), (1.1, 1.0), (4.4, 4.0)]);
        for ratio in frames(&rounds, 1).into_iter().chain(cycles(&rounds, 1)) {
            assert!((ratio - 1.1).abs() < 1e-9, "{ratio}");
        }
        let table = table(&candidates(), &rounds);
        assert!(
            table.contains("netmem / testpmd by frames: 1.100 [1.100-1.100], 3 rounds: too few")
        );
        assert!(table.contains("netmem      2.200 [1.100-4.400]"), "{table}");
    }

    #[test]
    fn a_record_has_every_window_and_no_folder() {
        let mut wanted = super::super::parse(&["reflect".to_owned()]).unwrap();
        wanted.rounds = 2;
        let json = json(&candidates(), &rounds(&[(2.0, 1.0), (3.0, 1.0)]), &wanted);
        assert_eq!(json.matches("\"cycles_per_frame\"").count(), 4);
        assert!(json.contains("\"netmem\": \"a\\\"b --lcores"), "{json}");
        assert!(json.contains("\"by\": \"frames\", \"median\": 2.5000, \"min\": 2.0000"), "{json}");
        assert!(!json.contains("/here"), "{json}");
        for (open, close) in [('{', '}'), ('[', ']')] {
            assert_eq!(json.matches(open).count(), json.matches(close).count());
        }
    }
}

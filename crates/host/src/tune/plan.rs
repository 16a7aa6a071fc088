//! From evidence to a [`Plan`]: the rules are asked in their order, and what they propose is set beside
//! what there is, what the kernel boots with, and who else sets it.
//!
//! A proposal that changes nothing becomes a finding of R-NOOP, which says why it changes nothing: the
//! value is there already, or a bound does not allow more. Global changes come before those of the
//! namespace; of each kind the order is that of the rules.

use super::evidence::Evidence;
use super::rules::{Ask, Judgement, Proposal, RULES};
use super::set_by::SetBy;
use super::{Basis, Change, Finding, PLAN_SCHEMA, Plan, Reach};
use crate::sysctl::{Key, Value};

/// Makes the plan.
pub fn plan(evidence: &Evidence, ask: &Ask, basis: Basis, set_by: &SetBy) -> Plan {
    let mut plan = Plan {
        schema: PLAN_SCHEMA.to_owned(),
        basis,
        goal: ask.goal.map(|goal| goal.name().to_owned()),
        findings: Vec::new(),
        changes: Vec::new(),
        not_known: evidence.not_known.clone(),
    };
    for rule in RULES {
        let Judgement { findings, proposals } = rule(evidence, ask);
        plan.findings.extend(findings);
        for proposal in proposals {
            match Verdict::of(evidence, proposal, set_by) {
                Verdict::Change(change) => plan.changes.push(*change),
                Verdict::Noop(finding) => plan.findings.push(finding),
            }
        }
    }
    plan.changes.sort_by_key(|change| change.reach);
    plan
}

/// What becomes of a proposal.
enum Verdict {
    Change(Box<Change>),
    Noop(Finding),
}

impl Verdict {
    fn of(evidence: &Evidence, proposal: Proposal, set_by: &SetBy) -> Self {
        let setting = evidence.settings.get(proposal.key);
        let now = setting.and_then(|setting| Value::parse(setting.text.as_bytes()));
        let (Some(setting), false) = (setting, now.as_ref() == Some(&proposal.value)) else {
            return Self::Noop(noop(&proposal, setting.is_some()));
        };
        let key = Key::named(proposal.key);
        let default = key.and_then(|key| key.default(&evidence.machine));
        // A namespace's values are set by nothing at boot.
        let set_by = match setting.reach {
            Reach::Global => set_by.of(proposal.key),
            Reach::Namespace if evidence.is_initial_netns => set_by.of(proposal.key),
            Reach::Namespace => Vec::new(),
        };
        Self::Change(Box::new(Change {
            key: proposal.key.to_owned(),
            reach: setting.reach,
            current: setting.text.clone(),
            default: default.map(|value| value.to_string()),
            proposed: proposal.value.to_string(),
            set_by,
            rule: proposal.rule.to_owned(),
            evidence: proposal.evidence,
            formula: proposal.formula,
            bound: proposal.bound,
            citation: key.map_or("", |key| key.citation).to_owned(),
            confidence: proposal.confidence,
        }))
    }
}

/// Says why nothing is changed of a setting that could be read, or not.
fn noop(proposal: &Proposal, is_read: bool) -> Finding {
    let why = match (is_read, proposal.bound.as_str()) {
        (false, _) => "it cannot be read here".to_owned(),
        (true, "") => "what it is now is enough".to_owned(),
        (true, bound) => format!("its bound allows no more: {bound}"),
    };
    let what = format!("no change of {}, because {why}", proposal.key);
    let mut evidence = vec![format!("{}: {}", proposal.rule, proposal.formula)];
    evidence.extend(proposal.evidence.iter().cloned());
    Finding { rule: "R-NOOP".to_owned(), what, evidence, advice: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysctl::Machine;
    use crate::tune::evidence::{MachineMemory, UdpReader};

    fn basis() -> Basis {
        Basis {
            kernel_release: "6.18.0".to_owned(),
            boot_id: "x".to_owned(),
            netns_inode: 1,
            made_at_s: 2,
        }
    }

    fn evidence() -> Evidence {
        let machine = Machine {
            free_buffer_pages: 6 << 20,
            page_bytes: 4096,
            kernel: (6, 18),
            tcp_hash_buckets: None,
            two_ticks_us: None,
        };
        let gib = 1 << 30;
        let memory =
            MachineMemory { total_bytes: 24 * gib, available_bytes: 20 * gib, hugetlb_bytes: 0 };
        Evidence::idle(machine, memory)
    }

    #[test]
    fn no_evidence_no_change_whatever_the_goal() {
        for goal in [None].into_iter().chain(crate::tune::Goal::ALL.map(Some)) {
            let ask = Ask { goal, ..Ask::default() };
            let plan = plan(&evidence(), &ask, basis(), &SetBy::default());
            assert_eq!((plan.changes, plan.findings), (vec![], vec![]), "{goal:?}");
            assert_eq!(plan.goal.as_deref(), goal.map(crate::tune::Goal::name));
        }
    }

    /// Has failed with: changes in the order of the rules alone.
    #[test]
    fn global_changes_come_first_and_a_plan_survives_its_file() {
        let mut evidence = evidence();
        let reader = UdpReader {
            is_rcvbuf_locked: Some(true),
            rcvbuf_bytes: 8 << 20,
            drops: 100,
            worst_pause_drops: 100,
            looks: 2,
            ..UdpReader::default()
        };
        evidence.udp.push(reader);
        evidence.grown.insert("UdpRcvbufErrors".to_owned(), 100);
        evidence
            .optmem
            .push(crate::tune::evidence::OptmemUser { label: "x".to_owned(), peak_bytes: 130_624 });
        // As before kernel 6.8.
        evidence.settings.get_mut("net.core.optmem_max").unwrap().reach = Reach::Global;
        let given = Ask {
            bandwidth_bits_per_s: Some(10_000_000_000),
            rtt_us: Some(30_000),
            ..Ask::default()
        };
        let plan = plan(&evidence, &given, basis(), &SetBy::default());
        let keys: Vec<_> = plan.changes.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(
            keys,
            ["net.core.rmem_max", "net.core.optmem_max", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]
        );
        assert_eq!(plan.changes[0].default.as_deref(), Some("4194304"));
        assert_eq!(plan.changes[2].current, "4096 131072 33554432");
        assert_eq!(plan.changes[2].proposed, "4096 131072 75000000");
        let file = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&file).unwrap(), plan);
    }

    #[test]
    fn a_value_that_is_there_is_no_change_and_says_why() {
        let given =
            Ask { bandwidth_bits_per_s: Some(1_000_000_000), rtt_us: Some(1000), ..Ask::default() };
        let plan = plan(&evidence(), &given, basis(), &SetBy::default());
        assert_eq!(plan.changes, []);
        let what: Vec<_> = plan.findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "no change of net.ipv4.tcp_rmem, because what it is now is enough",
                "no change of net.ipv4.tcp_wmem, because what it is now is enough"
            ]
        );
        assert!(plan.findings.iter().all(|finding| finding.rule == "R-NOOP"));
    }
}

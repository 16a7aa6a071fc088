//! `netmem detach`: takes XDP programs off an interface that nobody answers for any more.
//!
//! A program stays where its link is pinned and its owner has gone, and where the owner is stopped
//! or defunct: it then redirects packets to a socket that nobody reads. Both are taken off; programs
//! of running owners, and those without a link to have an owner, only by force.

use std::io::Write;

use netmem_host::{
    process::Process,
    xdp::{Claim, Gap, Hold, Topic, XdpInterface, XdpProgram, detach, survey_to_detach},
};

use crate::{Failure, Outcome, args::DetachArgs, list::mode};

/// Runs the command.
///
/// # Errors
/// When there is no such interface, a privilege is missing, or a program was left because its owner
/// runs or is not known.
pub fn run(args: &DetachArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let survey = survey_to_detach(&args.interface)?;
    let gap = survey.gap(Topic::Links).or_else(|| survey.gap(Topic::Processes));
    let mut left = Ok(Outcome::Done);
    for interface in &survey.interfaces {
        if interface.programs.is_empty() {
            writeln!(out, "nothing to detach: {} has no xdp program", interface.name)
                .map_err(Failure::output)?;
        }
        for program in &interface.programs {
            match why_not(interface, program, gap, args.force) {
                Some(failure) => left = Err(failure),
                None => {
                    detach(interface, program)?;
                    writeln!(out, "{}", what_was_done(interface, program, gap))
                        .map_err(Failure::output)?;
                }
            }
        }
    }
    out.flush().map_err(Failure::output)?;
    left
}

/// Why a program is left where it is; `None` if it is to be taken off.
fn why_not(
    interface: &XdpInterface,
    program: &XdpProgram,
    gap: Option<&Gap>,
    force: bool,
) -> Option<Failure> {
    let what = format!("detach from {}: {}", interface.name, name(program));
    let by_force = "stop that process, or take the program off all the same with --force";
    match (program.hold.claim(gap), &program.hold) {
        // Which link to detach is not known: force does not help.
        (_, Hold::AmbiguousLink { ids }) => Some(
            Failure::finding(format!(
                "{what} is attached by one of the links {}, in network namespaces that cannot be \
                 told apart",
                ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ))
            .with_hint("end the process that holds the right one: netmem list shows it"),
        ),
        (_, Hold::Unknown) => {
            let why = gap.map_or("it was attached just now", |gap| &gap.why);
            let message = format!("{what} is attached by a link that is not known: {why}");
            Some(if gap.is_some() { Failure::missing(message) } else { Failure::finding(message) })
        }
        (Claim::Alive, hold) if !force => {
            let message = format!("{what} is held by {}", holders(hold));
            Some(Failure::finding(message).with_hint(by_force))
        }
        (Claim::NoLink, _) if !force => Some(
            Failure::finding(format!("{what} is attached by netlink, which no process holds"))
                .with_hint("--force takes it off; anybody may attach it again"),
        ),
        (Claim::Unknown, _) if !force => {
            let why = gap.map_or("", |gap| &gap.why);
            let message = format!("{what} is held by a process that is not known: {why}");
            Some(Failure::finding(message).with_hint("--force takes it off all the same"))
        }
        _ => None,
    }
}

fn what_was_done(interface: &XdpInterface, program: &XdpProgram, gap: Option<&Gap>) -> String {
    let because = match (&program.hold, program.hold.claim(gap)) {
        (Hold::Link { id, .. }, Claim::Orphaned) => format!("link {id}, which no process held"),
        (Hold::Link { id, .. }, Claim::Unknown) => {
            format!("link {id}, whose holder is not known, by force")
        }
        (Hold::Link { id, .. }, Claim::Alive) => {
            format!("link {id}, held by {}, by force", holders(&program.hold))
        }
        (Hold::Link { id, .. }, _) => {
            format!("link {id}, held by {} only", holders(&program.hold))
        }
        _ => "attached by netlink, by force; anybody may attach it again".to_owned(),
    };
    format!("detached from {}: {}: {because}", interface.name, name(program))
}

fn name(program: &XdpProgram) -> String {
    let name = program.info.as_ref().map_or("", |info| &info.name);
    format!("{} program \"{name}\" id {}", mode(program.mode), program.id)
}

fn holders(hold: &Hold) -> String {
    let Hold::Link { holders, .. } = hold else { return String::new() };
    let name = |process: &Process| {
        let state = format!("{:?}", process.state).to_lowercase();
        format!("{} (pid {}, {state})", process.name, process.pid)
    };
    holders.iter().map(name).collect::<Vec<_>>().join(", ")
}

//! What each pane shows, as tables. A pane that has figures of a network namespace has a table of them
//! for each namespace that is looked at.

mod memory;
mod protocols;
mod receive;
mod rings;
mod sockets;

use netmem_host::{
    proc::EVIDENCE,
    sample::{NamespaceRates, NamespaceSample, Rates},
    source::SourceState,
};

use super::{
    observe::Observed,
    table::{Cell, Column, Table},
};

/// A pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Protocols,
    Sockets,
    Processes,
    Receive,
    Memory,
    Rings,
    Counters,
    Sources,
}

/// What is looked at: a sample and what moved, of one namespace.
#[derive(Debug, Clone, Copy)]
struct Scene<'a> {
    namespace: &'a NamespaceSample,
    rates: Option<&'a Rates>,
    moved: Option<&'a NamespaceRates>,
    /// Whether it is the only one.
    is_alone: bool,
}

impl Pane {
    pub(super) const ALL: [Self; 8] = [
        Self::Protocols,
        Self::Sockets,
        Self::Processes,
        Self::Receive,
        Self::Memory,
        Self::Rings,
        Self::Counters,
        Self::Sources,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Protocols => "protocols",
            Self::Sockets => "sockets",
            Self::Processes => "processes",
            Self::Receive => "receive",
            Self::Memory => "memory",
            Self::Rings => "rings",
            Self::Counters => "counters",
            Self::Sources => "sources",
        }
    }

    /// What it shows.
    pub(super) fn tables(self, observed: &Observed) -> Vec<Table> {
        let scenes = || Scene::all(observed);
        match self {
            Self::Protocols => {
                let mut tables = vec![protocols::memory(observed)];
                tables.extend(scenes().map(|scene| protocols::sockets(&scene)));
                tables.push(protocols::cgroups(&observed.sample.machine));
                tables
            }
            Self::Sockets => scenes().flat_map(|scene| sockets::sockets(&scene)).collect(),
            Self::Processes => scenes().flat_map(|scene| sockets::holders(&scene)).collect(),
            Self::Receive => {
                let mut tables = vec![receive::softnet(observed)];
                let of = |scene: Scene<'_>| [receive::links(&scene), receive::queues(&scene)];
                tables.extend(scenes().flat_map(of));
                tables
            }
            Self::Memory => {
                let machine = &observed.sample.machine;
                let mut tables = vec![memory::slabs(machine), memory::fragmentation(machine)];
                tables.extend(scenes().map(|scene| memory::page_pools(&scene)));
                tables
            }
            Self::Rings => {
                let mut tables = Vec::new();
                for scene in scenes() {
                    tables.push(rings::packet(&scene));
                    tables.extend(rings::xdp(&scene));
                }
                tables.extend(rings::programs(&observed.programs));
                tables
            }
            Self::Counters => scenes().map(|scene| counters(&scene)).collect(),
            Self::Sources => sources(observed),
        }
    }
}

impl<'a> Scene<'a> {
    fn all(observed: &'a Observed) -> impl Iterator<Item = Self> {
        let namespaces = &observed.sample.namespaces;
        let rates = observed.rates.as_ref();
        namespaces.iter().map(move |namespace| Self {
            namespace,
            rates,
            moved: rates.and_then(|rates| rates.of(namespace.inode)),
            is_alone: namespaces.len() == 1,
        })
    }

    /// The title of a table, with its namespace where there are several.
    fn title(&self, title: &str) -> String {
        match self.is_alone {
            true => title.to_owned(),
            false => format!("{title}: {}", self.namespace.label()),
        }
    }

    /// The rate of what has grown by so much; unknown if it began anew.
    fn rate(&self, grown: Option<u64>) -> Cell {
        match (self.rates, grown) {
            (Some(rates), Some(grown)) => Cell::rate(rates.per_second(grown)),
            _ => Cell::unknown(),
        }
    }

    /// Columns of rates are there if there are rates.
    fn with_rates<const N: usize>(&self, cells: [Cell; N]) -> impl Iterator<Item = Cell> {
        cells.into_iter().take(if self.rates.is_some() { N } else { 0 })
    }
}

/// A figure or unknown.
fn maybe(count: Option<u64>) -> Cell {
    count.map_or_else(Cell::unknown, Cell::count)
}

/// A figure or none.
fn or_none(count: Option<u64>) -> Cell {
    count.map_or_else(Cell::none, Cell::count)
}

/// The counters that say something of memory: those that are not 0, and those that never should be.
fn counters(scene: &Scene<'_>) -> Table {
    let title = scene.title("Counters that tell of memory");
    let counters = match &scene.namespace.counters {
        Ok(counters) => counters,
        Err(why) => return Table::unknown(title, why),
    };
    let mut columns = vec![Column::text("counter"), Column::number("total")];
    columns.extend(scene.rates.map(|_| Column::number("rate")));
    columns.push(Column::text("meaning"));
    let mut table = Table::new(title, &columns, "the kernel has none of them");
    for evidence in EVIDENCE {
        let Some(total) = counters.value(evidence.name) else { continue };
        let grown = scene.moved.map(|moved| moved.counter(evidence.name));
        let mut row = vec![Cell::text(evidence.name), Cell::count(total)];
        row[1].is_warning = grown.is_some_and(|grown| grown > 0);
        row.extend(scene.with_rates([scene.rate(grown)]));
        row.push(Cell::text(evidence.meaning));
        table.rows.push(row);
    }
    table
}

fn sources(observed: &Observed) -> Vec<Table> {
    let columns = [Column::text("source"), Column::text("state"), Column::text("reason")];
    let table = |title: String, sources: &[netmem_host::sample::SourceReport]| {
        let mut table = Table::new(title, &columns, "no source");
        table.rows.extend(sources.iter().map(|source| {
            let reason = source.reason.as_deref().unwrap_or_default();
            let state = Cell::text(source.state.name()).warn_if(source.state != SourceState::Ok);
            vec![Cell::text(source.name), state, Cell::text(reason)]
        }));
        table
    };
    let mut tables =
        vec![table("Sources of the machine".to_owned(), &observed.sample.machine.sources)];
    tables.extend(Scene::all(observed).map(|scene| {
        table(scene.title("Sources of the network namespace"), &scene.namespace.sources)
    }));
    let first = &mut tables[0];
    first.rows.extend(observed.programs.not_known.iter().map(|why| {
        let state = Cell::text(SourceState::Denied.name()).warn_if(true);
        vec![Cell::text("netmem-programs"), state, Cell::text(why)]
    }));
    tables
}

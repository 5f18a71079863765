//! The fleet as the cache sees it: read, offer, report.

use super::connection::Answer;
use super::fleet::Fleet;
use super::fragment::{Cut, Fragment, join_fragments};
use super::gathering::Gathering;
use super::node::Node;
use super::protocol::Key;
use super::watch::WatchedFleet;
use super::writer::{Job, Writer};
use crate::counters::{Counter, TierCounters};
use crate::permits::{Amount, Permit, Permits};
use crate::report::ZoneReport;
use crate::{ChunkAddress, Tier, Urgency};
use chunk::{CHUNK_BYTES, CheckedChunk};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant as Stopwatch;
use tokio::time::{Instant, timeout_at};

/// Chunks that are read at once. 64 are 40 MiB of fragments; at a millisecond each they are 64,000 chunks a second, more
/// than any network card carries.
const READS_MAX: usize = 64;

/// The zone tier.
#[derive(Debug)]
pub(crate) struct ZoneTier {
    fleet: WatchedFleet,
    reads: Permits,
    writer: Writer,
    repairs: Counter,
    counters: Arc<TierCounters>,
}

impl ZoneTier {
    /// Reads the fleet's file, and starts tasks on the current runtime. A file that cannot be used is complained about
    /// in the log, and read again like any other.
    pub(crate) fn open(path: &Path, counters: Arc<TierCounters>) -> Self {
        Self {
            fleet: WatchedFleet::open(path),
            reads: Permits::new(Amount {
                requests: READS_MAX,
                bytes: (READS_MAX * CHUNK_BYTES) as u64,
            }),
            writer: Writer::start(),
            repairs: Counter::default(),
            counters,
        }
    }

    /// Waits for permission to read one chunk.
    pub(crate) async fn permit(&self, urgency: Urgency, stored_bytes: u32) -> Permit {
        self.reads.acquire(urgency, stored_bytes.into()).await
    }

    /// The chunk, if enough nodes have good fragments of it. Errors are counted; none is anybody's problem.
    pub(crate) async fn read(&self, address: ChunkAddress, _permit: Permit) -> Option<CheckedChunk> {
        let fleet = self.fleet.now();
        if fleet.nodes.is_empty() {
            return None;
        }
        let begin = Stopwatch::now();
        let mut reading = Reading::new(&fleet, address);
        let found = reading.run().await;
        if reading.lied > 0 {
            self.counters.corrupt.add(reading.lied);
        }
        match &found {
            Some(chunk) => {
                self.counters.hit(chunk.stored().len(), begin.elapsed());
                self.repair(&reading, chunk);
            }
            None if reading.is_late => self.counters.errors.count(),
            None => self.counters.misses.count(),
        }
        found
    }

    /// Takes a chunk from the origin to be written when there is time; nobody waits for it.
    pub(crate) fn offer(&self, chunk: &CheckedChunk) {
        let fleet = self.fleet.now();
        self.write(&fleet, chunk, Some);
    }

    /// Takes no more writes and returns when those it took are done.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
    }

    pub(crate) fn report(&self) -> ZoneReport {
        let writes = self.writer.counters();
        ZoneReport {
            nodes: self.fleet.now().nodes.iter().map(|node| node.report()).collect(),
            fragments_written: writes.written.get(),
            fragments_failed: writes.failed.get(),
            writes_dropped: writes.dropped.get(),
            repairs: self.repairs.get(),
        }
    }

    /// Writes what a read has noticed to be missing: a node's whose memory was lost, or that has just joined.
    fn repair(&self, reading: &Reading<'_>, chunk: &CheckedChunk) {
        if reading.found_cut != Some(reading.cut) {
            self.repairs.count();
            return self.write(reading.fleet, chunk, Some);
        }
        let mut absent = reading.gathering.absent(reading.cut);
        if reading.empty.is_empty() || absent.is_empty() {
            return;
        }
        self.repairs.count();
        self.write(reading.fleet, chunk, |place| {
            if !reading.empty.contains(&place) {
                return None;
            }
            // The fragment of its place, unless another node has that already.
            let position = absent.iter().position(|absent| *absent == place).unwrap_or(0);
            (!absent.is_empty()).then(|| absent.remove(position))
        });
    }

    /// `choose` says which fragment the node at a place gets; a new chunk's are numbered like the places.
    fn write(&self, fleet: &Fleet, chunk: &CheckedChunk, mut choose: impl FnMut(usize) -> Option<usize>) {
        let cut = Cut::for_nodes(fleet.nodes.len());
        let places = fleet.ring.nodes(&chunk.id()).enumerate();
        let to: Vec<(Arc<Node>, usize)> = places
            .filter_map(|(place, node)| Some((Arc::clone(&fleet.nodes[node]), choose(place)?)))
            .collect();
        if !to.is_empty() {
            let chunk = chunk.clone();
            self.writer.offer(Job { chunk, cut, to });
        }
    }
}

/// One chunk being read.
struct Reading<'a> {
    fleet: &'a Fleet,
    cut: Cut,
    address: ChunkAddress,
    /// The chunk's nodes, in the order of their places.
    nodes: Vec<&'a Arc<Node>>,
    gathering: Gathering,
    /// How the fragments were cut that made the chunk: when there were more nodes, or fewer, than today.
    found_cut: Option<Cut>,
    /// Places that say that they have nothing, or had something bad.
    empty: Vec<usize>,
    /// Fragments that were not what they should be.
    lied: u64,
    /// Nodes that did not answer in time would have been needed.
    is_late: bool,
}

impl<'a> Reading<'a> {
    fn new(fleet: &'a Fleet, address: ChunkAddress) -> Self {
        Self {
            fleet,
            cut: Cut::for_nodes(fleet.nodes.len()),
            address,
            nodes: fleet.ring.nodes(&address.id).map(|node| &fleet.nodes[node]).collect(),
            gathering: Gathering::default(),
            found_cut: None,
            empty: Vec::new(),
            lied: 0,
            is_late: false,
        }
    }

    async fn run(&mut self) -> Option<CheckedChunk> {
        let ChunkAddress { id, stored_bytes, .. } = self.address;
        // Of a fleet without nodes nothing is read; all are spoken to alike.
        let deadline = Instant::now() + self.nodes.first()?.access().answer_max;
        let questions = self.nodes.iter().enumerate();
        let mut answers: FuturesUnordered<_> = questions
            .filter_map(|(place, node)| {
                let answer = node.get(id, stored_bytes)?;
                Some(async move { (place, answer.await) })
            })
            .collect();
        while self.gathering.missing(self.cut) <= answers.len() {
            let Ok(next) = timeout_at(deadline, answers.next()).await else {
                self.is_late = true;
                return None;
            };
            let (place, answer) = next?;
            let complete = match answer {
                Ok(Answer::Fragment(fragment)) => self.gathering.add(place, fragment),
                Ok(Answer::Nothing) => {
                    self.empty.push(place);
                    None
                }
                Ok(Answer::Refused | Answer::Done | Answer::Value(_)) => {
                    self.reject(place);
                    None
                }
                // The node failed.
                Err(_) => None,
            };
            if let Some(chunk) = complete.and_then(|fragments| self.check(fragments)) {
                return Some(chunk);
            }
        }
        None
    }

    /// The chunk if its hash is right. If not, sums say which fragments are to blame; without a culprit all are.
    fn check(&mut self, fragments: Vec<Fragment>) -> Option<CheckedChunk> {
        let mut next = Some(fragments);
        while let Some(fragments) = next {
            let stored = join_fragments(&fragments)?;
            match CheckedChunk::check(self.address.id, stored) {
                Ok(chunk) => {
                    self.found_cut = fragments.first().map(|fragment| fragment.cut);
                    return Some(chunk);
                }
                Err(error) => {
                    tracing::error!(chunk = %self.address.id, tier = %Tier::Zone, %error, "fragments are bad");
                }
            }
            let mut damaged = self.gathering.drop_damaged();
            if damaged.is_empty() {
                damaged = std::mem::take(&mut self.gathering).places().collect();
            }
            damaged.into_iter().for_each(|place| self.reject(place));
            next = self.gathering.complete_any();
        }
        None
    }

    fn reject(&mut self, place: usize) {
        self.lied += 1;
        self.empty.push(place);
        self.nodes[place].reject(Key::Fragment(self.address.id));
    }
}

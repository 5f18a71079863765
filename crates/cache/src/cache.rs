//! The tiers in order, and who may ask which of them when.
//!
//! A demand goes straight into the flight of its chunk and waits there for whatever it needs: the memory, then the
//! disk, then the zone, then a permit and the origin. A prefetch does its waiting outside and enters a flight only with a permit in
//! its hand, so that a demand for the same chunk never finds itself behind a queued prefetch: it flies alone, and the
//! prefetch finds the chunk in memory when its turn comes.
//!
//! One clock runs for a demand, from the call on, over all that it waits for. A waiter who takes over from a failed
//! leader therefore has what is left of its own time, and a hundred readers of one chunk of a dead origin fail after
//! one budget, not after a hundred.

use crate::counters::{Counter, TierCounters};
use crate::disk::DiskTier;
use crate::error::OriginSilent;
use crate::fetch::{Fetcher, Question};
use crate::flight::{Flights, Part};
use crate::hedge::HedgeCounters;
use crate::memory::Memory;
use crate::permits::{Amount, Permit, Permits};
use crate::report::HeldReport;
use crate::zone::ZoneTier;
use crate::{ChunkAddress, FetchError, Origin, OriginReport, Report, Settings, SettingsError, Tier, Urgency};
use chunk::{CheckedChunk, ChunkId};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};
use tokio::time::{Instant, timeout_at};

/// Chunks by their ids. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

/// A chunk and where it was found.
#[derive(Clone, Debug)]
struct Found {
    chunk: CheckedChunk,
    tier: Tier,
}

struct Inner {
    memory: Memory,
    disk: Option<DiskTier>,
    zone: Option<ZoneTier>,
    fetcher: Fetcher,
    flights: Flights<Found>,
    permits: Permits,
    fetch_budget: Duration,
    tiers: [Arc<TierCounters>; Tier::ALL.len()],
    joined: Counter,
}

impl Cache {
    /// Opens a cache over an origin. Reads the disk tier's index, 640 KiB at the default size, and so may block.
    ///
    /// A disk tier that cannot be opened (no permission, no room, another cache has it) is left out, and the log says
    /// why: slower is better than not at all.
    ///
    /// # Panics
    /// Outside a tokio runtime, when there is a disk tier or a zone tier: they have tasks on the current one.
    pub fn open(settings: Settings, origin: Arc<dyn Origin>) -> Result<Self, SettingsError> {
        settings.check()?;
        let tiers: [_; Tier::ALL.len()] = std::array::from_fn(|_| Arc::new(TierCounters::default()));
        let open_disk = |disk| DiskTier::open(&disk, Arc::clone(&tiers[Tier::Disk.index()]));
        let open_zone = |fleet: &Path| ZoneTier::open(fleet, Arc::clone(&tiers[Tier::Zone.index()]));
        let permits = Permits::new(Amount {
            requests: settings.origin_requests,
            bytes: settings.origin_bytes,
        });
        let inner = Inner {
            memory: Memory::new(settings.memory_bytes),
            fetcher: Fetcher::new(origin, &settings, permits.clone()),
            flights: Flights::new(),
            permits,
            fetch_budget: settings.fetch_budget,
            disk: settings.disk.and_then(open_disk),
            zone: settings.zone_fleet.map(|fleet| open_zone(&fleet)),
            tiers,
            joined: Counter::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The chunk, if it is in memory and good: the hot path, without a wait. A miss is not counted; the `get` that
    /// follows counts it.
    #[must_use]
    pub fn memory(&self, address: &ChunkAddress) -> Option<CheckedChunk> {
        self.inner.hit_memory(address.id).map(|found| found.chunk)
    }

    /// The chunk, from the nearest tier that has a good copy.
    ///
    /// A demand is answered within the fetch budget, well or badly; a prefetch waits for its permit for as long as
    /// demands go before it. Dropping the future gives up; nobody else's fetch is harmed. A future that is neither
    /// polled nor dropped may hold up others that want the same chunk.
    pub async fn get(&self, address: ChunkAddress, urgency: Urgency) -> Result<(CheckedChunk, Tier), FetchError> {
        if let Some(chunk) = self.memory(&address) {
            return Ok((chunk, Tier::Memory));
        }
        self.inner.counters(Tier::Memory).misses.count();
        let found = match urgency {
            Urgency::Demand => self.inner.demand(address).await?,
            Urgency::Prefetch => self.inner.prefetch(address).await?,
        };
        Ok((found.chunk, found.tier))
    }

    /// Whether a copy is near, good or bad: no bytes are read and nothing is counted. For a prefetcher to pass it over.
    #[must_use]
    pub fn holds(&self, address: &ChunkAddress) -> bool {
        self.inner.memory.contains(&address.id) || self.inner.on_disk(address.id)
    }

    /// What the cache has done and holds.
    #[must_use]
    pub fn report(&self) -> Report {
        self.inner.report()
    }

    /// Takes no more chunks for the disk and the zone, and returns when those it has taken are written. Chunks can still
    /// be had.
    ///
    /// For an orderly end: the directory is free for another cache once all clones are dropped. Without it the same
    /// happens in the background, and what the runtime's end cuts off is lost, which harms nobody.
    pub async fn close(&self) {
        if let Some(disk) = &self.inner.disk {
            disk.close().await;
        }
        if let Some(zone) = &self.inner.zone {
            zone.close().await;
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cache")
    }
}

impl Inner {
    async fn demand(&self, address: ChunkAddress) -> Result<Found, FetchError> {
        let deadline = Instant::now() + self.fetch_budget;
        let load = async {
            if let Some(found) = self.hit_memory(address.id) {
                return Ok(found);
            }
            if let Some(found) = self.demand_of_disk(address.id).await {
                return Ok(found);
            }
            if let Some(found) = self.demand_of_zone(address).await {
                return Ok(found);
            }
            let _permit = self.permits.acquire(Urgency::Demand, address.stored_bytes.into()).await;
            self.ask_origin(address, Urgency::Demand, deadline).await
        };
        self.fly(address, deadline, load).await
    }

    async fn prefetch(&self, address: ChunkAddress) -> Result<Found, FetchError> {
        if let Some(found) = self.prefetch_of_disk(address.id).await {
            return Ok(found);
        }
        if let Some(found) = self.prefetch_of_zone(address).await {
            return Ok(found);
        }
        let _permit = self
            .permits
            .acquire(Urgency::Prefetch, address.stored_bytes.into())
            .await;
        // The wait may have been long, and a demand may have been here.
        if let Some(found) = self.hit_memory(address.id) {
            return Ok(found);
        }
        if let Some(found) = self.prefetch_of_disk(address.id).await {
            return Ok(found);
        }
        let deadline = Instant::now() + self.fetch_budget;
        let load = async {
            match self.hit_memory(address.id) {
                Some(found) => Ok(found),
                None => self.ask_origin(address, Urgency::Prefetch, deadline).await,
            }
        };
        self.fly(address, deadline, load).await
    }

    async fn demand_of_disk(&self, id: ChunkId) -> Option<Found> {
        let disk = self.disk.as_ref().filter(|disk| disk.contains(&id))?;
        let permit = disk.permit(Urgency::Demand).await;
        self.read_disk(disk, id, permit).await
    }

    /// A flight of its own, which fails for others than prefetches too when the copy is bad; a demand that waits in it
    /// then leads the next.
    async fn prefetch_of_disk(&self, id: ChunkId) -> Option<Found> {
        let disk = self.disk.as_ref().filter(|disk| disk.contains(&id))?;
        let permit = disk.permit(Urgency::Prefetch).await;
        let load = async {
            match self.hit_memory(id) {
                Some(found) => Ok(found),
                None => self.read_disk(disk, id, permit).await.ok_or(()),
            }
        };
        let (found, part) = self.flights.run(id, load).await.ok()?;
        Some(self.joined_or_led(found, part))
    }

    async fn demand_of_zone(&self, address: ChunkAddress) -> Option<Found> {
        let zone = self.zone.as_ref()?;
        let permit = zone.permit(Urgency::Demand, address.stored_bytes).await;
        self.read_zone(zone, address, permit).await
    }

    /// A flight of its own, like that of the disk.
    async fn prefetch_of_zone(&self, address: ChunkAddress) -> Option<Found> {
        let zone = self.zone.as_ref()?;
        let permit = zone.permit(Urgency::Prefetch, address.stored_bytes).await;
        let load = async {
            match self.hit_memory(address.id) {
                Some(found) => Ok(found),
                None => self.read_zone(zone, address, permit).await.ok_or(()),
            }
        };
        let (found, part) = self.flights.run(address.id, load).await.ok()?;
        Some(self.joined_or_led(found, part))
    }

    async fn fly(
        &self,
        address: ChunkAddress,
        deadline: Instant,
        load: impl Future<Output = Result<Found, FetchError>>,
    ) -> Result<Found, FetchError> {
        let flight = timeout_at(deadline, self.flights.run(address.id, load)).await;
        let (found, part) = flight.map_err(|_| OriginSilent::new(address, self.fetch_budget))??;
        Ok(self.joined_or_led(found, part))
    }

    /// What another fetched cost no fetch: whoever adds up what came from where must not count it twice.
    fn joined_or_led(&self, found: Found, part: Part) -> Found {
        match part {
            Part::Joined => {
                self.joined.count();
                let tier = Tier::Memory;
                Found { tier, ..found }
            }
            Part::Led => found,
        }
    }

    fn hit_memory(&self, id: ChunkId) -> Option<Found> {
        let begin = Stopwatch::now();
        let stored = self.memory.get(&id)?;
        let counters = self.counters(Tier::Memory);
        match CheckedChunk::check(id, stored.clone()) {
            Ok(chunk) => {
                counters.hit(stored.len(), begin.elapsed());
                let tier = Tier::Memory;
                Some(Found { chunk, tier })
            }
            Err(error) => {
                self.memory.drop_copy(&id, &stored);
                counters.corrupt.count();
                tracing::error!(chunk = %id, tier = %Tier::Memory, %error, "a copy is corrupt and was dropped");
                None
            }
        }
    }

    async fn read_disk(&self, disk: &DiskTier, id: ChunkId, permit: Permit) -> Option<Found> {
        let chunk = disk.read(id, permit).await?;
        self.memory.insert(id, chunk.stored());
        let tier = Tier::Disk;
        Some(Found { chunk, tier })
    }

    async fn read_zone(&self, zone: &ZoneTier, address: ChunkAddress, permit: Permit) -> Option<Found> {
        let chunk = zone.read(address, permit).await?;
        self.count_disk_miss();
        self.keep_near(&chunk);
        let tier = Tier::Zone;
        Some(Found { chunk, tier })
    }

    async fn ask_origin(
        &self,
        address: ChunkAddress,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<Found, FetchError> {
        self.count_disk_miss();
        let question = Question {
            address,
            urgency,
            deadline,
            counters: self.counters(Tier::Origin),
        };
        let chunk = self.fetcher.fetch(question).await?;
        self.keep_near(&chunk);
        if let Some(zone) = &self.zone {
            zone.offer(&chunk);
        }
        let tier = Tier::Origin;
        Ok(Found { chunk, tier })
    }

    /// What came from beyond this machine stays on it.
    fn keep_near(&self, chunk: &CheckedChunk) {
        self.memory.insert(chunk.id(), chunk.stored());
        if let Some(disk) = &self.disk {
            disk.offer(chunk);
        }
    }

    fn count_disk_miss(&self) {
        if self.disk.is_some() {
            self.counters(Tier::Disk).misses.count();
        }
    }

    fn on_disk(&self, id: ChunkId) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.contains(&id))
    }

    fn counters(&self, tier: Tier) -> &TierCounters {
        &self.tiers[tier.index()]
    }

    fn report(&self) -> Report {
        let usage = self.permits.usage();
        let hedged = |counter: fn(&HedgeCounters) -> &Counter| {
            self.fetcher.hedge_counters().map_or(0, |hedges| counter(hedges).get())
        };
        Report {
            tiers: Tier::ALL.map(|tier| self.counters(tier).report()),
            joined: self.joined.get(),
            memory: HeldReport {
                chunks: self.memory.chunks_held(),
                bytes: self.memory.bytes_held(),
                bytes_limit: self.memory.bytes_limit(),
                evictions: self.memory.evictions(),
            },
            disk: self.disk.as_ref().map(DiskTier::report),
            zone: self.zone.as_ref().map(ZoneTier::report),
            origin: OriginReport {
                in_flight_requests: usage.in_flight.requests as u64,
                in_flight_bytes: usage.in_flight.bytes,
                waiting_demands: usage.waiting_demands as u64,
                waiting_prefetches: usage.waiting_prefetches as u64,
                retries: self.fetcher.retries.get(),
                hedges: hedged(|hedges| &hedges.asked),
                hedges_won: hedged(|hedges| &hedges.won),
                hedges_spared: hedged(|hedges| &hedges.spared),
            },
        }
    }
}

#[cfg(test)]
mod tests;

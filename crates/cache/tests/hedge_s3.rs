//! A late answer of a real S3 server, over HTTP, with the store's own client.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and its helpers too")]

#[path = "../../store/src/tests/s3_server.rs"]
mod s3_server;

use async_trait::async_trait;
use cache::{Cache, ChunkAddress, Settings, Tier, Urgency};
use chunk::ChunkId;
use s3_server::S3Server;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{AwsOptions, Store};

/// Answers without which no answer counts as late, and some more.
const WARM: u64 = 40;

/// s3s-fs, of which some reads never come back.
struct Hanging {
    files: FileSystem,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Reads of chunks that are yet to hang.
    hangs: AtomicUsize,
    reads: AtomicUsize,
}

#[async_trait]
impl S3 for Hanging {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        if request.input.key.starts_with("chunks/") {
            self.state.reads.fetch_add(1, Ordering::SeqCst);
            let less = |hangs: usize| hangs.checked_sub(1);
            let hangs = &self.state.hangs;
            if hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                std::future::pending::<()>().await;
            }
        }
        self.files.get_object(request).await
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.files.put_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }
}

async fn start() -> (S3Server, Store, Arc<State>) {
    let state = Arc::new(State::default());
    let shared = Arc::clone(&state);
    let server = S3Server::start(0, |files| Hanging { files, state: shared }).await;
    let pairs = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let aws = AwsOptions::from_variables(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let location = server.url("").parse().unwrap();
    let store = Store::open(&location, store::Settings::default(), &aws).unwrap();
    (server, store, state)
}

async fn put_chunks(store: &Store, count: u64) -> Vec<ChunkAddress> {
    let generation = store.active_root().await.unwrap().generation;
    let mut addresses = Vec::new();
    for number in 0..count {
        let stored = bytes::Bytes::from(number.to_le_bytes().repeat(1000));
        let (id, stored_bytes) = (ChunkId::of(&stored), stored.len() as u32);
        store.put_chunk(generation, id, stored).await.unwrap();
        addresses.push(ChunkAddress {
            generation,
            id,
            stored_bytes,
        });
    }
    addresses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_s3_that_hangs_is_overtaken_by_a_second_one() {
    let (_server, store, state) = start().await;
    let addresses = put_chunks(&store, WARM + 3).await;
    // Any share, so that a busy machine's late answers cannot have spent it.
    let settings = Settings {
        hedge_percent: 100,
        ..Settings::default()
    };
    let attempt_timeout = settings.attempt_timeout;
    let cache = Cache::open(settings, Arc::new(store)).unwrap();
    let (warm, hanging) = addresses.split_at(WARM as usize);
    for address in warm {
        cache.get(*address, Urgency::Demand).await.unwrap();
    }
    for (number, address) in hanging.iter().enumerate() {
        let before = (cache.report().origin, state.reads.load(Ordering::SeqCst));
        state.hangs.store(1, Ordering::SeqCst);
        let begin = std::time::Instant::now();
        let (chunk, tier) = cache.get(*address, Urgency::Demand).await.unwrap();
        assert_eq!((chunk.id(), tier), (address.id, Tier::Origin));
        assert!(begin.elapsed() < attempt_timeout, "it was not the attempt's time-out");
        let after = cache.report().origin;
        assert_eq!(after.hedges_won, before.0.hedges_won + 1, "hang {number}: {after:?}");
        assert_eq!((after.retries, after.in_flight_requests), (before.0.retries, 0));
        assert_eq!(state.reads.load(Ordering::SeqCst), before.1 + 2);
    }
}

//! The ways of having a chunk that are compared.

use crate::proxy::{Proxy, Trouble};
use crate::sealed::Chunks;
use crate::servers::FleetFile;
use crate::{CHUNKS, Memcached};
use bytes::Bytes;
use cache::{Cache, Settings, Urgency};
use chunk::{CheckedChunk, Opener};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Servers that share the chunks.
const NODES: usize = 6;

/// Room for all chunks on one server.
const MEMORY: &str = "--memory-limit=512";

/// Where plaintext goes.
type Buffers<'a> = (&'a mut Opener, &'a mut Vec<u8>);

/// One way of having a chunk.
pub(crate) trait Way: Send + Sync + 'static {
    /// What each reader has of its own.
    type Reader: Send;

    fn reader(&self) -> impl Future<Output = Self::Reader> + Send;

    /// Ends when the chunk is open.
    fn read(
        reader: &mut Self::Reader,
        chunks: &Chunks,
        number: usize,
        buffers: Buffers<'_>,
    ) -> impl Future<Output = ()> + Send;
}

/// One server and no more than is needed to have a value from it.
pub(crate) struct Plain {
    server: Memcached,
    is_opened: bool,
}

pub(crate) struct PlainReader {
    stream: BufReader<TcpStream>,
    line: String,
    is_opened: bool,
}

impl Plain {
    pub(crate) async fn start(chunks: &Chunks, is_opened: bool) -> Self {
        let server = Memcached::start(&[MEMORY]);
        let way = Self { server, is_opened };
        let mut reader = way.reader().await;
        for number in 0..CHUNKS {
            let (id, stored) = (chunks.addresses[number].id, chunks.stored(number));
            let head = format!("ms {id} {}\r\n", stored.len());
            reader
                .stream
                .write_all(&[head.as_bytes(), stored, b"\r\n"].concat())
                .await
                .unwrap();
            assert_eq!(reader.line().await, "HD\r\n");
        }
        way
    }
}

impl PlainReader {
    async fn line(&mut self) -> &str {
        self.line.clear();
        self.stream.read_line(&mut self.line).await.unwrap();
        &self.line
    }
}

impl Way for Plain {
    type Reader = PlainReader;

    async fn reader(&self) -> PlainReader {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        PlainReader {
            stream: BufReader::new(stream),
            line: String::new(),
            is_opened: self.is_opened,
        }
    }

    async fn read(reader: &mut PlainReader, chunks: &Chunks, number: usize, buffers: Buffers<'_>) {
        let id = chunks.addresses[number].id;
        reader
            .stream
            .write_all(format!("mg {id} v\r\n").as_bytes())
            .await
            .unwrap();
        let line = reader.line().await;
        let bytes: usize = line.trim_end().strip_prefix("VA ").unwrap().parse().unwrap();
        let mut value = Vec::with_capacity(bytes + 2);
        let mut stream = (&mut reader.stream).take(bytes as u64 + 2);
        while stream.limit() > 0 {
            stream.read_buf(&mut value).await.unwrap();
        }
        value.truncate(bytes);
        if reader.is_opened {
            let checked = CheckedChunk::check(id, Bytes::from(value)).unwrap();
            chunks.open(number, &checked, buffers);
        }
    }
}

/// What happens to the first server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Killed,
    Delayed,
}

/// As it stands behind a way's name.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "",
            Self::Killed => ", one killed",
            Self::Delayed => ", one delayed by 100 ms",
        })
    }
}

/// The zone tier, over one fleet of six or six fleets of one.
pub(crate) struct Zone {
    caches: Arc<[Cache]>,
    _servers: Vec<Memcached>,
    _files: Vec<FleetFile>,
    _proxy: Option<(Arc<Proxy>, std::sync::mpsc::Sender<()>)>,
}

impl Zone {
    pub(crate) async fn start(chunks: &Arc<Chunks>, nodes_of_a_chunk: usize, fault: Fault) -> Self {
        let mut servers: Vec<_> = (0..NODES).map(|_| Memcached::start(&[MEMORY])).collect();
        let mut addresses: Vec<_> = servers.iter().map(Memcached::address).collect();
        let proxy = (fault == Fault::Delayed).then(|| proxy_on_a_thread(addresses[0].clone()));
        if let Some((proxy, _)) = &proxy {
            addresses[0] = proxy.address();
        }
        let fleets = match nodes_of_a_chunk {
            1 => addresses.into_iter().map(|address| vec![address]).collect(),
            _ => vec![addresses],
        };
        let files: Vec<_> = fleets.iter().cloned().map(FleetFile::new).collect();
        fill(&open_all(&files, chunks), chunks).await;
        // Filled without haste; read as an operator's fleet is.
        for (file, nodes) in files.iter().zip(fleets) {
            file.name_for(nodes, 100);
        }
        let caches = open_all(&files, chunks);
        match (fault, &proxy) {
            (Fault::Killed, _) => servers[0].kill(),
            (Fault::Delayed, Some((proxy, _))) => proxy.make(Trouble::Delay(Duration::from_millis(100))),
            _ => {}
        }
        Self {
            caches,
            _servers: servers,
            _files: files,
            _proxy: proxy,
        }
    }
}

fn open_all(files: &[FleetFile], chunks: &Arc<Chunks>) -> Arc<[Cache]> {
    let open = |file: &FleetFile| {
        let settings = Settings {
            memory_bytes: 0,
            zone_fleet: Some(file.path()),
            ..Settings::default()
        };
        Cache::open(settings, chunks.clone()).unwrap()
    };
    files.iter().map(open).collect()
}

/// One of equal ones, by the chunk's hash.
fn cache_of(caches: &[Cache], chunks: &Chunks, number: usize) -> Cache {
    let hash = chunks.addresses[number].id.as_bytes()[7];
    caches[usize::from(hash) % caches.len()].clone()
}

async fn fill(caches: &[Cache], chunks: &Chunks) {
    for number in 0..CHUNKS {
        let cache = cache_of(caches, chunks, number);
        cache.get(chunks.addresses[number], Urgency::Demand).await.unwrap();
    }
    for cache in caches {
        cache.close().await;
        let zone = cache.report().zone.unwrap();
        assert_eq!((zone.writes_dropped, zone.fragments_failed), (0, 0), "{zone:?}");
    }
}

/// It ends when the sender is dropped.
fn proxy_on_a_thread(address: String) -> (Arc<Proxy>, std::sync::mpsc::Sender<()>) {
    let (started, proxy) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let proxy = Arc::new(runtime.block_on(Proxy::start(address)));
        let _ = started.send(proxy);
        let _: Result<(), _> = ended.recv();
    });
    (proxy.recv().unwrap(), end)
}

impl Way for Zone {
    type Reader = Arc<[Cache]>;

    async fn reader(&self) -> Arc<[Cache]> {
        Arc::clone(&self.caches)
    }

    async fn read(caches: &mut Arc<[Cache]>, chunks: &Chunks, number: usize, buffers: Buffers<'_>) {
        let cache = cache_of(caches, chunks, number);
        let (checked, _) = cache.get(chunks.addresses[number], Urgency::Demand).await.unwrap();
        chunks.open(number, &checked, buffers);
    }
}

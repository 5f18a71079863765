//! One blob, read to its end through broken connections.
//!
//! The reader knows how many bytes it has handed out. When a connection breaks it asks for the rest by a range; a
//! server that ignores ranges sends the blob from its start, and what was already handed out is skipped. Each new byte
//! renews the budget of tries, and a bound on connections ends a server that sends a byte at a time.
//!
//! Even the first request asks for a range, `bytes=0-`: an answer in full would be hashed by `oci-client` with a slower
//! SHA-256, while our caller hashes anyway. Nothing here checks a digest; a server that sends the wrong range is found
//! by the caller's.

use super::retry::{Retry, TRIES};
use super::{Digest, OciDistributionError, Registry, RegistryError, RegistryFault};
use bytes::{Buf, Bytes};
use futures::stream::{BoxStream, StreamExt};
use oci_client::client::BlobResponse;
use std::io::{self, Read};

/// Connections for one blob.
const CONNECTIONS_MAX: u32 = 1000;

/// Reads a blob from a registry. Blocks, so it must not be used on the runtime's own threads.
pub(in crate::source) struct BlobReader {
    registry: Registry,
    digest: String,
    bytes: u64,
    /// Bytes handed out, or in `current`.
    offset: u64,
    current: Bytes,
    connection: Option<Connection>,
    connections: u32,
    retry: Retry,
}

struct Connection {
    stream: BoxStream<'static, Result<Bytes, io::Error>>,
    /// Bytes still to come that were already handed out.
    skip: u64,
}

impl BlobReader {
    pub(super) fn new(registry: Registry, digest: &Digest, bytes: u64) -> Self {
        Self {
            registry,
            digest: digest.to_string(),
            bytes,
            offset: 0,
            current: Bytes::new(),
            connection: None,
            connections: 0,
            retry: Retry::new(TRIES),
        }
    }

    /// All of a blob whose length the caller has bounded.
    pub(super) fn read_whole(mut self) -> Result<Vec<u8>, RegistryError> {
        let mut whole = Vec::new();
        while self.fill()? {
            whole.append(&mut std::mem::take(&mut self.current).into());
        }
        Ok(whole)
    }

    /// Makes sure that `current` holds bytes; false at the blob's end.
    fn fill(&mut self) -> Result<bool, RegistryError> {
        if self.current.is_empty() && self.offset < self.bytes {
            let runtime = self.registry.shared.runtime.clone();
            let fetched = runtime.block_on(self.fetch());
            fetched.map_err(|fault| self.registry.error(fault))?;
        }
        Ok(!self.current.is_empty())
    }

    /// Makes `current` hold new bytes.
    async fn fetch(&mut self) -> Result<(), RegistryFault> {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    self.retry.succeeded();
                    self.offset += bytes.len() as u64;
                    self.current = bytes;
                    return Ok(());
                }
                Err(fault) => {
                    self.connection = None;
                    self.retry.failed(fault).await?;
                }
            }
        }
    }

    /// Connects, or takes what comes next; `None` when that was nothing new.
    async fn step(&mut self) -> Result<Option<Bytes>, RegistryFault> {
        let Some(connection) = &mut self.connection else {
            self.connection = Some(self.connect().await?);
            return Ok(None);
        };
        let mut bytes = match connection.stream.next().await {
            None => {
                return Err(RegistryFault::Interrupted {
                    reason: format!("the blob ended after {} of {} bytes", self.offset, self.bytes),
                });
            }
            Some(Err(error)) => return Err(RegistryFault::of_stream(&error)),
            Some(Ok(bytes)) => bytes,
        };
        let skipped = connection.skip.min(bytes.len() as u64);
        connection.skip -= skipped;
        bytes.advance(usize::try_from(skipped).expect("at most the length of a buffer"));
        let left = usize::try_from(self.bytes - self.offset).unwrap_or(usize::MAX);
        bytes.truncate(left);
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    async fn connect(&mut self) -> Result<Connection, RegistryFault> {
        self.connections += 1;
        if self.connections > CONNECTIONS_MAX {
            return Err(RegistryFault::Protocol {
                reason: format!("blob {} took more than {CONNECTIONS_MAX} connections", self.digest),
            });
        }
        let shared = &self.registry.shared;
        let answer = shared
            .client
            .pull_blob_stream_partial(&shared.reference, self.digest.as_str(), self.offset, None)
            .await
            .map_err(|error| self.connect_fault(&error))?;
        let (stream, skip) = match answer {
            BlobResponse::Full(stream) => (stream, self.offset),
            BlobResponse::Partial(stream) => (stream, 0),
        };
        let announced = stream.content_length.map(|length| length + self.offset - skip);
        match announced {
            Some(found) if found != self.bytes => Err(RegistryFault::BlobSize {
                digest: self.digest.clone(),
                expected: self.bytes,
                found,
            }),
            _ => Ok(Connection {
                stream: stream.stream,
                skip,
            }),
        }
    }
}

impl BlobReader {
    /// A refusal after the first connection is a token that could not be renewed just now.
    fn connect_fault(&self, error: &OciDistributionError) -> RegistryFault {
        match RegistryFault::of(error) {
            RegistryFault::Unknown => RegistryFault::BlobMissing {
                digest: self.digest.clone(),
            },
            RegistryFault::Refused { .. } if self.connections > 1 => RegistryFault::Interrupted {
                reason: "access was refused after it had been granted".to_owned(),
            },
            fault => fault,
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.fill()? {
            return Ok(0);
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The registry's error inside an error of [`BlobReader`]; the error itself when it is another.
pub(in crate::source) fn registry_error(error: io::Error) -> Result<RegistryError, io::Error> {
    error.downcast::<RegistryError>()
}

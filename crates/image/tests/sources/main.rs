//! Sources against the real tools: what skopeo writes, and what Debian's docker-registry serves.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and its helpers too")]

mod archives;
mod proxy;
mod registries;
mod sample;
mod servers;

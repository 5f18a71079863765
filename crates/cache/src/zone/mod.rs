//! The tier between this machine and the origin: a fleet of memcached servers that all workers of a zone share.
//!
//! ```text
//! read ──> ring: five nodes ──> ask all five ──> the first four rebuild ──> hash ──> a chunk
//!               │                   │                                        │
//!               │                   └── a node fails, lies, hangs:           └── wrong: sums say who lied,
//!               │                       the other four do                        the fifth may do
//!               └── too few answers ──> the origin, under its permits ──> written back, when there is time
//! ```
//! Files, from the inside: `fragment` (the code and the bytes), `ring` (who holds what), `breaker` (whom to ask),
//! `protocol` and `connection` (memcached), `node`, `fleet` and `watch` (the file that names them), `gathering` (which
//! answers do), `writer`, `tier`; `values` is another use of the same servers.
//!
//! **A fragment lies under its chunk's name** on each of the chunk's nodes, and says itself which it is. When a node
//! joins or leaves, the chunk's other nodes still have four different fragments wherever the list has shifted them; the
//! one that is missing is written when a read has noticed. The chunk need not come from the origin for that.
//!
//! **Nobody waits for the slowest.** Five questions go out at once and four answers do. Answers that come later are read
//! off their connection and dropped. A node that fails three times in a row, or gives what nobody has stored there, is
//! left alone for half a second and then tried with a single question, then for twice as long, to 15 s.
//!
//! **Memcached is believed nothing.** The rebuilt chunk is hashed; a fragment is worth what the hash says. No key is
//! ever sent to a node, and losing all of them costs fetches from the origin, which its permits bound.

mod breaker;
mod connection;
mod fleet;
mod fragment;
mod gathering;
mod node;
mod protocol;
mod ring;
mod tier;
mod values;
mod watch;
mod writer;

pub use fragment::{Cut, Fragment, FragmentError, cut_chunk, join_fragments};
pub(crate) use tier::ZoneTier;
pub use values::{VALUE_BYTES_MAX, ValueName, ValueTier};

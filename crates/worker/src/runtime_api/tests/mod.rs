//! The server through real connections and hand-written requests; the machine by tables; the real clients.

mod clients;
mod environment;
mod extensions;
mod hostile;
mod invocations;
mod machine;
mod many;
mod streams;
mod subscribers;

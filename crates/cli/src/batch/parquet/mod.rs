//! Parquet as a batch's input and output.
//!
//! ```text
//! FILE ─ fd 0 ─> lambent batch rows: a process of its own, at most 1 GiB ─ JSON lines ─> the batch, as from any input
//! results, in order ─> Results: a row group at a time ─ bytes ─> the output
//! ```
//! An input's rows are events: a row is an object with a member for each column. The rows come to the batch as lines, so a
//! row's number is the record's, its hash is that of its line, and a batch that was killed goes on by both.
//!
//! A page, a dictionary or a row's lists may claim any size and compress to nothing, and the decoder believes them. So
//! it runs in a process whose memory the kernel limits: what is beyond that ends the process, with the batch's error.

mod input;
mod output;
mod rows;
mod value;

pub(super) use input::RowsProcess;
pub(crate) use input::spool;
pub(super) use output::Results;
pub(crate) use rows::print_rows;

#[cfg(test)]
mod tests;

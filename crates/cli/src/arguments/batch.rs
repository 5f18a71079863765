//! `lambent batch`.

use crate::batch::Place;
use clap::{Args, Subcommand};
use std::num::NonZeroU32;

#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// Invoke a function for each line of the input; its answers become the lines of the output, in the same order
    #[command(
        after_help = "Examples:\n  lambent batch run scorer --input rows.jsonl --output scores.jsonl --concurrency 32\n  lambent batch run scorer --input s3://bucket/rows.parquet --output s3://bucket/scores.parquet\n  zcat rows.jsonl.gz | lambent batch run scorer --input - --output - > scores.jsonl\n\nKilled or stopped, the same command goes on where it was: results are kept beside the output, in OUTPUT.journal, until the\noutput is whole. A line of the output is {\"line\": N, \"response\": ...} or {\"line\": N, \"error\": {kind, type, message}}.\nWhat is called *.parquet is Parquet: rows are objects with a member for each column; results have the columns line,\nresponse (JSON as text), error_kind, error_type, error_message.\nWith an error in any line the command fails, with its output complete. Objects in S3 take the AWS_* variables."
    )]
    Run(Box<BatchRunArguments>),
    /// Print the rows of the Parquet file on standard input as JSON lines; `run` starts it
    #[command(hide = true)]
    Rows,
}

#[derive(Debug, Args)]
pub(crate) struct BatchRunArguments {
    /// The function: its name, or its ARN
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// JSON lines or Parquet: a file, s3://BUCKET/KEY?endpoint=URL&region=R; or - for JSON lines on standard input
    #[arg(long, value_name = "PLACE")]
    pub(crate) input: Place,
    /// Where JSON lines or Parquet go: a file, s3://...; or - for standard output, which cannot be gone on with
    #[arg(long, value_name = "PLACE")]
    pub(crate) output: Place,
    /// Invocations at once
    #[arg(long, value_name = "N", default_value = "16")]
    pub(crate) concurrency: NonZeroU32,
    /// How often a record is tried again after a throttle or a fault of the system, with growing pauses
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) retries: u32,
    /// A version or an alias
    #[arg(long)]
    pub(crate) qualifier: Option<String>,
}

//! Recursion detection: which functions an event has come through, and how often.
//!
//! As in Lambda the trace header carries it: `Root=…;Parent=…;Sampled=0;Lineage=HASH:COUNT,HASH:COUNT`, one entry for each
//! function. AWS's SDKs hand a function's trace on with every call, SQS keeps it with a message, and deliveries carry it,
//! so a loop is seen however many services it leads through. Lambda's own format of the entries is not published; its
//! SDKs' tests have this one.

use aws_lc_rs::digest;
use std::fmt::Write as _;

/// How often a function runs in one chain before it is stopped. Source: AWS Lambda Developer Guide, "Use Lambda
/// recursive loop detection": "approximately 16 times".
pub(crate) const LOOPS_MAX: u32 = 16;
/// Functions that a lineage names; beyond them those that ran least are forgotten, since none of them is a loop yet.
const FUNCTIONS_MAX: usize = 32;

/// A trace with one more function in its lineage.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// The header that the function gets.
    pub(crate) trace_id: String,
    /// How often the function has run in this chain, this time included.
    pub(crate) count: u32,
}

/// Enters a function, by its ARN without a qualifier.
pub(crate) fn entered(trace_id: &str, arn: &str) -> Entered {
    let (rest, lineage) = split(trace_id);
    let mut entries = parse(lineage);
    let hash = hash(arn);
    let count = match entries.iter_mut().find(|(found, _)| *found == hash) {
        Some((_, count)) => {
            *count = count.saturating_add(1);
            *count
        }
        None => {
            entries.push((hash, 1));
            1
        }
    };
    if entries.len() > FUNCTIONS_MAX {
        // The sort is stable: of those that ran equally often, the first ones stay, but for the new one's place.
        entries.sort_by_key(|(found, count)| (*found != hash, std::cmp::Reverse(*count)));
        entries.truncate(FUNCTIONS_MAX);
    }
    Entered {
        trace_id: join(&rest, &entries),
        count,
    }
}

/// The header without its lineage, and its lineage.
fn split(trace_id: &str) -> (Vec<&str>, &str) {
    let is_lineage = |part: &str| {
        part.get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case("lineage="))
    };
    let rest = trace_id.split(';').filter(|part| !part.is_empty() && !is_lineage(part));
    let lineage = trace_id.split(';').find(|part| is_lineage(part));
    (rest.collect(), lineage.map_or("", |part| &part[8..]))
}

/// What is not an entry is left out: whoever sends such a header loses its own lineage.
fn parse(lineage: &str) -> Vec<(u32, u32)> {
    let entries = lineage.split([',', '|']).filter_map(|entry| {
        let (hash, count) = entry.split_once(':')?;
        Some((u32::from_str_radix(hash, 16).ok()?, count.parse().ok()?))
    });
    entries.take(FUNCTIONS_MAX).collect()
}

fn join(rest: &[&str], entries: &[(u32, u32)]) -> String {
    let mut text = rest.join(";");
    text.push_str(if text.is_empty() { "Lineage=" } else { ";Lineage=" });
    for (index, (hash, count)) in entries.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{hash:08x}:{count}");
    }
    text
}

/// 32 bits: two of the few functions of one chain meet once in a hundred million chains.
fn hash(arn: &str) -> u32 {
    let digest = digest::digest(&digest::SHA256, arn.as_bytes());
    let bytes = digest.as_ref();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "arn:aws:lambda:us-east-1:123456789012:function:a";
    const B: &str = "arn:aws:lambda:us-east-1:123456789012:function:b";

    #[test]
    fn each_function_is_counted_by_itself() {
        let first = entered("Root=1-0-0;Parent=0;Sampled=0", A);
        assert_eq!(first.count, 1);
        let head = "Root=1-0-0;Parent=0;Sampled=0;Lineage=";
        assert!(first.trace_id.starts_with(head), "{}", first.trace_id);
        let mut trace = first.trace_id;
        for round in 1..=20 {
            let other = entered(&trace, B);
            assert_eq!(other.count, round);
            let again = entered(&other.trace_id, A);
            assert_eq!(again.count, round + 1);
            trace = again.trace_id;
        }
        assert_eq!(trace.matches("Lineage=").count(), 1);
        assert_eq!(trace.matches(':').count(), 2);
    }

    #[test]
    fn what_others_write_is_read() {
        let count = |trace: &str| entered(trace, A).count;
        let hash = hash(A);
        assert_eq!(count(&format!("Root=1-0-0;lineage={hash:x}:4")), 5);
        assert_eq!(count(&format!("Lineage=68fd508a:5|{hash:08x}:7|c512fbe3:2")), 8);
        for broken in [
            "",
            ";;",
            "Lineage=",
            "Lineage=x",
            "Lineage=:::,,|",
            "lineage=zz:1",
            "Lineage=ffffffffff:1",
            "Ärger",
        ] {
            assert_eq!(count(broken), 1, "{broken}");
        }
        assert_eq!(count(&format!("Lineage={hash:08x}:{}", u32::MAX)), u32::MAX);
    }

    #[test]
    fn a_lineage_has_a_limit_and_keeps_what_loops() {
        let mut trace = entered("Root=1", A).trace_id;
        trace = entered(&trace, A).trace_id;
        for number in 0..100 {
            trace = entered(&trace, &format!("{B}-{number}")).trace_id;
        }
        assert!(trace.len() < 1024, "{}", trace.len());
        assert_eq!(entered(&trace, A).count, 3);
    }
}

//! What follows from a request's id alone: its place in an alias's split, and its trace.

use uuid::Uuid;

/// A number from 0 to 1 that decides between the versions of a weighted alias: the first 48 bits of the request's UUID,
/// all of them random in version 4.
pub(super) fn lot_of(request_id: &str) -> f64 {
    let bits = Uuid::parse_str(request_id).map_or(0, |uuid| uuid.as_u128() >> 80);
    let bits = u64::try_from(bits).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "48 bits fit into the 52 of a mantissa")]
    let lot = bits as f64 / (1_u64 << 48) as f64;
    lot
}

/// `Root=1-TIME-ID;Parent=ID;Sampled=0`, made from the request's own id.
pub(crate) fn trace_id(request_id: &str, now_ms: u64) -> String {
    let digits: String = request_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .chain(std::iter::repeat('0'))
        .take(32)
        .collect();
    format!(
        "Root=1-{:08x}-{};Parent={};Sampled=0",
        now_ms / 1000,
        &digits[..24],
        &digits[16..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_are_even() {
        let below = (0..10_000)
            .filter(|_| lot_of(&Uuid::new_v4().to_string()) < 0.1)
            .count();
        // Ten standard deviations (30) around the mean.
        assert!((700..1300).contains(&below), "{below}");
        assert!(lot_of("ffffffff-ffff-4fff-bfff-ffffffffffff") < 1.0);
    }

    #[test]
    fn trace_ids_have_the_usual_form() {
        let trace = trace_id("01234567-89ab-4cde-8f01-23456789abcd", 1_795_326_780_000);
        assert_eq!(
            trace,
            "Root=1-6b02833c-0123456789ab4cde8f012345;Parent=8f0123456789abcd;Sampled=0"
        );
    }
}

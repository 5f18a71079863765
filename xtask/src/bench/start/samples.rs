//! Figures of several runs.

/// What was measured again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a figure.
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; the upper of two.
    pub(super) fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    /// A measured figure that this share of all lies below: 50 gives the median (the upper of two), 0 the smallest, 100
    /// the largest. 0 when nothing was measured.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64) as usize;
        sorted
            .get(rank.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }

    /// Smallest and largest.
    pub(super) fn range(&self) -> (f64, f64) {
        (self.percentile(0.0), self.percentile(100.0))
    }

    /// Whether nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The mean that ratios have.
pub(super) fn geometric_mean(ratios: &[f64]) -> f64 {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (logarithms / ratios.len().max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_figures() {
        let cases: [(&[f64], f64, f64); 7] = [
            (&[], 50.0, 0.0),
            (&[7.0], 99.0, 7.0),
            (&[3.0, 1.0, 2.0], 50.0, 2.0),
            (&[4.0, 3.0, 1.0, 2.0], 50.0, 3.0),
            (&[3.0, 1.0, 2.0], 0.0, 1.0),
            (&[3.0, 1.0, 2.0], 100.0, 3.0),
            (&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], 90.0, 10.0),
        ];
        for (values, percent, expected) in cases {
            let samples: Samples = values.iter().copied().collect();
            assert_eq!(samples.percentile(percent), expected, "{values:?} at {percent}");
        }
    }

    #[test]
    fn a_ratio_and_its_inverse_cancel() {
        assert!((geometric_mean(&[8.0, 0.125]) - 1.0).abs() < 1e-12);
    }
}

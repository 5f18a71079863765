//! A lease for tests.

pub(crate) use api::example_lease as lease;

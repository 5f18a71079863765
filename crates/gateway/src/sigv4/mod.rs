//! AWS Signature Version 4, the verifying side: in the Authorization header, and in the query of a presigned URL.
//!
//! A request is judged in two steps, so that nobody without a key can make us read a large body:
//! [`Claim::identify`] looks at what the request says about itself (a known key, a time near ours, the right service);
//! [`Claim::verify`] computes the signature over the request and its body and compares in constant time.
//!
//! The canonical request is made here and not by `aws-sigv4`, which only signs: it adds and leaves out headers by its
//! own settings, while a verifier must take exactly the headers that the client lists. Tests hold our form against
//! that crate's and against botocore's. The signing key comes from `aws-sigv4`.
//!
//! Any region is accepted in the scope: the signature binds it, and a client's configured region says nothing about
//! what it may do here. The service must be the one that is asked.

mod authorization;
mod canonical;
mod claim;
mod failure;
mod signing_keys;
#[cfg(test)]
mod tests;
mod timestamp;

pub use authorization::{Authorization, AuthorizationParseError};
pub(crate) use claim::Claim;
pub use claim::signed_text;
pub(crate) use failure::SignatureFailure;
pub(crate) use signing_keys::SigningKeys;

//! What every provider keeps, and what each adds.

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod conformance;
mod keyring;
#[cfg(feature = "aws-kms")]
mod moto;

#[cfg(all(feature = "aws-kms", feature = "vault"))]
mod slow;
#[cfg(feature = "vault")]
mod transit_server;
#[cfg(feature = "vault")]
mod vault;

use chunk::Account;

fn account(last: u8) -> Account {
    format!("12345678901{last}").parse().unwrap()
}

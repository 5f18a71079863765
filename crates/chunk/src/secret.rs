//! Keys in memory: wiped when dropped, never printed.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes in every key of the format: AES-256.
pub const KEY_BYTES: usize = 32;

macro_rules! secret_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_BYTES]);

        impl $name {
            /// Takes the key's 32 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
                Self(bytes)
            }

            /// Shows the key's 32 bytes to the code that encrypts or stores them sealed.
            #[must_use]
            pub const fn expose(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

secret_key! {
    /// Opens one chunk. Derived from the chunk's own bytes, so it meets one plaintext only.
    ChunkKey
}

secret_key! {
    /// Opens one manifest's key table and what is stored beside it. Drawn afresh for every manifest and wrapped by the
    /// account's key.
    DataKey
}

use super::*;

const NONCE: [u8; NONCE_BYTES] = [1; NONCE_BYTES];

fn key() -> DataKey {
    DataKey::from_bytes([2; 32])
}

#[test]
fn what_is_sealed_opens_with_the_same_key_and_associated_data_only() {
    for plaintext in [&b""[..], b"x", &[7; 1000]] {
        let sealed = Envelope::seal(&key(), NONCE, b"manifest", plaintext);
        assert_eq!(sealed.len(), plaintext.len() + Envelope::OVERHEAD_BYTES);
        assert_eq!(Envelope::open(&key(), b"manifest", &sealed).as_deref(), Ok(plaintext));
        assert_eq!(
            Envelope::open(&key(), b"manifesto", &sealed),
            Err(EnvelopeError::Refused)
        );
        assert_eq!(
            Envelope::open(&DataKey::from_bytes([3; 32]), b"manifest", &sealed),
            Err(EnvelopeError::Refused)
        );
    }
}

#[test]
fn every_changed_bit_and_every_other_length_is_refused() {
    let sealed = Envelope::seal(&key(), NONCE, b"name", b"some plaintext");
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            Envelope::open(&key(), b"name", &changed),
            Err(EnvelopeError::Refused),
            "bit {bit}"
        );
    }
    for length in 0..sealed.len() {
        let expected = match length {
            0..28 => EnvelopeError::Truncated { bytes: length },
            _ => EnvelopeError::Refused,
        };
        assert_eq!(Envelope::open(&key(), b"name", &sealed[..length]), Err(expected));
    }
    assert_eq!(
        Envelope::open(&key(), b"name", &[&sealed[..], &[0]].concat()),
        Err(EnvelopeError::Refused)
    );
}

/// The format: AES-256-GCM with this layout. Computed by Python's `cryptography`.
#[test]
fn the_format_is_what_it_was() {
    let sealed = Envelope::seal(&key(), NONCE, b"name", b"text");
    assert_eq!(
        hex::encode(sealed),
        "010101010101010101010101d2b5073d928555a3449ab1f0d986f390b2283478"
    );
}

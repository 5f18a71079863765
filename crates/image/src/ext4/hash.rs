//! The hash by which ext4 orders the names of a large directory: half of MD4, over unsigned characters.
//!
//! Source: linux `fs/ext4/hash.c` describes it; the constants are MD4's (RFC 1320). Not for security.

/// MD4's own start values, which ext4 uses when the file system has no seed of its own.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// MD4's constants of the second and third round.
const ROUND_2: u32 = 0x5a82_7999;
const ROUND_3: u32 = 0x6ed9_eba1;

/// The end mark of a directory's hash order, which no name may have.
const END_OF_DIRECTORY: u32 = 0x7fff_ffff << 1;

/// The hash of a name: even, and never the end mark.
pub(super) fn half_md4(name: &[u8]) -> u32 {
    let mut state = START;
    let mut rest = name;
    loop {
        mix(&mut state, &words(rest));
        match rest.get(32..) {
            Some(tail) if !tail.is_empty() => rest = tail,
            _ => break,
        }
    }
    match state[1] & !1 {
        END_OF_DIRECTORY => END_OF_DIRECTORY - 2,
        hash => hash,
    }
}

/// The first 32 bytes as big-endian words; what is missing is filled with the length of what is left.
fn words(name: &[u8]) -> [u32; 8] {
    let pad = u32::from_le_bytes([name.len() as u8; 4]);
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(name.chunks(4)) {
        *word = bytes.iter().fold(pad, |word, byte| (word << 8) | u32::from(*byte));
    }
    words
}

fn mix(state: &mut [u32; 4], input: &[u32; 8]) {
    type Choose = fn(u32, u32, u32) -> u32;
    let rounds: [(Choose, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (
            |x, y, z| (x & y).wrapping_add((x ^ y) & z),
            ROUND_2,
            [1, 3, 5, 7, 0, 2, 4, 6],
            [3, 5, 9, 13],
        ),
        (|x, y, z| x ^ y ^ z, ROUND_3, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (choose, constant, order, shifts) in rounds {
        for (step, word) in order.into_iter().enumerate() {
            let sum = a
                .wrapping_add(choose(b, c, d))
                .wrapping_add(input[word])
                .wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::half_md4;

    /// Expected values printed by debugfs 1.47: `debugfs -R 'dx_hash -h half_md4 NAME' IMAGE`, no seed. (It takes a version
    /// that it does not know, `half_md4_unsigned` among them, for the legacy one; ASCII has no sign.)
    #[test]
    fn names_hash_as_debugfs_says() {
        for (name, expected) in DEBUGFS {
            assert_eq!(half_md4(name.as_bytes()), *expected, "{name}");
        }
    }

    const DEBUGFS: &[(&str, u32)] = &[
        ("a", 0xd5fa_7d7a),
        ("bc", 0xe24c_0b72),
        ("hello", 0x1746_da32),
        ("abcd", 0xad75_57a8),
        ("__init__.py", 0x4743_ec02),
        ("abcdefghijklmnopqrstuvwxyz012345", 0x1964_3b1a),
        ("abcdefghijklmnopqrstuvwxyz0123456", 0x16ed_9a9c),
        (
            "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234567890",
            0xfe97_76d6,
        ),
    ];
}

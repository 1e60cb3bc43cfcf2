use super::*;

/// The first value is the one XXH3's own specification gives for empty input.
#[test]
fn keys_hash_alike_in_every_version() {
    assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(hash_key(b"user-17"), 0x7d94_013a_7349_7c81);
}

#[test]
fn seeds_make_different_hashes() {
    assert_eq!(hash_seeded(b"a", 0), hash_key(b"a"));
    assert_ne!(hash_seeded(b"a", 1), hash_seeded(b"a", 2));
}

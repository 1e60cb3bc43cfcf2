//! Which edges a histogram shows whose receiver wants a few fixed ones.

use super::unit::Unit;

/// Edges as powers of two, at which a sketch is exact: some twenty, where values of a unit are
/// likely to lie.
pub(super) fn exponents(unit: Unit) -> Vec<i32> {
    match unit {
        // 122 us to 64 s.
        Unit::Seconds => (-13..=6).collect(),
        Unit::Milliseconds => (-3..=16).collect(),
        Unit::Microseconds => (7..=26).collect(),
        Unit::Percent => (-6..=7).collect(),
        // 64 to 2^40, a factor of four between.
        Unit::Bytes | Unit::Bits | Unit::BytesPerSecond => (6..=40).step_by(2).collect(),
        Unit::None | Unit::Count | Unit::CountPerSecond => (-10..=30).step_by(2).collect(),
    }
}

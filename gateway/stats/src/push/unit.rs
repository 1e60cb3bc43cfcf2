//! What a figure is counted in, under the names each receiver has for it.

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unit {
    /// A plain number.
    #[default]
    None,
    /// How many there are.
    Count,
    /// Hundredths of a whole.
    Percent,
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
    /// Bytes.
    Bytes,
    /// Bits.
    Bits,
    /// Bytes in a second.
    BytesPerSecond,
    /// How many in a second.
    CountPerSecond,
}

impl Unit {
    /// The name in UCUM, the case-sensitive code that OpenTelemetry uses; empty where there is none.
    pub fn ucum(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Count => "1",
            Unit::Percent => "%",
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::Microseconds => "us",
            Unit::Bytes => "By",
            Unit::Bits => "bit",
            Unit::BytesPerSecond => "By/s",
            Unit::CountPerSecond => "1/s",
        }
    }

    /// The name among CloudWatch's `StandardUnit`s.
    pub fn cloudwatch(self) -> &'static str {
        match self {
            Unit::None => "None",
            Unit::Count => "Count",
            Unit::Percent => "Percent",
            Unit::Seconds => "Seconds",
            Unit::Milliseconds => "Milliseconds",
            Unit::Microseconds => "Microseconds",
            Unit::Bytes => "Bytes",
            Unit::Bits => "Bits",
            Unit::BytesPerSecond => "Bytes/Second",
            Unit::CountPerSecond => "Count/Second",
        }
    }

    /// What Prometheus wants at the end of a metric's name; `None` where it wants nothing.
    pub fn prometheus(self) -> Option<&'static str> {
        Some(match self {
            Unit::None | Unit::Count => return None,
            Unit::Percent => "percent",
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Microseconds => "microseconds",
            Unit::Bytes => "bytes",
            Unit::Bits => "bits",
            Unit::BytesPerSecond => "bytes_per_second",
            Unit::CountPerSecond => "per_second",
        })
    }
}

use super::{
    AbsolutePath, Address, BitRate, Bytes, BytesOrUnlimited, Domain, Duration, DurationOrZero,
    HeaderName, HeaderValue, Method, Name, Network, Percent, RateOrOff, RemoteAddress, Scalar,
    Share, UrlTarget,
};

/// Whether the schema takes `text`.
fn schema_takes<T: Scalar + schemars::JsonSchema>(text: &str) -> bool {
    let schema = serde_json::to_value(crate::schema::of::<T>()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.is_valid(&text.into())
}

fn agree<T: Scalar + schemars::JsonSchema>(good: &[&str], bad: &[&str]) {
    let example = T::example();
    for text in good.iter().copied().chain([&*example]) {
        let read = T::read(text).unwrap_or_else(|refusal| panic!("{}: {refusal}", T::name()));
        assert!(schema_takes::<T>(text), "{}: {text:?} of {}", T::name(), T::pattern());
        // What is written is read as the same again.
        let written = read.to_string();
        assert_eq!(T::read(&written).unwrap().to_string(), written);
    }
    for text in bad {
        assert!(T::read(text).is_err(), "{}: {text:?}", T::name());
        assert!(!schema_takes::<T>(text), "{}: {text:?} of {}", T::name(), T::pattern());
    }
}

#[test]
fn shares_are_written_as_they_are_read() {
    for (text, millionths) in
        [("1%", 1_000_000), ("0.1%", 100_000), ("0.000001%", 1), ("100%", 100_000_000)]
    {
        assert_eq!(Share::parse(text), Ok(Share(millionths)));
        assert_eq!(Share(millionths).to_string(), text);
    }
}

#[test]
fn the_pattern_takes_what_the_reader_takes() {
    agree::<Duration<0>>(
        &["15s", "250ms", "1.5m", ".5s", "24h", "1440m", "86400.0s", "1us", "100 us", "0.5h"],
        &["15", "0s", "0.0ms", "-1s", "s", "15sec", "", "25h", "24.5h", "86401s", "5 days", ".s"],
    );
    agree::<Duration<100>>(&["100ms", "0.1s", "1h"], &["99ms", "10us", "0s"]);
    agree::<Duration<1, 10_000>>(&["1ms", "10s", "10000ms"], &["11s", "1m", "10.5s", "0ms"]);
    agree::<DurationOrZero<86_400_000>>(&["0s", "5s"], &["25h", "0", ""]);
    agree::<Bytes<256, 1_048_576>>(
        &["256B", "1MiB", "64KiB", "1.5KiB", "1MB", "0.5MiB"],
        &["255B", "2MiB", "1048577B", "64", "KiB", "0B", "1GiB"],
    );
    agree::<BytesOrUnlimited>(&["unlimited", "0B", "10MiB"], &["never", "10"]);
    agree::<BytesOrUnlimited<65_536>>(&["64KiB", "unlimited", "1GiB"], &["63KiB", "1B"]);
    agree::<RateOrOff>(&["off", "0", "240B", "1KiB"], &["on", "240"]);
    agree::<Share>(
        &["0%", "100%", "100.0%", "0.1%", "1.000001%", "7 %", "007%"],
        &["101%", "100.1%", "50", "-1%", "1.%", ".5%", "1.0000001%"],
    );
    agree::<Percent>(&["0%", "100%", "7 %"], &["101%", "50", "-1%", "1.5%"]);
}

#[test]
fn addresses_and_fields_agree_as_well() {
    agree::<Address>(
        &["127.0.0.1:0", "[::1]:8080", "255.255.255.255:65535", "[fe80::1%3]:1"],
        &["nowhere", "127.0.0.1", "256.0.0.1:1", "127.0.0.1:65536", "::1:80", "localhost:80"],
    );
    agree::<RemoteAddress>(&["10.0.0.1:80"], &["10.0.0.1:0", "10.0.0.1"]);
    agree::<Network>(
        &["10.0.0.0/8", "10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32", "::ffff:10.0.0.0/104"],
        &["here", "10.0.0.0/33", "10.0.0/8", "::/129", ""],
    );
    agree::<HeaderName>(&["X-User", "a"], &["a b", "", "a:b", "é"]);
    agree::<HeaderValue>(&["a b", ""], &["a\nb", "é"]);
    agree::<Method>(&["GET", "M-SEARCH"], &["get", "", "G T"]);
    agree::<BitRate>(
        &["8kbps", "100Mbps", "1.5 Gbps", "8000bps", "1000Gbps", " 64kbps "],
        &["100", "7kbps", "7999bps", "1001Gbps", "100MB", "-1Mbps", "Mbps", ""],
    );
    agree::<Name>(&["a", "a b"], &[""]);
    agree::<AbsolutePath>(&["/sys"], &["maps", ""]);
    agree::<UrlTarget>(&["/", "/a?b=\"c\"", "/%00"], &["a", "/a b", "/a#b", ""]);
    agree::<Domain>(&["a.example", "*.a.example", "shop.*", "*", "[::1]"], &[]);
}

#[test]
fn times_and_sizes_are_written_as_people_write_them() {
    let time = |text| Duration::<0>::read(text).unwrap().to_string();
    for (text, written) in [
        ("60s", "60s"),
        ("90s", "90s"),
        ("120s", "2m"),
        ("3600s", "1h"),
        ("1.5s", "1500ms"),
        ("1m", "60s"),
        ("250ms", "250ms"),
        ("100us", "100us"),
    ] {
        assert_eq!(time(text), written, "{text}");
    }
    assert_eq!(BitRate::read("0.1Gbps").unwrap().to_string(), "100Mbps");
    assert_eq!(BytesOrUnlimited::<0>(u64::MAX).to_string(), "unlimited");
    assert_eq!(Bytes::<0, 1_048_576>(65_536).to_string(), "64KiB");
}

use http::{HeaderMap, HeaderName, HeaderValue};
use sallyport_plugin::TraceContext;

use super::{B3, Form, read, write};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SHORT: &str = "64fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";
const IDS: (u128, u64) = (0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7, 0xe457_b5a2_e4d8_6bd1);

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

#[test]
fn one_field_may_say_all() {
    let short = (IDS.0 as u64 as u128, IDS.1);
    for (text, ids, is_sampled) in [
        (format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"), Some(IDS), Some(true)),
        (format!("{TRACE}-{SPAN}-0"), Some(IDS), Some(false)),
        (format!("{TRACE}-{SPAN}-d"), Some(IDS), Some(true)),
        (format!("{TRACE}-{SPAN}"), Some(IDS), None),
        (format!("{SHORT}-{SPAN}-1"), Some(short), Some(true)),
        ("0".to_owned(), None, Some(false)),
        ("1".to_owned(), None, Some(true)),
        ("d".to_owned(), None, Some(true)),
        (format!("{TRACE}-{SPAN}-2"), None, None),
        (format!("{TRACE}-{SPAN}-1-5"), None, None),
        (format!("{TRACE}-{SPAN}-1-{SPAN}-1"), None, None),
        (format!("{TRACE}0-{SPAN}-1"), None, None),
        (format!("{}-{SPAN}-1", "0".repeat(32)), None, None),
        ("what".to_owned(), None, None),
        (String::new(), None, None),
    ] {
        let found = read(&headers(&[("b3", &text)]));
        assert_eq!(found, B3 { form: Form::Single, ids, is_sampled }, "{text:?}");
    }
}

#[test]
fn each_part_may_have_a_field() {
    let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    let of = |more: &[(&'static str, &'static str)]| {
        let found = read(&headers(&[&ids[..], more].concat()));
        assert_eq!((found.form, found.ids), (Form::Multiple, Some(IDS)));
        found.is_sampled
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("x-b3-sampled", "1")]), Some(true));
    assert_eq!(of(&[("x-b3-sampled", "0"), ("x-b3-parentspanid", SPAN)]), Some(false));
    assert_eq!(of(&[("x-b3-flags", "1")]), Some(true));
    let alone = |fields: &[(&'static str, &str)]| read(&headers(fields));
    let denied = B3 { form: Form::Multiple, ids: None, is_sampled: Some(false) };
    assert_eq!(alone(&[("x-b3-sampled", "0")]), denied);
    assert_eq!(alone(&[("x-b3-traceid", TRACE)]).ids, None);
    assert_eq!(alone(&[]), B3::default());
}

#[test]
fn it_goes_on_as_it_came() {
    let span = TraceContext { trace_id: IDS.0, span_id: 7, is_sampled: true };
    let mut sent = headers(&[("b3", "0"), ("x-b3-parentspanid", SPAN), ("x-other", "1")]);
    write(&mut sent, Form::Single, &span);
    assert_eq!(sent["b3"], format!("{TRACE}-0000000000000007-1"));
    assert_eq!(sent.len(), 2);
    let mut sent = headers(&[("x-b3-traceid", SHORT), ("x-b3-flags", "1")]);
    write(&mut sent, Form::Multiple, &span);
    assert_eq!(sent["x-b3-traceid"], TRACE);
    assert_eq!(sent["x-b3-spanid"], "0000000000000007");
    assert_eq!(sent["x-b3-sampled"], "1");
    assert_eq!(sent.len(), 3);
    let mut sent = HeaderMap::new();
    write(&mut sent, Form::None, &span);
    assert!(sent.is_empty());
}

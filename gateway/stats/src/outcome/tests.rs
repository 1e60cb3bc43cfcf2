use super::*;

#[test]
fn every_status_has_its_class() {
    let classes = [
        (0, "none"),
        (99, "none"),
        (101, "1xx"),
        (200, "2xx"),
        (299, "2xx"),
        (304, "3xx"),
        (404, "4xx"),
        (499, "4xx"),
        (500, "5xx"),
        (599, "5xx"),
        (600, "none"),
        (u16::MAX, "none"),
    ];
    for (status, label) in classes {
        assert_eq!(CodeClass::of(status).label(), label, "{status}");
    }
}

#[test]
fn the_lists_are_in_the_order_of_the_cells() {
    assert!(CodeClass::ALL.iter().enumerate().all(|(i, &class)| class as usize == i));
    assert!(ErrorKind::ALL.iter().enumerate().all(|(i, &kind)| kind as usize == i));
}

#[test]
fn only_error_codes_are_errors_by_themselves() {
    assert_eq!(ErrorKind::of(0), None);
    assert_eq!(ErrorKind::of(302), None);
    assert_eq!(ErrorKind::of(404), Some(ErrorKind::ClientError));
    assert_eq!(ErrorKind::of(503), Some(ErrorKind::ServerError));
}

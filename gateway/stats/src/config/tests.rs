use super::*;

#[test]
fn the_first_load_is_no_reload() {
    let config = ConfigStats::default();
    assert!(config.figures().serving.is_none());
    config.loaded(1, "aa");
    let figures = config.figures();
    assert_eq!((figures.applied, figures.rejected), (0, 0));
    assert_eq!(figures.serving.unwrap().version, 1);
}

#[test]
fn a_rejected_reload_leaves_what_serves() {
    let config = ConfigStats::default();
    config.loaded(1, "aa");
    config.applied(2, "bb");
    config.rejected();
    let figures = config.figures();
    assert_eq!((figures.applied, figures.rejected), (1, 1));
    assert_eq!(figures.serving.unwrap().sha256, "bb");
}

#[test]
fn the_latest_attempt_is_known_and_undone_by_going_back() {
    let config = ConfigStats::default();
    assert!(config.figures().latest.is_none());
    let is_successful = || config.figures().latest.unwrap().is_successful;
    config.loaded(1, "aa");
    assert!(is_successful());
    config.rejected();
    assert!(!is_successful());
    config.restored();
    assert!(is_successful());
    assert_eq!(config.figures().applied, 0);
}

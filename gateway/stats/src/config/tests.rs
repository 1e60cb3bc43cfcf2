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

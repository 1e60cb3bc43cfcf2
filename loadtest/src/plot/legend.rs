//! Which line is which: names beside a piece of their line, in rows that are as wide as the picture.

use super::palette::Look;
use super::{Canvas, TEXT_PX, WIDTH_PX, lines, width_px, words, write};
use anyhow::Result;
use plotters::style::text_anchor::{HPos, VPos};

const ROW_PX: i32 = 18;
const SAMPLE_PX: i32 = 24;
const MARGIN_PX: i32 = 60;

/// Where each name's sample begins, from the legend's top left, and the legend's height.
pub(super) fn places(names: &[&str]) -> (Vec<(i32, i32)>, i32) {
    let (mut x, mut y) = (MARGIN_PX, 0);
    let mut places = Vec::new();
    for name in names {
        let entry_px = SAMPLE_PX + width_px(name) + 26;
        if x > MARGIN_PX && x + entry_px > WIDTH_PX - 10 {
            (x, y) = (MARGIN_PX, y + ROW_PX);
        }
        places.push((x, y));
        x += entry_px;
    }
    (places, if names.is_empty() { 0 } else { y + ROW_PX })
}

/// Draws it with its top at `top`.
pub(super) fn draw(canvas: &Canvas<'_>, names: &[&str], looks: &[Look], top: i32) -> Result<()> {
    let (places, _) = places(names);
    for ((name, look), (x, y)) in names.iter().zip(looks).zip(places) {
        let y = top + y + ROW_PX / 2;
        lines::stroke(canvas, &[(x, y), (x + SAMPLE_PX, y)], *look)?;
        let style = words(TEXT_PX, HPos::Left, VPos::Center);
        write(canvas, name, (x + SAMPLE_PX + 6, y), style)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_begin_a_row() {
        let long = "a name that takes a good third of the whole width of it";
        let (places, height_px) = places(&[long, long, long]);
        assert_eq!(places[0], (MARGIN_PX, 0));
        assert_eq!(places[0].1, places[1].1);
        assert_eq!(places[2], (MARGIN_PX, ROW_PX));
        assert_eq!(height_px, 2 * ROW_PX);
    }
}

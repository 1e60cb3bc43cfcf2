//! Horizontal bars: every bar has its name to the left and its figure to the right, so that neither
//! colours nor grid lines have to be followed with the eye.

use super::palette::{Look, looks};
use super::scale::Scale;
use super::{Bars, Canvas, TEXT_PX, drawing, figure, picture, tick, width_px, words, write};
use crate::figures::Spread;
use anyhow::Result;
use plotters::prelude::{Color, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, FontStyle};

const TOP_PX: i32 = 40;
const ROW_PX: i32 = 16;
const HEAD_PX: i32 = 22;
const GAP_PX: i32 = 10;
const AXIS_PX: i32 = 46;
const BAR_PX: i32 = 11;
/// Room for a figure behind the longest bar.
const FIGURE_PX: i32 = 84;

pub(super) fn draw(bars: &Bars) -> Result<String> {
    let rows: i32 = bars.groups.iter().map(|(_, bars)| group_px(bars.len())).sum();
    let bottom = TOP_PX + rows;
    let scale = scale(bars);
    picture(&bars.title, bottom + AXIS_PX, |canvas| {
        grid(canvas, bars, &scale, bottom)?;
        let mut y = TOP_PX;
        for (label, members) in &bars.groups {
            group(canvas, label, members, &scale, y)?;
            y += group_px(members.len());
        }
        Ok(())
    })
}

fn group_px(bars: usize) -> i32 {
    HEAD_PX + bars as i32 * ROW_PX + GAP_PX
}

fn scale(bars: &Bars) -> Scale {
    let members = || bars.groups.iter().flat_map(|(_, members)| members);
    let spreads = members().filter_map(|(_, spread)| *spread);
    let values = spreads.flat_map(|spread| [spread.min, spread.median, spread.max]);
    let names_px = members().map(|(name, _)| width_px(name)).max().unwrap_or(0);
    Scale::over(values, bars.log, (names_px + 24, super::WIDTH_PX - FIGURE_PX))
}

fn grid(canvas: &Canvas<'_>, bars: &Bars, scale: &Scale, bottom: i32) -> Result<()> {
    for value in scale.ticks() {
        let x = scale.px(value);
        let line = PathElement::new([(x, TOP_PX), (x, bottom)], BLACK.mix(0.12));
        canvas.draw(&line).map_err(drawing)?;
        let style = words(TEXT_PX, HPos::Center, VPos::Top);
        write(canvas, &tick(value), (x, bottom + 5), style)?;
    }
    let style = words(TEXT_PX, HPos::Center, VPos::Top);
    let unit = if bars.log { format!("{} (logarithmic)", bars.unit) } else { bars.unit.clone() };
    write(canvas, &unit, (super::WIDTH_PX / 2, bottom + 24), style)
}

fn group(
    canvas: &Canvas<'_>,
    label: &str,
    members: &[(String, Option<Spread>)],
    scale: &Scale,
    top: i32,
) -> Result<()> {
    let mut head = words(TEXT_PX, HPos::Left, VPos::Center);
    head.font = head.font.style(FontStyle::Bold);
    write(canvas, label, (10, top + HEAD_PX / 2), head)?;
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    let mut y = top + HEAD_PX + ROW_PX / 2;
    for ((name, spread), look) in members.iter().zip(looks(&names)) {
        row(canvas, (name, *spread), scale, look, y)?;
        y += ROW_PX;
    }
    Ok(())
}

fn row(
    canvas: &Canvas<'_>,
    (name, spread): (&str, Option<Spread>),
    scale: &Scale,
    look: Look,
    y: i32,
) -> Result<()> {
    let start = scale.px(f64::NEG_INFINITY);
    let mut style = words(TEXT_PX, HPos::Right, VPos::Center);
    if look.stands_out {
        style.font = style.font.style(FontStyle::Bold);
    }
    write(canvas, name, (start - 8, y), style.clone())?;
    let drawn = spread.filter(|spread| scale.shows(spread.median) && scale.shows(spread.min));
    let (text, end) = match drawn {
        None => ("-".to_owned(), start),
        Some(spread) => (figure(spread.median), bar(canvas, spread, scale, look, y)?),
    };
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    write(canvas, &text, (end + 6, y), style)
}

/// Draws the bar and its whisker; where they end.
fn bar(canvas: &Canvas<'_>, spread: Spread, scale: &Scale, look: Look, y: i32) -> Result<i32> {
    let Spread { median, min, max } = spread;
    let zero = scale.px(0.0);
    let corners = [(zero, y - BAR_PX / 2), (scale.px(median), y + BAR_PX / 2)];
    canvas.draw(&Rectangle::new(corners, look.colour.filled())).map_err(drawing)?;
    if max > min {
        let (from, to) = (scale.px(min), scale.px(max));
        for path in
            [[(from, y), (to, y)], [(from, y - 3), (from, y + 3)], [(to, y - 3), (to, y + 3)]]
        {
            canvas.draw(&PathElement::new(path, BLACK.mix(0.7))).map_err(drawing)?;
        }
    }
    Ok(scale.px(max).max(zero))
}

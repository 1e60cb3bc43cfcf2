//! Lines through points, with a legend above them and dashed rules across them.

use super::palette::{Look, looks};
use super::scale::Scale;
use super::{
    Canvas, Lines, TEXT_PX, WIDTH_PX, drawing, figure, legend, picture, tick, turned, words, write,
};
use anyhow::Result;
use plotters::element::DashedPathElement;
use plotters::prelude::{Circle, Color, PathElement, Rectangle};
use plotters::style::BLACK;
use plotters::style::text_anchor::{HPos, VPos};

const TOP_PX: i32 = 40;
const LEFT_PX: i32 = 84;
const RIGHT_PX: i32 = 24;
const PLOT_PX: i32 = 340;
const AXIS_PX: i32 = 52;
/// Points so few are marked, because the line between them was not measured.
const MARKED_MAX: usize = 30;

/// The two axes and the points they are for.
struct Plot {
    x: Scale,
    y: Scale,
    top: i32,
    bottom: i32,
}

pub(super) fn draw(lines: &Lines) -> Result<String> {
    let names: Vec<&str> = lines.series.iter().map(|(name, _)| name.as_str()).collect();
    let looks = looks(&names);
    let (_, legend_px) = legend::places(&names);
    let plot = Plot::of(lines, TOP_PX + legend_px);
    picture(&lines.title, plot.bottom + AXIS_PX, |canvas| {
        legend::draw(canvas, &names, &looks, TOP_PX - 6)?;
        plot.grid(canvas, lines)?;
        for ((_, points), look) in lines.series.iter().zip(&looks) {
            plot.series(canvas, points, *look)?;
        }
        lines.rules.iter().try_for_each(|(label, value)| plot.rule(canvas, label, *value))
    })
}

impl Plot {
    fn of(lines: &Lines, top: i32) -> Self {
        let bottom = top + PLOT_PX;
        let points = || lines.series.iter().flat_map(|(_, points)| points.iter().copied());
        let rules = lines.rules.iter().map(|(_, value)| *value);
        let across = (LEFT_PX, WIDTH_PX - RIGHT_PX);
        Self {
            x: Scale::over(points().map(|(x, _)| x), lines.log_x, across),
            y: Scale::over(points().map(|(_, y)| y).chain(rules), lines.log_y, (bottom, top)),
            top,
            bottom,
        }
    }

    fn grid(&self, canvas: &Canvas<'_>, lines: &Lines) -> Result<()> {
        let (left, right) = (LEFT_PX, WIDTH_PX - RIGHT_PX);
        for value in self.x.ticks() {
            let x = self.x.px(value);
            faint(canvas, (x, self.top), (x, self.bottom))?;
            let style = words(TEXT_PX, HPos::Center, VPos::Top);
            write(canvas, &tick(value), (x, self.bottom + 6), style)?;
        }
        for value in self.y.ticks() {
            let y = self.y.px(value);
            faint(canvas, (left, y), (right, y))?;
            let style = words(TEXT_PX, HPos::Right, VPos::Center);
            write(canvas, &tick(value), (left - 8, y), style)?;
        }
        let frame = Rectangle::new([(left, self.top), (right, self.bottom)], BLACK.mix(0.4));
        canvas.draw(&frame).map_err(drawing)?;
        self.axes(canvas, lines)
    }

    fn axes(&self, canvas: &Canvas<'_>, lines: &Lines) -> Result<()> {
        let across = words(TEXT_PX, HPos::Center, VPos::Bottom);
        let middle = i32::midpoint(LEFT_PX, WIDTH_PX - RIGHT_PX);
        write(canvas, &lines.x, (middle, self.bottom + AXIS_PX - 8), across)?;
        let up = turned(words(TEXT_PX, HPos::Center, VPos::Top));
        write(canvas, &lines.y, (8, i32::midpoint(self.top, self.bottom)), up)
    }

    fn series(&self, canvas: &Canvas<'_>, points: &[(f64, f64)], look: Look) -> Result<()> {
        let shown = points.iter().filter(|(x, y)| self.x.shows(*x) && self.y.shows(*y));
        let path: Vec<(i32, i32)> = shown.map(|&(x, y)| (self.x.px(x), self.y.px(y))).collect();
        stroke(canvas, &path, look)?;
        if path.len() > MARKED_MAX {
            return Ok(());
        }
        let mark = |&at: &(i32, i32)| canvas.draw(&Circle::new(at, 3, look.colour.filled()));
        path.iter().try_for_each(mark).map_err(drawing)
    }

    fn rule(&self, canvas: &Canvas<'_>, label: &str, value: f64) -> Result<()> {
        if !self.y.shows(value) {
            return Ok(());
        }
        let y = self.y.px(value);
        let ends = [(LEFT_PX, y), (WIDTH_PX - RIGHT_PX, y)];
        let line = DashedPathElement::new(ends, 6, 4, BLACK.mix(0.8));
        canvas.draw(&line).map_err(drawing)?;
        let style = words(TEXT_PX, HPos::Right, VPos::Bottom);
        let text = format!("{label}: {}", figure(value));
        write(canvas, &text, (WIDTH_PX - RIGHT_PX - 6, y - 2), style)
    }
}

fn faint(canvas: &Canvas<'_>, from: (i32, i32), to: (i32, i32)) -> Result<()> {
    canvas.draw(&PathElement::new([from, to], BLACK.mix(0.12))).map_err(drawing)
}

/// A line as its series is drawn, in the picture and in the legend.
pub(super) fn stroke(canvas: &Canvas<'_>, path: &[(i32, i32)], look: Look) -> Result<()> {
    let style = look.colour.stroke_width(if look.stands_out { 3 } else { 2 });
    if look.dashed {
        let line = DashedPathElement::new(path.iter().copied(), 5, 3, style);
        return canvas.draw(&line).map_err(drawing);
    }
    canvas.draw(&PathElement::new(path, style)).map_err(drawing)
}

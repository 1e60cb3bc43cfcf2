//! Pictures of figures, as SVG.
//!
//! Owns the two kinds that the reports need: bars with their range for figures of several proxies,
//! and lines over time or load. A picture is a pure function of its data, so that the same results
//! draw the same bytes. It stands on a white ground of its own, because pages may be dark, and every
//! proxy has the same colour in all of them.

mod bars;
mod legend;
mod lines;
mod palette;
mod scale;

use crate::figures::Spread;
use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::prelude::{BLACK, Color, DrawingArea, FontTransform, SVGBackend, Text, TextStyle};
use plotters::style::IntoFont;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::fs;
use std::path::Path;

/// Groups of horizontal bars, one bar a series, with its range as a whisker.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Stands above the picture.
    pub title: String,
    /// Unit of every value, below the axis.
    pub unit: String,
    /// From top to bottom.
    pub groups: Vec<Group>,
    /// Whether the axis is logarithmic; values that are not above zero are then drawn as a dash.
    pub log: bool,
}

/// Label of a group, and its bars: the name of each series and its figure; none is drawn as a dash.
pub type Group = (String, Vec<(String, Option<Spread>)>);

/// Lines through points, one a series.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Stands above the picture.
    pub title: String,
    /// What runs to the right, with its unit.
    pub x: String,
    /// What runs upwards, with its unit.
    pub y: String,
    /// Whether the axis to the right is logarithmic; points that are not above zero are left out.
    pub log_x: bool,
    /// Whether the axis upwards is logarithmic; points that are not above zero are left out.
    pub log_y: bool,
    /// Name and points of each line, in the order in which they are joined.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
    /// Dashed horizontal lines, such as a gate, with their labels.
    pub rules: Vec<(String, f64)>,
}

impl Bars {
    /// Draws them into `file`, replacing it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        save(file, bars::draw(self)?)
    }
}

impl Lines {
    /// Draws them into `file`, replacing it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        save(file, lines::draw(self)?)
    }
}

type Canvas<'picture> = DrawingArea<SVGBackend<'picture>, Shift>;

const WIDTH_PX: i32 = 900;
const FONT: &str = "Helvetica, Arial, sans-serif";
const TITLE_PX: i32 = 17;
const TEXT_PX: i32 = 12;
/// What a character takes on average at [`TEXT_PX`]; no font is at hand to measure with.
const CHARACTER_PX: f64 = 6.4;

/// A figure in as many digits as are worth reading.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => return "0".to_owned(),
        large if large >= 1000.0 => return thousands(value),
        large if large >= 100.0 => 0,
        middling if middling >= 10.0 => 1,
        small if small >= 1.0 => 2,
        small if small >= 0.001 => 3,
        _ => return format!("{value:.1e}"),
    };
    format!("{value:.digits$}")
}

/// A tick of an axis: a figure without zeros behind it.
fn tick(value: f64) -> String {
    let text = figure(value);
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

fn width_px(text: &str) -> i32 {
    (text.chars().count() as f64 * CHARACTER_PX) as i32
}

fn save(file: &Path, picture: String) -> Result<()> {
    fs::write(file, picture).with_context(|| file.display().to_string())
}

/// Fills a picture of that height: white, the title on top, the rest by `fill`.
fn picture<Fill>(title: &str, height_px: i32, fill: Fill) -> Result<String>
where
    Fill: FnOnce(&Canvas<'_>) -> Result<()>,
{
    let mut text = String::new();
    {
        let size = (WIDTH_PX as u32, height_px as u32);
        let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
        canvas.fill(&plotters::style::WHITE).map_err(drawing)?;
        write(&canvas, title, (WIDTH_PX / 2, 10), words(TITLE_PX, HPos::Center, VPos::Top))?;
        fill(&canvas)?;
        canvas.present().map_err(drawing)?;
    }
    Ok(text)
}

/// Plotters' errors hold what need not be `Send`; their text is enough.
fn drawing<Cause: Error + Send + Sync>(error: DrawingAreaErrorKind<Cause>) -> anyhow::Error {
    anyhow::anyhow!("could not draw: {error}")
}

fn words(size_px: i32, across: HPos, down: VPos) -> TextStyle<'static> {
    let mut style = TextStyle::from((FONT, size_px).into_font()).pos(Pos::new(across, down));
    style.color = BLACK.mix(0.85).to_backend_color();
    style
}

fn turned(style: TextStyle<'static>) -> TextStyle<'static> {
    style.transform(FontTransform::Rotate270)
}

fn write(canvas: &Canvas<'_>, text: &str, at: (i32, i32), style: TextStyle<'_>) -> Result<()> {
    canvas.draw(&Text::new(text.to_owned(), at, style)).map_err(drawing)
}

#[cfg(test)]
mod tests;

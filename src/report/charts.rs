//! Charts as inline SVG. Their colours are placeholders for roles; the page's style sheet gives every role its colour,
//! light or dark.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::metrics::calibration::ReliabilityBin;
use crate::metrics::precision_recall::CurvePoint;
use crate::report::format::count;
use crate::report::tally::Histogram;

/// Small enough that a phone shows the text at nearly its size.
const SIZE: (u32, u32) = (400, 250);

// roles; page.css looks for these
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const ACCENT: RGBColor = RGBColor(3, 3, 3);
const SOFT: RGBColor = RGBColor(4, 4, 4);
const MARK: RGBColor = RGBColor(5, 5, 5);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// An axis: its range, its ticks and their labels.
struct Axis<'a> {
    range: [f64; 2],
    ticks: Vec<f64>,
    name: &'a str,
    label: &'a dyn Fn(&f64) -> String,
}

/// Pairs by score: soft bars below the threshold, strong bars at or above it.
pub fn histogram(of: &Histogram, threshold: Option<f32>, name: &str) -> Result<String> {
    let threshold = threshold.map(f64::from);
    let most = of.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let (x_ticks, y_ticks) = (ticks(of.from, of.to, 5), ticks(0.0, most, 4));
    let x_label = |value: &f64| format!("{value:.2}");
    let x = Axis { range: [of.from, of.to], ticks: x_ticks, name, label: &x_label };
    let y = Axis { range: [0.0, most * 1.12], ticks: y_ticks, name: "pairs", label: &short };
    let width = (of.to - of.from) / of.counts.len() as f64;
    svg(&format!("Histogram of {name}"), |area| {
        let mut chart = axes(area, x, y)?;
        for (at, &pairs) in of.counts.iter().enumerate().filter(|(_, pairs)| **pairs > 0) {
            let left = of.from + at as f64 * width;
            let colour = if threshold.is_none_or(|threshold| left + width / 2.0 >= threshold) { ACCENT } else { SOFT };
            let bar =
                Rectangle::new([(left + 0.06 * width, 0.0), (left + 0.94 * width, pairs as f64)], colour.filled());
            chart.draw_series([bar])?;
        }
        match threshold {
            Some(threshold) if (of.from..=of.to).contains(&threshold) => {
                mark_threshold(&mut chart, threshold, [of.from, of.to], most * 1.12)
            }
            _ => Ok(()),
        }
    })
}

fn mark_threshold(chart: &mut Chart, at: f64, range: [f64; 2], top: f64) -> Result<()> {
    chart.draw_series([PathElement::new(vec![(at, 0.0), (at, top)], MARK.stroke_width(2))])?;
    // the label is on the side that has room
    let left = at > (range[0] + range[1]) / 2.0;
    let anchor = Pos::new(if left { HPos::Right } else { HPos::Left }, VPos::Top);
    let shift = (range[1] - range[0]) * if left { -0.015 } else { 0.015 };
    let style = font(MARK).pos(anchor);
    chart.draw_series([Text::new(format!("threshold {at:.3}"), (at + shift, top), style)])?;
    Ok(())
}

/// Clusters by size, on a logarithmic scale: a few large clusters stay visible beside very many small ones.
pub fn sizes(bars: &[(String, u64)]) -> Result<String> {
    let height = |count: u64| if count == 0 { 0.0 } else { (count as f64).log10() + 0.3 };
    let top = bars.iter().map(|(_, count)| height(*count)).fold(1.0, f64::max) * 1.15;
    let x_label = |at: &f64| bars.get(at.round() as usize).map_or(String::new(), |(label, _)| label.clone());
    let centres = (0..bars.len()).map(|at| at as f64).collect();
    let x = Axis {
        range: [-0.6, bars.len() as f64 - 0.4],
        ticks: centres,
        name: "questions in the cluster",
        label: &x_label,
    };
    let blank = |_: &f64| String::new();
    let y = Axis { range: [0.0, top], ticks: Vec::new(), name: "clusters (log scale)", label: &blank };
    svg("Clusters by their number of questions", |area| {
        let mut chart = axes(area, x, y)?;
        for (at, (_, clusters)) in bars.iter().enumerate().filter(|(_, (_, clusters))| *clusters > 0) {
            let (at, height) = (at as f64, height(*clusters));
            chart.draw_series([Rectangle::new([(at - 0.4, 0.0), (at + 0.4, height)], ACCENT.filled())])?;
            let style = font(INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            chart.draw_series([Text::new(short(&(*clusters as f64)), (at, height + top * 0.01), style)])?;
        }
        Ok(())
    })
}

/// A count of each version.
pub fn trend(points: &[(u64, u64)], name: &str) -> Result<String> {
    let top = points.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64 * 1.15;
    let x_label = |at: &f64| points.get(at.round() as usize).map_or(String::new(), |(version, _)| version.to_string());
    let centres = (0..points.len()).map(|at| at as f64).collect();
    let range = [-0.6, points.len() as f64 - 0.4];
    let x = Axis { range, ticks: centres, name: "version", label: &x_label };
    let y = Axis { range: [0.0, top], ticks: ticks(0.0, top, 4), name, label: &short };
    svg(&format!("{name} by version"), |area| {
        let mut chart = axes(area, x, y)?;
        for (at, &(_, number)) in points.iter().enumerate() {
            let (at, number) = (at as f64, number as f64);
            let colour = if at as usize + 1 == points.len() { ACCENT } else { SOFT };
            chart.draw_series([Rectangle::new([(at - 0.4, 0.0), (at + 0.4, number)], colour.filled())])?;
            let style = font(INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            chart.draw_series([Text::new(short(&number), (at, number + top * 0.01), style)])?;
        }
        Ok(())
    })
}

/// Steps across a chart that an eye can distinguish.
const PIXELS: f64 = 500.0;

/// Precision over recall, with the run's own threshold as a dot.
pub fn precision_recall(curve: &[CurvePoint], chosen: Option<CurvePoint>) -> Result<String> {
    let mut line: Vec<(f64, f64)> = curve.iter().map(|point| (point.recall, point.precision)).collect();
    // a curve of a million labels has a million points; a page can show a few hundred
    line.dedup_by_key(|point| ((point.0 * PIXELS) as i32, (point.1 * PIXELS) as i32));
    svg("Precision over recall", |area| {
        let mut chart = axes(area, unit_axis("recall"), unit_axis("precision"))?;
        chart.draw_series([PathElement::new(line, ACCENT.stroke_width(2))])?;
        if let Some(point) = chosen {
            let at = (point.recall, point.precision);
            chart.draw_series([Circle::new(at, 5, MARK.filled())])?;
            let (left, low) = (point.recall > 0.5, point.precision > 0.2);
            let anchor = Pos::new(if left { HPos::Right } else { HPos::Left }, VPos::Center);
            let beside = (at.0 + if left { -0.03 } else { 0.03 }, at.1 + if low { -0.08 } else { 0.08 });
            chart.draw_series([Text::new("at the threshold", beside, font(MARK).pos(anchor))])?;
        }
        Ok(())
    })
}

/// Precision and recall at a threshold; no precision if nothing is called a duplicate.
pub struct RatePoint {
    pub threshold: f64,
    pub precision: Option<f64>,
    pub recall: f64,
}

/// Precision and recall over the threshold, with the run's own threshold. The script of the page draws a line into it: it
/// knows the place of the axes (`PLOT` in templates/report.js).
pub fn thresholds(points: &[RatePoint], own: f64) -> Result<String> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(String::new()) };
    let range = [first.threshold, last.threshold.max(first.threshold + 0.01)];
    let label = |value: &f64| format!("{value:.2}");
    let x = Axis { range, ticks: ticks(range[0], range[1], 5), name: "threshold", label: &label };
    let precision: Vec<(f64, f64)> =
        points.iter().filter_map(|point| Some((point.threshold, point.precision?))).collect();
    let recall: Vec<(f64, f64)> = points.iter().map(|point| (point.threshold, point.recall)).collect();
    svg("Precision and recall over the threshold", |area| {
        let mut chart = axes(area, x, unit_axis("share"))?;
        chart.draw_series([PathElement::new(vec![(own, 0.0), (own, 1.02)], SOFT.stroke_width(2))])?;
        for (line, colour, name) in [(precision, ACCENT, "precision"), (recall, MARK, "recall")] {
            if let Some(&(at, share)) = line.get(line.len() / 4) {
                // above the line, unless it touches the top
                let beside = if share > 0.9 { share - 0.03 } else { share + 0.08 };
                chart.draw_series([Text::new(
                    name,
                    (at, beside),
                    font(colour).pos(Pos::new(HPos::Left, VPos::Top)),
                )])?;
            }
            chart.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
        }
        Ok(())
    })
}

/// Share of duplicates over the predicted probability; on the diagonal both are equal.
pub fn calibration(bins: &[ReliabilityBin]) -> Result<String> {
    let line: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.mean_probability, bin.observed)).collect();
    svg("Share of duplicates over predicted probability", |area| {
        let mut chart = axes(area, unit_axis("predicted"), unit_axis("share of duplicates"))?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (1.0, 1.0)], SOFT.stroke_width(2))])?;
        chart.draw_series([PathElement::new(line.clone(), ACCENT.stroke_width(2))])?;
        chart.draw_series(line.into_iter().map(|at| Circle::new(at, 4, ACCENT.filled())))?;
        Ok(())
    })
}

/// The mean of the cross-encoder's log-odds of pairs with one cosine: in the corpus of the calibration, and in this one.
#[derive(Debug, Clone, Copy)]
pub struct MeanLogOdds {
    pub cosine: f64,
    pub expected: f64,
    pub found: f64,
}

/// The cross-encoder's mean log-odds over the cosine, in both corpora.
pub fn fit(points: &[MeanLogOdds]) -> Result<String> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(String::new()) };
    let expected: Vec<(f64, f64)> = points.iter().map(|point| (point.cosine, point.expected)).collect();
    let found: Vec<(f64, f64)> = points.iter().map(|point| (point.cosine, point.found)).collect();
    // names at different places: the lines may be close
    let lines = [(expected, SOFT, "calibration", 1, VPos::Top), (found, ACCENT, "this corpus", 3, VPos::Bottom)];
    let heights = || lines.iter().flat_map(|(line, ..)| line.iter().map(|point| point.1));
    let (low, high) = (heights().fold(f64::MAX, f64::min) - 0.5, heights().fold(f64::MIN, f64::max) + 0.5);
    let range = [first.cosine, last.cosine + 0.01];
    let x_label = |value: &f64| format!("{value:.2}");
    let y_label = |value: &f64| format!("{value:.0}");
    let x = Axis { range, ticks: ticks(range[0], range[1], 5), name: "cosine", label: &x_label };
    let y = Axis { range: [low, high], ticks: ticks(low, high, 5), name: "mean log-odds", label: &y_label };
    svg("Mean log-odds over the cosine", |area| {
        let mut chart = axes(area, x, y)?;
        for (line, colour, name, quarter, beside) in lines {
            chart.draw_series([PathElement::new(line.clone(), colour.stroke_width(2))])?;
            chart.draw_series(line.iter().map(|&at| Circle::new(at, 3, colour.filled())))?;
            if let Some(&at) = line.get(line.len() * quarter / 4) {
                let side = if quarter == 1 { HPos::Left } else { HPos::Right };
                chart.draw_series([Text::new(name, at, font(colour).pos(Pos::new(side, beside)))])?;
            }
        }
        Ok(())
    })
}

fn unit_axis(name: &str) -> Axis<'_> {
    Axis { range: [0.0, 1.02], ticks: ticks(0.0, 1.0, 5), name, label: &|value| format!("{value:.1}") }
}

/// A linear axis with labels at given places.
struct Scale {
    range: [f64; 2],
    ticks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range[0]) / (self.range[1] - self.range[0]);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range[0]..self.range[1]
    }
}

/// Draws into a fresh SVG, named for screen readers.
fn svg(label: &str, draw: impl FnOnce(&Area) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area)?;
    area.present()?;
    drop(area);
    Ok(svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1))
}

fn axes<'a, 'b>(area: &Area<'b>, x: Axis, y: Axis) -> Result<Chart<'a, 'b>> {
    let left = if y.ticks.is_empty() { 24 } else { 58 };
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(8).margin_right(14).margin_left(2).x_label_area_size(44).y_label_area_size(left);
    let scale = |axis: &Axis| Scale { range: axis.range, ticks: axis.ticks.clone() };
    let mut chart = builder.build_cartesian_2d(scale(&x), scale(&y))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(font(INK))
        .axis_desc_style(font(INK))
        .x_desc(x.name)
        .y_desc(y.name)
        .x_label_formatter(x.label)
        .y_label_formatter(y.label)
        .draw()?;
    Ok(chart)
}

fn font(colour: RGBColor) -> TextStyle<'static> {
    // the backend divides sizes by 1.24: this is 13 pixels
    ("sans-serif", 16.1).into_font().color(&colour)
}

/// Up to about `most` round numbers in `from..=to`.
fn ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let rough = (to - from) / most as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&step| step >= rough * 0.999).unwrap_or(power);
    let first = (from / step - 1e-9).ceil() as i64;
    (first..).map(|at| at as f64 * step).take_while(|&at| at <= to + step * 1e-9).collect()
}

/// `950`, `12k`, `1.5M`.
fn short(number: &f64) -> String {
    let scaled = |by: f64, unit: &str| format!("{}{unit}", ((number / by) * 10.0).round() / 10.0);
    match *number {
        n if n >= 999_950.0 => scaled(1e6, "M"),
        n if n >= 10_000.0 => scaled(1e3, "k"),
        n => count(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 100.0, 4), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(0.0, 7.0, 4), [0.0, 2.0, 4.0, 6.0]);
        let found = ticks(0.601, 1.0, 5);
        assert!(found.len() == 4 && (found[0] - 0.7).abs() < 1e-9 && (found[3] - 1.0).abs() < 1e-9, "{found:?}");
        assert_eq!([950.0, 9_999.0, 12_345.0, 1_500_000.0].map(|n| short(&n)), ["950", "9,999", "12.3k", "1.5M"]);
    }
}

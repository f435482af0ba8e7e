//! Loss and dev figures as a picture.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::atomic_file::write_bytes;
use crate::training::history::History;

const SIZE: (u32, u32) = (900, 700);
const PALE: RGBColor = RGBColor(200, 215, 235);
const BLUE_LINE: RGBColor = RGBColor(30, 90, 170);
const ORANGE: RGBColor = RGBColor(210, 110, 20);

/// Writes `path` as SVG: above the loss of every step and its running mean, below average precision and F1 on dev.
pub fn draw(path: &Path, history: &History) -> Result<()> {
    let mut svg = String::new();
    panels(&mut svg, history).map_err(|e| anyhow!("cannot draw {}: {e}", path.display()))?;
    write_bytes(path, svg.as_bytes())
}

fn panels(svg: &mut String, history: &History) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(SIZE.1 / 2);
    let loss: Vec<(f64, f64)> = history.steps.iter().zip(1..).map(|(step, at)| (f64::from(at), step.loss)).collect();
    let mean = running_mean(&loss);
    panel(&above, "training loss", &[("of each step", PALE, &loss), ("running mean", BLUE_LINE, &mean)])?;
    let of = |value: fn(&crate::training::evaluation::Figures) -> f64| -> Vec<(f64, f64)> {
        history.evaluations.iter().map(|(step, figures)| (*step as f64, value(figures))).collect()
    };
    let (precision, f1) = (of(|figures| figures.average_precision), of(|figures| figures.f1));
    panel(&below, "dev", &[("average precision", BLUE_LINE, &precision), ("best F1", ORANGE, &f1)])?;
    root.present()?;
    Ok(())
}

type Series<'a> = (&'static str, RGBColor, &'a [(f64, f64)]);

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    series: &[Series],
) -> Result<(), Box<dyn std::error::Error>>
where
    B::ErrorType: 'static,
{
    let points = || series.iter().flat_map(|(_, _, points)| points.iter());
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points().map(of).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if low > high { 0.0..1.0 } else { low - 0.02 * (high - low) - 1e-6..high + 0.02 * (high - low) + 1e-6 }
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(span(|p| p.0), span(|p| p.1))?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE.mix(0.0)).draw()?;
    for &(name, colour, points) in series {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}

/// Mean over the last twentieth of the steps.
fn running_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let window = (points.len() / 20).max(1);
    let mean = |at: usize| {
        let recent = &points[(at + 1).saturating_sub(window)..=at];
        (points[at].0, recent.iter().map(|p| p.1).sum::<f64>() / recent.len() as f64)
    };
    (0..points.len()).map(mean).collect()
}

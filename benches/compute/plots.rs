//! The figures as drawings, for the eye.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

/// A line of a drawing.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Updates a second by the size of batches, and how long the slowest take, into a folder, as SVG.
pub(crate) fn draw(folder: &Path, rates: &[Curve], tails: &[Curve]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let axes = Axes { title: "Updates a second", x: "updates in a batch", y: "updates/s", leftwards: false };
    axes.draw(&folder.join("rates.svg"), rates)?;
    let axes = Axes { title: "Until what follows is shown", x: "of a thousand, how many take longer", y: "ms", leftwards: true };
    axes.draw(&folder.join("latencies.svg"), tails)
}

struct Axes {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// Whether large numbers are on the left.
    leftwards: bool,
}

impl Axes {
    fn draw(&self, file: &Path, curves: &[Curve]) -> anyhow::Result<()> {
        let failed = |error: &dyn std::fmt::Display| anyhow!("{} cannot be drawn: {error}", file.display());
        let points = || curves.iter().flat_map(|curve| curve.points.iter().copied()).filter(|(x, y)| *x > 0.0 && *y > 0.0);
        let Some(first) = points().next() else { return Ok(()) };
        let (least, most) = points().fold((first, first), |(least, most), (x, y)| {
            ((f64::min(least.0, x), f64::min(least.1, y)), (f64::max(most.0, x), f64::max(most.1, y)))
        });
        let area = SVGBackend::new(file, (1_000, 640)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        // What goes leftwards is drawn by its inverse, as logarithms are.
        let across = |x: f64| if self.leftwards { 1.0 / x } else { x };
        let (start, end) = (f64::min(across(least.0), across(most.0)), f64::max(across(least.0), across(most.0)));
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d((start..end * 1.0001).log_scale(), (least.1 * 0.8..most.1 * 1.25).log_scale())
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| format!("{}", (across(*x) * 1000.0).round() / 1000.0))
            .y_label_formatter(&|y| format!("{y}"))
            .draw()
            .map_err(|error| failed(&error))?;
        for (n, curve) in curves.iter().enumerate() {
            let color = Palette99::pick(n).to_rgba();
            let line = curve.points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (across(*x), *y));
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(2)))
                .map_err(|error| failed(&error))?
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        }
        let legend = if self.leftwards { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::LowerRight };
        chart
            .configure_series_labels()
            .position(legend)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))
    }
}

//! The picture: a bar for each figure, with whiskers from the first quartile to the third, and a line where the limit
//! is. Written as text, since it needs rectangles, lines and words, and nothing else.

use std::fmt::{self, Display, Write};

use crate::table::{Bar, Chart};
use crate::targets;

const WIDTH: f64 = 900.0;
/// Where the bars begin, left of which is the name, and where the longest ends, right of which is its figure.
const LEFT: f64 = 260.0;
const RIGHT: f64 = 790.0;
const MARGIN: f64 = 20.0;
/// Of one bar with its space.
const ROW: f64 = 20.0;
const BAR: f64 = 12.0;
/// Of a chart's title, and of the line below it.
const TITLE: f64 = 44.0;
const GAP: f64 = 24.0;

/// Who is this many times the limit ends at the border: nobody else's bar could be seen.
const MOST: f64 = 5.0;

const LEGEND: &str = "Bars: medians. Whiskers: from the first to the third quartile. Dashed: the limit, or std. \
                      Green: what is wanted of foster.";

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:15px}\
                     .small{font-size:12px;fill:#555}\
                     .limit{fill:#a8a8a8}.foster{fill:#6aa5e0}.peer{fill:#cfd5dd}\
                     .whisker{stroke:#222}.one{stroke:#222;stroke-dasharray:4 3}\
                     .target{stroke:#1a8a3a;stroke-width:3}";

/// A whole document.
pub(crate) fn picture(subject: &str, charts: &[Chart]) -> String {
    let full = charts.iter().map(|chart| height(chart) + GAP).sum::<f64>() + MARGIN + TITLE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{full}\" \
         viewBox=\"0 0 {WIDTH} {full}\">\n<title>foster's bench</title>\n<style>{STYLE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{full}\" fill=\"#fff\"/>\n"
    );
    label(&mut svg, (MARGIN, MARGIN + 4.0), "title", subject);
    label(&mut svg, (MARGIN, MARGIN + 22.0), "small", LEGEND);
    let mut top = MARGIN + TITLE;
    for each in charts {
        chart(&mut svg, each, top);
        top += height(each) + GAP;
    }
    svg += "</svg>\n";
    svg
}

#[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
fn height(chart: &Chart) -> f64 {
    TITLE + ROW * chart.bars.len() as f64
}

fn chart(svg: &mut String, chart: &Chart, top: f64) {
    let Chart { key, title, unit, is_noisy, bars } = chart;
    let noisy = if *is_noisy { ". TOO NOISY TO TELL" } else { "" };
    label(svg, (MARGIN, top + 14.0), "title", &format!("{key}. {title}"));
    label(svg, (MARGIN, top + 31.0), "small", &format!("{}, {}{noisy}", unit.name(), unit.better()));
    let scale = Scale::of(chart);
    let first = top + TITLE;
    let mut y = first;
    for bar in bars {
        row(svg, bar, y, &scale, targets::bound_of(key, bar.name));
        y += ROW;
    }
    if unit.is_ratio() {
        line(svg, "one", (scale.x(1.0), first - 4.0), (scale.x(1.0), y));
    }
}

fn row(svg: &mut String, Bar { name, figure }: &Bar, y: f64, scale: &Scale, target: Option<f64>) {
    let class = match name.split_whitespace().next() {
        Some("foster") => "foster",
        Some("limit" | "limit:") => "limit",
        _ => "peer",
    };
    let (middle, text) = (y + BAR / 2.0, y + BAR - 1.5);
    label(svg, (MARGIN, text), "name", name);
    rectangle(svg, class, (LEFT, y), scale.x(figure.median) - LEFT);
    let (from, to) = (scale.x(figure.p25), scale.x(figure.p75));
    line(svg, "whisker", (from, middle), (to, middle));
    for x in [from, to] {
        line(svg, "whisker", (x, middle - 3.0), (x, middle + 3.0));
    }
    if let Some(target) = target {
        line(svg, "target", (scale.x(target), y - 2.0), (scale.x(target), y + BAR + 2.0));
    }
    // Right of the longest bar, one below the other, so that no whisker crosses a figure.
    label(svg, (RIGHT + 12.0, text), "figure", &format!("{:.2}", figure.median));
}

/// From a figure to a place.
struct Scale {
    most: f64,
}

impl Scale {
    fn of(chart: &Chart) -> Scale {
        let wanted = chart.bars.iter().filter_map(|bar| targets::bound_of(&chart.key, bar.name));
        let figures = chart.bars.iter().map(|bar| bar.figure.p75);
        let longest = figures.chain(wanted).fold(f64::MIN_POSITIVE, f64::max);
        Scale { most: if chart.unit.is_ratio() { longest.clamp(1.0, MOST) } else { longest } }
    }

    fn x(&self, figure: f64) -> f64 {
        let part = (figure / self.most).clamp(0.0, 1.0);
        LEFT + part * (RIGHT - LEFT)
    }
}

fn label(svg: &mut String, (x, y): (f64, f64), class: &str, text: &str) {
    _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", Escaped(text));
}

fn rectangle(svg: &mut String, class: &str, (x, y): (f64, f64), width: f64) {
    _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
    );
}

fn line(svg: &mut String, class: &str, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>"
    );
}

/// Between tags (XML 1.0, section 2.4).
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[test]
fn a_bar_ends_at_the_border_and_no_word_is_markup() {
    use crate::stats::Spread;
    use crate::table::Unit;
    let bars =
        [("limit", 1.0), ("a < b", 7.0)].map(|(name, figure)| Bar { name, figure: Spread::of(vec![figure]) });
    let (key, title) = ("A1".to_string(), "spawn & wait".to_string());
    let chart = Chart { key, title, unit: Unit::TimeByLimit, is_noisy: true, bars: bars.into() };
    let svg = picture("here", &[chart]);
    assert!(svg.contains("A1. spawn &amp; wait") && svg.contains(">a &lt; b<"), "{svg}");
    assert!(svg.contains("x=\"260.0\" y=\"128.0\" width=\"530.0\"") && svg.contains(">7.00<"), "{svg}");
    assert!(svg.contains("less is better. TOO NOISY TO TELL"), "{svg}");
}

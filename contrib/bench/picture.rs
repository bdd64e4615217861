//! The picture of the table: an SVG that is legible on light and on dark background.

use std::fmt::Write as _;

use crate::figures::{Figure, Row, three_digits};
use crate::programs::Candidate;

const WIDTH: usize = 980;
const TITLES: usize = 20;
/// The left edge of each panel.
const PANELS: [usize; 3] = [270, 540, 760];
/// The longest bar of each panel; its value stands behind it.
const BARS: [usize; 3] = [120, 120, 120];
const BAR_HEIGHT: usize = 13;
const BAR_STEP: usize = 17;
const GROUP_GAP: usize = 16;
const HEAD: usize = 92;
const FOOT: usize = 34;

const STYLE: &str = "\
  svg { font: 13px system-ui, 'DejaVu Sans', sans-serif; }\n\
  .background { fill: #ffffff; stroke: #d0d7de; }\n\
  text { fill: #1f2328; }\n\
  .heading { font-weight: 600; }\n\
  .small { font-size: 11.5px; fill: #59636e; }\n\
  .rule { stroke: #d0d7de; }\n\
  .mbsync { fill: #8c959f; }\n\
  .few { fill: #0969da; }\n\
  .many { fill: #8250df; }\n\
  @media (prefers-color-scheme: dark) {\n\
  .background { fill: #0d1117; stroke: #3d444d; }\n\
  text { fill: #f0f6fc; }\n\
  .small { fill: #9198a1; }\n\
  .rule { stroke: #3d444d; }\n\
  .mbsync { fill: #6e7681; }\n\
  .few { fill: #4493f8; }\n\
  .many { fill: #ab7df8; }\n\
  }\n";

/// The value of a figure, and its label.
type Panel<'a> = (&'a dyn Fn(&Figure) -> f64, &'a dyn Fn(&Figure) -> String);

/// Draws the rows: time, CPU time and peak memory of each program, in each row in proportion to the
/// longest bar.
pub fn draw(rows: &[Row], machine: &str) -> String {
    let groups = rows
        .iter()
        .map(|row| row.figures.len() * BAR_STEP + GROUP_GAP);
    let height = HEAD + groups.sum::<usize>() + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"imap-to-gmail-sync and mbsync: time, CPU \
         time and peak memory\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"background\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n",
        WIDTH - 1,
        height - 1
    );
    draw_legend(&mut svg);
    let headings = ["Time (speed)", "CPU time", "Peak memory"];
    for (left, heading) in PANELS.into_iter().zip(headings) {
        draw_text(&mut svg, left, HEAD - 22, "heading", heading);
    }
    let mut top = HEAD;
    for row in rows {
        let _ = writeln!(
            svg,
            "<line class=\"rule\" x1=\"{TITLES}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>",
            WIDTH - TITLES,
            top - GROUP_GAP / 2,
            top - GROUP_GAP / 2
        );
        draw_row(&mut svg, row, top);
        top += row.figures.len() * BAR_STEP + GROUP_GAP;
    }
    draw_text(&mut svg, TITLES, height - 14, "small", machine);
    svg.push_str("</svg>\n");
    svg
}

fn draw_legend(svg: &mut String) {
    let entries = [
        ("mbsync", "mbsync"),
        ("few", "imap-to-gmail-sync, 4 connections"),
        ("many", "imap-to-gmail-sync, 10 connections"),
    ];
    let mut left = TITLES;
    for (class, label) in entries {
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{left}\" y=\"22\" width=\"{BAR_HEIGHT}\" height=\"{BAR_HEIGHT}\" \
             rx=\"2\"/>"
        );
        draw_text(svg, left + 20, 33, "", label);
        left += 50 + label.len() * 7;
    }
    draw_text(svg, PANELS[2], 33, "small", "shorter bars are better");
}

fn draw_row(svg: &mut String, row: &Row, top: usize) {
    let (mail, delay) = row.title.rsplit_once(", ").unwrap_or((&row.title, ""));
    draw_text(svg, TITLES, top + 11, "", mail);
    let delay = format!("round trip {delay}");
    draw_text(svg, TITLES, top + 11 + BAR_STEP, "small", &delay);

    let time = |figure: &Figure| {
        let seconds = seconds(figure.wall());
        match row.speed_in_words(figure) {
            speed if speed.ends_with("/s") => format!("{seconds} ({speed})"),
            _ => seconds,
        }
    };
    let cpu = |figure: &Figure| seconds(figure.cpu());
    let peak = |figure: &Figure| format!("{} MB", three_digits(figure.peak()));
    let panels: [Panel; 3] = [
        (&Figure::wall, &time),
        (&Figure::cpu, &cpu),
        (&Figure::peak, &peak),
    ];
    for (panel, (value, label)) in panels.into_iter().enumerate() {
        let longest = row.figures.iter().map(value).fold(1e-9, f64::max);
        for (number, figure) in row.figures.iter().enumerate() {
            let class = match figure.candidate {
                Candidate::Mbsync => "mbsync",
                Candidate::Ours { connections: ..10 } => "few",
                Candidate::Ours { .. } => "many",
            };
            let (left, top) = (PANELS[panel], top + number * BAR_STEP);
            let length = (BARS[panel] as f64 * value(figure) / longest).max(1.0);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{length:.1}\" \
                 height=\"{BAR_HEIGHT}\" rx=\"2\"/>"
            );
            let right = left + length as usize + 7;
            draw_text(svg, right, top + 11, "", &label(figure));
        }
    }
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{} ms", three_digits(value * 1e3))
    } else {
        format!("{} s", three_digits(value))
    }
}

fn draw_text(svg: &mut String, x: usize, y: usize, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
    );
}

//! The chart of `docs/performance.svg`: processor time per record, and the share of the ceiling.

use std::fmt::Write as _;

use crate::measure::USUAL;
use crate::results::Results;
use crate::subjects::{NODE, PYTHON, PYTHON_MONGODB, TIDELOCK, TIDELOCK_MONGODB, TIDELOCK_SIGV4};

const WIDTH: f64 = 760.0;
/// Where bars begin and how far they may reach; the rest is for their figures.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 650.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

struct Row {
    label: String,
    value: f64,
    figure: String,
    ours: bool,
}

struct Panel {
    title: String,
    rows: Vec<Row>,
}

/// The chart, or nothing when there is nothing to draw.
pub(crate) fn draw(results: &Results) -> Option<String> {
    let panels = [
        cpu_panel(
            results,
            "DynamoDB → OpenSearch",
            &[(TIDELOCK, "Tidelock"), (TIDELOCK_SIGV4, "Tidelock, HTTPS + SigV4"), (NODE, "Node"), (PYTHON, "Python")],
        ),
        cpu_panel(
            results,
            "DynamoDB → MongoDB",
            &[(TIDELOCK_MONGODB, "Tidelock"), (PYTHON_MONGODB, "Python (pymongo)")],
        ),
        rate_panel(results),
    ];
    let panels = panels.into_iter().filter(|panel| !panel.rows.is_empty()).collect::<Vec<_>>();
    if panels.is_empty() {
        return None;
    }
    let mut body = String::new();
    let mut y = 16.0;
    for panel in &panels {
        y = draw_panel(&mut body, panel, y);
    }
    Some(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img" aria-label="Processor time per record and changes per second" font-family="system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
{body}</svg>
"##
    ))
}

fn cpu_panel(results: &Results, title: &str, subjects: &[(&str, &str)]) -> Panel {
    let rows = subjects.iter().filter_map(|(id, label)| {
        let micros = results.cpu_of(id, USUAL)?.micros_per_record;
        Some(Row {
            label: (*label).into(),
            value: micros,
            figure: format!("{micros:.1} µs"),
            ours: id.starts_with("tidelock"),
        })
    });
    Panel {
        title: format!("{title}: on-CPU time per record, batches of {USUAL} (less is better)"),
        rows: rows.collect(),
    }
}

fn rate_panel(results: &Results) -> Panel {
    let mut rows = Vec::new();
    for row in &results.end_to_end {
        let ours = row.subject == TIDELOCK;
        let connections =
            if row.connections == 1 { "1 connection".into() } else { format!("{} connections", row.connections) };
        let mut push = |name: &str, value: f64, figure: String, ours| {
            rows.push(Row { label: format!("{name}, {connections}"), value, figure, ours });
        };
        if ours {
            push("Ceiling", row.ceiling_records_per_second, format!("{:.0}/s", row.ceiling_records_per_second), false);
        }
        let name = if ours { "Tidelock" } else { "Node" };
        push(name, row.records_per_second, format!("{:.0}/s", row.records_per_second), ours);
    }
    Panel { title: "Into a real OpenSearch: changes per second (more is better)".into(), rows }
}

/// Appends a panel whose top is at `y` and tells where the next one begins.
fn draw_panel(out: &mut String, panel: &Panel, y: f64) -> f64 {
    let longest = panel.rows.iter().map(|row| row.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("writing to a string cannot fail");
        out.push('\n');
    };
    line(format_args!(r##"<text x="16" y="{}" font-weight="600" fill="#1f2933">{}</text>"##, y + 14.0, panel.title));
    let top = y + 28.0;
    let bottom = top + ROW * panel.rows.len() as f64;
    line(format_args!(r##"<line x1="{LEFT}" y1="{top}" x2="{LEFT}" y2="{bottom}" stroke="#9aa5b1"/>"##));
    for (position, row) in panel.rows.iter().enumerate() {
        let middle = top + ROW * (position as f64 + 0.5);
        let length = (RIGHT - LEFT) * row.value / longest;
        let colour = if row.ours { "#0b7285" } else { "#b8c4ce" };
        let text = middle + 4.5;
        line(format_args!(
            r##"<text x="{}" y="{text}" text-anchor="end" fill="#3e4c59">{}</text>"##,
            LEFT - 8.0,
            row.label
        ));
        line(format_args!(
            r##"<rect x="{LEFT}" y="{}" width="{length:.1}" height="{BAR}" rx="2" fill="{colour}"/>"##,
            middle - BAR / 2.0
        ));
        line(format_args!(r##"<text x="{:.1}" y="{text}" fill="#1f2933">{}</text>"##, LEFT + length + 8.0, row.figure));
    }
    bottom + 24.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Cpu;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let row = |subject: &str, micros: f64| Cpu::of(subject, USUAL, micros);
        let results = Results { cpu: vec![row(TIDELOCK, 2.0), row(NODE, 40.0)], ..Results::default() };
        let svg = draw(&results).expect("two bars");
        assert!(svg.contains(r#"width="460.0""#) && svg.contains(r#"width="23.0""#), "{svg}");
        assert!(draw(&Results::default()).is_none());
    }
}

//! Tables for the terminal and for `docs/performance.md`, where they stand between two markers.

use std::fmt::Write as _;

use crate::bars::{self, Bar};
use crate::function::Result;
use crate::measure::{BATCHES, SINGLE, SPREAD, SPREAD_USUAL};
use crate::results::{Conditions, Results};

pub(crate) const BEGIN: &str = "<!-- bench:begin -->";
pub(crate) const END: &str = "<!-- bench:end -->";

/// All tables in Markdown.
pub(crate) fn tables(results: &Results) -> String {
    [
        conditions(&results.conditions),
        bar_table(&bars::judge(results)),
        cpu_table(results),
        cold_table(results),
        memory_table(results),
        end_to_end_table(results),
        guards_table(results),
        poison_table(results),
        latency_table(results),
        drain_table(results),
        backfill_table(results),
        conflicts_table(results),
    ]
    .into_iter()
    .filter(|table| !table.is_empty())
    .collect::<Vec<_>>()
    .join("\n")
}

/// The page with new tables between its markers.
///
/// # Errors
/// A page without both markers.
pub(crate) fn replace(page: &str, tables: &str) -> Result<String> {
    let begin = page.find(BEGIN).map(|at| at + BEGIN.len());
    let (Some(begin), Some(end)) = (begin, page.find(END)) else {
        return Err(format!("the page needs a line {BEGIN} and a line {END}").into());
    };
    if end < begin {
        return Err(format!("{END} stands before {BEGIN}").into());
    }
    Ok(format!("{}\n\n{}\n{}", &page[..begin], tables.trim_end(), &page[end..]))
}

fn conditions(conditions: &Conditions) -> String {
    let mut parts =
        vec![format!("{} ({} cores)", conditions.processor, conditions.cores), format!("Linux {}", conditions.kernel)];
    parts.extend(
        [&conditions.node, &conditions.python, &conditions.opensearch, &conditions.mongodb]
            .into_iter()
            .filter(|text| !text.is_empty())
            .cloned(),
    );
    format!("Measured on {}; load average at the start {}.\n", parts.join(", "), conditions.load)
}

fn table(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let align = head.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" });
    let mut text = format!("### {title}\n\n| {} |\n| {} |\n", head.join(" | "), align.collect::<Vec<_>>().join(" | "));
    for row in rows {
        writeln!(text, "| {} |", row.join(" | ")).expect("writing to a string cannot fail");
    }
    text
}

fn bar_table(bars: &[Bar]) -> String {
    let rows = bars.iter().map(|bar| {
        let value = |value: Option<f64>| {
            value.map_or_else(|| "–".into(), |value| format!("{} {}", short(value), bar.unit).trim_end().to_owned())
        };
        let sign = if bar.least { "≥" } else { "≤" };
        let limit = match bar.from {
            "" => format!("{sign} {}", value(bar.limit)),
            from => format!("{sign} {} ({from})", value(bar.limit)),
        };
        let verdict = match bar.met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        vec![bar.what.into(), value(bar.measured), limit, verdict.into()]
    });
    table("Bars", &["what", "measured", "bar", ""], &rows.collect::<Vec<_>>())
}

fn cpu_table(results: &Results) -> String {
    let mut head = vec!["on-CPU time".to_owned(), "1 (µs an invocation)".into()];
    head.extend(BATCHES.iter().skip(1).map(|(batch, _)| format!("{batch} (µs a record)")));
    head.push(format!("{SPREAD} (µs an invocation)"));
    head.push(format!("{SPREAD_USUAL} (µs a record)"));
    let rows = subjects(results.cpu.iter().map(|row| (row.subject.as_str(), row.label.as_str()))).into_iter().map(
        |(id, label)| {
            let batches = BATCHES.iter().map(|(batch, _)| *batch).chain([SPREAD, SPREAD_USUAL]);
            let cells = batches.map(|batch| match results.cpu_of(id, batch) {
                Some(row) if [SINGLE, SPREAD].contains(&batch) => short(row.micros_per_invoke),
                Some(row) => format!("{} ({}–{})", short(row.micros_per_record), short(row.lowest), short(row.highest)),
                None => "–".into(),
            });
            std::iter::once(label.to_owned()).chain(cells).collect()
        },
    );
    let rows = rows.collect::<Vec<_>>();
    table(
        "Processor time by batch, on one processor: median of the rounds (lowest–highest)",
        &head.iter().map(String::as_str).collect::<Vec<_>>(),
        &rows,
    )
}

fn cold_table(results: &Results) -> String {
    let rows = results.cold.iter().map(|row| {
        let megabytes = |bytes: u64| short(bytes as f64 / 1e6);
        let size = results.size_of(&row.subject);
        vec![
            row.label.clone(),
            short(row.init_ms),
            short(row.init_cpu_ms),
            short(row.first_invoke_ms),
            short(row.first_invoke_cpu_ms),
            size.map_or_else(|| "–".into(), |size| megabytes(size.bytes)),
            size.map_or_else(|| "–".into(), |size| megabytes(size.zip_bytes)),
        ]
    });
    let head = [
        "",
        "init (ms)",
        "its CPU (ms)",
        "first invocation, batch 500 (ms)",
        "its CPU (ms)",
        "artifact (MB)",
        "zip (MB)",
    ];
    table("Cold start and size", &head, &rows.collect::<Vec<_>>())
}

fn memory_table(results: &Results) -> String {
    let batches = ["500", "1,000", "6 MB"];
    let rows = subjects(results.memory.iter().map(|row| (row.subject.as_str(), row.label.as_str()))).into_iter().map(
        |(id, label)| {
            let cells = batches
                .iter()
                .map(|batch| results.memory_of(id, batch).map_or_else(|| "–".into(), |row| short(row.megabytes)));
            std::iter::once(label.to_owned()).chain(cells).collect()
        },
    );
    table("Peak resident memory by batch (MB)", &["", "500", "1,000", "6 MB"], &rows.collect::<Vec<_>>())
}

fn end_to_end_table(results: &Results) -> String {
    let rows = results.end_to_end.iter().map(|row| {
        vec![
            row.label.clone(),
            row.connections.to_string(),
            row.batch.clone(),
            format!("{:.0}", row.records_per_second),
            format!("{:.0}", row.ceiling_records_per_second),
            format!("{:.2} ({:.2}–{:.2})", row.ratio, row.lowest, row.highest),
        ]
    });
    let head = ["into a real OpenSearch", "connections", "batch", "changes/s", "ceiling/s", "ratio"];
    table("End to end", &head, &rows.collect::<Vec<_>>())
}

fn guards_table(results: &Results) -> String {
    let rows = results.guards.iter().map(|row| {
        vec![
            format!("Tidelock → {}", row.target),
            row.batch.clone(),
            row.rounds.to_string(),
            format!("{:.0}", row.guarded_per_second),
            format!("{:.0}", row.unguarded_per_second),
            format!("{:.3} ({:.3}–{:.3})", row.ratio, row.lowest, row.highest),
        ]
    });
    let head = ["into a real target, one connection", "batch", "pairs", "changes/s", "changes/s unguarded", "ratio"];
    table("What guards and fences cost end to end", &head, &rows.collect::<Vec<_>>())
}

fn poison_table(results: &Results) -> String {
    let rows = results.poison.iter().map(|row| {
        vec![
            row.target.clone(),
            row.batch.clone(),
            row.rounds.to_string(),
            format!("{} of {}", row.poisoned, row.records),
            format!("{:.0}", row.clean_per_second),
            format!("{:.0}", row.poisoned_per_second),
            format!("{:.3} ({:.3}–{:.3})", row.ratio, row.lowest, row.highest),
        ]
    });
    let head = ["from DocumentDB into", "batch", "pairs", "refused", "changes/s without", "changes/s", "ratio"];
    table("A stream with a poison record in a hundred", &head, &rows.collect::<Vec<_>>())
}

fn latency_table(results: &Results) -> String {
    let rows = results.latency.iter().map(|row| {
        let cells = [row.p50_ms, row.p90_ms, row.max_ms].map(short);
        [row.window.clone(), row.changes.to_string()].into_iter().chain(cells).collect()
    });
    let head = ["the mapping's batch window", "changes", "p50 (ms)", "p90 (ms)", "max (ms)"];
    table("From a change in DocumentDB until OpenSearch shows it", &head, &rows.collect::<Vec<_>>())
}

fn drain_table(results: &Results) -> String {
    let rows = results.drain.iter().map(|row| {
        vec![
            row.changes.to_string(),
            row.rounds.to_string(),
            format!("{:.2}", row.live_micros),
            format!("{:.2}", row.drained_micros),
            format!("{:.2}", row.ratio),
            format!("{:.1}", row.megabytes),
        ]
    });
    let head = ["changes", "rounds", "live (µs)", "drained (µs)", "ratio", "peak memory of `redrive` (MB)"];
    table("Held changes drained by `redrive`, CPU of a change", &head, &rows.collect::<Vec<_>>())
}

fn backfill_table(results: &Results) -> String {
    let rows = results.backfill.iter().map(|row| {
        vec![
            row.items.to_string(),
            row.rounds.to_string(),
            format!("{:.0}", row.scanned_per_second),
            format!("{:.0}", row.items_per_second),
            format!("{:.2}", row.ratio),
            format!("{:.2}", row.micros),
            format!("{:.1}", row.first_half_megabytes),
            format!("{:.1}", row.second_half_megabytes),
            row.opensearch_per_second.map_or("–".into(), |rate| format!("{rate:.0}")),
        ]
    });
    let head = [
        "items",
        "rounds",
        "bare Scan (items/s)",
        "backfill into a stub (items/s)",
        "ratio",
        "CPU an item (µs)",
        "most memory, first half (MB)",
        "second half (MB)",
        "into a real OpenSearch (items/s)",
    ];
    table("A table brought in by `tidelock backfill`, 8 segments", &head, &rows.collect::<Vec<_>>())
}

fn conflicts_table(results: &Results) -> String {
    let rows = results.conflicts.iter().map(|row| {
        vec![
            row.step.clone(),
            row.changes.to_string(),
            short(row.per_thousand(row.documents)),
            short(row.per_thousand(row.waited)),
            short(row.per_thousand(row.fences)),
        ]
    });
    let head = ["sequence numbers step by", "changes", "documents", "of them waiting for a delete", "fences"];
    let title = "Writes of 1,000 changes that a real OpenSearch answers with 409, so that they are judged";
    table(title, &head, &rows.collect::<Vec<_>>())
}

/// Subjects in the order of their first row.
fn subjects<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    for row in rows {
        if !found.contains(&row) {
            found.push(row);
        }
    }
    found
}

/// A number with the digits that mean something: three at most.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Conflicts, Latency};

    #[test]
    fn a_page_keeps_its_text_around_the_markers() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace(&page, "new\n").expect("both markers");
        assert_eq!(new, format!("# Title\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        assert_eq!(replace(&new, "new\n").expect("both markers"), new);
        assert!(replace("# Title\n", "new").is_err());
        assert!(replace(&format!("{END}{BEGIN}"), "new").is_err());
    }

    #[test]
    fn refused_writes_are_told_per_thousand_changes() {
        let row = Conflicts { step: "1".into(), changes: 20_000, documents: 250, waited: 50, fences: 10 };
        let text = tables(&Results { conflicts: vec![row], ..Results::default() });
        assert!(text.contains("| 1 | 20000 | 12.5 | 2.50 | 0.50 |"), "{text}");
    }

    #[test]
    fn a_change_is_told_by_the_time_until_it_is_seen() {
        let row = Latency { window: "none".into(), changes: 100, p50_ms: 50.12, p90_ms: 90.0, max_ms: 100.4 };
        let text = tables(&Results { latency: vec![row], ..Results::default() });
        assert!(text.contains("| none | 100 | 50.1 | 90.0 | 100 |"), "{text}");
    }

    #[test]
    fn tables_tell_what_was_not_measured() {
        let text = tables(&Results::default());
        assert!(text.contains("| init | – | ≤ 5.00 ms | not measured |"), "{text}");
        assert!(!text.contains("End to end"), "{text}");
    }
}

//! What a person sees.

use tidelock_demo::Terminal;
use tidelock_local::function::Invocation;
use tidelock_local::mapping::{Decision, Step};

/// The steps of the demonstration.
pub(crate) struct Screen(Terminal);

impl Screen {
    pub(crate) fn new() -> Self {
        Self(Terminal::new())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        self.0.paint(code, text)
    }

    pub(crate) fn scene(&self, number: usize, title: &str) {
        self.0.scene(number, title);
    }

    pub(crate) fn change(&self, change: &str) {
        println!("   table     {change}");
    }

    /// One step of the mapping.
    pub(crate) fn step(&self, step: &Step<'_>) {
        match step {
            Step::Invoked(sent) => {
                println!(
                    "   mapping   invokes dynamodb-sync with {} record(s), attempt {}",
                    sent.records, sent.attempt
                );
            }
            Step::Settled { invocation, decision, duration, .. } => {
                let answer = match invocation {
                    Invocation::Response(body) => self.paint("36", &String::from_utf8_lossy(body)),
                    other => {
                        self.paint("31", &other.error().map_or(String::new(), |(kind, text)| format!("{kind}: {text}")))
                    }
                };
                println!("   function  answers {answer} ({:.1} ms)", duration.as_secs_f64() * 1000.0);
                println!("   mapping   {}", decided(decision));
            }
            Step::Discarded { record, .. } => {
                let text = format!("writes an on-failure record: {}..{}", record.first_sequence, record.last_sequence);
                println!("   mapping   {}", self.paint("33", &text));
            }
            _ => {}
        }
    }

    /// The dead letters, one a line.
    pub(crate) fn letters(&self, lines: &str) {
        for line in lines.lines() {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let text = format!("reason {}, {}, key {}", letter["reason"], letter["detail"], letter["key"]);
            println!("   letter    {}", self.paint("33", &text));
        }
    }

    pub(crate) fn documents(&self, place: &str, documents: &[(String, String)]) {
        println!("   {place} holds");
        for (id, document) in documents {
            println!("             _id {id}: {}", self.paint("32", document));
        }
    }

    pub(crate) fn end(&self) {
        println!(
            "\n{}",
            self.paint("1", "The target equals the table, but for the one record that could not be read.")
        );
    }
}

fn decided(decision: &Decision) -> String {
    match decision {
        Decision::Complete => "the batch is done".to_owned(),
        Decision::Retry { done, again, cut, .. } => {
            let how = if *cut { ", cut off at the reported one" } else { "" };
            format!("{done} record(s) are done, {again} come again{how}")
        }
        Decision::Bisect { halves, .. } => format!("halves the batch: {} and {}", halves.0, halves.1),
        Decision::Exhausted { done, discarded, .. } => {
            format!("{done} record(s) are done, {discarded} have used up their attempts")
        }
    }
}

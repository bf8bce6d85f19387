//! `coracle check`: what happens to every field of a definition here, before it is used.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::api::ecs::task_definition::rules;
use crate::cli::up::definition::{self, Definition};
use crate::cli::{Failure, Output, output};
use crate::model::support::{self, Field, Verdict};

/// Say of every field of a task definition what happens to it here.
///
/// Exit code 1 where something is refused.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coracle check webserver.json\n  coracle check *.json --output json | jq '.[].refused'"
)]
pub struct CheckArgs {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was found of one file.
struct Report {
    file: PathBuf,
    fields: Vec<Field>,
    /// Numbers that were written as strings, and the like.
    notes: Vec<String>,
    refused: Vec<String>,
}

pub fn run(arguments: &CheckArgs) -> Result<ExitCode, Failure> {
    let reports: Vec<Report> = arguments.files.iter().map(|file| report(file)).collect();
    let is_refused = reports.iter().any(|report| !report.refused.is_empty());
    match arguments.output {
        Output::Json => output::print_json(&Value::Array(reports.iter().map(as_json).collect()))?,
        Output::Text => {
            for report in &reports {
                output::print(&as_text(report))?;
            }
        }
    }
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(file: &Path) -> Report {
    let mut report = Report { file: file.to_owned(), fields: Vec::new(), notes: Vec::new(), refused: Vec::new() };
    let Definition { request, leniencies, ignored } = match definition::read(file) {
        Ok(definition) => definition,
        Err(failure) => {
            let cause = std::error::Error::source(&failure).map(|cause| format!(": {cause}")).unwrap_or_default();
            report.refused.push(format!("{failure}{cause}"));
            return report;
        }
    };
    report.notes = leniencies
        .iter()
        .map(|leniency| {
            format!(
                "{}: {} is read as {}; a client's request must be {}",
                leniency.path, leniency.found, leniency.expected, leniency.expected
            )
        })
        .collect();
    let mut document = serde_json::to_value(&request).unwrap_or_default();
    for path in &ignored {
        // Unknown members of the definition itself; deeper ones are told by their path below.
        if let Some(members) = document.as_object_mut()
            && !path.contains(['.', '['])
        {
            members.insert(path.clone(), Value::String(String::new()));
        }
    }
    report.fields = support::fields(&document);
    report.fields.extend(ignored.iter().filter(|path| path.contains(['.', '['])).map(|path| Field {
        path: path.clone(),
        verdict: Verdict::WithoutEffect,
        text: String::from("ECS has no such member; it is ignored"),
    }));
    if let Err(error) = rules::check(&request) {
        report.refused.push(format!("{}: {}", error.kind.exception(), error.message));
    }
    report.refused.extend(
        report
            .fields
            .iter()
            .filter(|field| field.verdict == Verdict::Refused)
            .map(|field| format!("{}: {}", field.path, field.text)),
    );
    report
}

fn as_json(report: &Report) -> Value {
    json!({
        "file": report.file.display().to_string(),
        "fields": report.fields,
        "notes": report.notes,
        "refused": report.refused,
    })
}

fn as_text(report: &Report) -> String {
    let word = |verdict| match verdict {
        Verdict::Honoured => "honoured",
        Verdict::Mapped => "mapped",
        Verdict::WithoutEffect => "without effect",
        Verdict::Refused => "refused",
    };
    let rows: Vec<[String; 3]> = report
        .fields
        .iter()
        .map(|field| [field.path.clone(), word(field.verdict).to_owned(), field.text.clone()])
        .collect();
    let mut text = format!("{}\n", report.file.display());
    if !rows.is_empty() {
        text.push_str(&output::table(["FIELD", "HERE", "HOW"], &rows));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for refused in &report.refused {
        text.push_str(&format!("refused: {refused}\n"));
    }
    text
}

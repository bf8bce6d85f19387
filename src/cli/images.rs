//! `coracle images`: what a server runs under which name.

use std::process::ExitCode;

use clap::Args;

use crate::cli::client::{ServerArgs, ServerClient};
use crate::cli::{Failure, Output, output};

/// List the images that a server knows by name: built in, and aliases (--image NAME=FILE).
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  coracle images --output json | jq -r '.[].name'")]
pub struct ImagesArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn run(arguments: ImagesArgs) -> Result<ExitCode, Failure> {
    let images = ServerClient::new(&arguments.server)?.get_json("/_coracle/images").await?;
    if arguments.output == Output::Json {
        output::print_json(&images)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |image: &serde_json::Value, member: &str| image[member].as_str().unwrap_or("-").to_owned();
    let rows: Vec<[String; 3]> = images
        .as_array()
        .into_iter()
        .flatten()
        .map(|image| ["name", "source", "digest"].map(|member| text(image, member)))
        .collect();
    output::print(&output::table(["NAME", "SOURCE", "DIGEST"], &rows))?;
    Ok(ExitCode::SUCCESS)
}

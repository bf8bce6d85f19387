//! Generates the wire types of the offered operations from the service models.
//!
//! `models/operations.txt` names what is offered; from the shapes that those operations reach come, for each service,
//! the Rust structs (`build/structs.rs`) and the descriptors that direct the codecs (`build/shapes.rs`). A shape that
//! nothing reaches costs nothing, and a member of the model can never be forgotten or misspelt by hand.

#[path = "build/model.rs"]
mod model;
#[path = "build/names.rs"]
mod names;
#[path = "build/shapes.rs"]
mod shapes;
#[path = "build/structs.rs"]
mod structs;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The services, by the name of their model's file, of their generated module and of their lines in the list.
const SERVICES: [&str; 4] = ["ecs", "elbv2", "secretsmanager", "ssm"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=models");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let offered = offered(&read(Path::new("models/operations.txt")));
    for service in SERVICES {
        let offered: Vec<&str> =
            offered.iter().filter(|(of, _)| of == service).map(|(_, name)| name.as_str()).collect();
        let text = read(&Path::new("models").join(format!("{service}.json")));
        let model = model::Model::parse(service, &text, &offered);
        let mut code = String::new();
        structs::write(&mut code, &model);
        shapes::write(&mut code, &model);
        fs::write(out.join(format!("{service}.rs")), code).expect("OUT_DIR is writable");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pairs of service and operation in the list; `#` begins a comment.
fn offered(list: &str) -> Vec<(String, String)> {
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (service, name) = line.split_once(' ').unwrap_or_else(|| panic!("operations.txt: `{line}`"));
            assert!(SERVICES.contains(&service), "operations.txt: unknown service in `{line}`");
            (service.to_owned(), name.trim().to_owned())
        })
        .collect()
}

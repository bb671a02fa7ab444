//! Generates `src/generated` of a package from the files under its `proto` folder, or checks that it is current.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// The proto packages' names collide (`v1`), so each is generated on its own and named after its folder.
const PROTOS: [(&str, &str); 3] = [
    ("deviceplugin/v1beta1", "deviceplugin_v1beta1.rs"),
    ("pluginregistration/v1", "pluginregistration_v1.rs"),
    ("podresources/v1", "podresources_v1.rs"),
];

fn generate(proto: &Path) -> Result<String> {
    let include = proto.parent().context("a proto file lies in a folder")?;
    let mut files =
        protox::compile([proto], [include]).with_context(|| format!("compile {}", proto.display()))?;
    for file in &mut files.file {
        // The comments: indented text in them would be taken for Rust examples and run as tests.
        file.source_code_info = None;
    }
    let out = tempfile::tempdir().context("make a folder to generate into")?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Sorted maps, so that equal messages have equal bytes.
        .btree_map(".")
        .out_dir(out.path())
        .compile_fds(files)
        .with_context(|| format!("generate code for {}", proto.display()))?;
    let mut generated = fs::read_dir(out.path())?.collect::<Result<Vec<_>, _>>()?;
    let (Some(file), true) = (generated.pop(), generated.is_empty()) else {
        bail!("{} should give one generated file", proto.display());
    };
    Ok(fs::read_to_string(file.path())?)
}

fn run(package: &Path, check: bool) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for (folder, name) in PROTOS {
        let code = generate(&package.join("proto").join(folder).join("api.proto"))?;
        let target = package.join("src/generated").join(name);
        if fs::read_to_string(&target).is_ok_and(|present| present == code) {
            continue;
        }
        stale.push(target.display().to_string());
        if !check {
            fs::write(&target, code).with_context(|| format!("write {}", target.display()))?;
        }
    }
    Ok(stale)
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (check, package) = match arguments.as_slice() {
        [package] => (false, package),
        [flag, package] if flag == "--check" => (true, package),
        _ => bail!("usage: gen-protos [--check] PACKAGE"),
    };
    let stale = run(Path::new(package), check)?;
    for file in &stale {
        println!("{} {file}", if check { "not current:" } else { "written:" });
    }
    if check && !stale.is_empty() {
        println!("run hack/gen-protos/run and commit what it writes");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

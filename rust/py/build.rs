//! Builds the static programs that the wheel carries beside the extension: the shim and the program of the built-in
//! image. They are built by one nested cargo, because they want another profile and a static C runtime, and end up in
//! `OUT_DIR`, from where maturin takes them (`include` in `pyproject.toml`).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PROFILE: &str = "shim";
const PROGRAMS: [&str; 2] = [ctr_shim::SHIM_FILE_NAME, ctr_shim::HELLO_WORLD_FILE_NAME];
/// Crates whose sources the programs are made of.
const CRATES: [&str; 3] = ["sys", "spec", "shim"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let rust_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    let shim_dir = rust_dir.join("shim");
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let target = variable("TARGET")?.into_string().map_err(|_| "TARGET is not UTF-8".to_owned())?;

    println!("cargo::rerun-if-changed=build.rs");
    for name in CRATES {
        let directory = rust_dir.join(name);
        println!("cargo::rerun-if-changed={}", directory.join("src").display());
        println!("cargo::rerun-if-changed={}", directory.join("Cargo.toml").display());
    }

    let nested = out_dir.join("nested");
    run_nested_cargo(&shim_dir, &target, &nested)?;
    for program in PROGRAMS {
        let built = nested.join(&target).join(PROFILE).join(program);
        install(&built, &out_dir.join(program))?;
    }
    Ok(())
}

fn run_nested_cargo(shim_dir: &Path, target: &str, nested: &Path) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(shim_dir)
        .args(["build", "--quiet", "--locked", "--bins", "--profile", PROFILE, "--target", target, "--target-dir"])
        .arg(nested)
        // The outer cargo holds the lock of its own build directory while this runs.
        .env("CARGO_BUILD_BUILD_DIR", nested)
        .env_remove("CARGO_TARGET_DIR")
        // Takes precedence over RUSTFLAGS, and carries the outer build's flags.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    // Lint wrappers of the outer cargo (`cargo clippy`) must not reach the programs.
    for wrapper in ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "CLIPPY_ARGS"] {
        cargo.env_remove(wrapper);
    }
    let status = cargo.status().map_err(|cause| format!("cannot run cargo for the shim: {cause}"))?;
    if status.success() { Ok(()) } else { Err(format!("the build of the shim failed: {status}")) }
}

fn install(built: &Path, destination: &Path) -> Result<(), String> {
    fs::copy(built, destination)
        .map(drop)
        .map_err(|cause| format!("cannot copy `{}` to `{}`: {cause}", built.display(), destination.display()))
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set: this is a cargo build script"))
}

//! What the scripts beside the code do, where a mistake of theirs would make other tests judge the wrong code.

#![allow(clippy::unwrap_used, reason = "a helper of a test that unwraps says where it failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A checkout with one small package, which prints `word` and where it was built, and our scripts' set-up.
fn checkout(at: &Path, word: &str) -> PathBuf {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup.sh");
    std::fs::create_dir_all(at.join("scripts")).unwrap();
    std::fs::create_dir_all(at.join("src")).unwrap();
    std::fs::copy(setup, at.join("scripts/setup.sh")).unwrap();
    let manifest = "[package]\nname = \"word\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(at.join("Cargo.toml"), manifest).unwrap();
    let main = at.join("src/main.rs");
    std::fs::write(&main, format!("fn main() {{ print!(\"{word} {{}}\", env!(\"CARGO_MANIFEST_DIR\")) }}\n")).unwrap();
    // Older than anything that is built in this test, like a checkout that lay there before another one came.
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    std::fs::File::options().write(true).open(&main).unwrap().set_modified(yesterday).unwrap();
    at.to_path_buf()
}

/// What the package prints when a script of `checkout` has built it into `build_folder`.
fn built_and_run(checkout: &Path, build_folder: &Path) -> String {
    let script = r#"set -euo pipefail
        source scripts/setup.sh
        claim_build_folder "$CARGO_TARGET_DIR"
        cargo run --quiet --offline"#;
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(checkout).env("CARGO_TARGET_DIR", build_folder);
    // cargo and the test runner tell their children what they build; here that would be about another package.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_")) {
        if name != "CARGO_TARGET_DIR" && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg_attr(windows, ignore = "the scripts are for bash")]
fn two_checkouts_that_share_a_build_folder_run_their_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let build_folder = folder.path().join("built");
    let one = checkout(&folder.path().join("one"), "one");
    let other = checkout(&folder.path().join("other"), "other");
    for checkout in [&one, &other, &one] {
        let word = checkout.file_name().unwrap().to_str().unwrap();
        assert_eq!(built_and_run(checkout, &build_folder), format!("{word} {}", checkout.display()));
    }
}

#[test]
#[cfg_attr(windows, ignore = "the scripts are for bash")]
fn a_checkout_that_built_last_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let build_folder = folder.path().join("built");
    let one = checkout(&folder.path().join("one"), "one");
    built_and_run(&one, &build_folder);
    let touched = std::fs::metadata(one.join("src/main.rs")).unwrap().modified().unwrap();
    built_and_run(&one, &build_folder);
    assert_eq!(std::fs::metadata(one.join("src/main.rs")).unwrap().modified().unwrap(), touched);
}

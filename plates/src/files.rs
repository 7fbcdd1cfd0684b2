//! Listing folders of images.

use std::io;
use std::path::Path;

use wellscope_protocol::component::{ComponentValue, compare_values};

/// Names in a folder, in the order of their bytes: natural order of 100,000 names takes seconds, and addresses do not need it.
/// Hidden ones are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Files.
    pub(crate) files: Vec<String>,
    /// Folders.
    pub(crate) folders: Vec<String>,
}

pub(crate) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            match std::fs::metadata(entry.path()) {
                Ok(target) => kind = target.file_type(),
                Err(_) => continue,
            }
        }
        if kind.is_dir() { listing.folders.push(name) } else { listing.files.push(name) }
    }
    listing.files.sort_unstable();
    listing.folders.sort_unstable();
    Ok(listing)
}

/// "2.tif" before "10.tif".
pub(crate) fn sort_naturally(names: &mut [String]) {
    names.sort_by_cached_key(|name| NaturalKey(ComponentValue::Text(name.clone())));
}

struct NaturalKey(ComponentValue);

impl PartialEq for NaturalKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for NaturalKey {}

impl PartialOrd for NaturalKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NaturalKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        compare_values(&self.0, &other.0)
    }
}

/// At most five names, for a sentence.
pub(crate) fn some_names<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

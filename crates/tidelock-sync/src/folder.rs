//! A folder that stands for a bucket: for the laptop, where there is no S3. Names with `/` are files in folders.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::Instant;
use tidelock_core::queue::{Bucket, Names};

/// Names on a page, as S3 has it.
const PAGE: usize = 1_000;

/// See the module.
pub(crate) struct FolderBucket {
    name: String,
    root: PathBuf,
}

impl FolderBucket {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let root = path.into();
        Self { name: root.display().to_string(), root }
    }

    /// The file of an object; a name must not lead out of the folder.
    fn path(&self, name: &str) -> Result<PathBuf, String> {
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !plain {
            Err(format!("`{name}` is no name of an object"))
        } else {
            Ok(self.root.join(name))
        }
    }

    fn because(&self, name: &str, error: &io::Error) -> String {
        format!("`{}`: {error}", self.root.join(name).display())
    }
}

fn store(path: &Path, body: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut new = path.to_path_buf().into_os_string();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of all files under a folder, relative to `root`.
fn walk(root: &Path, folder: &Path, names: &mut Vec<String>) -> io::Result<()> {
    let Some(entries) = unless_missing(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, names)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            names.push(name.to_owned());
        }
    }
    Ok(())
}

impl Bucket for FolderBucket {
    fn name(&self) -> &str {
        &self.name
    }

    async fn put(&self, name: &str, body: Vec<u8>, _: Instant) -> Result<(), String> {
        store(&self.path(name)?, &body).map_err(|error| self.because(name, &error))
    }

    async fn get(&self, name: &str, _: Instant) -> Result<Option<Vec<u8>>, String> {
        unless_missing(fs::read(self.path(name)?)).map_err(|error| self.because(name, &error))
    }

    async fn delete(&self, name: &str, _: Instant) -> Result<(), String> {
        unless_missing(fs::remove_file(self.path(name)?)).map(drop).map_err(|error| self.because(name, &error))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, _: Instant) -> Result<Names, String> {
        let mut names = Vec::new();
        walk(&self.root, &self.root, &mut names).map_err(|error| self.because("", &error))?;
        names.retain(|name| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after));
        names.sort_unstable();
        let more = names.len() > PAGE;
        names.truncate(PAGE);
        Ok(Names { names, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("a folder does not wait"),
        }
    }

    #[test]
    fn objects_are_files() {
        let root = std::env::temp_dir().join(format!("tidelock-folder-{}", std::process::id()));
        let bucket = FolderBucket::new(&root);
        let soon = Instant::now();
        assert_eq!(block_on(bucket.list("", None, soon)), Ok(Names::default()));
        assert_eq!(block_on(bucket.get("a/b", soon)), Ok(None));
        for name in ["a/b", "a/c/d", "e"] {
            block_on(bucket.put(name, name.as_bytes().to_vec(), soon)).expect("stored");
        }
        block_on(bucket.put("a/b", b"new".to_vec(), soon)).expect("stored again");
        assert_eq!(block_on(bucket.get("a/b", soon)), Ok(Some(b"new".to_vec())));
        let names = |prefix, after| block_on(bucket.list(prefix, after, soon)).expect("a folder").names;
        assert_eq!(names("a/", None), ["a/b", "a/c/d"]);
        assert_eq!(names("", Some("a/b")), ["a/c/d", "e"]);
        block_on(bucket.delete("a/b", soon)).expect("deleted");
        block_on(bucket.delete("a/b", soon)).expect("deleted already");
        assert_eq!(block_on(bucket.get("a/b", soon)), Ok(None));
        for name in ["", "../x", "/etc/passwd", "a/../../x"] {
            assert!(block_on(bucket.get(name, soon)).is_err(), "{name}");
        }
        fs::remove_dir_all(root).expect("removed");
    }
}

//! A folder that one gateway has to itself: two that kept what survives in the same one would undo each other's writing.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The file whose lock is the claim. It is empty, and stays behind: to remove it would let two gateways in.
const FILE: &str = "lock";

/// The claim to a folder, until it is given up or dropped, or the process ends in any way.
#[derive(Debug)]
pub struct Claim(Mutex<Option<File>>);

impl Claim {
    /// Claims the folder, and makes it if need be.
    pub fn take(folder: &Path) -> anyhow::Result<Self> {
        let unusable = |error: std::io::Error| {
            let folder = folder.display();
            anyhow::anyhow!("{folder} cannot be used ({error}): let [records] state be a folder that may be written")
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        let file = File::create(folder.join(FILE)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Mutex::new(Some(file)))),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another gateway uses {}: let [records] state be a folder of this one's own",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Gives the folder up.
    pub fn give_up(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::tests::Folder;

    #[test]
    fn a_second_gateway_is_told_where_the_first_one_is() {
        let folder = Folder::new();
        let state = folder.0.join("state");
        let first = Claim::take(&state).unwrap();
        let error = Claim::take(&state).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "another gateway uses {}: let [records] state be a folder of this one's own",
                state.display()
            )
        );
        first.give_up();
        Claim::take(&state).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let folder = Folder::new();
        let file = folder.0.join("file");
        fs::write(&file, "").unwrap();
        let error = Claim::take(&file).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{} cannot be used", file.display())),
            "{error}"
        );
    }
}

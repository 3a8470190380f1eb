//! `--only`: which of a session's files come, or go along.

use segue_proto::limits::MAX_PICK;
use segue_quic::Pick;

use crate::failure::Failure;

/// Which of a session's files come.
#[derive(Debug, clap::Args)]
pub(crate) struct Only {
    /// Get the content of the files in these folders alone, at any depth, with a comma between them, or each with an --only
    /// of its own; `.` stands for the files that lie in no folder. The others stay with the devices that hold them, as
    /// `segue owner` tells, until `segue pull` without --only, or with more folders, gets them. From devices of generation
    /// 7; others send everything. `receive` goes by it for sessions that are new here
    #[arg(long, value_name = "FOLDER", value_delimiter = ',', value_parser = folder)]
    pub(crate) only: Vec<String>,
}

/// Which of a session's files go along.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Along {
    /// Take along the content of the files in these folders alone, at any depth, with a comma between them, or each with an
    /// --only of its own; `.` stands for the files that lie in no folder. The others are named to the other device, which
    /// owns without them, and stay here for now: it gets them when the two are linked, or once this device puts them at the
    /// mailbox by a later `segue sync`. What that device's user picked (its --only) goes before
    #[arg(long, value_name = "FOLDER", value_delimiter = ',', value_parser = folder)]
    pub(crate) only: Vec<String>,
}

impl Only {
    /// What is picked.
    pub(crate) fn pick(&self) -> Result<Pick, Failure> {
        pick(&self.only)
    }
}

impl Along {
    /// What is picked.
    pub(crate) fn pick(&self) -> Result<Pick, Failure> {
        pick(&self.only)
    }

    /// Whether the file with this path goes along.
    pub(crate) fn takes(&self, path: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|folder| lies_in(path, folder))
    }
}

/// Whether a file lies in a folder, at any depth; `.` is that of the files that lie in none.
pub(crate) fn lies_in(path: &str, folder: &str) -> bool {
    match folder {
        "." => !path.contains('/'),
        _ => path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
    }
}

fn pick(only: &[String]) -> Result<Pick, Failure> {
    if only.len() > MAX_PICK {
        let count = only.len();
        return Err(Failure::usage(format!(
            "--only takes {MAX_PICK} folders at most, and these are {count}; name folders that hold several of them"
        )));
    }
    Ok(Pick::types(only.iter().map(|folder| if folder == "." { "" } else { folder })))
}

fn folder(text: &str) -> Result<String, String> {
    // As a shell completes it.
    let text = text.strip_suffix('/').filter(|text| *text != ".").unwrap_or(text);
    let plain = text == "." || text.split('/').all(|name| !matches!(name, "" | "." | ".."));
    plain.then(|| text.to_owned()).ok_or_else(|| {
        "a folder of the session is a path like photos or photos/2024, without / at its beginning; . stands for the files that lie in none".to_owned()
    })
}

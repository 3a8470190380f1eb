//! `--only`: which of a session's files come.

/// Which of a session's files come.
#[derive(Debug, clap::Args)]
pub(crate) struct Only {
    /// Get the content of the files in these folders alone, at any depth; `.` stands for the files that lie in no folder.
    /// The others stay with the devices that hold them, as `segue owner` tells, until `segue pull` without --only, or
    /// with more folders, gets them. From devices of generation 7; others send everything. `receive` goes by it for
    /// sessions that are new here
    #[arg(long, value_name = "FOLDER", value_delimiter = ',', num_args = 1..=64, value_parser = folder)]
    pub(crate) only: Vec<String>,
}

impl Only {
    /// What is picked.
    pub(crate) fn pick(&self) -> segue_quic::Pick {
        segue_quic::Pick::types(self.only.iter().map(|folder| if folder == "." { "" } else { folder }))
    }
}

fn folder(text: &str) -> Result<String, String> {
    let plain = text == "." || text.split('/').all(|name| !matches!(name, "" | "." | ".."));
    plain.then(|| text.to_owned()).ok_or_else(|| {
        "a folder of the session is a path like photos or photos/2024, without / at either end; . stands for the files that lie in none".to_owned()
    })
}

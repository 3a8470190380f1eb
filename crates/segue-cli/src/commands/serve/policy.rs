//! Which accounts a service demands: what its operator's files say, read again whenever they change.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use segue_quic::DeviceId;
use segue_service::{Allowance, KeySet, Policy};
use toml_edit::{Document, Item, Key, Table};

use crate::args::{Serve, line_of};
use crate::failure::Failure;

/// The operator's files.
#[derive(Debug)]
pub(super) struct Files {
    accounts: Option<PathBuf>,
    keys: Option<Keys>,
    login_ends: bool,
    /// What the files were like when they were read.
    seen: Vec<Option<(SystemTime, u64)>>,
    /// When they were looked at.
    looked: Instant,
}

/// The key set of an identity provider, and which of its tokens count.
#[derive(Debug)]
struct Keys {
    file: PathBuf,
    issuer: String,
    audience: String,
}

impl Files {
    /// Those that the command line names; none if it demands no accounts.
    pub(super) fn named(args: &Serve) -> Result<Option<Files>, Failure> {
        let keys = match (&args.keys, &args.issuer, &args.audience) {
            (Some(file), Some(issuer), Some(audience)) => {
                Some(Keys { file: file.clone(), issuer: issuer.clone(), audience: audience.clone() })
            }
            (None, None, None) => None,
            // They may come from the command line, the environment and a file.
            _ => {
                return Err(Failure::usage(
                    "--keys, --issuer and --audience go together: whose keys sign tokens, who issues them, and for whom",
                ));
            }
        };
        if args.login_ends && keys.is_none() {
            return Err(Failure::usage(
                "--login-ends says that logins end with their tokens; name --keys, or leave it out",
            ));
        }
        let accounts = args.accounts.clone();
        if accounts.is_none() && keys.is_none() {
            return Ok(None);
        }
        let looked = Instant::now();
        Ok(Some(Files { accounts, keys, login_ends: args.login_ends, seen: Vec::new(), looked }))
    }

    /// What they say.
    pub(super) fn read(&mut self) -> Result<Policy, Failure> {
        (self.seen, self.looked) = (self.stamps(), Instant::now());
        let mut policy = match &self.accounts {
            Some(file) => accounts(file)?,
            None => Policy::default(),
        };
        if let Some(Keys { file, issuer, audience }) = &self.keys {
            let text = std::fs::read_to_string(file).map_err(Failure::io("read", file))?;
            let keys = KeySet::read(&text, issuer, audience);
            let keys = keys.map_err(|why| Failure::usage(format!("{} is no key set: {why}", file.display())))?;
            policy.tokens = Some(Box::new(keys));
        }
        policy.ends_with_token = self.login_ends;
        Ok(policy)
    }

    /// What they say, if that is something else than when they were read last. Asked at most once a second.
    pub(super) fn changed(&mut self) -> Option<Result<Policy, Failure>> {
        if self.looked.elapsed() < PAUSE {
            return None;
        }
        self.looked = Instant::now();
        (self.stamps() != self.seen).then(|| self.read())
    }

    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stamp = |meta: Metadata| Some((meta.modified().ok()?, meta.len()));
        let files = self.accounts.iter().chain(self.keys.iter().map(|keys| &keys.file));
        files.map(|file| std::fs::metadata(file).ok().and_then(stamp)).collect()
    }
}

/// How often the files are looked at. From: an operator doesn't feel it.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the file of accounts.
fn accounts(file: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(file).map_err(Failure::io("read", file))?;
    parse(&text).map_err(|Wrong { at, why }| {
        let line = at.map(|at| format!(", line {}", line_of(&text, at))).unwrap_or_default();
        Failure::usage(format!("{}{line}: {why}", file.display()))
    })
}

/// What is wrong in the file.
#[derive(Debug)]
struct Wrong {
    /// The byte from which on it stands; none if `why` tells.
    at: Option<usize>,
    why: String,
}

impl Wrong {
    fn new(span: Option<Range<usize>>, why: String) -> Wrong {
        Wrong { at: span.map(|span| span.start), why }
    }
}

fn parse(text: &str) -> Result<Policy, Wrong> {
    let document = Document::parse(text).map_err(|error| Wrong::new(None, error.to_string()))?;
    known(document.as_table(), "the file", &["default", "accounts", "removed"])?;
    let usual = match document.get("default") {
        Some(item) => allowance(table(item, "default")?, "default", &LIMITS, Allowance::default())?,
        None => Allowance::default(),
    };
    let mut policy = Policy { usual, ..Policy::default() };
    if let Some(item) = document.get("removed") {
        policy.removed = devices(item, "removed")?.collect::<Result<BTreeSet<_>, _>>()?;
    }
    let named = document.get("accounts").map(|item| table(item, "accounts")).transpose()?;
    for (name, item) in named.into_iter().flat_map(Table::iter) {
        let at = named.and_then(|named| named.key(name)).and_then(Key::span);
        if !may_be_told(name) {
            let what = "it is to have 1 to 64 characters, none of them a control";
            return Err(Wrong::new(at, format!("{name:?} is no account's name: {what}")));
        }
        let account = table(item, name)?;
        if let Some(listed) = account.get("devices") {
            for device in devices(listed, name)? {
                let device = device?;
                if policy.devices.insert(device, name.to_owned()).is_some() {
                    let why = format!("device {device} stands there twice: a device is under one account");
                    return Err(Wrong::new(listed.span().or(at), why));
                }
            }
        }
        let own = [&LIMITS[..], &["devices"]].concat();
        policy.accounts.insert(name.to_owned(), allowance(account, name, &own, usual)?);
    }
    Ok(policy)
}

/// What may be said of an account, and of those that aren't named.
const LIMITS: [&str; 3] = ["handoff", "space", "most-devices"];

fn allowance(of: &Table, name: &str, may: &[&str], usual: Allowance) -> Result<Allowance, Wrong> {
    known(of, name, may)?;
    let number = |key: &str| match of.get(key) {
        None => Ok(None),
        Some(item) => match item.as_integer().map(u64::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(Wrong::new(item.span(), format!("{key} of {name} is to be a number from 0 on"))),
        },
    };
    let handoff = match of.get("handoff") {
        None => usual.handoff,
        Some(item) => {
            let wrong = || Wrong::new(item.span(), format!("handoff of {name} is to be true or false"));
            item.as_bool().ok_or_else(wrong)?
        }
    };
    let most = number("most-devices")?.map_or(usual.devices, |most| usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Allowance { handoff, bytes: number("space")?.unwrap_or(usual.bytes), devices: most, ..usual })
}

fn table<'a>(item: &'a Item, name: &str) -> Result<&'a Table, Wrong> {
    let wrong = || Wrong::new(item.span(), format!("{name} is to be a table, as in [accounts.alice]"));
    item.as_table().ok_or_else(wrong)
}

fn known(table: &Table, name: &str, may: &[&str]) -> Result<(), Wrong> {
    match table.iter().map(|(key, _)| key).find(|key| !may.contains(key)) {
        Some(key) => {
            let at = table.key(key).and_then(Key::span);
            Err(Wrong::new(at, format!("{name} may not have {key:?}; it may have {}", may.join(", "))))
        }
        None => Ok(()),
    }
}

fn devices<'a>(item: &'a Item, name: &'a str) -> Result<impl Iterator<Item = Result<DeviceId, Wrong>> + 'a, Wrong> {
    let wrong = move || {
        let why = format!("the devices of {name} are to be a list of ids, as `segue id --state DIR` prints them");
        Wrong::new(item.span(), why)
    };
    let list = item.as_array().ok_or_else(wrong)?;
    Ok(list.iter().map(move |id| {
        let id = id.as_str().and_then(DeviceId::from_hex).filter(|id| !id.is_zero());
        id.ok_or_else(wrong)
    }))
}

/// Whether a service may tell devices this name of an account.
fn may_be_told(name: &str) -> bool {
    segue_proto::wire::text::check_name(segue_proto::Rules::ALL, name).is_ok() && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394";

    #[test]
    fn a_file_of_accounts_says_what_holds_for_each() {
        let file = format!(
            "removed = [\"{}\"]\n[default]\nspace = 1000\n[accounts.alice]\ndevices = [\"{ID}\"]\nhandoff = false\n\
             [accounts.\"bob@example.org\"]\nspace = 7\nmost-devices = 2\n",
            "11".repeat(32)
        );
        let policy = parse(&file).unwrap();
        assert_eq!(policy.usual.bytes, 1_000);
        assert_eq!(policy.devices.values().collect::<Vec<_>>(), ["alice"]);
        let (alice, bob) = (policy.accounts["alice"], policy.accounts["bob@example.org"]);
        assert_eq!((alice.handoff, alice.bytes), (false, 1_000));
        assert_eq!((bob.handoff, bob.bytes, bob.devices), (true, 7, 2));
        assert_eq!(policy.removed.len(), 1);
        assert!(parse("").unwrap().accounts.is_empty());
    }

    #[test]
    fn what_is_wrong_in_it_is_told() {
        let twice = format!("[accounts.a]\ndevices = [\"{ID}\"]\n[accounts.b]\ndevices = [\"{ID}\"]\n");
        for (file, what) in [
            ("= 1", "TOML"),
            ("account = 1", "\"account\""),
            ("[accounts]\nalice = 1", "alice"),
            ("[accounts.alice]\nhandof = true", "\"handof\""),
            ("[accounts.alice]\nhandoff = 1", "true or false"),
            ("[accounts.alice]\nspace = -1", "number"),
            ("[accounts.alice]\ndevices = [\"phone\"]", "segue id"),
            ("[accounts.\"a\\u0007\"]", "64 characters"),
            ("removed = \"all\"", "list of ids"),
            (twice.as_str(), "one account"),
        ] {
            let why = parse(file).unwrap_err().why;
            assert!(why.contains(what), "{file}: {why}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("accounts.toml");
        std::fs::write(&file, "[default]\nspace = 7\n\n[accounts.a]\nhandof = true\n").unwrap();
        let told = accounts(&file).unwrap_err().text;
        assert!(told.contains("accounts.toml, line 5: a may not have \"handof\""), "{told}");
    }
}

//! `segue aside`: what revoked devices wrote past their cuts, and taking it in.

use segue_quic::{SessionId, SetAside};

use crate::args::Aside;
use crate::commands::devices::date;
use crate::device::{Device, require};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Lists, or takes in.
pub(crate) async fn run(args: &Aside) -> Result<Exit, Failure> {
    require(&args.state.state)?;
    let device = Device::existing(&args.state).await?;
    let done = here(&device, args).await;
    device.close().await;
    say(done?.trim_end());
    Ok(Exit::Resolved)
}

async fn here(device: &Device, args: &Aside) -> Result<String, Failure> {
    let views = match args.session {
        Some(session) => vec![device.session(session).await?],
        None => device.node.sessions().await?,
    };
    let mut lines = Vec::new();
    for view in views {
        let aside = device.node.set_aside(view.id).await?;
        if let Some(number) = args.take {
            return take(device, view.id, &aside, number).await;
        }
        lines.extend(aside.iter().enumerate().map(|(at, it)| line(view.id, &view.name, at + 1, it)));
    }
    if lines.is_empty() {
        lines.push("nothing is set aside".to_owned());
    }
    Ok(lines.join("\n"))
}

async fn take(device: &Device, session: SessionId, aside: &[SetAside], number: usize) -> Result<String, Failure> {
    let Some(chosen) = number.checked_sub(1).and_then(|at| aside.get(at)) else {
        let text = format!("nothing is set aside under {number} in session {session}; `segue aside {session}` lists it");
        return Err(Failure::failed(text));
    };
    device.node.take_in(session, chosen.part, chosen.actor).await?;
    let count = aside.iter().filter(|it| (it.part, it.actor) == (chosen.part, chosen.actor)).count();
    Ok(format!("took in {count} of part {}; the other devices are told when they meet this one", chosen.part))
}

/// One line: number, session, device, part, time, and the beginning of what was written.
fn line(session: SessionId, name: &str, number: usize, it: &SetAside) -> String {
    let time = u64::from_be_bytes(*it.hlc.as_bytes()) >> 16;
    let device = it.device.map_or_else(|| "an unnamed device".to_owned(), |device| format!("device {device}"));
    let text: String = String::from_utf8_lossy(&it.body).chars().filter(|c| !c.is_control()).take(40).collect();
    format!(
        "{number}  session {session} {name:?}  part {}  op {} by {device}, {}: {} bytes {text:?}",
        it.part,
        it.seq,
        date(time),
        it.body.len()
    )
}

//! Who is there, by a service.

use std::time::Duration;

use segue_quic::{DeviceId, Node, Offerable, Presence};

use crate::failure::Failure;
use crate::terminal::note;

/// How long a service is waited for that is to say who is there. From: a link and a round trip, many times.
const ASKED: Duration = Duration::from_secs(5);

/// What may be handed over, and to whom; with what the service says of these devices, if it says anything in time.
pub(crate) async fn offerable(node: &Node, service: Option<DeviceId>) -> Result<Vec<Offerable>, Failure> {
    let Some(service) = service else { return Ok(node.offerable().await?) };
    match tokio::time::timeout(ASKED, node.offerable_by(service)).await {
        Ok(Ok(told)) => return Ok(told),
        Ok(Err(error)) => note(format_args!("{error}; the list goes by what this device knows")),
        Err(_) => note(format_args!(
            "service {service} didn't say within {} s who is there; the list goes by what this device knows",
            ASKED.as_secs()
        )),
    }
    Ok(node.offerable().await?)
}

/// What a service says of a device, for the user.
pub(crate) fn words(it: &Presence) -> String {
    match (it.online, it.generation) {
        (true, Some(generation)) => format!("online at the service with generation {generation}"),
        (true, None) => "online at the service".to_owned(),
        (false, _) => format!("last online at the service {} ago", ago(it.ago)),
    }
}

/// The same for scripts.
pub(crate) fn json(it: &Presence) -> serde_json::Value {
    serde_json::json!({
        "online": it.online,
        "generation": it.generation.map(|generation| generation.to_string()),
        "ago_ms": u64::try_from(it.ago.as_millis()).unwrap_or(u64::MAX),
    })
}

/// A duration in the largest unit of which it has one.
fn ago(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..86_400 => format!("{} h", secs / 3_600),
        _ => format!("{} d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_fits_it() {
        let said = [0, 59, 60, 3_599, 3_600, 86_399, 86_400].map(|secs| ago(Duration::from_secs(secs)));
        assert_eq!(said, ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d"]);
    }
}

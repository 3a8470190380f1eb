//! A service that demands accounts, as its operator and its users run it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::util::*;

const KEYS: &str = include_str!("../../../segue-service/tests/it/keys/keys.jwks");
const KEY: &[u8] = include_bytes!("../../../segue-service/tests/it/keys/ec.der");

/// Writes a token for an account and an audience, valid for an hour.
fn token(file: &Path, account: &str, audience: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": account, "iss": "https://example.org/id", "aud": audience, "exp": now + 3_600});
    let header = Header { kid: Some("ec".into()), ..Header::new(Algorithm::ES256) };
    let token = encode(&header, &claims, &EncodingKey::from_ec_der(KEY)).unwrap();
    std::fs::write(file, token + "\n").unwrap();
}

/// Whether these bytes stand in any file below a directory.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).any(|entry| {
        let kind = entry.file_type().unwrap();
        let found = || std::fs::read(entry.path()).unwrap().windows(bytes.len()).any(|it| it == bytes);
        kind.is_dir() && holds(&entry.path(), bytes) || kind.is_file() && found()
    })
}

/// Starts a service that takes tokens, with further options; itself, and the options by which it is used.
fn serve(lab: &Lab, addr: &str, rest: &str) -> (Running, String) {
    std::fs::write(lab.path("keys.jwks"), KEYS).unwrap();
    let line = format!(
        "serve --state box --listen {addr} --keys keys.jwks --issuer https://example.org/id --audience segue {rest}"
    );
    let mut service = lab.start(&line);
    service.addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let by = format!("--mailbox {} --mailbox-device {id}", service.addr);
    (service, by)
}

#[test]
fn a_device_logs_in_once_with_a_token_and_hands_over_by_the_service() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let (mut service, by) = serve(&lab, "127.0.0.1:0", "");
    let send = format!("send --state a notes --device {b} {by}");
    let refused = lab.run(&send).exits(1).says("SVC_LOGIN");
    assert!(refused.err.contains("segue login --token"), "{}", refused.err);
    assert_eq!(lab.session("a")["role"], "primary", "it owns what it couldn't give away");
    lab.run(&format!("sync --state b {by}")).exits(1).says("SVC_LOGIN");
    token(&lab.path("wrong"), "alice", "another service");
    lab.run(&format!("sync --state b {by} --token wrong")).exits(1).says("SVC_TOKEN");
    token(&lab.path("token"), "alice", "segue");
    // The environment's goes to the mailbox that it is for alone.
    let with_token = |meant: &str| {
        let mut login = lab.command(&format!("login --state b {by}"));
        login.env("SEGUE_TOKEN", std::fs::read_to_string(lab.path("token")).unwrap()).env("SEGUE_TOKEN_FOR", meant);
        Running::new(login.spawn().unwrap(), "login").end()
    };
    with_token(&a).exits(1).says("is for").says("SVC_LOGIN");
    with_token("me").exits(2).says("SEGUE_TOKEN_FOR");
    lab.run(&format!("login --state b {by} --token token")).exits(0).says("under account \"alice\"").says("is on");
    // No token from here on for the one, and one with the first command for the other; killed, the service remembers.
    let addr = service.addr.clone();
    service.kill();
    let (_service, by) = serve(&lab, &addr, "");
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    lab.run(&format!("{send} --token token")).exits(0).says("handed over session");
    receiver.end().exits(0).says("received session");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    lab.run(&format!("sync --state a {by}")).exits(0).says("exchanged 1 session with");
    let token = std::fs::read(lab.path("token")).unwrap();
    let held = |state: &str| holds(&lab.path(state), &token[..40]);
    assert!(!held("a") && !held("b") && !held("box"), "a token is written down nowhere");
}

#[test]
fn an_operator_names_devices_and_switches_handing_over_off_and_on() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    let accounts = |more: &str| {
        let text = format!("[accounts.staff]\ndevices = [\"{a}\"]\nspace = 50000000\n{more}");
        std::fs::write(lab.path("accounts.toml"), text).unwrap();
    };
    accounts("handoff = false\n");
    lab.tree("notes", 3, 3_000);
    let (_service, by) = serve(&lab, "127.0.0.1:0", "--accounts accounts.toml");
    lab.run(&format!("login --state a {by}")).exits(0).says("under account \"staff\"").says("is off");
    lab.run(&format!("login --state b {by}")).exits(1).says("SVC_LOGIN");
    lab.run(&format!("send --state a notes --device {b} {by}")).exits(1).says("switch it on");
    lab.run(&format!("sync --state a {by}")).exits(0).says("exchanged 1 session with");
    // The file is read again once it changed, and what is wrong in it changes nothing.
    accounts("handof = true\n");
    lab.run(&format!("login --state a {by}")).exits(0).says("under account \"staff\"");
    accounts("");
    wait_for(|| lab.run(&format!("login --state a {by}")).exits(0).out.contains("is on"));
}

#[test]
fn a_token_file_that_holds_none_is_refused() {
    let lab = Lab::new();
    let a = lab.id("a");
    std::fs::write(lab.path("empty"), "\n").unwrap();
    for command in ["login", "sync"] {
        let line = format!("{command} --state b --mailbox 127.0.0.1:9 --mailbox-device {a} --token empty --timeout 1");
        lab.run(&line).exits(1).says("empty (--token) holds no token");
    }
}

#[test]
fn what_does_not_go_together_is_told_at_once() {
    let lab = Lab::new();
    let serve = |rest: &str| lab.run(&format!("serve --state box --listen 127.0.0.1:0 {rest}"));
    serve("--keys keys.jwks").exits(2).says("--issuer");
    serve("--login-ends").exits(2).says("--keys");
    serve("--accounts none.toml").exits(1).says("none.toml");
    serve("--accounts none.toml --device-space 1000").exits(2).says("space in the file --accounts");
    std::fs::write(lab.path("keys.jwks"), "{\"keys\": []}").unwrap();
    serve("--keys keys.jwks --issuer x --audience y").exits(2).says("keys.jwks");
    std::fs::write(lab.path("accounts.toml"), "[accounts.a]\nspace = \"much\"\n").unwrap();
    serve("--accounts accounts.toml").exits(2).says("accounts.toml");
}

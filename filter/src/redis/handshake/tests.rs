//! Which replies make a connection ready, and which say why not.

use super::*;

const SCRIPTS: &[&str] = &["return 1"];

fn credentials(username: Option<&str>, password: Option<&str>) -> Credentials {
    Credentials {
        username: username.map(str::to_owned),
        password: password.map(|password| Password::new(password.to_owned())),
    }
}

fn secret() -> Credentials {
    credentials(None, Some("secret"))
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().to_vec())
}

fn digest() -> Value {
    Value::Bulk(vec![b'a'; DIGEST_CHARS])
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn hello(role: &str) -> Value {
    let text = |text: &str| Value::Bulk(text.as_bytes().to_vec());
    let proto = (text("proto"), Value::Integer(3));
    Value::Map(vec![(text("server"), text("redis")), proto, (text("role"), text(role))])
}

fn done() -> Progress {
    done_with(false)
}

fn done_with(subscribed: bool) -> Progress {
    Progress::Done { digests: vec![Some(vec![b'a'; DIGEST_CHARS])], subscribed }
}

fn run(credentials: &Credentials, replies: &[Value]) -> (String, String, Progress) {
    run_with(credentials, &[], replies)
}

/// What two flights say, and what the last reply leads to; all before it must leave the handshake
/// pending. A push in place of a reply confirms a channel.
fn run_with(
    credentials: &Credentials,
    channels: &[&str],
    replies: &[Value],
) -> (String, String, Progress) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let (client_name, scripts) = ("m e", SCRIPTS);
    let (channels, tracked) = (&channels[..], None);
    let introduction = Introduction { credentials, client_name, scripts, channels, tracked };
    let mut handshake = Handshake::begin(introduction, &mut first);
    let mut progress = Progress::Pending;
    for reply in replies {
        assert_eq!(progress, Progress::Pending, "before {reply:?}");
        if let Value::Push(elements) = reply {
            handshake.on_confirmation(elements[0].as_bytes().unwrap());
        } else {
            progress = handshake.on_reply(reply, introduction, &mut second);
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", " ");
    (text(&first), text(&second), progress)
}

const LOAD: &str = "*3 $6 SCRIPT $4 LOAD $8 return 1 ";
const SET_NAME: &str = "*3 $6 CLIENT $7 SETNAME $3 m-e ";

#[test]
fn everything_is_sent_in_one_flight() {
    let cases = [
        (Credentials::default(), "*4 $5 HELLO $1 3 $7 SETNAME $3 m-e "),
        (secret(), "*7 $5 HELLO $1 3 $4 AUTH $7 default $6 secret $7 SETNAME $3 m-e "),
        (
            credentials(Some("me"), Some("secret")),
            "*7 $5 HELLO $1 3 $4 AUTH $2 me $6 secret $7 SETNAME $3 m-e ",
        ),
        (credentials(Some("me"), None), "*4 $5 HELLO $1 3 $7 SETNAME $3 m-e "),
    ];
    for (credentials, expected) in cases {
        let (first, second, progress) = run(&credentials, &[hello("master"), digest()]);
        assert_eq!((first, second), (format!("{expected}{LOAD}"), String::new()));
        assert_eq!(progress, done());
    }
}

#[test]
fn without_hello_it_begins_again_in_resp2() {
    let cases = [
        (Credentials::default(), ""),
        (secret(), "*2 $4 AUTH $6 secret "),
        (credentials(Some("me"), Some("secret")), "*3 $4 AUTH $2 me $6 secret "),
    ];
    for unknown in ["ERR unknown command `HELLO`", "NOPROTO sorry", "unsupported command"] {
        for (credentials, auth) in &cases {
            let mut replies = vec![error(unknown), error("NOAUTH of the first SCRIPT LOAD")];
            replies.extend((!auth.is_empty()).then(ok));
            replies.extend([error("ERR no SETNAME either"), digest()]);
            let (_, second, progress) = run(credentials, &replies);
            assert_eq!(second, format!("{auth}{SET_NAME}{LOAD}"));
            assert_eq!(progress, done());
        }
    }
}

#[test]
fn a_server_that_will_not_load_scripts_is_used_without_digests() {
    let (.., progress) = run(&secret(), &[hello("master"), error("ERR unknown command")]);
    assert_eq!(progress, Progress::Done { digests: vec![None], subscribed: false });
}

#[test]
fn a_server_that_cannot_be_used_is_told_apart() {
    let in_resp2 = [error("ERR unknown command"), digest()];
    let not_ready = |code: &str| LostCause::NotReady(code.to_owned());
    for (replies, expected) in [
        (vec![error("WRONGPASS invalid")], LostCause::AuthRefused),
        (vec![error("NOAUTH HELLO must be called")], LostCause::AuthRefused),
        (vec![error("NOPERM no")], LostCause::AuthRefused),
        (vec![error("LOADING dataset")], not_ready("LOADING")),
        (vec![error("MASTERDOWN link")], LostCause::NotPrimary),
        (vec![hello("replica")], LostCause::NotPrimary),
        (vec![ok()], LostCause::UnexpectedReply),
        (vec![hello("master"), error("LOADING dataset")], not_ready("LOADING")),
        (vec![hello("master"), error("BUSY script")], not_ready("BUSY")),
        (vec![hello("master"), error("NOPERM no")], LostCause::AuthRefused),
        (vec![hello("master"), error("MASTERDOWN link")], LostCause::NotPrimary),
        (vec![hello("master"), Value::Bulk(vec![b'a'; 39])], LostCause::UnexpectedReply),
        (vec![hello("master"), Value::Bulk(vec![b'g'; 40])], LostCause::UnexpectedReply),
        (vec![hello("master"), Value::Null], LostCause::UnexpectedReply),
        ([&in_resp2[..], &[error("ERR invalid password")]].concat(), LostCause::AuthRefused),
        ([&in_resp2[..], &[error("LOADING dataset")]].concat(), not_ready("LOADING")),
        ([&in_resp2[..], &[Value::Null]].concat(), LostCause::UnexpectedReply),
    ] {
        let (.., progress) = run(&secret(), &replies);
        assert_eq!(progress, Progress::Failed(expected), "{replies:?}");
    }
}

#[test]
fn a_reply_too_many_is_no_handshake() {
    let credentials = &secret();
    let (client_name, scripts, channels, tracked) = ("me", &[][..], &[][..], None);
    let introduction = Introduction { credentials, client_name, scripts, channels, tracked };
    let mut out = Vec::new();
    let mut handshake = Handshake::begin(introduction, &mut out);
    let mut reply = |value| handshake.on_reply(&value, introduction, &mut out);
    let done = Progress::Done { digests: vec![], subscribed: false };
    assert_eq!(reply(hello("master")), done);
    assert_eq!(reply(ok()), Progress::Failed(LostCause::UnexpectedReply));
}

#[test]
fn the_password_is_not_shown() {
    assert!(!format!("{:?}", secret()).contains("secret"));
    let (.., progress) = run(&secret(), &[error("LOADING secret")]);
    assert!(!format!("{progress:?}").contains("secret"));
}

const CHANNELS: &[&str] = &["one", "two"];
const SUBSCRIBE: &str = "*3 $9 SUBSCRIBE $3 one $3 two *2 $5 HELLO $1 3 ";

fn confirmed(channel: &str) -> Value {
    Value::Push(vec![Value::Bulk(channel.as_bytes().to_vec())])
}

/// What is sent behind the greeting, and what these replies to it lead to.
fn subscribe(replies: &[Value]) -> (String, Progress) {
    let welcome = [hello("master"), digest()];
    let (first, second, progress) = run_with(&secret(), CHANNELS, &[&welcome, replies].concat());
    assert!(!first.contains("SUBSCRIBE"), "before the server is known to speak RESP3: {first}");
    (second, progress)
}

#[test]
fn channels_are_subscribed_to_once_the_server_speaks_resp3() {
    let replies = [confirmed("one"), confirmed("two"), hello("master")];
    assert_eq!(subscribe(&replies), (SUBSCRIBE.to_owned(), done_with(true)));
    let (_, second, progress) = run_with(&secret(), &[], &[hello("master"), digest()]);
    assert_eq!((second, progress), (String::new(), done()));
}

#[test]
fn subscribed_means_that_each_channel_was_confirmed() {
    let [one, two, other] = ["one", "two", "other"].map(confirmed);
    for (confirmations, expected) in [
        (vec![one.clone(), two.clone()], true),
        (vec![two.clone(), one.clone()], true),
        (vec![one.clone(), one.clone(), two.clone()], true),
        (vec![], false),
        (vec![one.clone()], false),
        (vec![one.clone(), one.clone()], false),
        (vec![one.clone(), other], false),
    ] {
        let (_, progress) = subscribe(&[&confirmations[..], &[hello("master")]].concat());
        assert_eq!(progress, done_with(expected), "{confirmations:?}");
    }
    // Before it was asked for, nothing is confirmed.
    let replies = [one, two, hello("master"), digest(), hello("master")];
    assert_eq!(run_with(&secret(), CHANNELS, &replies).2, done_with(false));
}

#[test]
fn a_channel_named_twice_is_confirmed_once() {
    let replies = [hello("master"), digest(), confirmed("one"), hello("master")];
    assert_eq!(run_with(&secret(), &["one", "one"], &replies).2, done_with(true));
}

#[test]
fn a_server_that_refuses_channels_is_used_without() {
    for refused in ["NOPERM no channels", "ERR unknown command 'SUBSCRIBE'"] {
        let (_, progress) = subscribe(&[error(refused)]);
        assert_eq!(progress, Progress::Pending, "the greeting behind it is to be answered");
        let (_, progress) = subscribe(&[error(refused), hello("master")]);
        assert_eq!(progress, done_with(false));
        let late = [error(refused), confirmed("one"), confirmed("two"), hello("master")];
        assert_eq!(subscribe(&late).1, done_with(false));
    }
}

#[test]
fn subscribing_fails_with_a_server_that_cannot_be_used() {
    let [one, two] = ["one", "two"].map(confirmed);
    let refused = error("NOPERM no channels");
    let unexpected = LostCause::UnexpectedReply;
    for (replies, expected) in [
        (vec![error("BUSY script")], LostCause::NotReady("BUSY".to_owned())),
        (vec![error("MASTERDOWN link")], LostCause::NotPrimary),
        (vec![one.clone(), two.clone(), hello("replica")], LostCause::NotPrimary),
        (vec![refused.clone(), error("ERR no HELLO")], unexpected.clone()),
        (vec![one, two, error("ERR no HELLO")], unexpected.clone()),
        (vec![refused, Value::Null], unexpected.clone()),
        // Confirmed in the line of replies: what is published would come there too.
        (vec![Value::Array(vec![])], unexpected.clone()),
        (vec![ok()], unexpected),
    ] {
        assert_eq!(subscribe(&replies).1, Progress::Failed(expected), "{replies:?}");
    }
}

#[test]
fn nothing_is_subscribed_to_in_resp2() {
    let replies = [
        error("ERR unknown command"),
        digest(),
        ok(),
        ok(),
        confirmed("one"),
        confirmed("two"),
        digest(),
    ];
    let (first, second, progress) = run_with(&secret(), CHANNELS, &replies);
    assert!(!format!("{first}{second}").contains("SUBSCRIBE"));
    assert_eq!(progress, done_with(false));
}

#[test]
fn changes_of_keys_are_told_once_the_server_has_agreed() {
    let credentials = &secret();
    let channels = &["one".to_owned()][..];
    let (client_name, scripts, tracked) = ("me", &[][..], Some(&b"mp:"[..]));
    let introduction = Introduction { credentials, client_name, scripts, channels, tracked };
    for (answer, expected) in [
        (ok(), Progress::Done { digests: vec![], subscribed: true }),
        (error("NOPERM no tracking"), Progress::Done { digests: vec![], subscribed: false }),
        (error("ERR unknown subcommand"), Progress::Done { digests: vec![], subscribed: false }),
        (error("BUSY script"), Progress::Failed(LostCause::NotReady("BUSY".to_owned()))),
    ] {
        let mut out = Vec::new();
        let mut handshake = Handshake::begin(introduction, &mut Vec::new());
        assert_eq!(handshake.on_reply(&hello("master"), introduction, &mut out), Progress::Pending);
        let text = String::from_utf8_lossy(&out).into_owned();
        let tracking = "$8\r\nTRACKING\r\n$2\r\nON\r\n$5\r\nBCAST\r\n$6\r\nPREFIX\r\n$3\r\nmp:\r\n";
        assert!(text.contains(tracking), "{text}");
        let mut progress = handshake.on_reply(&answer, introduction, &mut out);
        if progress == Progress::Pending {
            handshake.on_confirmation(b"one");
            progress = handshake.on_reply(&hello("master"), introduction, &mut out);
        }
        assert_eq!(progress, expected, "{answer:?}");
    }
}

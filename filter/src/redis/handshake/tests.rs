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
    Progress::Done(vec![Some(vec![b'a'; DIGEST_CHARS])])
}

/// What two flights say, and what the last reply leads to; all before it must leave the handshake
/// pending.
fn run(credentials: &Credentials, replies: &[Value]) -> (String, String, Progress) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let introduction = Introduction { credentials, client_name: "m e", scripts: SCRIPTS };
    let mut handshake = Handshake::begin(introduction, &mut first);
    let mut progress = Progress::Pending;
    for reply in replies {
        assert_eq!(progress, Progress::Pending, "before {reply:?}");
        progress = handshake.on_reply(reply, introduction, &mut second);
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
    assert_eq!(progress, Progress::Done(vec![None]));
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
    let introduction = Introduction { credentials: &secret(), client_name: "me", scripts: &[] };
    let mut out = Vec::new();
    let mut handshake = Handshake::begin(introduction, &mut out);
    let mut reply = |value| handshake.on_reply(&value, introduction, &mut out);
    assert_eq!(reply(hello("master")), Progress::Done(vec![]));
    assert_eq!(reply(ok()), Progress::Failed(LostCause::UnexpectedReply));
}

#[test]
fn the_password_is_not_shown() {
    assert!(!format!("{:?}", secret()).contains("secret"));
    let (.., progress) = run(&secret(), &[error("LOADING secret")]);
    assert!(!format!("{progress:?}").contains("secret"));
}

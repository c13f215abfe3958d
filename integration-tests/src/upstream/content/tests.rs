//! Every path: what is answered, the same each time, and what is refused.

use serde_json::Value;

use super::super::body::Decoder;
use super::super::request::Framing;
use super::*;

fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
        .collect();
    answer(&Request { method, target, minor: 1, headers: &headers }, &Received::default())
}

fn get(target: &str) -> Answer {
    ask("GET", target, &[])
}

fn json(answer: &Answer) -> Value {
    let Body::Whole(bytes) = &answer.body else { panic!("{answer:?}") };
    serde_json::from_slice(bytes).unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
}

const DOCUMENTS: [&str; 5] = [
    "/categories/MLA97994",
    "/items/MLA600000001",
    "/users/226384143",
    "/sites/MLA/categories",
    "/sites/MLA/search?q=celular&limit=2",
];

#[test]
fn documents_are_cacheable_json() {
    for target in DOCUMENTS {
        let answer = get(target);
        assert_eq!(answer.status, 200, "{target}");
        assert!(!json(&answer).is_null());
        assert_eq!(header(&answer, "Content-Type"), Some("application/json;charset=UTF-8"));
        assert_eq!(header(&answer, "Cache-Control"), Some("public, max-age=60"));
        let etag = header(&answer, "ETag").unwrap();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 18, "{etag}");
        let modified = httpdate::parse_http_date(header(&answer, "Last-Modified").unwrap());
        assert!(modified.unwrap() > SystemTime::UNIX_EPOCH);
    }
}

#[test]
fn the_same_path_is_the_same_bytes() {
    for target in DOCUMENTS {
        assert_eq!(get(target), get(target));
    }
    assert_eq!(get("/items/MLA1"), get("/items/MLA1?attributes=price"));
    // FNV-1a of the path, so it is the same in the next run too.
    assert_eq!(header(&get("/categories/MLA97994"), "ETag"), Some("\"9507678c9f4a64d9\""));
}

#[test]
fn other_paths_are_other_documents() {
    for (one, other) in [
        ("/categories/MLA1", "/categories/MLA2"),
        ("/items/MLA1", "/items/MLA2"),
        ("/users/1", "/users/2"),
        ("/sites/MLA/search?q=a", "/sites/MLA/search?q=b"),
    ] {
        let (one, other) = (get(one), get(other));
        assert_ne!(json(&one), json(&other));
        assert_ne!(header(&one, "ETag"), header(&other, "ETag"));
    }
}

#[test]
fn documents_say_what_they_are() {
    assert_eq!(json(&get("/categories/MLA97994"))["id"], "MLA97994");
    assert_eq!(json(&get("/items/MLB600000001"))["site_id"], "MLB");
    assert_eq!(json(&get("/users/226384143"))["id"], 226_384_143);
    assert_eq!(
        json(&get("/sites/MCO/categories"))[0]["id"].as_str().unwrap().get(..3),
        Some("MCO")
    );
}

#[test]
fn a_search_has_pages() {
    let first = json(&get("/sites/MLA/search?q=celular%20usado+%22x%22&limit=3"));
    assert_eq!(first["query"], "celular usado \"x\"");
    let paging = &first["paging"];
    assert_eq!((&paging["offset"], &paging["limit"]), (&0.into(), &3.into()));
    assert!(paging["total"].as_u64().unwrap() > 5, "{paging}");
    assert_eq!(first["results"].as_array().unwrap().len(), 3);

    let second = json(&get("/sites/MLA/search?offset=2&limit=3&q=celular+usado+%22x%22"));
    assert_eq!(second["results"][0], first["results"][2]);
    assert_ne!(second["results"][1], first["results"][1]);

    let id = first["results"][0]["id"].as_str().unwrap();
    assert_eq!(json(&get(&format!("/items/{id}"))), first["results"][0]);
}

#[test]
fn the_end_of_a_search_is_its_last_page() {
    let total = json(&get("/sites/MLA/search?q=x"))["paging"]["total"].as_u64().unwrap();
    assert!((1..=MAX_OFFSET).contains(&total), "choose another query: {total}");
    for (offset, results) in [(total - 1, 1), (total, 0)] {
        let page = json(&get(&format!("/sites/MLA/search?q=x&offset={offset}")));
        assert_eq!(page["results"].as_array().unwrap().len(), results);
    }
}

#[test]
fn paging_is_bounded() {
    for (query, status) in [
        ("limit=0", 200),
        ("limit=50", 200),
        ("limit=51", 400),
        ("limit=-1", 400),
        ("limit=", 400),
        ("offset=1000", 200),
        ("offset=1001", 400),
    ] {
        assert_eq!(get(&format!("/sites/MLA/search?q=a&{query}")).status, status, "{query}");
    }
    let refused = json(&get("/sites/MLA/search?limit=51"));
    assert_eq!(refused["message"], "limit: '51' is not a whole number up to 50");
}

#[test]
fn unknown_paths_are_the_apis_404() {
    for target in [
        "/",
        "",
        "*",
        "//",
        "/categories",
        "/categories/",
        "/categories/MLA1/",
        "/categories/MLA1/x",
        "//categories/MLA1",
        "/x/../categories/MLA1",
        "/%63ategories/MLA1",
        "/Categories/MLA1",
        "/items/",
        "/users/",
        "/users/me",
        "/sites/MLA",
        "/sites//search",
        "/sites/MLA/search/x",
        "/status",
        "/status/200/x",
        "/echo",
        "categories/MLA1",
        "http://a/categories/MLA1",
    ] {
        let answer = get(target);
        assert_eq!(answer.status, 404, "{target}");
        let error = json(&answer);
        assert_eq!(error["error"], "not_found", "{target}");
        assert_eq!((&error["status"], &error["cause"]), (&404.into(), &Value::Array(Vec::new())));
    }
}

#[test]
fn an_unchanged_document_is_304() {
    let target = "/categories/MLA97994";
    let full = get(target);
    let etag = header(&full, "ETag").unwrap();
    let modified = header(&full, "Last-Modified").unwrap();
    let weak_in_list = format!("\"x\", W/{etag}");
    let earlier = "Sun, 31 Dec 2023 23:59:59 GMT";
    for (headers, status) in [
        (&[("If-None-Match", etag)][..], 304),
        (&[("if-none-match", weak_in_list.as_str())], 304),
        (&[("If-None-Match", "\"x\""), ("If-None-Match", etag)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"x\"")], 200),
        (&[("If-Modified-Since", modified)], 304),
        (&[("If-Modified-Since", earlier)], 200),
        (&[("If-Modified-Since", "yesterday")], 200),
        (&[("If-None-Match", "\"x\""), ("If-Modified-Since", modified)], 200),
    ] {
        let answer = ask("GET", target, headers);
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(header(&answer, "ETag"), Some(etag));
        assert_eq!(header(&answer, "Cache-Control"), Some("public, max-age=60"));
        assert_eq!(header(&answer, "Content-Type").is_some(), status == 200);
    }
}

#[test]
fn methods_are_told() {
    for target in ["/categories/MLA1", "/bytes/1", "/stream/1"] {
        assert_eq!(ask("HEAD", target, &[]), get(target));
        let options = ask("OPTIONS", target, &[]);
        assert_eq!((options.status, header(&options, "Allow")), (200, Some("GET, HEAD, OPTIONS")));
        let post = ask("POST", target, &[]);
        assert_eq!((post.status, header(&post, "Allow")), (405, Some("GET, HEAD, OPTIONS")));
        assert_eq!(json(&post)["error"], "method_not_allowed");
    }
    assert_eq!(ask("OPTIONS", "*", &[]).status, 200);
    assert_eq!(ask("POST", "/unknown", &[]).status, 404);
}

#[test]
fn status_codes_are_answered_as_asked() {
    for code in [200, 201, 204, 205, 299, 301, 304, 308, 404, 418, 429, 500, 503, 599] {
        for method in ["GET", "DELETE"] {
            let answer = ask(method, &format!("/status/{code}"), &[]);
            assert_eq!(answer.status, code);
            let redirects = (300..400).contains(&code) && code != 304;
            assert_eq!(header(&answer, "Location").is_some(), redirects, "{code}");
        }
    }
    for code in ["199", "600", "-1", "x", "", "65736"] {
        assert_eq!(get(&format!("/status/{code}")).status, 400, "{code}");
    }
}

#[test]
fn bytes_and_streams_are_bounded() {
    assert_eq!(get("/bytes/0").body, Body::Pattern(0));
    assert_eq!(get(&format!("/bytes/{MAX_BYTES}")).body, Body::Pattern(MAX_BYTES));
    assert_eq!(get(&format!("/bytes/{}", MAX_BYTES + 1)).status, 400);
    let every = Duration::from_millis(10);
    assert_eq!(get("/stream/3?every=10ms").body, Body::Chunks { count: 3, every });
    let every = Duration::ZERO;
    assert_eq!(get("/stream/1000000").body, Body::Chunks { count: MAX_CHUNKS, every });
    for target in ["/stream/1000001", "/stream/x", "/stream/1?every=10", "/stream/1?every=61s"] {
        assert_eq!(get(target).status, 400, "{target}");
    }
}

/// The echo of a body of `length` bytes.
fn echo(length: usize) -> Value {
    let mut body = Received::default();
    let mut input = bytes::BytesMut::from(&vec![b'a'; length][..]);
    Decoder::new(Framing::Length(length as u64)).decode(&mut input, &mut body).unwrap();
    let headers = [("X-A", "1"), ("x-a", "2")];
    let headers = headers.map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
    let request =
        Request { method: "PURGE", target: "/echo/a//%2e?b&c=", minor: 1, headers: &headers };
    json(&answer(&request, &body))
}

#[test]
fn echo_tells_what_it_received() {
    let echo = echo(3);
    assert_eq!(echo["method"], "PURGE");
    assert_eq!(echo["target"], "/echo/a//%2e?b&c=");
    assert_eq!(echo["headers"], serde_json::json!([["X-A", "1"], ["x-a", "2"]]));
    assert_eq!(echo["body"]["length"], 3);
    assert_eq!(echo["body"]["base64"], "YWFh");
    let sha256 = "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0";
    assert_eq!(echo["body"]["sha256"], sha256);
}

#[test]
fn echo_repeats_only_short_bodies() {
    for (length, repeats) in [(echo::MAX_BODY_BYTES, true), (echo::MAX_BODY_BYTES + 1, false)] {
        let echo = echo(length);
        assert_eq!(echo["body"]["length"], length);
        assert_eq!(echo["body"].get("base64").is_some(), repeats);
    }
}

//! The attacks, as data.
//!
//! `first` is what one side sends, with the word `marker` wherever it hopes that another one will be shown it: something
//! harmful of the attacker, or something private of a victim who was lured to a URL. `then` is what the other side sends,
//! and must be answered 200 (unless it is not the upstream that answers) without that word. `{n}` is a number of its own
//! for each attack. Without a version a line is completed by it, and by `Host: shop.example`.

/// One attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack<'a> {
    pub(crate) name: &'a str,
    pub(crate) first: &'a [&'a str],
    pub(crate) then: &'a str,
    /// With these profiles; what the other allows is what the RFC does.
    pub(crate) profiles: &'a [&'a str],
}

const fn attack<'a>(name: &'a str, first: &'a [&'a str], then: &'a str) -> Attack<'a> {
    Attack { name, first, then, profiles: &["rfc9111", "strict"] }
}

const PAGE: &str = "GET /page/{n}";

/// Fields that upstreams are known to heed beside the target, which the page echoes.
pub(crate) const HEEDED: [&str; 16] = [
    "x-forwarded-host",
    "x-forwarded-scheme",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-port",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-http-host-override",
    "x-forwarded-proto",
    "x-forwarded-path",
    "forwarded",
];

/// What is not in the key, or is read by the upstream in another way.
pub(crate) const POISONING: &[Attack<'_>] = &[
    attack("a field in two lines", &["GET /page/{n}\nX-Host: a\nX-Host: marker"], PAGE),
    attack("Forwarded", &["GET /page/{n}\nForwarded: host=marker.example;proto=https"], PAGE),
    attack("underscores for hyphens", &["GET /page/{n}\nX_Forwarded_Host: marker"], PAGE),
    attack(
        "Connection takes the field away",
        &["GET /page/{n}\nConnection: X-Host\nX-Host: marker"],
        PAGE,
    ),
    attack(
        "Host twice",
        &["GET /page/{n} HTTP/1.1\nHost: shop.example\nHost: marker.example"],
        PAGE,
    ),
    attack("Host as a list", &["GET /page/{n} HTTP/1.1\nHost: shop.example, marker.example"], PAGE),
    attack(
        "Host with a user",
        &["GET /page/{n} HTTP/1.1\nHost: shop.example@marker.example"],
        PAGE,
    ),
    attack(
        "Host with a space",
        &["GET /page/{n} HTTP/1.1\nHost: shop.example marker.example"],
        PAGE,
    ),
    attack("Host with a path", &["GET /page/{n} HTTP/1.1\nHost: shop.example/marker"], PAGE),
    attack("Host with a port", &["GET /page/{n} HTTP/1.1\nHost: shop.example:80marker"], PAGE),
    attack(
        "Host behind a space",
        &["GET /page/{n} HTTP/1.1\nHost: shop.example\n Host: marker.example"],
        PAGE,
    ),
    attack(
        "Host before a space",
        &["GET /page/{n} HTTP/1.1\nHost: shop.example\nHost : marker.example"],
        PAGE,
    ),
    attack("another Host", &["GET /page/{n} HTTP/1.1\nHost: marker.example"], PAGE),
    attack(
        "absolute form",
        &["GET http://marker.example/page/{n} HTTP/1.1\nHost: shop.example"],
        PAGE,
    ),
    attack(
        "absolute form of another scheme",
        &["GET marker://shop.example/page/{n} HTTP/1.1\nHost: shop.example"],
        PAGE,
    ),
    attack("content of a GET", &["GET /page/{n}\nContent-Length: 6\n\nmarker"], PAGE),
    attack(
        "chunks of a GET",
        &["GET /page/{n}\nTransfer-Encoding: chunked\n\n6\nmarker\n0\n\n"],
        PAGE,
    ),
    attack("a POST", &["POST /page/{n}\nContent-Length: 6\n\nmarker"], PAGE),
    attack("HEAD", &["HEAD /page/{n}\nX-Host: marker", "HEAD /page/{n}?marker"], PAGE),
    attack(
        "another method",
        &["OPTIONS /page/{n}\nX-Host: marker", "TRACE /page/{n}\nX-Host: marker"],
        PAGE,
    ),
    attack("a fragment", &["GET /page/{n}#marker", "GET /page/{n}%23marker"], PAGE),
    attack("an escaped query", &["GET /page/{n}%3Fmarker", "GET /page/{n}%3fmarker=1"], PAGE),
    attack("an end in the path", &["GET /page/{n}%00marker", "GET /page/{n}?%00marker"], PAGE),
    attack(
        "line breaks in the path",
        &["GET /page/{n}%0d%0amarker", "GET /page/{n}%0A?marker"],
        PAGE,
    ),
    attack("parameters of a segment", &["GET /page/{n};marker", "GET /page;marker/{n}"], PAGE),
    attack("slashes in a row", &["GET //page/{n}?marker", "GET /page//{n}?marker"], PAGE),
    attack(
        "dots and slashes",
        &["GET /page/marker/..%2f{n}", "GET /page/marker/%2e%2e/{n}", "GET /page/marker/..%5c{n}"],
        PAGE,
    ),
    attack("backslashes", &["GET /page\\marker\\..\\{n}", "GET \\page\\{n}?marker"], PAGE),
    attack("parameters behind semicolons", &["GET /page/{n}?a=1;b=marker"], "GET /page/{n}?a=1"),
    attack("a parameter twice", &["GET /page/{n}?a=1&a=marker"], "GET /page/{n}?a=1"),
    attack("HTTP/1.0", &["GET /page/{n} HTTP/1.0\nX-Host: marker"], PAGE),
    attack(
        "a request in a request, by length",
        &[
            "POST /page/{n}\nContent-Length: 6\nTransfer-Encoding: chunked\n\n0\n\nGET /page/{n}?marker HTTP/1.1\nX: ",
        ],
        PAGE,
    ),
    attack(
        "a request in a request, by coding",
        &[
            "POST /page/{n}\nTransfer-Encoding : chunked\nContent-Length: 4\n\n1c\nGET /page/marker HTTP/1.1\n\n\n0\n\n",
        ],
        PAGE,
    ),
    attack(
        "a coding that is none",
        &["POST /page/{n}\nTransfer-Encoding: xchunked\n\n6\nmarker\n0\n\n"],
        PAGE,
    ),
    attack(
        "two lengths",
        &[
            "POST /page/{n}\nContent-Length: 0\nContent-Length: 40\n\nGET /page/{n}?marker HTTP/1.1\nHost: x\n\n",
        ],
        PAGE,
    ),
    attack("a folded line", &["GET /page/{n}\nX-Other: a\n X-Host: marker"], PAGE),
    attack("a bare line feed", &["GET /page/{n}\nX-Other: a{lf}X-Host: marker"], PAGE),
    attack(
        "a refresh from outside",
        &["GET /page/{n}\nX-Meliproxy-Refresh: 1\nX-Host: marker"],
        PAGE,
    ),
    attack(
        "conditions",
        &["GET /page/{n}\nIf-None-Match: \"marker\"", "GET /page/{n}\nIf-None-Match: *"],
        PAGE,
    ),
    attack("a long field", &["GET /limits/{n}\nX-Long: {long}"], "GET /limits/{n}"),
    attack(
        "a longer field",
        &["GET /limits/{n}\nX-Long: {long}{long}{long}{long}{long}{long}{long}{long}"],
        "GET /limits/{n}",
    ),
    attack(
        "too large, and fresh for a minute",
        &["GET /limits/{n}?fresh\nX-Long: {long}"],
        "GET /limits/{n}?fresh",
    ),
    attack(
        "control characters",
        &[
            "GET /limits/{n}\nX-Meta: \u{7}",
            "GET /limits/{n}\nX-Meta: a\u{0}b",
            "GET /limits/{n}\nX-Meta: \u{7f}",
        ],
        "GET /limits/{n}",
    ),
    attack("bytes that are no text", &["GET /limits/{n}\nX-Meta: \u{ff}"], "GET /limits/{n}"),
    attack("a part", &["GET /ranges/{n}\nRange: bytes=0-0"], "GET /ranges/{n}"),
    attack("a part that is not there", &["GET /ranges/{n}\nRange: bytes=99-"], "GET /ranges/{n}"),
    attack("a condition that fails", &["GET /ranges/{n}\nIf-Match: \"other\""], "GET /ranges/{n}"),
    attack("an expectation", &["GET /ranges/{n}\nExpect: marker"], "GET /ranges/{n}"),
    attack("another variant", &["GET /vary/{n}\nX-Variant: marker"], "GET /vary/{n}\nX-Variant: a"),
    attack(
        "a variant in two lines",
        &["GET /vary/{n}\nX-Variant: a\nX-Variant: marker"],
        "GET /vary/{n}\nX-Variant: a",
    ),
    attack(
        "a variant by its end",
        &["GET /vary/{n}\nX-Variant: a,", "GET /vary/{n}\nX-Variant: a,marker"],
        "GET /vary/{n}\nX-Variant: a",
    ),
    attack(
        "no variant",
        &["GET /vary/{n}\nX-Variant: marker", "GET /vary/{n}\nX-Variant: "],
        "GET /vary/{n}",
    ),
];

/// What is of one user, and was asked for by them.
pub(crate) const PRIVATE: &[Attack<'_>] = &[
    attack("Authorization", &["GET /mine/{n}\nAuthorization: Bearer marker"], "GET /mine/{n}"),
    attack(
        "Cookie, private",
        &["GET /mine/{n}?private\nCookie: session=marker"],
        "GET /mine/{n}?private",
    ),
    attack(
        "Cookie, no-store",
        &["GET /mine/{n}?no-store\nCookie: session=marker"],
        "GET /mine/{n}?no-store",
    ),
    attack(
        "Cookie, no-cache",
        &["GET /mine/{n}?no-cache\nCookie: session=marker"],
        "GET /mine/{n}?no-cache",
    ),
    attack("Cookie, varies", &["GET /mine/{n}?vary\nCookie: session=marker"], "GET /mine/{n}?vary"),
    attack(
        "Cookie, without a word",
        &["GET /private/{n}\nCookie: session=marker"],
        "GET /private/{n}",
    ),
    attack(
        "a cookie in a field that is private",
        &["GET /login/{n}?private\nCookie: session=marker"],
        "GET /login/{n}?private",
    ),
    Attack {
        profiles: &["strict"],
        ..attack(
            "a cookie that is set",
            &["GET /login/{n}\nCookie: session=marker"],
            "GET /login/{n}",
        )
    },
];

/// URLs that a cache may take for static files, and upstreams for the page of whoever asks (web cache deception).
pub(crate) const DECEIVING: &[&str] = &[
    "/private/{n}/x.css",
    "/private/{n};x.css",
    "/private/{n}%3Bx.css",
    "/private/{n}%00.css",
    "/private/{n}%0A.css",
    "/private/{n}%23.css",
    "/private/{n}%3F.css",
    "/private/{n}%2Fx.css",
    "/private/{n}?x.css",
    "/static/../private/{n}",
    "/static/..%2fprivate/{n}",
    "/static/..%2Fprivate/{n}/x.css",
    "/static/%2e%2e/private/{n}",
    "/static/%2E%2E%2Fprivate/{n}",
    "/static/..%5cprivate/{n}",
    "/static/..\\private/{n}",
    "/static/..;/private/{n}",
    "/static/..;a=b/private/{n}",
    "/static/%2e%2e;/private/{n}",
    "/static/.;/../private/{n}",
    "/static/..%3B/private/{n}",
    "/static/;/../../private/{n}",
    "/static/..%00/private/{n}",
    "/static/..%252fprivate/{n}",
    "/static/%252e%252e/private/{n}",
    "/static/%252e%252e%252fprivate/{n}",
    "/static/..%255cprivate/{n}",
    "//private/{n}/x.css",
    "/static//..//private/{n}",
    "/static/%2f../private/{n}",
    "/static/../static/../private/{n}/x.js",
];

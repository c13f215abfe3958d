//! From a request to its route, and from its route to the rules that apply.
//!
//! The templates form a tree with a level for each segment. From the left, a literal segment goes before `{name}` and
//! that before `{*name}`; where the more specific branch ends without a route that takes the request's method, the
//! next one is tried, so a route for some methods hides no other route from the rest. Each node of the tree is looked
//! at once at most: the cost is bounded by the configuration, whatever the path.

use std::collections::BTreeMap;

use crate::config::template::{Segment, Template};
use crate::config::{Config, RouteIndex};
use crate::http::path::Resource;

/// Which route a request takes and which rules apply to it.
#[derive(Debug)]
pub struct Router {
    root: Node,
    needs_method: bool,
    /// Rules of each route.
    rules: Vec<Vec<usize>>,
    /// Rules of requests that take no route.
    rules_without_route: Vec<usize>,
}

impl Router {
    /// The router of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut root = Node::default();
        for (index, route) in config.routes.iter().enumerate() {
            root.leaf(&route.path).push(Entry { methods: route.methods.clone(), route: index });
        }
        let rules_of = |route: Option<RouteIndex>| {
            let applies = |routes: &Option<Vec<RouteIndex>>| match (routes, route) {
                (None, _) => true,
                (Some(routes), Some(route)) => routes.contains(&route),
                (Some(_), None) => false,
            };
            let rules = config.rules.iter().enumerate();
            rules.filter(|(_, rule)| applies(&rule.routes)).map(|(index, _)| index).collect()
        };
        Self {
            root,
            needs_method: config.routes.iter().any(|route| route.methods.is_some()),
            rules: (0..config.routes.len()).map(|index| rules_of(Some(index))).collect(),
            rules_without_route: rules_of(None),
        }
    }

    /// Whether [`Self::find`] depends on the method, so that reading it can be spared.
    #[must_use]
    pub const fn needs_method(&self) -> bool {
        self.needs_method
    }

    /// The route that a request takes, if any.
    ///
    /// Methods are case-sensitive (RFC 9110 §9.1). An unknown method, or one that was not read, is `b""`.
    #[must_use]
    pub fn find(&self, method: &[u8], resource: &Resource<'_>) -> Option<RouteIndex> {
        self.root.find(method, Some(resource.as_bytes().strip_prefix(b"/")?))
    }

    /// Indices in [`Config::rules`] of the rules that apply to requests of `route`, in the order of the file.
    #[must_use]
    pub fn rules(&self, route: Option<RouteIndex>) -> &[usize] {
        match route {
            Some(route) => self.rules.get(route).map_or(&[], Vec::as_slice),
            None => &self.rules_without_route,
        }
    }
}

/// What may follow one beginning of a path.
#[derive(Debug, Default)]
struct Node {
    /// A segment of these bytes.
    fixed: BTreeMap<Vec<u8>, Self>,
    /// Any segment that is not empty.
    any: Option<Box<Self>>,
    /// One or more segments of any kind.
    rest: Leaf,
    /// Nothing.
    end: Leaf,
}

/// Routes of one template, which differ in their methods.
type Leaf = Vec<Entry>;

#[derive(Debug)]
struct Entry {
    /// Absent: all.
    methods: Option<Vec<String>>,
    route: RouteIndex,
}

impl Node {
    /// The place of a template's routes, made if it is not there yet.
    fn leaf(&mut self, template: &Template) -> &mut Leaf {
        let node = template.segments.iter().fold(self, |node, segment| match segment {
            Segment::Fixed(bytes) => node.fixed.entry(bytes.clone()).or_default(),
            Segment::Any => node.any.get_or_insert_default(),
        });
        if template.takes_rest { &mut node.rest } else { &mut node.end }
    }

    /// The most specific route for what is left of a path: `None` when its last segment has been taken.
    ///
    /// As deep as the deepest template.
    fn find(&self, method: &[u8], path: Option<&[u8]>) -> Option<RouteIndex> {
        let Some(path) = path else {
            return accepting(&self.end, method);
        };
        let (segment, left) = match path.iter().position(|byte| *byte == b'/') {
            Some(slash) => {
                let (segment, left) = path.split_at(slash);
                (segment, left.get(1..))
            }
            None => (path, None),
        };
        let fixed = self.fixed.get(segment).and_then(|node| node.find(method, left));
        fixed
            .or_else(|| {
                let any = self.any.as_ref().filter(|_| !segment.is_empty())?;
                any.find(method, left)
            })
            .or_else(|| accepting(&self.rest, method))
    }
}

/// The route of a leaf that takes a method; the configuration has at most one.
fn accepting(leaf: &Leaf, method: &[u8]) -> Option<RouteIndex> {
    leaf.iter()
        .find(|entry| {
            entry.methods.as_ref().is_none_or(|methods| {
                methods.iter().any(|candidate| candidate.as_bytes() == method)
            })
        })
        .map(|entry| entry.route)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A router for routes written as `name path` or `name path METHOD,METHOD`, and the routes' names.
    fn router(routes: &[&str]) -> (Router, Vec<String>) {
        let routes = routes.iter().map(|route| {
            let words: Vec<_> = route.split(' ').collect();
            let mut route = json!({"name": words[0], "path": words[1]});
            if let Some(methods) = words.get(2) {
                route["methods"] = methods.split(',').collect();
            }
            route
        });
        let file = json!({"version": 1, "routes": routes.collect::<Vec<_>>()});
        let config = Config::parse(file.to_string().as_bytes()).unwrap();
        (Router::new(&config), config.routes.into_iter().map(|route| route.name).collect())
    }

    fn assert_found(routes: &[&str], requests: &[(&str, &[u8], Option<&str>)]) {
        let (router, names) = router(routes);
        for (method, path, expected) in requests {
            let found = router.find(method.as_bytes(), &Resource::of(path));
            let found = found.map(|route| names[route].as_str());
            assert_eq!(found, *expected, "{method} {}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn a_parameter_is_one_segment_and_a_rest_is_one_or_more() {
        assert_found(
            &["item /items/{id}", "tree /categories/{*rest}", "root /"],
            &[
                ("GET", b"/items/1", Some("item")),
                ("GET", b"/items/", None),
                ("GET", b"/items", None),
                ("GET", b"/items/1/", None),
                ("GET", b"/items/1/2", None),
                ("GET", b"/categories/1", Some("tree")),
                ("GET", b"/categories/1/2/", Some("tree")),
                ("GET", b"/categories/", Some("tree")),
                ("GET", b"/categories", None),
                ("GET", b"/categoriesX/1", None),
                ("GET", b"/", Some("root")),
                ("GET", b"*", None),
                ("GET", b"", None),
            ],
        );
    }

    #[test]
    fn the_most_specific_template_wins_in_any_order_of_the_file() {
        let routes =
            ["all /{*rest}", "rest /a/{*rest}", "one /a/{x}", "fixed /a/b", "deep /a/{x}/c"];
        let reversed: Vec<_> = routes.iter().rev().copied().collect();
        for routes in [&routes[..], &reversed] {
            assert_found(
                routes,
                &[
                    ("GET", b"/a/b", Some("fixed")),
                    ("GET", b"/a/x", Some("one")),
                    ("GET", b"/a/b/c", Some("deep")),
                    ("GET", b"/a/b/d", Some("rest")),
                    ("GET", b"/a/", Some("rest")),
                    ("GET", b"/a", Some("all")),
                    ("GET", b"/", Some("all")),
                ],
            );
        }
    }

    #[test]
    fn a_literal_branch_that_ends_nowhere_hides_no_other() {
        assert_found(
            &["deep /a/b/c", "by-x /{x}/b/d", "rest /a/{*rest}"],
            &[
                ("GET", b"/a/b/c", Some("deep")),
                ("GET", b"/a/b/d", Some("rest")),
                ("GET", b"/z/b/d", Some("by-x")),
            ],
        );
    }

    #[test]
    fn a_route_for_some_methods_hides_no_other_from_the_rest() {
        assert_found(
            &["read /items/{id} GET,HEAD", "write /items/{id} PUT", "rest /items/{*rest}"],
            &[
                ("GET", b"/items/1", Some("read")),
                ("HEAD", b"/items/1", Some("read")),
                ("PUT", b"/items/1", Some("write")),
                ("DELETE", b"/items/1", Some("rest")),
                ("get", b"/items/1", Some("rest")),
                ("", b"/items/1", Some("rest")),
            ],
        );
        assert_found(&["read /items/{id} GET"], &[("POST", b"/items/1", None)]);
    }

    #[test]
    fn the_method_is_needed_only_by_routes_that_name_methods() {
        assert!(!router(&["a /a"]).0.needs_method());
        assert!(router(&["a /a", "b /b GET"]).0.needs_method());
    }

    #[test]
    fn bytes_beyond_ascii_and_escapes_are_matched_like_others() {
        assert_found(
            &["one /items/{id}", "cafe /café/{*rest}", "batch /v1/items:batch"],
            &[
                ("GET", b"/items/\xff\xfe", Some("one")),
                ("GET", b"/items/%FF", Some("one")),
                ("GET", "/café/1".as_bytes(), Some("cafe")),
                ("GET", b"/caf%C3%A9/1", Some("cafe")),
                ("GET", b"/v1/items:batch", Some("batch")),
                ("GET", b"/v1/items%3Abatch", Some("batch")),
                // Decoded once: this is the segment `%3A`, not a colon.
                ("GET", b"/v1/items%253Abatch", None),
            ],
        );
    }

    #[test]
    fn the_rules_of_a_route_are_its_own_and_those_for_all_in_the_order_of_the_file() {
        let rule = |name: &str, routes: Option<&[&str]>| {
            let mut rule = json!({"name": name, "limit": 1, "per": "1s"});
            if let Some(routes) = routes {
                rule["routes"] = json!(routes);
            }
            rule
        };
        let file = json!({
            "version": 1,
            "routes": [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b"}],
            "quotas": [
                rule("b-only", Some(&["b"])),
                rule("all", None),
                rule("both", Some(&["a", "b"])),
            ],
        });
        let router = Router::new(&Config::parse(file.to_string().as_bytes()).unwrap());
        assert_eq!(router.rules(Some(0)), [1, 2]);
        assert_eq!(router.rules(Some(1)), [0, 1, 2]);
        assert_eq!(router.rules(None), [1]);
        assert_eq!(router.rules(Some(2)), [0; 0]);
    }
}

//! From method and path to operation and labels.

use super::model::Operation;
use crate::query;
use std::borrow::Cow;
use std::collections::HashMap;

/// All operations by their first path segment, the API version of each.
#[derive(Debug)]
pub(crate) struct Router {
    by_version: HashMap<&'static str, Vec<Route>>,
}

#[derive(Debug)]
struct Route {
    operation: Operation,
    segments: Vec<Segment>,
    /// `name=value` that must be in the query.
    marker: Option<(&'static str, &'static str)>,
}

#[derive(Debug)]
enum Segment {
    Literal(&'static str),
    Label(&'static str),
}

/// An operation that was asked for, and what its path says.
#[derive(Debug)]
pub(crate) struct Found<'r, 'p> {
    /// Which.
    pub(crate) operation: &'r Operation,
    /// Decoded, by the names of labels. No template has more than two.
    pub(crate) labels: Vec<(&'static str, Cow<'p, str>)>,
}

impl Router {
    pub(super) fn new(operations: impl Iterator<Item = Operation>) -> Self {
        let mut by_version: HashMap<&'static str, Vec<Route>> = HashMap::new();
        for operation in operations {
            let version = operation
                .uri
                .trim_start_matches('/')
                .split('/')
                .next()
                .unwrap_or_default();
            by_version.entry(version).or_default().push(Route::new(operation));
        }
        // Routes that ask for more of the query go first: they are the narrower ones on the same path.
        for routes in by_version.values_mut() {
            routes.sort_by_key(|route| (route.marker.is_none(), route.operation.name));
        }
        Self { by_version }
    }

    /// The operation for a request; `path` and `query` as they were sent.
    pub(crate) fn find<'p>(&self, method: &str, path: &'p str, query: Option<&str>) -> Option<Found<'_, 'p>> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let routes = self.by_version.get(path.split('/').next()?)?;
        routes.iter().find_map(|route| {
            let labels = route.labels(method, path, query)?;
            Some(Found {
                operation: &route.operation,
                labels,
            })
        })
    }

    /// All of them, in no order.
    #[cfg(test)]
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.by_version.values().flatten().map(|route| &route.operation)
    }
}

impl Route {
    fn new(operation: Operation) -> Self {
        let (path, marker) = match operation.uri.split_once('?') {
            Some((path, query)) => (path, query.split_once('=')),
            None => (operation.uri, None),
        };
        let segments = path.trim_matches('/').split('/').map(Segment::new).collect();
        Self {
            operation,
            segments,
            marker,
        }
    }

    /// The labels' values, if the route fits.
    fn labels<'p>(
        &self,
        method: &str,
        path: &'p str,
        query: Option<&str>,
    ) -> Option<Vec<(&'static str, Cow<'p, str>)>> {
        if method != self.operation.method {
            return None;
        }
        let mut labels = Vec::new();
        let mut parts = path.split('/');
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if *literal == part => {}
                Segment::Label(name) if !part.is_empty() => labels.push((*name, query::decode(part)?)),
                _ => return None,
            }
        }
        let marked = self.marker.is_none_or(|marker| has_pair(query, marker));
        (parts.next().is_none() && marked).then_some(labels)
    }
}

impl Segment {
    fn new(text: &'static str) -> Self {
        let label = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        label.map_or(Self::Literal(text), |label| Self::Label(label.trim_end_matches('+')))
    }
}

fn has_pair(query: Option<&str>, (name, value): (&str, &str)) -> bool {
    query.is_some_and(|query| query::pairs(query).any(|(key, found)| key == name && found == value))
}

#[cfg(test)]
mod tests {
    use crate::lambda::model::Model;

    fn check(method: &str, uri: &str, expected: Option<(&str, &[(&str, &str)])>) {
        let model = Model::embedded().unwrap();
        let (path, query) = uri
            .split_once('?')
            .map_or((uri, None), |(path, query)| (path, Some(query)));
        let found = model.router().find(method, path, query);
        let found = found.as_ref().map(|found| {
            let labels: Vec<_> = found
                .labels
                .iter()
                .map(|(name, value)| (*name, value.as_ref()))
                .collect();
            (found.operation.name, labels)
        });
        let expected = expected.map(|(name, labels)| (name, labels.to_vec()));
        assert_eq!(found, expected, "{method} {uri}");
    }

    #[test]
    fn paths_find_their_operations() {
        check("GET", "/2015-03-31/functions/", Some(("ListFunctions", &[])));
        check("GET", "/2015-03-31/functions", Some(("ListFunctions", &[])));
        check("POST", "/2015-03-31/functions", Some(("CreateFunction", &[])));
        check(
            "POST",
            "/2015-03-31/functions/hello/invocations",
            Some(("Invoke", &[("FunctionName", "hello")])),
        );
        let arn = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello/invocations";
        let name = "arn:aws:lambda:us-east-1:123456789012:function:hello";
        check("POST", arn, Some(("Invoke", &[("FunctionName", name)])));
        check(
            "GET",
            "/2017-03-31/tags/arn:aws%2Fx",
            Some(("ListTags", &[("Resource", "arn:aws/x")])),
        );
        check(
            "DELETE",
            "/2015-03-31/functions/hello/policy/s1",
            Some(("RemovePermission", &[("FunctionName", "hello"), ("StatementId", "s1")])),
        );
    }

    #[test]
    fn a_query_decides_between_operations_of_one_path() {
        check("GET", "/2018-10-31/layers", Some(("ListLayers", &[])));
        check(
            "GET",
            "/2018-10-31/layers?find=LayerVersion&Arn=x",
            Some(("GetLayerVersionByArn", &[])),
        );
        let path = "/2019-09-30/functions/f/provisioned-concurrency";
        check(
            "GET",
            &format!("{path}?List=ALL"),
            Some(("ListProvisionedConcurrencyConfigs", &[("FunctionName", "f")])),
        );
        check(
            "GET",
            &format!("{path}?Qualifier=a"),
            Some(("GetProvisionedConcurrencyConfig", &[("FunctionName", "f")])),
        );
    }

    #[test]
    fn unknown_paths_find_none() {
        check("GET", "/", None);
        check("GET", "//", None);
        check("PATCH", "/2015-03-31/functions", None);
        check("GET", "/2015-03-31/functions/a/b/c/d", None);
        check("GET", "/2015-03-31/functions//configuration", None);
        check("GET", "/2015-03-31/functions/%zz", None);
        check("GET", "/2015-03-31/functions/%ff", None);
        check("GET", "/1999-01-01/functions", None);
    }
}

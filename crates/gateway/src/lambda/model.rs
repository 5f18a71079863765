//! The table of the Lambda API's operations and shapes, made from botocore's model by `model/generate.py`.

use super::route::Router;
use regex::Regex;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

const EMBEDDED: &str = include_str!("../../model/lambda.json");

/// All operations and shapes.
#[derive(Debug)]
pub(crate) struct Model {
    router: Router,
    shapes: HashMap<&'static str, Shape>,
    /// The members that an invocation checks, looked up once.
    pub(crate) invocation: InvocationShapes,
}

/// Names of the shapes that guard the hot path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InvocationShapes {
    /// Of `FunctionName`.
    pub(crate) function_name: &'static str,
    /// Of `Qualifier`.
    pub(crate) qualifier: &'static str,
}

/// One operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    /// Such as `CreateFunction`; filled from the key.
    #[serde(skip)]
    pub(crate) name: &'static str,
    /// The HTTP method.
    pub(crate) method: &'static str,
    /// The path's template with `{Label}`s, perhaps with a query that must be there.
    pub(crate) uri: &'static str,
    /// The status of success.
    pub(crate) status: u16,
    /// The input's shape.
    pub(crate) input: Option<&'static str>,
    /// The output's shape.
    pub(crate) output: Option<&'static str>,
}

/// What a value must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// Of a structure: members that must be there.
    #[serde(default, borrow)]
    pub(crate) required: Vec<&'static str>,
    /// Of a structure, in the order of names.
    #[serde(default, borrow)]
    pub(crate) members: BTreeMap<&'static str, Member>,
    /// Of a structure: the member that is the whole body.
    pub(crate) payload: Option<&'static str>,
    /// Of a list: its members' shape.
    pub(crate) member: Option<&'static str>,
    /// Of a map: its keys' shape.
    pub(crate) key: Option<&'static str>,
    /// Of a map: its values' shape.
    pub(crate) value: Option<&'static str>,
    /// Least length or value.
    pub(crate) min: Option<f64>,
    /// Greatest length or value.
    pub(crate) max: Option<f64>,
    /// What the whole text must match.
    pub(crate) pattern: Option<String>,
    /// What the whole text must not match.
    pub(crate) pattern_not: Option<String>,
    /// The pattern as AWS writes it, where that is not `pattern`.
    pub(crate) pattern_text: Option<String>,
    /// The only texts that may be.
    #[serde(default, rename = "enum", borrow)]
    pub(crate) values: Vec<&'static str>,
    /// Not to be shown.
    #[serde(default)]
    pub(crate) sensitive: bool,
    /// Of an error: its HTTP status.
    pub(crate) error: Option<u16>,
    #[serde(skip)]
    compiled: OnceLock<Compiled>,
}

/// What kind of value a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// An object with known members.
    Structure,
    /// An array.
    List,
    /// An object with any members.
    Map,
    /// Text.
    String,
    /// Bytes, as base64 in JSON.
    Blob,
    /// true or false.
    Boolean,
    /// A number of 32 bits.
    Integer,
    /// A number of 64 bits.
    Long,
    /// Any number.
    Double,
    /// Seconds since 1970, or a text.
    Timestamp,
}

/// A member of a structure.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    /// Its shape's name.
    pub(crate) shape: &'static str,
    /// Where it stands; in the body if nowhere else.
    #[serde(default)]
    pub(crate) location: Location,
    /// Its name in that place.
    pub(crate) name: Option<&'static str>,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Location {
    /// In the JSON document.
    #[default]
    Body,
    /// In the path.
    Uri,
    /// In the query.
    #[serde(rename = "querystring")]
    Query,
    /// In a header.
    Header,
    /// The HTTP status itself.
    StatusCode,
}

#[derive(Debug, Default)]
struct Compiled {
    must: Option<Regex>,
    must_not: Option<Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    #[serde(rename = "source")]
    _source: &'static str,
    #[serde(borrow)]
    operations: HashMap<&'static str, Operation>,
    #[serde(borrow)]
    shapes: HashMap<&'static str, Shape>,
}

/// The embedded table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelBroken {
    /// It is not what this program reads.
    #[error("model/lambda.json cannot be read")]
    Json(#[from] serde_json::Error),
    /// It lacks what this program relies on.
    #[error("model/lambda.json has no {0}")]
    Missing(&'static str),
}

impl Model {
    /// The table that this program was built with.
    pub(crate) fn embedded() -> Result<Self, ModelBroken> {
        let facts: Facts = serde_json::from_str(EMBEDDED)?;
        let named = |(name, operation)| Operation { name, ..operation };
        let invocation = invocation_shapes(&facts.shapes)?;
        Ok(Self {
            router: Router::new(facts.operations.into_iter().map(named)),
            shapes: facts.shapes,
            invocation,
        })
    }

    /// Which operation a method and a path ask for.
    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// A shape by its name.
    pub(crate) fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }
}

fn invocation_shapes(shapes: &HashMap<&'static str, Shape>) -> Result<InvocationShapes, ModelBroken> {
    let request = shapes
        .get("InvocationRequest")
        .ok_or(ModelBroken::Missing("InvocationRequest"))?;
    let shape_of = |member: &'static str| request.members.get(member).map(|member| member.shape);
    Ok(InvocationShapes {
        function_name: shape_of("FunctionName").ok_or(ModelBroken::Missing("FunctionName"))?,
        qualifier: shape_of("Qualifier").ok_or(ModelBroken::Missing("Qualifier"))?,
    })
}

impl Shape {
    /// Whether a text matches the shape's pattern, as a whole. A pattern is compiled when it is first asked for.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Compiled {
            must: self.pattern.as_deref().and_then(whole),
            must_not: self.pattern_not.as_deref().and_then(whole),
        });
        compiled.must.as_ref().is_none_or(|must| must.is_match(text))
            && !compiled
                .must_not
                .as_ref()
                .is_some_and(|must_not| must_not.is_match(text))
    }

    /// The pattern as AWS writes it.
    pub(crate) fn pattern_text(&self) -> &str {
        self.pattern_text
            .as_deref()
            .or(self.pattern.as_deref())
            .unwrap_or_default()
    }
}

/// `None` only for a pattern that does not compile; a test compiles all.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let model = Model::embedded().unwrap();
        assert_eq!(model.router().operations().count(), 91);
        for operation in model.router().operations() {
            for shape in [operation.input, operation.output].into_iter().flatten() {
                assert!(model.shape(shape).is_some(), "{shape}");
            }
        }
        for (name, shape) in &model.shapes {
            let members = shape.members.values().map(|member| member.shape);
            for inner in members.chain(shape.member).chain(shape.key).chain(shape.value) {
                assert!(model.shape(inner).is_some(), "{name}: {inner}");
            }
            for pattern in shape.pattern.iter().chain(&shape.pattern_not) {
                assert!(whole(pattern).is_some(), "{name}: {pattern}");
            }
        }
    }

    #[test]
    fn patterns_match_as_in_java() {
        let model = Model::embedded().unwrap();
        let check = |shape: &str, text: &str, expected: bool| {
            assert_eq!(model.shape(shape).unwrap().matches(text), expected, "{shape} {text}");
        };
        check("Alias", "prod", true);
        check("Alias", "17", false);
        check("Alias", "17a", true);
        check("FunctionUrlQualifier", "3", false);
        check("FunctionUrlFunctionName", "hello:prod", true);
        check("FunctionUrlFunctionName", "hello:3", false);
        check("S3Bucket", "models.", false);
        check("S3Bucket", "my.models-1_x", true);
        check(
            "FunctionName",
            "arn:aws:lambda:us-east-1:123456789012:function:hello:$LATEST",
            true,
        );
        check("FunctionName", "hello\n", false);
        check("FunctionName", "he llo", false);
        check("FunctionName", "../etc/passwd", false);
        // ARABIC-INDIC DIGITS are no digits of an account.
        check(
            "FunctionName",
            "arn:aws:lambda:us-east-1:\u{661}23456789012:function:hello",
            false,
        );
    }
}

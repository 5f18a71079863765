//! Values as JSON.

use super::{Shape, write_row};
use parquet::data_type::{ByteArray, Decimal};
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;

/// The JSON of a row with one column `c`.
fn json(field: Field, shape: Shape) -> Result<String, String> {
    let row = Row::new(vec![("c".to_owned(), field)]);
    let mut out = Vec::new();
    let written = write_row(&row, &Shape::Group(vec![shape]), &mut out);
    written.map_err(|error| format!("{error:#}"))?;
    let text = String::from_utf8(out).unwrap();
    let value = text.strip_prefix("{\"c\":").and_then(|rest| rest.strip_suffix('}'));
    Ok(value.unwrap().to_owned())
}

fn check(field: Field, shape: Shape, expected: &str) {
    let named = format!("{field:?} {shape:?}");
    assert_eq!(json(field, shape).as_deref(), Ok(expected), "{named}");
}

fn utc() -> Shape {
    Shape::Moment { is_utc: true }
}

fn clock() -> Shape {
    Shape::Moment { is_utc: false }
}

#[test]
fn numbers_are_as_exact_as_their_columns() {
    check(Field::Null, Shape::Plain, "null");
    check(Field::Bool(true), Shape::Plain, "true");
    check(Field::Byte(-1), Shape::Plain, "-1");
    check(Field::Long(i64::MIN), Shape::Plain, "-9223372036854775808");
    check(Field::ULong(u64::MAX), Shape::Plain, "18446744073709551615");
    check(Field::Float(0.1), Shape::Plain, "0.1");
    check(Field::Double(0.1), Shape::Plain, "0.1");
    check(Field::Double(f64::NAN), Shape::Plain, "null");
    check(Field::Float(f32::INFINITY), Shape::Plain, "null");
    for (unscaled, scale, expected) in [
        (-120, 2, "-1.20"),
        (5, 3, "0.005"),
        (-5, 3, "-0.005"),
        (7, 0, "7"),
        (0, 0, "0"),
    ] {
        check(
            Field::Decimal(Decimal::from_i32(unscaled, 9, scale)),
            Shape::Plain,
            expected,
        );
    }
}

#[test]
fn texts_and_bytes() {
    check(
        Field::Str("a\"b\n\u{1F600}".to_owned()),
        Shape::Plain,
        "\"a\\\"b\\n\u{1F600}\"",
    );
    let bytes = |bytes: &[u8]| Field::Bytes(ByteArray::from(bytes.to_vec()));
    check(bytes(&[0, 255]), Shape::Plain, "\"AP8=\"");
    let sixteen: Vec<u8> = (0..16).collect();
    check(bytes(&sixteen), Shape::Uuid, "\"00010203-0405-0607-0809-0a0b0c0d0e0f\"");
    check(bytes(&[1]), Shape::Uuid, "\"AQ==\"");
}

#[test]
fn moments_are_written_as_they_are_usually() {
    check(Field::Date(20_779), Shape::Plain, "\"2026-11-22\"");
    check(Field::Date(-1), Shape::Plain, "\"1969-12-31\"");
    check(Field::TimestampMillis(1_500), utc(), "\"1970-01-01T00:00:01.5Z\"");
    check(Field::TimestampMicros(-1), utc(), "\"1969-12-31T23:59:59.999999Z\"");
    check(Field::TimestampMicros(1), clock(), "\"1970-01-01T00:00:00.000001\"");
    check(Field::Long(1), utc(), "\"1970-01-01T00:00:00.000000001Z\"");
    // As Spark writes them: without a logical type.
    check(Field::TimestampMillis(0), Shape::Plain, "\"1970-01-01T00:00:00Z\"");
    check(Field::TimeMillis(65_400_500), Shape::Plain, "\"18:10:00.5\"");
    check(Field::TimeMicros(0), Shape::Plain, "\"00:00:00\"");
    check(Field::Long(86_399_999_999_999), Shape::Time, "\"23:59:59.999999999\"");
}

#[test]
fn what_cannot_be_written_is_named() {
    for (field, shape, part) in [
        (Field::Date(i32::MAX), Shape::Plain, "column c: a date lies beyond"),
        (Field::TimestampMicros(i64::MIN), utc(), "a timestamp lies beyond"),
        (Field::TimestampMillis(i64::MAX), clock(), "a timestamp lies beyond"),
        (Field::TimeMicros(-1), Shape::Plain, "a time lies beyond its day"),
        (
            Field::Long(86_400_000_000_000),
            Shape::Time,
            "a time lies beyond its day",
        ),
    ] {
        let error = json(field, shape).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn types_say_what_values_do_not() {
    let schema = parse_message_type(
        "message m {
            optional int64 at (TIMESTAMP(NANOS, true));
            optional int64 clock (TIMESTAMP(MICROS, false));
            optional int64 time (TIME(NANOS, false));
            optional fixed_len_byte_array(16) id (UUID);
            optional group list (LIST) { repeated group list { optional int64 element (TIMESTAMP(NANOS, true)); } }
            optional group map (MAP) {
                repeated group key_value { required binary key (STRING); optional int64 value (TIME(NANOS, true)); }
            }
            optional group struct { optional int64 at (TIMESTAMP(NANOS, false)); }
            repeated int64 old (TIMESTAMP(NANOS, true));
        }",
    );
    let expected = [
        utc(),
        clock(),
        Shape::Time,
        Shape::Uuid,
        Shape::List(Box::new(utc())),
        Shape::Map(Box::new(Shape::Plain), Box::new(Shape::Time)),
        Shape::Group(vec![clock()]),
        Shape::List(Box::new(utc())),
    ];
    assert_eq!(Shape::of(&schema.unwrap()), Shape::Group(expected.into()));
}

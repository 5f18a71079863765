//! A row as JSON.
//!
//! | column | JSON |
//! |---|---|
//! | integers, floats, decimals | a number, as exact as the column; NaN and infinite are null |
//! | text, enumerations, JSON | a string |
//! | date, time | `"2026-11-22"`, `"18:10:00.5"` |
//! | timestamp | `"2026-11-22T18:10:00.5Z"`; without the Z where the column has no time zone |
//! | bytes | base64; a UUID as it is usually written |
//! | struct, list, map | an object, a list, an object with its keys as texts |

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde::Serialize;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What a column's type says of its values that the values do not say themselves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing more.
    Plain,
    /// A moment; whether it is one of UTC, or a clock's anywhere. Whole numbers are nanoseconds.
    Moment {
        is_utc: bool,
    },
    /// A time of the day. Whole numbers are nanoseconds.
    Time,
    Uuid,
    /// By the fields' places.
    Group(Vec<Shape>),
    List(Box<Shape>),
    /// Key and value.
    Map(Box<Shape>, Box<Shape>),
}

impl Shape {
    /// Of a type; of a schema for its rows.
    pub(super) fn of(of: &Type) -> Self {
        let facts = of.get_basic_info();
        let shape = if of.is_primitive() {
            Self::of_leaf(facts.logical_type_ref())
        } else {
            let fields = of.get_fields();
            match (facts.converted_type(), fields.first()) {
                (ConvertedType::LIST, Some(repeated)) => return Self::of_list(repeated),
                (ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE, Some(pairs)) if !pairs.is_primitive() => {
                    return Self::of_map(pairs);
                }
                _ => Self::Group(fields.iter().map(|field| Self::of(field)).collect()),
            }
        };
        if facts.has_repetition() && facts.repetition() == Repetition::REPEATED {
            return Self::List(Box::new(shape));
        }
        shape
    }

    fn of_leaf(logical: Option<&LogicalType>) -> Self {
        match logical {
            Some(LogicalType::Timestamp(facts)) => Self::Moment {
                is_utc: facts.is_adjusted_to_u_t_c,
            },
            Some(LogicalType::Time(facts)) if facts.unit == TimeUnit::NANOS => Self::Time,
            Some(LogicalType::Uuid) => Self::Uuid,
            _ => Self::Plain,
        }
    }

    /// A list's field repeats either the element itself, in old files, or a group that has it.
    fn of_list(repeated: &Type) -> Self {
        let element = match Self::of(repeated) {
            Self::List(element) => *element,
            other => other,
        };
        match element {
            Self::Group(mut fields) if fields.len() == 1 => Self::List(Box::new(fields.remove(0))),
            other => Self::List(Box::new(other)),
        }
    }

    fn of_map(pairs: &Type) -> Self {
        match pairs.get_fields() {
            [key, value] => Self::Map(Box::new(Self::of(key)), Box::new(Self::of(value))),
            _ => Self::Plain,
        }
    }
}

/// Writes a row as an object.
pub(super) fn write_row(row: &Row, shape: &Shape, out: &mut Vec<u8>) -> Result<()> {
    let fields: &[Shape] = match shape {
        Shape::Group(fields) => fields,
        _ => &[],
    };
    out.push(b'{');
    for (place, (name, field)) in row.get_column_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_json(name, out)?;
        out.push(b':');
        write(field, fields.get(place).unwrap_or(&Shape::Plain), out).with_context(|| format!("column {name}"))?;
    }
    out.push(b'}');
    Ok(())
}

fn write(field: &Field, shape: &Shape, out: &mut Vec<u8>) -> Result<()> {
    match (field, shape) {
        (Field::Null, _) => write_json(&(), out),
        (Field::Bool(value), _) => write_json(value, out),
        (Field::Byte(value), _) => write_json(value, out),
        (Field::Short(value), _) => write_json(value, out),
        (Field::Int(value), _) => write_json(value, out),
        (Field::Long(nanos), Shape::Moment { is_utc }) => write_moment(i128::from(*nanos), *is_utc, out),
        (Field::Long(nanos), Shape::Time) => write_time(SignedDuration::from_nanos(*nanos), out),
        (Field::Long(value), _) => write_json(value, out),
        (Field::UByte(value), _) => write_json(value, out),
        (Field::UShort(value), _) => write_json(value, out),
        (Field::UInt(value), _) => write_json(value, out),
        (Field::ULong(value), _) => write_json(value, out),
        (Field::Float16(value), _) => write_json(&value.to_f32(), out),
        (Field::Float(value), _) => write_json(value, out),
        (Field::Double(value), _) => write_json(value, out),
        (Field::Decimal(_), _) => {
            // Where the scale is 0, a point without digits follows, which is not JSON.
            out.extend_from_slice(field.to_string().trim_end_matches('.').as_bytes());
            Ok(())
        }
        (Field::Str(value), _) => write_json(value, out),
        (Field::Bytes(value), Shape::Uuid) if value.len() == 16 => write_json(&uuid(value.data()), out),
        (Field::Bytes(value), _) => write_json(&BASE64_STANDARD.encode(value.data()), out),
        (Field::Date(days), _) => write_date(*days, out),
        (Field::TimeMillis(millis), _) => write_time(SignedDuration::from_millis(i64::from(*millis)), out),
        (Field::TimeMicros(micros), _) => write_time(SignedDuration::from_micros(*micros), out),
        (Field::TimestampMillis(millis), shape) => write_moment(i128::from(*millis) * 1_000_000, is_utc(shape), out),
        (Field::TimestampMicros(micros), shape) => write_moment(i128::from(*micros) * 1_000, is_utc(shape), out),
        (Field::Group(row), shape) => write_row(row, shape, out),
        (Field::ListInternal(list), shape) => write_list(list.elements(), shape, out),
        (Field::MapInternal(map), shape) => write_map(map.entries(), shape, out),
    }
}

fn write_list(elements: &[Field], shape: &Shape, out: &mut Vec<u8>) -> Result<()> {
    let element = match shape {
        Shape::List(element) => element,
        other => other,
    };
    out.push(b'[');
    for (place, field) in elements.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(field, element, out)?;
    }
    out.push(b']');
    Ok(())
}

fn write_map(entries: &[(Field, Field)], shape: &Shape, out: &mut Vec<u8>) -> Result<()> {
    let (keys, values) = match shape {
        Shape::Map(keys, values) => (&**keys, &**values),
        _ => (&Shape::Plain, &Shape::Plain),
    };
    out.push(b'{');
    for (place, (key, value)) in entries.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let mut text = Vec::new();
        write(key, keys, &mut text)?;
        if text.starts_with(b"\"") {
            out.extend_from_slice(&text);
        } else {
            write_json(&String::from_utf8_lossy(&text), out)?;
        }
        out.push(b':');
        write(value, values, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// What says nothing of itself is Spark's old timestamp, or a moment of before there were logical types: both are UTC's.
const fn is_utc(shape: &Shape) -> bool {
    !matches!(shape, Shape::Moment { is_utc: false })
}

fn write_moment(nanos: i128, is_utc: bool, out: &mut Vec<u8>) -> Result<()> {
    let moment = Timestamp::from_nanosecond(nanos).context("a timestamp lies beyond the years that can be written")?;
    if is_utc {
        return write_json(&moment.to_string(), out);
    }
    let clock = moment.to_zoned(TimeZone::UTC).datetime();
    write_json(&clock.to_string(), out)
}

fn write_date(days: i32, out: &mut Vec<u8>) -> Result<()> {
    let moment = Timestamp::from_second(i64::from(days) * DAY_SECONDS);
    let moment = moment.context("a date lies beyond the years that can be written")?;
    write_json(&moment.to_zoned(TimeZone::UTC).date().to_string(), out)
}

fn write_time(since_midnight: SignedDuration, out: &mut Vec<u8>) -> Result<()> {
    let time = Time::midnight().checked_add(since_midnight);
    write_json(&time.context("a time lies beyond its day")?.to_string(), out)
}

fn uuid(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c, d, e) = (
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Of numbers, those that JSON has not are null.
fn write_json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<()> {
    Ok(serde_json::to_writer(out, value)?)
}

#[cfg(test)]
mod tests;

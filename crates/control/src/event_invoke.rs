//! How asynchronous events of a function are retried, and where their outcomes go.

use crate::column::{signed, unsigned, unsigned_or_none};
use crate::qualified_table::QualifiedTable;
use crate::{Control, ControlError, Page, PageRequest, QualifiedName};
use chunk::Account;
use sqlx::Row;
use sqlx::any::AnyRow;

/// Settings, one row for each function, version or alias that has some; `qualifier` is `$LATEST` for the function.
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS event_invoke_configs (
    account TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL, retries BIGINT, age_s BIGINT,
    on_success TEXT, on_failure TEXT, modified_ms BIGINT NOT NULL, PRIMARY KEY (account, name, qualifier))"];

const TABLE: QualifiedTable = QualifiedTable {
    name: "event_invoke_configs",
    columns: "qualifier, retries, age_s, on_success, on_failure, modified_ms",
};

/// Settings of asynchronous events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventInvokeConfig {
    /// `$LATEST`, a version or an alias.
    pub qualifier: String,
    /// Tries after the first one fails, 0 to 2; Lambda's default is 2.
    pub retries_max: Option<u64>,
    /// Seconds after which an event is given up, 60 to 21,600; Lambda's default is 21,600.
    pub age_max_s: Option<u64>,
    /// ARN of who is told of successes.
    pub on_success: Option<String>,
    /// ARN of who is told of failures.
    pub on_failure: Option<String>,
    /// When it was written, milliseconds since 1970.
    pub modified_ms: u64,
}

/// What a request says; what it does not say stays as it is, or absent.
#[derive(Clone, Debug, Default)]
pub struct EventInvokeChange {
    /// See [`EventInvokeConfig`].
    pub retries_max: Option<u64>,
    /// See [`EventInvokeConfig`].
    pub age_max_s: Option<u64>,
    /// Both destinations; an empty ARN is none.
    pub destinations: Option<Destinations>,
}

/// Who is told of outcomes, by ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Of successes.
    pub on_success: Option<String>,
    /// Of failures.
    pub on_failure: Option<String>,
}

/// Services that outcomes are sent to. Of `events`, only API destinations, which stand for the operator's HTTP endpoints;
/// the gateway knows which there are.
const DESTINATION_SERVICES: &[&str] = &["lambda", "sqs", "sns", "events"];

impl Control {
    /// Writes settings. `keep` is UpdateFunctionEventInvokeConfig: there must be some already, and what the change does
    /// not name stays.
    ///
    /// Errors: no such function, version or alias; nothing is said; no settings to keep; a destination that cannot be.
    pub async fn put_event_invoke_config(
        &self,
        target: &QualifiedName<'_>,
        change: EventInvokeChange,
        keep: bool,
    ) -> Result<EventInvokeConfig, ControlError> {
        if change.retries_max.is_none() && change.age_max_s.is_none() && change.destinations.is_none() {
            return Err(ControlError::invalid(
                "You must specify at least one of error handling or destination setting.",
            ));
        }
        self.check_event_target(target).await?;
        if let Some(destinations) = &change.destinations {
            self.check_destinations(target, destinations).await?;
        }
        let mut config = EventInvokeConfig {
            qualifier: target.qualifier.to_owned(),
            ..EventInvokeConfig::default()
        };
        if keep {
            config = self.existing_event_invoke_config(target).await?;
        }
        apply(&mut config, change);
        config.modified_ms = self.now_ms();
        self.store_event_invoke_config(target, &config).await?;
        Ok(config)
    }

    /// The settings of a function (`$LATEST`), a version or an alias; none if nobody wrote some.
    pub async fn event_invoke_config(
        &self,
        target: &QualifiedName<'_>,
    ) -> Result<Option<EventInvokeConfig>, ControlError> {
        TABLE.row(self, target).await?.as_ref().map(from_row).transpose()
    }

    /// The settings, or Lambda's error.
    pub async fn existing_event_invoke_config(
        &self,
        target: &QualifiedName<'_>,
    ) -> Result<EventInvokeConfig, ControlError> {
        self.event_invoke_config(target)
            .await?
            .ok_or_else(|| self.no_event_invoke_config(target))
    }

    /// Removes settings.
    ///
    /// Errors: there are none.
    pub async fn delete_event_invoke_config(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        if TABLE.remove(self, target).await? {
            Ok(())
        } else {
            Err(self.no_event_invoke_config(target))
        }
    }

    /// All settings of a function, by qualifier.
    pub async fn event_invoke_configs(
        &self,
        account: &Account,
        name: &str,
        page: &PageRequest,
    ) -> Result<Page<EventInvokeConfig>, ControlError> {
        self.check_event_target(&QualifiedName::of_function(account, name))
            .await?;
        let rows = TABLE.rows(self, (account, name), page).await?;
        page.page_of_rows(&rows, from_row, |item| item.qualifier.clone())
    }

    async fn store_event_invoke_config(
        &self,
        target: &QualifiedName<'_>,
        config: &EventInvokeConfig,
    ) -> Result<(), ControlError> {
        sqlx::query(
            "INSERT INTO event_invoke_configs
                (account, name, qualifier, retries, age_s, on_success, on_failure, modified_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, name, qualifier) DO UPDATE SET
                retries = excluded.retries, age_s = excluded.age_s, on_success = excluded.on_success,
                on_failure = excluded.on_failure, modified_ms = excluded.modified_ms",
        )
        .bind(target.account.as_str())
        .bind(target.name)
        .bind(target.qualifier)
        .bind(config.retries_max.map(signed))
        .bind(config.age_max_s.map(signed))
        .bind(config.on_success.clone())
        .bind(config.on_failure.clone())
        .bind(signed(config.modified_ms))
        .execute(self.pool())
        .await?;
        Ok(())
    }

    async fn check_event_target(&self, target: &QualifiedName<'_>) -> Result<(), ControlError> {
        self.function(target.account, target.name, target.version_or_alias())
            .await
            .map(drop)
            .map_err(|error| error.if_not_found(|| ControlError::not_found("The function doesn't exist.")))
    }

    /// A destination is of a service that takes outcomes; a function is another one, and exists.
    async fn check_destinations(
        &self,
        target: &QualifiedName<'_>,
        destinations: &Destinations,
    ) -> Result<(), ControlError> {
        for arn in [&destinations.on_success, &destinations.on_failure]
            .into_iter()
            .flatten()
        {
            if arn.is_empty() {
                continue;
            }
            let parts: Vec<&str> = arn.splitn(8, ':').collect();
            if !parts
                .get(2)
                .is_some_and(|service| DESTINATION_SERVICES.contains(service))
            {
                return Err(ControlError::invalid(format!(
                    "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
                    shown("OnSuccess", destinations.on_success.as_deref()),
                    shown("OnFailure", destinations.on_failure.as_deref()),
                )));
            }
            if let [_, _, "lambda", region, account, "function", name, ..] = parts[..] {
                if name == target.name && account == target.account.as_str() {
                    return Err(ControlError::invalid(
                        "You can't specify the function as a destination for itself.",
                    ));
                }
                let reachable = region == self.region() && account == target.account.as_str();
                let known = reachable && self.function(target.account, name, None).await.is_ok();
                if !known {
                    return Err(ControlError::invalid(format!("The destination ARN {arn} is invalid.")));
                }
            }
        }
        Ok(())
    }

    fn no_event_invoke_config(&self, target: &QualifiedName<'_>) -> ControlError {
        ControlError::not_found(format!(
            "The function {} doesn't have an EventInvokeConfig",
            self.qualified_arn(target.account, target.name, Some(target.qualifier))
        ))
    }
}

fn apply(config: &mut EventInvokeConfig, change: EventInvokeChange) {
    if change.retries_max.is_some() {
        config.retries_max = change.retries_max;
    }
    if change.age_max_s.is_some() {
        config.age_max_s = change.age_max_s;
    }
    if let Some(destinations) = change.destinations {
        config.on_success = destinations.on_success.filter(|arn| !arn.is_empty());
        config.on_failure = destinations.on_failure.filter(|arn| !arn.is_empty());
    }
}

fn shown(kind: &str, arn: Option<&str>) -> String {
    arn.map_or_else(|| "null".to_owned(), |arn| format!("{kind}(destination={arn})"))
}

fn from_row(row: &AnyRow) -> Result<EventInvokeConfig, ControlError> {
    Ok(EventInvokeConfig {
        qualifier: row.try_get("qualifier")?,
        retries_max: unsigned_or_none(row, "retries")?,
        age_max_s: unsigned_or_none(row, "age_s")?,
        on_success: row.try_get("on_success")?,
        on_failure: row.try_get("on_failure")?,
        modified_ms: unsigned(row, "modified_ms")?,
    })
}

//! From a function's name to what a worker needs in order to run it.

use crate::code::PreparedCode;
use crate::function_record::LATEST;
use crate::index::IndexedFunction;
use crate::traffic_tags::Traffic;
use crate::validation::not_in_state;
use crate::{Configuration, Control, ControlError, FileSystemReference, FunctionRecord, Reason, State};
use api::{FunctionIdentity, Initialization, Lease, LogFormat, Logging, Overlay, Program, SharedFileSystem};
use chunk::Account;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use uuid::Uuid;

/// How long an invocation waits for a new function to become Active. boto3 gives up reading after 60 s; this leaves it
/// time to be told why.
const PENDING_WAIT: Duration = Duration::from_secs(50);

/// Where a zip's code is seen, and where its runtime starts. Source: Lambda's LAMBDA_TASK_ROOT.
const TASK_ROOT: &str = "/var/task";
/// Where layers are seen. Source: Lambda's guide, "Packaging your layer content".
const LAYERS_ROOT: &str = "/opt";

/// What an invocation runs.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// For the worker.
    pub lease: Arc<Lease>,
    /// `$LATEST` or a number: value of `X-Amz-Executed-Version`.
    pub executed_version: String,
    /// Most invocations of the function at once, if it has a limit of its own.
    pub reserved_concurrency: Option<u32>,
    /// How many environments of the version are to be there ahead of invocations.
    pub provisioned_concurrency: u32,
    /// What the function's tags ask for.
    pub traffic: Arc<Traffic>,
}

/// A function of which something changed that invocations see. See [`Control::revisions_in_use`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionChange {
    /// Whose.
    pub account: Account,
    /// Its bare name.
    pub name: String,
    /// Its ARN, without a qualifier: what `api::Worker::retire` wants.
    pub arn: String,
}

/// What the index says to an invocation.
#[derive(Debug)]
enum Choice {
    Run(Resolved),
    Wait,
    NotYet,
    Refuse(Option<Reason>),
    Missing,
}

impl Control {
    /// What an invocation of a function runs. `lot`, from 0 to 1, decides where an alias has two versions.
    ///
    /// Answers from memory unless the function was not invoked since it last changed. Waits for a function that is
    /// Pending, up to 50 s. Errors: `NotFound`; `Conflict` for a function that is Failed or stays Pending.
    pub async fn resolve(
        &self,
        account: &Account,
        name: &str,
        qualifier: Option<&str>,
        lot: f64,
    ) -> Result<Resolved, ControlError> {
        if let Some(function) = self.inner.index.get(account, name)
            && let Choice::Run(resolved) = choose(&function, qualifier, lot)
        {
            return Ok(resolved);
        }
        self.resolve_patiently(account, name, qualifier, lot).await
    }

    async fn resolve_patiently(
        &self,
        account: &Account,
        name: &str,
        qualifier: Option<&str>,
        lot: f64,
    ) -> Result<Resolved, ControlError> {
        let until = Instant::now() + PENDING_WAIT;
        // Before the record is read: a change that comes after the reading is heard.
        let mut changes = self.changes();
        loop {
            let missing = || self.function_missing(account, name, qualifier);
            let function = self.indexed(account, name).await?.ok_or_else(missing)?;
            match choose(&function, qualifier, lot) {
                Choice::Run(resolved) => return Ok(resolved),
                Choice::Missing => return Err(missing()),
                Choice::Refuse(reason) => return Err(refusal(reason)),
                Choice::NotYet => return Err(not_in_state(State::Pending)),
                Choice::Wait => {}
            }
            let heard = tokio::time::timeout_at(until, change_of(&mut changes, account, name)).await;
            heard.map_err(|_| not_in_state(State::Pending))?;
        }
    }

    /// Revisions of all leases that invocations of a function can get now; none of a deleted function. Environments of
    /// others may end.
    pub async fn revisions_in_use(&self, account: &Account, name: &str) -> Result<Vec<String>, ControlError> {
        let Some(function) = self.indexed(account, name).await? else {
            return Ok(Vec::new());
        };
        let leases = function.versions.values().filter_map(|version| version.lease.as_ref());
        Ok(leases.map(|lease| lease.revision.clone()).collect())
    }
}

/// Returns after a change of this function, or when changes were missed.
async fn change_of(changes: &mut Receiver<crate::FunctionChange>, account: &Account, name: &str) {
    loop {
        match changes.recv().await {
            Ok(change) if change.account == *account && change.name == name => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_) | RecvError::Closed) => return,
        }
    }
}

fn refusal(reason: Option<Reason>) -> ControlError {
    let ControlError::Conflict { message } = not_in_state(State::Failed) else {
        unreachable!("what Lambda says about a state is always a conflict")
    };
    ControlError::Conflict {
        message: reason.map_or(message.clone(), |reason| format!("{message}. {}", reason.text)),
    }
}

/// Which version, and whether it can run.
fn choose(function: &IndexedFunction, qualifier: Option<&str>, lot: f64) -> Choice {
    let qualifier = qualifier.unwrap_or(LATEST);
    let version = match function.aliases.get(qualifier) {
        Some(alias) => match function.held.get(qualifier) {
            Some(version) => version,
            None => by_lot(&alias.version, alias.routing.as_ref(), lot),
        },
        None => qualifier,
    };
    let Some(found) = function.versions.get(version) else {
        return Choice::Missing;
    };
    match (found.lifecycle.state, &found.lease) {
        (State::Active, Some(lease)) => Choice::Run(Resolved {
            lease: Arc::clone(lease),
            executed_version: version.to_owned(),
            reserved_concurrency: function.reserved_concurrency,
            provisioned_concurrency: function.provisioned(version),
            traffic: Arc::clone(&function.traffic),
        }),
        (State::Failed, _) => Choice::Refuse(found.lifecycle.state_reason.clone()),
        // It waits for its snapshot, which may take minutes: Lambda refuses at once.
        (State::Pending, Some(_)) => Choice::NotYet,
        (State::Pending | State::Active, None) => Choice::Wait,
    }
}

/// The version with a weight gets the lots below its weight, the first version all others.
fn by_lot<'a>(first: &'a str, other: Option<&'a (String, f64)>, lot: f64) -> &'a str {
    match other {
        Some((version, weight)) if lot < *weight => version,
        _ => first,
    }
}

/// A lease of a version whose code is prepared; each call gives another revision.
///
/// Fails where code and configuration together name nothing to run.
pub(crate) fn build(control: &Control, record: &FunctionRecord, prepared: &PreparedCode) -> Result<Lease, Reason> {
    let configuration = &record.configuration;
    let root = match prepared {
        PreparedCode::Zip { root, .. } | PreparedCode::Image { root, .. } => root.clone(),
    };
    Ok(Lease {
        revision: Uuid::new_v4().to_string(),
        function: FunctionIdentity {
            account: record.account.clone(),
            region: control.region().to_owned(),
            name: record.name.clone(),
            version: record.version.clone(),
            arn: record.arn.clone(),
        },
        root,
        overlays: overlays(prepared),
        file_systems: file_systems(configuration),
        program: program(configuration, prepared)?,
        memory_mb: configuration.memory_mb,
        tmp_mb: configuration.tmp_mb,
        timeout: Duration::from_secs(u64::from(configuration.timeout_s)),
        invocations_max: configuration.invocations_max(),
        logging: logging(configuration),
        network: control.inner.network,
        initialization: if record.optimization.is_asked() {
            Initialization::SnapStart
        } else {
            Initialization::OnDemand
        },
        snapshot: None,
    })
}

fn overlays(prepared: &PreparedCode) -> Vec<Overlay> {
    let PreparedCode::Zip { code, .. } = prepared else {
        return Vec::new();
    };
    let shown = [("task", TASK_ROOT), ("opt", LAYERS_ROOT)];
    shown
        .map(|(source, target)| Overlay {
            image: code.clone(),
            source: source.to_owned(),
            target: target.to_owned(),
        })
        .to_vec()
}

fn file_systems(configuration: &Configuration) -> Vec<SharedFileSystem> {
    let shared = |reference: &FileSystemReference| SharedFileSystem {
        arn: reference.arn.clone(),
        target: reference.local_mount_path.clone(),
    };
    configuration.file_systems.iter().map(shared).collect()
}

fn logging(configuration: &Configuration) -> Logging {
    let settings = &configuration.logging;
    let json = settings.format == LogFormat::Json;
    Logging {
        group: settings.group.clone(),
        format: settings.format,
        application_level: settings.application_level.clone().filter(|_| json),
        system_level: settings.system_level.clone().filter(|_| json),
    }
}

fn program(configuration: &Configuration, prepared: &PreparedCode) -> Result<Program, Reason> {
    match prepared {
        PreparedCode::Zip {
            arguments, environment, ..
        } => Ok(zip_program(configuration, arguments.clone(), environment.clone())),
        PreparedCode::Image { .. } => image_program(configuration, prepared),
    }
}

fn zip_program(
    configuration: &Configuration,
    mut arguments: Vec<String>,
    mut environment: Vec<(String, String)>,
) -> Program {
    let handler = configuration.handler.clone().unwrap_or_default();
    let runtime = configuration.runtime.clone();
    if runtime
        .as_deref()
        .is_some_and(|runtime| !runtime.starts_with("provided"))
    {
        arguments.push(handler.clone());
    }
    environment.extend(variables(configuration));
    Program {
        arguments,
        working_directory: TASK_ROOT.to_owned(),
        user: String::new(),
        handler,
        environment,
        runtime,
    }
}

/// An image's own configuration with ImageConfig's parts in place of its parts. Overriding ENTRYPOINT leaves CMD as it
/// is, unlike `docker run`. Source: ImageConfig in Lambda's API reference.
fn image_program(configuration: &Configuration, prepared: &PreparedCode) -> Result<Program, Reason> {
    let PreparedCode::Image {
        entrypoint,
        command,
        working_directory,
        user,
        environment,
        ..
    } = prepared
    else {
        unreachable!("only images come here")
    };
    let overrides = &configuration.image_config;
    let entrypoint = if overrides.entrypoint.is_empty() {
        entrypoint
    } else {
        &overrides.entrypoint
    };
    let command = if overrides.command.is_empty() {
        command
    } else {
        &overrides.command
    };
    let arguments: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    if arguments.iter().all(String::is_empty) {
        let text =
            "The image names no program: it has neither ENTRYPOINT nor CMD. Set ImageConfig, or build it with one.";
        return Err(Reason {
            code: "InvalidImage".to_owned(),
            text: text.to_owned(),
        });
    }
    let directory = overrides.working_directory.as_ref().unwrap_or(working_directory);
    Ok(Program {
        arguments,
        working_directory: if directory.is_empty() {
            "/".to_owned()
        } else {
            directory.clone()
        },
        user: user.clone(),
        // The runtimes of AWS's base images take the handler as their first argument.
        handler: if entrypoint.is_empty() {
            String::new()
        } else {
            command.first().cloned().unwrap_or_default()
        },
        environment: environment.iter().cloned().chain(variables(configuration)).collect(),
        runtime: None,
    })
}

fn variables(configuration: &Configuration) -> impl Iterator<Item = (String, String)> {
    configuration
        .environment
        .iter()
        .flat_map(|variables| &variables.0)
        .map(|(name, value)| (name.clone(), value.clone()))
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;

//! `lambent store`: garbage collection, roots, statistics, the account's policy. None of it needs a key.

use super::store_servers;
use super::store_tables;
use super::store_tables::TierHits;
use crate::arguments::{GcArguments, GlobalArguments, ScopeArgument, StoreCommand};
use crate::environment::{self, Places};
use crate::progress::{self, Audience};
use anyhow::Result;
use image::images::ImageError;
use image::live::live_manifests;
use std::process::ExitCode;
use store::{AccountPolicy, GcProgress, GcReport, GcSettings, PolicyScope, Store};
use tokio::runtime::Runtime;
use worker::Client;

/// What a command works with.
struct Opened {
    store: Store,
    runtime: Runtime,
    json: bool,
}

pub(crate) fn run(global: &GlobalArguments, command: &StoreCommand) -> Result<ExitCode> {
    let places = environment::places(global)?;
    let opened = Opened {
        store: environment::open_store(&places)?,
        runtime: environment::start_runtime()?,
        json: global.json,
    };
    match command {
        StoreCommand::Gc(arguments) => return opened.collect(arguments),
        StoreCommand::Roots => store_tables::roots(&opened.runtime.block_on(opened.store.roots())?, opened.json)?,
        StoreCommand::Stats => opened.stats(&places)?,
        StoreCommand::Servers => {
            let servers = opened.runtime.block_on(opened.store.servers())?;
            store_servers::print(&servers, &places, opened.json)?;
        }
        StoreCommand::Forget { server } => {
            let forgotten = opened.runtime.block_on(opened.store.forget_server(*server))?;
            store_servers::print_forgotten(*server, forgotten, opened.json)?;
        }
        StoreCommand::Scope { scope } => opened.scope(global, *scope)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Opened {
    /// Fails when there was an alarm, or something that lives is not whole: somebody should look.
    fn collect(&self, arguments: &GcArguments) -> Result<ExitCode> {
        let settings = GcSettings {
            retire_after: arguments.retire_after.time,
            expire_after: arguments.expire_after.time,
            delete_after: arguments.delete_after.time,
            salt_life: arguments.salt_life.map(|age| age.time),
            rate_per_second: arguments.rate,
            popular_above: (arguments.popular_above > 0).then_some(arguments.popular_above),
            is_dry_run: arguments.dry_run,
        };
        let progress = GcProgress::default();
        let report = progress::watch(
            Audience::of(self.json),
            || progress::collection(&progress),
            || self.runtime.block_on(collect(&self.store, &settings, &progress)),
        )?;
        let roots = self.runtime.block_on(self.store.roots())?;
        store_tables::collection(&report, &roots, &settings, self.json)?;
        Ok(if report.alarms.is_empty() && report.faults.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn stats(&self, places: &Places) -> Result<()> {
        let survey = self.runtime.block_on(async {
            let live = live_manifests(&self.store).await?;
            Ok::<_, ImageError>(self.store.survey(live).await?)
        })?;
        store_tables::survey(&survey, &tier_hits(places), self.json)
    }

    fn scope(&self, global: &GlobalArguments, scope: Option<ScopeArgument>) -> Result<()> {
        if let Some(scope) = scope {
            let policy = AccountPolicy {
                salt_scope: match scope {
                    ScopeArgument::Shared => PolicyScope::Shared,
                    ScopeArgument::Account => PolicyScope::Account,
                },
            };
            let set = self.store.set_account_policy(&global.account, policy);
            self.runtime.block_on(set)?;
        }
        let policy = self.runtime.block_on(self.store.account_policy(&global.account))?;
        store_tables::policy(&global.account, policy, self.json)
    }
}

/// What the data directory's daemon says. The store's statistics are worth having without it.
fn tier_hits(places: &Places) -> TierHits {
    let asked = Client::connect(&places.worker(), &places.store.to_string())
        .and_then(|client| client.map(|mut client| client.cache()).transpose());
    match asked {
        Ok(Some(cache)) => TierHits::Known(Box::new(cache)),
        Ok(None) => TierHits::NoDaemon,
        Err(error) => TierHits::Unknown(error.to_string()),
    }
}

/// Collects garbage of a store with all its images.
pub(crate) async fn collect(
    store: &Store,
    settings: &GcSettings,
    progress: &GcProgress,
) -> Result<GcReport, ImageError> {
    store
        .collect(settings, || Box::pin(live_manifests(store)), progress)
        .await
}

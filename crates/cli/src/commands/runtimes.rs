//! `lambent runtime add|ls|rm`: the base images of zips.

use crate::arguments::{GlobalArguments, RuntimeCommand};
use crate::environment::{self, EndpointFacts, Places};
use crate::output;
use anyhow::{Context, Result, bail};
use control::Packages;
use serde_json::json;

pub(crate) fn run(global: &GlobalArguments, command: &RuntimeCommand) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    let packages = runtime.block_on(packages(global, &places, runtime.handle()))?;
    match command {
        RuntimeCommand::Add { name, source } => {
            let added = runtime
                .block_on(packages.add_runtime(name, source.clone()))
                .with_context(|| format!("cannot add the runtime {name}"))?;
            if global.json {
                return output::print_json(&added);
            }
            println!(
                "{name} is ready: zips of this runtime start with {}",
                added.arguments.join(" ")
            );
        }
        RuntimeCommand::Ls => {
            let known = runtime.block_on(packages.runtimes())?;
            if global.json {
                return output::print_json(&known);
            }
            let rows = known
                .into_iter()
                .map(|known| [known.name, known.source, known.arguments.join(" ")]);
            println!("{}", output::table(["runtime", "source", "starts with"], rows));
        }
        RuntimeCommand::Rm { name } => {
            if !runtime.block_on(packages.remove_runtime(name))? {
                bail!("there is no runtime {name}: `lambent runtime ls` lists them");
            }
            if global.json {
                return output::print_json(&json!({ "removed": name }));
            }
            println!("{name} is removed");
        }
    }
    Ok(())
}

/// Names of the runtimes that are there.
pub(crate) async fn names(global: &GlobalArguments, places: &Places) -> Result<Vec<String>> {
    let packages = packages(global, places, &tokio::runtime::Handle::current()).await?;
    let known = packages.runtimes().await?;
    Ok(known.into_iter().map(|known| known.name).collect())
}

async fn packages(global: &GlobalArguments, places: &Places, runtime: &tokio::runtime::Handle) -> Result<Packages> {
    let keys = environment::key_provider(global, &places.data).await?;
    environment::packages(places, keys, runtime, (&places.region(), EndpointFacts::default()))
}

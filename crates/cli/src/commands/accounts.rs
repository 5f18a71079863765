//! `lambent account create|ls`.

use crate::arguments::GlobalArguments;
use crate::environment;
use crate::output;
use anyhow::Result;
use serde_json::json;

pub(crate) fn create(global: &GlobalArguments) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    let made = runtime.block_on(async {
        let control = environment::record(global, &places).await?;
        anyhow::Ok(control.create_account(Some(&global.account)).await?)
    })?;
    if global.json {
        return output::print_json(&json!({ "account": made.account.as_str(), "created_ms": made.created_ms }));
    }
    println!("{} is there: make it a key with `lambent keys create`", made.account);
    Ok(())
}

pub(crate) fn list(global: &GlobalArguments) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    let accounts = runtime.block_on(async {
        let control = environment::record(global, &places).await?;
        anyhow::Ok(control.accounts().await?)
    })?;
    if global.json {
        let lines = accounts.iter();
        let lines = lines.map(|found| json!({ "account": found.account.as_str(), "created_ms": found.created_ms }));
        return output::print_json(&lines.collect::<Vec<_>>());
    }
    let rows = accounts.iter().map(|found| [found.account.to_string()]);
    println!("{}", output::table(["account"], rows));
    Ok(())
}

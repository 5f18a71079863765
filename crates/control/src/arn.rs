//! Names of functions as ARNs.

use crate::Control;
use chunk::Account;

impl Control {
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`.
    #[must_use]
    pub fn function_arn(&self, account: &Account, name: &str) -> String {
        format!("arn:aws:lambda:{}:{account}:function:{name}", self.region())
    }

    /// The same with `:QUALIFIER`, if there is one.
    #[must_use]
    pub fn qualified_arn(&self, account: &Account, name: &str, qualifier: Option<&str>) -> String {
        let arn = self.function_arn(account, name);
        qualifier.map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}"))
    }
}

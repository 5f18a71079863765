//! `lambent keys` and `lambent account`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make another access key for the account, for everything in it or for what a policy allows
    #[command(
        after_help = "Examples:\n  lambent keys create --json\n  lambent keys create --policy invoke-only.json\n  lambent keys create --policy '{\"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\",\n    \"Action\": \"lambda:InvokeFunction\", \"Resource\": \"arn:aws:lambda:*:*:function:score*\"}}'\n\nThe policy is IAM's: Effect, Action or NotAction, Resource or NotResource; what denies wins. Conditions are refused."
    )]
    Create {
        /// What the key's holder may do: JSON, or a file with it [default: everything in the account]
        #[arg(long, value_name = "FILE|JSON")]
        policy: Option<String>,
    },
    /// List access keys, without their secrets
    #[command(after_help = "Example:\n  lambent keys ls")]
    Ls,
    /// Revoke an access key; a running endpoint refuses it within a second
    #[command(after_help = "Example:\n  lambent keys revoke AKIA2EXAMPLE7EXAMPLE")]
    Revoke {
        /// The key's id
        #[arg(value_name = "KEY")]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make the account that --account names; that it is there is no error
    #[command(
        after_help = "Example:\n  lambent account create --account 123456789012\n  lambent keys create --account 123456789012"
    )]
    Create,
    /// List accounts
    #[command(after_help = "Example:\n  lambent account ls --json")]
    Ls,
    /// The account's wrapping key (not its access keys: those are `lambent keys`)
    #[command(subcommand)]
    Key(AccountKeyCommand),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AccountKeyCommand {
    /// Show which keys wrap the account's images
    #[command(after_help = "Example:\n  lambent account key show --json")]
    Show,
    /// Make a new key, or a new version of it, and wrap all images' data keys with it; no chunk is touched
    #[command(
        after_help = "Example:\n  lambent account key rotate --account 123456789012\n\nThe keyring and Vault make the key. With AWS KMS, choose another key: --kms-key NEW --kms-previous-key OLD. When it is interrupted, `rewrap` goes on."
    )]
    Rotate,
    /// Wrap what older keys wrap with the newest one: goes on where a rotation was interrupted
    #[command(after_help = "Example:\n  lambent account key rewrap --kms-key NEW --kms-previous-key OLD")]
    Rewrap,
    /// Make the account's images unreadable: at once for new mounts, within key_life_seconds where they are mounted
    #[command(
        after_help = "Example:\n  lambent account key revoke --account 123456789012\n\nFor the keyring. In AWS KMS disable the key, or deny the account in its policy by the encryption context lambent:account; in Vault delete the account's policy or raise min_decryption_version."
    )]
    Revoke,
    /// Make a revoked key of the keyring valid again; what was mounted meanwhile is mounted anew
    #[command(after_help = "Example:\n  lambent account key restore")]
    Restore,
    /// Remove the keyring's keys that wrap none of the account's images any more
    #[command(
        after_help = "Example:\n  lambent account key prune\n\nAn image that was replaced under its name, and is still in use, may be wrapped with such a key: prune when all of those are gone. Other copies of the keyring keep theirs."
    )]
    Prune,
}

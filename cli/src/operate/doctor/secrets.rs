//! Checks that both secrets exist, and that the tokens open with them.

use threads_auth::{FailureKind, SecretsError, StoreError};
use threads_auth_model::error_chain;
use threads_auth_model::seal::Format;

use super::finding::{Finding, denied, fail, ok, unreadable, warn};
use crate::operate::target::StackHandle;
use crate::operate::unseal::Tokens;
use crate::shell::failure::secret_unseen;

/// The number of accounts whose tokens are tried with the keyring.
const SAMPLE: u32 = 200;

pub(super) async fn app_secret(stack: &StackHandle) -> Finding {
    match stack.service.secrets().reread_app(stack.now()).await {
        Ok(app) => {
            let accepted = app.previous.as_ref().filter(|_| app.previous(stack.now()).is_some());
            let accepted = accepted.map_or_else(String::new, |previous| {
                format!(
                    "; the previous one is accepted until {}, and `threads-auth configure --compromised` ends that",
                    previous.until
                )
            });
            ok("app secret", format!("is there, for the app {}{accepted}", app.credentials.app_id))
        }
        Err(error) => no_secret("app secret", &error, "`threads-auth configure` writes it."),
    }
}

pub(super) async fn keyring(stack: &StackHandle) -> Finding {
    match stack.service.secrets().reread_keyring(stack.now()).await {
        Ok(keyring) => {
            let count = keyring.key_ids().count();
            let keys = if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
            let format = match keyring.format() {
                Format::First => "1; `threads-auth keyring upgrade` switches to 2",
                Format::Second => "2",
            };
            ok("keyring", format!("is there, with {keys}; {} seals, in format {format}", keyring.writing()))
        }
        Err(error) => no_secret(
            "keyring",
            &error,
            "`threads-auth configure` creates one if there never was one. If there was one, do NOT create another: `threads-auth restore-secret keyring` restores it from its former versions.",
        ),
    }
}

/// Returns the finding for a secret that cannot be read. `next` is the step for the stack's owner.
fn no_secret(check: &'static str, error: &SecretsError, next: &str) -> Finding {
    const PERMISSION: &str = "secretsmanager:GetSecretValue, and kms:Decrypt through Secrets Manager";
    match secret_unseen(error) {
        Some(failure) if failure.kind == FailureKind::Denied => denied(check, &failure.code, PERMISSION),
        Some(failure) => warn(check, format!("AWS does not answer ({})", failure.code), "Try again later."),
        None => fail(check, error_chain(error), next),
    }
}

pub(super) async fn tokens(stack: &StackHandle) -> Finding {
    const CHECK: &str = "tokens";
    let Ok(tokens) = Tokens::of(stack).await else {
        return warn(CHECK, "cannot be tried without the secrets", "See the secrets above first.");
    };
    let page = match stack.service.list_grants(None, SAMPLE, None).await {
        Ok(page) => page,
        Err(StoreError::DynamoDb(error)) => {
            return unreadable(CHECK, &error, stack.service.store().grants_table(), "dynamodb:Scan");
        }
        Err(error) => {
            let next = "Check that the table exists, and that your credentials reach it.";
            return fail(CHECK, error_chain(&error), next);
        }
    };
    let (mut opened, mut sealed, mut broken) = (0_u32, Vec::new(), Vec::new());
    for row in page.items {
        match row {
            Ok(grant) => match tokens.token(&grant) {
                Some(Ok(_)) => opened += 1,
                Some(Err(error)) => sealed.push(format!("{} {error}", grant.user_id)),
                None => {}
            },
            Err(inconsistency) => broken.push(inconsistency.named()),
        }
    }
    if let Some(first) = sealed.first() {
        let detail =
            format!("{} of {} do not open: {first}", sealed.len(), sealed.len() as u64 + u64::from(opened));
        let next = "A key was removed, the keyring or the app id replaced, or the table restored under another name before `threads-auth keyring upgrade`, whose help has the remedy. `threads-auth keyring show` names the missing key, and `threads-auth restore-secret` looks for it in former versions. For a single row: `threads-auth restore --replace-unreadable`, from a backup.";
        return fail(CHECK, detail, next);
    }
    if let Some(first) = broken.first() {
        let detail = format!("{} rows are malformed: {first}", broken.len());
        return fail(
            CHECK,
            detail,
            "The row was changed by something else: `threads-auth restore --replace-unreadable` replaces it by a backup's, or its person connects again.",
        );
    }
    match opened {
        0 => ok(CHECK, "there are none yet"),
        1 => ok(CHECK, "the only one opens"),
        _ => ok(CHECK, format!("{opened} were tried, and open")),
    }
}

//! Credentials that end while a command runs.

use crate::deployed::Aws;
use crate::support::run;

/// Imports so many accounts, and returns how often the profile's process was run for credentials,
/// which end at `expiration`. One after the other, so that no two requests share an answer.
fn asked(expiration: &str, accounts: usize) -> usize {
    let aws = Aws::new();
    let urls = aws.local.stack.urls();
    let answer = format!(
        r#"{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}","Expiration":"{expiration}"}}"#,
        urls.access_key_id, urls.secret_access_key
    );
    let (calls, process) = (aws.local.path("calls"), aws.local.path("process.sh"));
    aws.local.write("process.sh", format!("echo asked >> '{}'\necho '{answer}'\n", calls.display()));
    let config =
        format!("[profile ops]\nregion = {}\ncredential_process = sh {}\n", urls.region, process.display());
    aws.local.write("aws-config", config);
    let tokens: Vec<_> = (0..accounts).map(|n| aws.local.token(&format!("1784140000000{n:04}"))).collect();
    aws.local.write("tokens.csv", format!("access_token\n{}\n", tokens.join("\n")));
    let mut command =
        aws.command(&["accounts", "import", "tokens.csv", "--concurrency", "1", "--profile", "ops"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONFIG_FILE", aws.local.path("aws-config"));
    run(command).expect(0);
    aws.local.read("calls").lines().count()
}

#[test]
fn credentials_are_renewed_when_they_end() {
    // One process for each AWS client, and one for the check at the start.
    let lasting = asked("2999-01-01T00:00:00Z", 8);
    assert!((1..8).contains(&lasting), "{lasting}");
    // These expire at once: every call to AWS needs new ones.
    let ending = asked("2020-01-01T00:00:00Z", 8);
    assert!(ending >= 8, "{ending}");
}

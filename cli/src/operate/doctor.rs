//! `threads-auth doctor`: what is wrong with a stack, and what to do about it.
//!
//! Owns the checks and the words for what Meta's pages say in numbers. Each check stands alone, so that one look finds everything. Changes
//! nothing, and shows no secret.

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use aws_sdk_cloudformation::operation::list_stack_resources::ListStackResourcesError;
use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_scheduler::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_scheduler::types::ScheduleState;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use threads_auth::error_chain;
use threads_auth::seal::random_text;
use threads_auth::secrets::SecretsError;
use threads_auth::store::StoreError;

use crate::operate::target::{Deployed, Opened, TARGETS, Target};
use crate::operate::unseal::Tokens;
use crate::shell::exit::{self, Stopped};
use crate::shell::interrupt::Interrupt;
use crate::shell::output::Output;
use crate::shell::surroundings::Surroundings;

/// Check a stack from end to end, and say what to do about what is wrong.
#[derive(Args)]
#[command(after_help = format!("Examples:
  threads-auth doctor --local
  threads-auth doctor --profile prod --stack threads-auth-prod
  threads-auth doctor --json | jq '.checks[] | select(.level != \"ok\")'

It changes nothing. Exit code 1 means that a check has failed; warnings alone leave it at 0. On AWS it reads the stack and the
list of its resources, both secrets, a page of the table of grants, the schedule, the alarms and the key's policy; what your
credentials may not read is a warning.

{TARGETS}"))]
pub(crate) struct Doctor {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    output: Output,
}

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// So many accounts are tried with the keyring.
const SAMPLE: i32 = 200;

/// A request's signature ends after five minutes; a login's steps are timed to the second.
const SKEW_WARNS: u64 = 30;
const SKEW_FAILS: u64 = 240;

const DASHBOARD: &str = "in Meta's dashboard, under the use case \"Access the Threads API\" > Settings";

fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding {
        check,
        level: Level::Ok,
        detail: detail.into(),
        next: None,
    }
}

fn warn(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding {
        check,
        level: Level::Warn,
        detail: detail.into(),
        next: Some(next.into()),
    }
}

fn fail(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding {
        check,
        level: Level::Fail,
        detail: detail.into(),
        next: Some(next.into()),
    }
}

impl Doctor {
    pub(crate) async fn run(self, surroundings: &Surroundings) -> Result<()> {
        let mut interrupt = Interrupt::listen()?;
        let stack = interrupt.or(self.target.open(surroundings)).await?;
        let findings = interrupt.or(async { Ok(examine(&stack).await) }).await?;
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        let plain: Vec<_> = findings.iter().map(Finding::plain).collect();
        let json = json!({"ok": !failed, "checks": findings});
        self.output.result(&json, &plain.join("\n"))?;
        Stopped::told(u8::from(failed))
    }
}

impl Finding {
    fn plain(&self) -> String {
        let (word, colour) = match self.level {
            Level::Ok => ("ok  ", AnsiColor::Green),
            Level::Warn => ("warn", AnsiColor::Yellow),
            Level::Fail => ("FAIL", AnsiColor::Red),
        };
        let style: Style = colour.on_default().bold();
        let next = self
            .next
            .as_ref()
            .map_or_else(String::new, |next| format!("\n      -> {next}"));
        format!("{style}{word}{style:#}  {}: {}{next}", self.check, self.detail)
    }
}

async fn examine(stack: &Opened) -> Vec<Finding> {
    let mut findings = vec![stands(stack)];
    findings.push(app_secret(stack).await);
    findings.push(keyring(stack).await);
    findings.push(belong_together(stack).await);
    findings.push(tokens(stack).await);
    findings.extend(reachable(stack).await);
    findings.push(redirect_uri(stack).await);
    if let Some(deployed) = &stack.deployed {
        findings.push(schedule(deployed).await);
        findings.push(alarms(deployed).await);
        findings.push(key_policy(deployed).await);
    }
    findings
}

fn stands(stack: &Opened) -> Finding {
    let Some(deployed) = &stack.deployed else {
        return ok("stack", format!("{} answers", stack.name));
    };
    let (name, status) = (&deployed.stack, &deployed.status);
    if status.ends_with("_IN_PROGRESS") {
        warn(
            "stack",
            format!("{name} is {status}"),
            "Wait until CloudFormation is done, and look again.",
        )
    } else if status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" {
        ok("stack", format!("{name} is {status}"))
    } else if status == "UPDATE_ROLLBACK_COMPLETE" {
        let next =
            "The last deployment failed and was taken back: the stack's events in CloudFormation say why.";
        warn("stack", format!("{name} is {status}"), next)
    } else {
        fail(
            "stack",
            format!("{name} is {status}"),
            "The stack's events in CloudFormation say why.",
        )
    }
}

async fn app_secret(stack: &Opened) -> Finding {
    match stack.service.secrets().app(stack.now()).await {
        Ok(app) => ok("app secret", format!("is there, for the app {}", app.app_id)),
        Err(error) => no_secret("app secret", &error, "`threads-auth configure` writes it."),
    }
}

async fn keyring(stack: &Opened) -> Finding {
    match stack.service.secrets().keyring(stack.now()).await {
        Ok(keyring) => {
            let count = keyring.key_ids().count();
            let keys = if count == 1 {
                "1 key".to_owned()
            } else {
                format!("{count} keys")
            };
            ok(
                "keyring",
                format!("is there, with {keys}; {} seals", keyring.writing()),
            )
        }
        Err(error) => no_secret(
            "keyring",
            &error,
            "`threads-auth configure` makes one where there was none yet. If there was one, do NOT make another: Secrets Manager keeps the version before it as AWSPREVIOUS.",
        ),
    }
}

/// Why a secret is not to be had, and `next` if that is for the stack's owner to change.
fn no_secret(check: &'static str, error: &SecretsError, next: &str) -> Finding {
    const PERMISSION: &str = "secretsmanager:GetSecretValue, and kms:Decrypt through Secrets Manager";
    match error {
        SecretsError::Unreachable { source, .. } => unseen(check, source, PERMISSION),
        SecretsError::Unreadable { source, .. }
            if source.code().is_some_and(|code| code.contains("Denied")) =>
        {
            unseen(check, source, PERMISSION)
        }
        _ => fail(check, error_chain(error), next),
    }
}

async fn belong_together(stack: &Opened) -> Finding {
    const CHECK: &str = "app id and secret";
    let Ok(app) = stack.service.secrets().app(stack.now()).await else {
        return warn(
            CHECK,
            "cannot be tried without the secret",
            "First the app secret, see above.",
        );
    };
    match stack.graph().app_token(&app).await {
        Ok(_) => ok(CHECK, "belong together, says Meta"),
        Err(error) => {
            let error = anyhow::Error::from(error);
            let advice = exit::advice(&error);
            let detail = format!("Meta does not take them: {error:#}");
            match exit::code(&error) {
                4 => warn(
                    CHECK,
                    format!("Meta does not answer: {error:#}"),
                    "Try again later.",
                ),
                _ => fail(
                    CHECK,
                    detail,
                    advice.unwrap_or_else(|| "`threads-auth configure` writes them anew.".to_owned()),
                ),
            }
        }
    }
}

async fn tokens(stack: &Opened) -> Finding {
    const CHECK: &str = "tokens";
    let Ok(tokens) = Tokens::of(stack).await else {
        return warn(
            CHECK,
            "cannot be tried without the secrets",
            "First the secrets, see above.",
        );
    };
    let rows = match stack.service.store().scan(None, Some(SAMPLE), None).await {
        Ok((rows, _)) => rows,
        Err(StoreError::Unavailable { code, .. }) if code.contains("Denied") => {
            let detail = format!("your credentials may not look ({code})");
            return warn(
                CHECK,
                detail,
                "Try again with credentials that have dynamodb:Scan on the table of grants.",
            );
        }
        Err(error) => {
            let next = "Is the table there, and do your credentials reach it?";
            return fail(CHECK, error_chain(&error), next);
        }
    };
    let (mut opened, mut sealed, mut broken) = (0_u32, Vec::new(), Vec::new());
    for row in rows {
        match row {
            Ok(grant) => match tokens.token(&grant) {
                Some(Ok(_)) => opened += 1,
                Some(Err(error)) => sealed.push(format!("{} {error}", grant.user_id)),
                None => {}
            },
            Err(inconsistency) => broken.push(inconsistency.to_string()),
        }
    }
    if let Some(first) = sealed.first() {
        let detail = format!(
            "{} of {} do not open: {first}",
            sealed.len(),
            sealed.len() as u64 + u64::from(opened)
        );
        let next = "A key was removed, the keyring or the app id replaced, or the table restored under another name. `threads-auth keyring show` names the missing key; Secrets Manager keeps the former keyring as AWSPREVIOUS.";
        return fail(CHECK, detail, next);
    }
    if let Some(first) = broken.first() {
        let detail = format!("{} rows make no sense: {first}", broken.len());
        return fail(
            CHECK,
            detail,
            "The row was changed by something else; repair the attribute, or delete the row and let its person connect again.",
        );
    }
    match opened {
        0 => ok(CHECK, "there are none yet"),
        1 => ok(CHECK, "the only one opens"),
        _ => ok(CHECK, format!("{opened} were tried, and open")),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a public page of ours, without a secret in its address"
)]
async fn reachable(stack: &Opened) -> Vec<Finding> {
    const CHECK: &str = "public address";
    let address = stack.address("connected");
    let answer = match stack.http.inner().get(&address).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let detail = format!("{address} does not answer: {}", error_chain(&error.without_url()));
            let next = "Does the name point at the API (output ApiDomainTarget), and is the certificate issued? For --local: is the tunnel up?";
            return vec![fail(CHECK, detail, next)];
        }
    };
    let status = answer.status().as_u16();
    let date = answer
        .headers()
        .get("date")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut findings = vec![if status == 200 {
        ok(CHECK, format!("{address} answers"))
    } else {
        let next = "403 and 404 are the API's own: the name points elsewhere, or the stage is not deployed. 500 and above: the log of the function says why.";
        fail(CHECK, format!("{address} answers {status}"), next)
    }];
    // The development stack's clock is its own.
    if stack.deployed.is_some()
        && let Some(theirs) = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok())
    {
        findings.push(skew(theirs.timestamp().as_second() - stack.now().as_second()));
    }
    findings
}

fn skew(ahead: i64) -> Finding {
    const CHECK: &str = "clock";
    let (seconds, side) = (
        ahead.unsigned_abs(),
        if ahead > 0 { "behind" } else { "ahead of" },
    );
    let detail = format!("this machine is {seconds} s {side} AWS");
    let next = "Set this machine's clock (timedatectl set-ntp true): what you do here is timed by it, and AWS refuses signatures that are five minutes off.";
    match seconds {
        0..SKEW_WARNS => ok(CHECK, detail),
        SKEW_WARNS..SKEW_FAILS => warn(CHECK, detail, next),
        SKEW_FAILS.. => fail(CHECK, detail, next),
    }
}

/// What Meta's page says to a person who comes with our address.
async fn redirect_uri(stack: &Opened) -> Finding {
    const CHECK: &str = "redirect URI";
    let config = stack.service.config();
    let (Ok(app), Ok(uri)) = (
        stack.service.secrets().app(stack.now()).await,
        config.redirect_uri(),
    ) else {
        return warn(
            CHECK,
            "cannot be tried without the app id",
            "First the app secret, see above.",
        );
    };
    let state = random_text::<16>().unwrap_or_default();
    let url = stack
        .graph()
        .authorization_url(&app.app_id, &uri, &config.scopes, &state);
    let body = match page(stack, url).await {
        Ok(body) => body,
        Err(problem) => {
            return warn(
                CHECK,
                format!("Meta's page does not answer: {problem}"),
                "Try again later.",
            );
        }
    };
    match refusal(&body) {
        None => ok(
            CHECK,
            format!(
                "Meta's page does not refuse {uri}; some of what is wrong it says only after a person has logged in"
            ),
        ),
        Some((code, message)) => {
            let detail = format!("Meta's page refuses {uri}: {message} ({code})");
            match what_to_click(code, uri.as_str()) {
                Some(next) => fail(CHECK, detail, next),
                None => fail(
                    CHECK,
                    detail,
                    format!(
                        "This number is not known here. Compare what is {DASHBOARD} with `threads-auth configure`."
                    ),
                ),
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Meta's public page, as a browser opens it: its address carries no secret"
)]
async fn page(stack: &Opened, url: url::Url) -> Result<String, String> {
    let answer = stack
        .http
        .inner()
        .get(url)
        .header("accept", "text/html")
        .send()
        .await;
    let answer = answer.map_err(|error| error_chain(&error.without_url()))?;
    answer
        .text()
        .await
        .map_err(|error| error_chain(&error.without_url()))
}

/// Meta's code and words, if a page is its `{"error_message":…,"error_code":…}`, alone or inside of HTML.
fn refusal(body: &str) -> Option<(u64, String)> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    if let Ok(answer) = serde_json::from_str::<Value>(body.trim()) {
        let code = number(answer.get("error_code")?)?;
        let message = answer
            .get("error_message")
            .and_then(Value::as_str)
            .unwrap_or("no reason given");
        return Some((code, message.to_owned()));
    }
    let known = [1_349_168, 1_349_245, 1_349_026, 4_476_002, 1_349_187];
    let after = body.split_once("error_code")?.1;
    let digits: String = after
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    let code = digits.parse().ok().filter(|code| known.contains(code))?;
    Some((code, "an error page".to_owned()))
}

fn what_to_click(code: u64, uri: &str) -> Option<String> {
    Some(match code {
        1_349_168 => format!(
            "The address is not in the list: {DASHBOARD}, add {uri} to \"Redirect Callback URLs\", letter for letter and with or without a final slash as it is here, press Enter so that it becomes a tag, fill the other two fields, and save."
        ),
        1_349_245 => "The account is an invited tester who has not accepted: in Threads > Settings > Account > Website permissions > Invites, accept the app. (To invite: App roles > Roles > Add People > Threads Tester.)".to_owned(),
        1_349_026 | 4_476_002 => format!(
            "The app id is not the *Threads* app id: take the one {DASHBOARD}, not the Meta app id on top of the page, and run `threads-auth configure` with it and with the secret beside it."
        ),
        1_349_187 => "Meta sends nobody back to http: the public address has to be https (parameter DomainName, or a tunnel with --public-url for `threads-auth dev`).".to_owned(),
        _ => return None,
    })
}

async fn schedule(deployed: &Deployed) -> Finding {
    const CHECK: &str = "schedule";
    let name = match deployed.output("ScheduleName") {
        Ok(name) => name,
        Err(error) => return fail(CHECK, format!("{error:#}"), "Deploy this version of the stack."),
    };
    let (group, name) = name.split_once('/').unwrap_or(("default", name));
    let client = aws_sdk_scheduler::Client::new(&deployed.sdk);
    match client.get_schedule().group_name(group).name(name).send().await {
        Ok(schedule) => {
            let every = schedule
                .schedule_expression()
                .unwrap_or("an unknown schedule")
                .to_owned();
            if schedule.state() == Some(&ScheduleState::Enabled) {
                ok(CHECK, format!("sweeps at {every}"))
            } else {
                let next = "Nothing is refreshed while it is off: enable it in EventBridge Scheduler, or deploy the stack again.";
                fail(CHECK, format!("{group}/{name} is switched off"), next)
            }
        }
        Err(error) => unseen(CHECK, &error, "scheduler:GetSchedule"),
    }
}

async fn alarms(deployed: &Deployed) -> Finding {
    const CHECK: &str = "alarms";
    let client = aws_sdk_cloudwatch::Client::new(&deployed.sdk);
    let prefix = format!("{}-", deployed.stack);
    let answer = client
        .describe_alarms()
        .alarm_name_prefix(&prefix)
        .max_records(100)
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "cloudwatch:DescribeAlarms"),
    };
    let alarms = answer.metric_alarms();
    let named = |state: &StateValue| -> Vec<_> {
        let those = alarms.iter().filter(|alarm| alarm.state_value() == Some(state));
        those
            .filter_map(|alarm| alarm.alarm_name()?.strip_prefix(&prefix))
            .collect()
    };
    let (ringing, blind) = (named(&StateValue::Alarm), named(&StateValue::InsufficientData));
    let made = made_alarms(deployed).await;
    let gone: Vec<_> = made
        .iter()
        .flatten()
        .filter(|name| !alarms.iter().any(|alarm| alarm.alarm_name() == Some(name)))
        .map(|name| name.strip_prefix(&prefix).unwrap_or(name))
        .collect();
    let silent = alarms.iter().all(|alarm| alarm.alarm_actions().is_empty());
    if !ringing.is_empty() {
        let next = "infra/README.md has a paragraph for each under \"Runbook\".";
        fail(CHECK, format!("ringing: {}", ringing.join(", ")), next)
    } else if !gone.is_empty() {
        // CloudFormation does not look whether what it made is still there.
        let next = "Somebody deleted it, and deploying the same template does not bring it back: deploy once without it, then with it.";
        fail(CHECK, format!("gone: {}", gone.join(", ")), next)
    } else if alarms.is_empty() {
        warn(
            CHECK,
            format!("there are none whose name begins with {prefix}"),
            "Deploy this version of the stack.",
        )
    } else if let Err(error) = made {
        unseen(CHECK, &error, "cloudformation:ListStackResources")
    } else if silent {
        let next = "Deploy with the parameter AlarmEmail or AlarmTopicArn.";
        warn(
            CHECK,
            format!("{} are quiet, and nobody would be told if one rang", alarms.len()),
            next,
        )
    } else if !blind.is_empty() {
        let next = "After a deployment this passes within an hour or so.";
        warn(CHECK, format!("without data yet: {}", blind.join(", ")), next)
    } else {
        ok(CHECK, format!("{} are quiet", alarms.len()))
    }
}

/// The names of the alarms that CloudFormation made.
async fn made_alarms(deployed: &Deployed) -> Result<Vec<String>, SdkError<ListStackResourcesError>> {
    let mut resources = aws_sdk_cloudformation::Client::new(&deployed.sdk)
        .list_stack_resources()
        .stack_name(&deployed.stack)
        .into_paginator()
        .items()
        .send();
    let mut names = Vec::new();
    while let Some(resource) = resources.try_next().await? {
        if resource.resource_type.as_deref() == Some("AWS::CloudWatch::Alarm") {
            names.extend(resource.physical_resource_id);
        }
    }
    Ok(names)
}

async fn key_policy(deployed: &Deployed) -> Finding {
    const CHECK: &str = "key policy";
    let key = match deployed.output("DataKeyArn") {
        Ok(key) => key,
        Err(error) => return fail(CHECK, format!("{error:#}"), "Deploy this version of the stack."),
    };
    let client = aws_sdk_kms::Client::new(&deployed.sdk);
    let answer = match client
        .get_key_policy()
        .key_id(key)
        .policy_name("default")
        .send()
        .await
    {
        Ok(answer) => answer,
        Err(error) => return unseen(CHECK, &error, "kms:GetKeyPolicy"),
    };
    let policy: Value = answer
        .policy()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    match direct_use(&policy) {
        Some(statements) if statements.is_empty() => ok(
            CHECK,
            "the key decrypts through DynamoDB and Secrets Manager only",
        ),
        Some(statements) => fail(
            CHECK,
            format!(
                "whoever these statements name can decrypt with the key directly: {}",
                statements.join(", ")
            ),
            "Take the statement away, or deploy the stack again, which writes its own policy.",
        ),
        None => warn(CHECK, "the policy makes no sense", "Look at it in KMS."),
    }
}

/// The statements that let somebody decrypt other than through a service.
fn direct_use(policy: &Value) -> Option<Vec<String>> {
    let list = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        other => vec![other.clone()],
    };
    let decrypts = |action: &Value| {
        let action = action.as_str().unwrap_or_default().to_lowercase();
        match action.split_once('*') {
            Some((stem, _)) => "kms:decrypt".starts_with(stem),
            None => action == "kms:decrypt",
        }
    };
    let direct = list(policy.get("Statement")?)
        .into_iter()
        .enumerate()
        .filter(|(_, statement)| {
            let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
            let names = statement.get("Action").map(&list).unwrap_or_default();
            // What is not named is everything else.
            let able = names.iter().any(decrypts) || statement.get("NotAction").is_some();
            let bound = statement
                .pointer("/Condition/StringEquals/kms:ViaService")
                .is_some();
            allows && able && !bound
        });
    let name = |(index, statement): (usize, Value)| {
        let sid = statement.get("Sid").and_then(Value::as_str);
        sid.map_or_else(|| format!("number {}", index + 1), str::to_owned)
    };
    Some(direct.map(name).collect())
}

/// What cannot be looked at is not known to be wrong, unless it is not there.
fn unseen<E: ProvideErrorMetadata>(check: &'static str, error: &SdkError<E>, permission: &str) -> Finding {
    match error.code() {
        Some(code) if code.contains("NotFound") => fail(check, "it is not there", "Deploy the stack again."),
        Some(code) if code.contains("Denied") => warn(
            check,
            format!("your credentials may not look ({code})"),
            format!("Try again with credentials that have {permission}."),
        ),
        Some(code) => warn(check, format!("AWS did not tell ({code})"), "Try again later."),
        None => match error.raw_response() {
            Some(answer) => warn(
                check,
                format!("AWS answers {}, and gives no reason", answer.status().as_u16()),
                "Try again later.",
            ),
            None => warn(check, "AWS does not answer", "Try again later."),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_in_what_meta_answers() {
        let found = |body| refusal(body).map(|(code, _)| code);
        assert_eq!(
            found(r#"{"error_message":"Blocked","error_code":1349168}"#),
            Some(1_349_168)
        );
        assert_eq!(
            found(r#" {"error_message":"Blocked","error_code":"1349187"} "#),
            Some(1_349_187)
        );
        let html = r"<html><pre>{&quot;error_code&quot;:4476002}</pre></html>";
        assert_eq!(found(html), Some(4_476_002));
        for page in ["", "<html>Log in</html>", "{}", "<html>error_code 17</html>"] {
            assert_eq!(found(page), None, "{page}");
        }
    }

    #[test]
    fn every_number_of_metas_has_words() {
        for code in [1_349_168, 1_349_245, 1_349_026, 4_476_002, 1_349_187] {
            assert!(
                what_to_click(code, "https://app.example/callback").is_some(),
                "{code}"
            );
        }
        assert!(what_to_click(100, "").is_none());
    }

    #[test]
    fn a_clock_may_be_a_little_off() {
        let levels = [0, 29, -30, 239, -240, 900].map(|ahead| skew(ahead).level);
        let (ok, warn, fail) = (Level::Ok, Level::Warn, Level::Fail);
        assert!(levels == [ok, ok, warn, warn, fail, fail]);
    }

    #[test]
    fn a_policy_that_lets_anybody_decrypt_directly_is_found() {
        let policy = |statement: Value| {
            json!({"Statement": [
                {"Sid": "Administered", "Effect": "Allow", "Action": ["kms:DescribeKey", "kms:PutKeyPolicy"]},
                statement,
            ]})
        };
        let bound = json!({"StringEquals": {"kms:ViaService": ["dynamodb.eu-central-1.amazonaws.com"]}});
        for (statement, expected) in [
            (
                json!({"Effect": "Allow", "Action": ["kms:Decrypt"], "Condition": bound}),
                &[][..],
            ),
            (
                json!({"Sid": "Everything", "Effect": "Allow", "Action": "kms:*"}),
                &["Everything"],
            ),
            (json!({"Effect": "Allow", "Action": "*"}), &["number 2"]),
            (json!({"Effect": "Allow", "Action": ["kms:De*"]}), &["number 2"]),
            (
                json!({"Effect": "Allow", "NotAction": "kms:PutKeyPolicy"}),
                &["number 2"],
            ),
            (json!({"Effect": "Deny", "Action": "kms:*"}), &[]),
        ] {
            assert_eq!(direct_use(&policy(statement)).unwrap(), expected);
        }
        assert!(direct_use(&Value::Null).is_none());
    }
}

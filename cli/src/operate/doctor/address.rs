//! Checks that the service responds at its public address (behind CloudFront at no other), and that
//! its clock agrees with this machine's.

use threads_auth_model::error_chain;

use super::finding::{Finding, fail, ok, unnamed, warn};
use crate::operate::target::StackHandle;

/// A request signature expires after five minutes, and the steps of a login have limits of seconds.
const SKEW_WARNS: u64 = 30;
const SKEW_FAILS: u64 = 240;

const AROUND: &str = "way around CloudFront";

#[expect(clippy::disallowed_methods, reason = "a public page of ours, without a secret in its address")]
pub(super) async fn reachable(stack: &StackHandle) -> Vec<Finding> {
    const CHECK: &str = "public address";
    let address = stack.address("connected");
    let mut date = None;
    let mut findings = vec![match stack.http.inner().get(&address).send().await {
        Err(error) => {
            let detail = format!("{address} does not answer: {}", error_chain(&error.without_url()));
            let next = "Check that the name points at the API (output ApiDomainTarget), and that the certificate is issued. With --local, check that the tunnel is up.";
            fail(CHECK, detail, next)
        }
        Ok(answer) => {
            let told = answer.headers().get("date").and_then(|value| value.to_str().ok());
            date = told.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
            judge(CHECK, &address, answer.status().as_u16())
        }
    }];
    // The development stack has its own clock.
    if stack.deployed.is_some() {
        findings.push(match date {
            Some(theirs) => skew(theirs.timestamp().as_second() - stack.now().as_second()),
            None => warn("clock", "no response had AWS's time", "See the public address above first."),
        });
    }
    findings.extend(way_around(stack).await);
    findings
}

fn judge(check: &'static str, address: &str, status: u16) -> Finding {
    if status == 200 {
        ok(check, format!("{address} answers"))
    } else {
        let next = "403 and 404 are the API's own: the name points elsewhere, or the stage is not deployed. 500 and above: the log of the function has the reason. With CloudFront in front, 403 with our page means that the functions do not have its secret: deploy the same OriginSecretVersion to both.";
        fail(check, format!("{address} answers {status}"), next)
    }
}

/// Checks that the API's own address is closed to people if CloudFront is in front.
#[expect(clippy::disallowed_methods, reason = "a public page of ours, without a secret in its address")]
async fn way_around(stack: &StackHandle) -> Option<Finding> {
    let deployed = stack.deployed.as_ref()?;
    let has_edge = deployed.output("Edge").is_ok_and(|edge| edge == "true");
    if !has_edge {
        return None;
    }
    let address = match deployed.output("ApiUrl") {
        Ok(url) => format!("{url}/connected"),
        Err(error) => return Some(unnamed(AROUND, &error)),
    };
    let answer = stack.http.inner().get(&address).send().await;
    Some(judge_around(&address, answer.ok().map(|answer| answer.status().as_u16())))
}

fn judge_around(address: &str, status: Option<u16>) -> Finding {
    const CHECK: &str = AROUND;
    match status {
        Some(403) => ok(CHECK, format!("{address} is closed to people")),
        None => warn(
            CHECK,
            format!("{address} does not answer"),
            "The app's backend calls that address. Check that this machine can reach it.",
        ),
        Some(status @ (429 | 500..)) => warn(
            CHECK,
            format!("{address} answers {status}, so it is unknown whether it is closed"),
            "Try again later.",
        ),
        Some(status) => {
            let next = "Deploy EdgeOnly=true as soon as nobody has that address any more, Meta's dashboard included.";
            warn(CHECK, format!("{address} answers {status}: WAF can be bypassed"), next)
        }
    }
}

fn skew(ahead: i64) -> Finding {
    const CHECK: &str = "clock";
    let (seconds, side) = (ahead.unsigned_abs(), if ahead > 0 { "behind" } else { "ahead of" });
    let detail = format!("this machine is {seconds} s {side} AWS");
    let next = "Set this machine's clock (timedatectl set-ntp true): commands take the time from it, and AWS refuses signatures that are five minutes off.";
    match seconds {
        0..SKEW_WARNS => ok(CHECK, detail),
        SKEW_WARNS..SKEW_FAILS => warn(CHECK, detail, next),
        SKEW_FAILS.. => fail(CHECK, detail, next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::doctor::finding::Level;

    #[test]
    fn the_apis_own_address_is_closed_to_people() {
        let levels = [Some(403), Some(200), Some(404), None].map(|status| judge_around("a", status).level);
        assert!(levels == [Level::Ok, Level::Warn, Level::Warn, Level::Warn]);
    }

    #[test]
    fn a_clock_may_be_a_little_off() {
        let levels = [0, 29, -30, 239, -240, 900].map(|ahead| skew(ahead).level);
        let (ok, warn, fail) = (Level::Ok, Level::Warn, Level::Fail);
        assert!(levels == [ok, ok, warn, warn, fail, fail]);
    }
}

//! The login as a person makes it: in a browser, on the development page and the sandbox's consent
//! page.
//!
//! Expects `threads-auth dev --ephemeral` at the given address. Starts `chromedriver` from `PATH`
//! with a profile of its own, and ends both. Depends only on the promised parts of our pages: the
//! link to `/authorize`, the forms by their actions, and the names of outcomes and statuses.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// Everything is on this machine; what takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A flag a line, for the other tests in a browser too.
const FLAGS: &str = include_str!("../chromium-flags");

/// Walks through the login in a real browser.
#[derive(Parser)]
struct Arguments {
    /// The `service_url` that `threads-auth dev --ephemeral --json` printed
    service_url: Url,

    /// Folder for the screenshots
    #[arg(long, default_value = "target/browser-login", value_name = "DIR")]
    screenshots: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tokio::fs::create_dir_all(&arguments.screenshots).await?;
    let profile = tempfile::tempdir()?;
    let (mut driver, driver_url) = start_driver().await?;
    let browser = open_browser(&driver_url, profile.path().display()).await?;
    let walk =
        Walk { browser: browser.clone(), home: arguments.service_url, screenshots: arguments.screenshots };
    let outcome = walk.all().await;
    if outcome.is_err() {
        walk.screenshot("failed").await.ok();
    }
    // The browser is the driver's child: it has to go first, whatever happened.
    browser.close().await.ok();
    driver.kill().await?;
    outcome
}

async fn start_driver() -> Result<(Child, String)> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut driver = command.spawn().context("chromedriver did not start; is it installed?")?;
    let output = driver.stdout.take().context("chromedriver has no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        let port = line.rsplit_once(" on port ").map(|(_, port)| port.trim_end_matches('.'));
        if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0) {
            // It keeps writing, and must not wait for us to read.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((driver, format!("http://127.0.0.1:{port}")));
        }
    }
    bail!("chromedriver ended without a port")
}

async fn open_browser(driver_url: &str, profile: impl std::fmt::Display) -> Result<Client> {
    let own_profile = [format!("--user-data-dir={profile}"), "--window-size=1100,1400".to_owned()];
    let flags: Vec<_> = FLAGS.lines().map(str::to_owned).chain(own_profile).collect();
    let mut capabilities = Capabilities::new();
    capabilities.insert("goog:chromeOptions".to_owned(), json!({"args": flags}));
    let mut browser = ClientBuilder::new(HttpConnector::new());
    browser.capabilities(capabilities).connect(driver_url).await.context("the browser did not start")
}

/// The browser, and where it is sent.
struct Walk {
    browser: Client,
    home: Url,
    screenshots: PathBuf,
}

impl Walk {
    async fn all(&self) -> Result<()> {
        self.open_home().await?;
        self.screenshot("1-nobody-connected").await?;
        ensure!(
            self.accounts().await?.is_empty(),
            "somebody is connected already: this needs a fresh --ephemeral"
        );

        let ada = self.connect(0).await?;
        self.expect_status(&ada, "active").await?;
        self.screenshot("2-one-account").await?;
        say("one account is connected, and active on the development page");

        let grace = self.connect(1).await?;
        ensure!(ada != grace, "the second account is the first");
        self.expect_status(&ada, "active").await?;
        self.expect_status(&grace, "active").await?;
        self.screenshot("3-two-accounts").await?;
        say("a second account is connected beside it");

        self.start_connecting().await?;
        self.click("#deny").await?;
        self.wait_for_text("denied").await?;
        ensure!(!self.location().await?.contains("connected"), "a denial led to the page of a success");
        self.screenshot("4-denied").await?;
        self.open_home().await?;
        ensure!(self.accounts().await?.len() == 2, "a denial changed the accounts");
        say("a denial has its page, and changes nothing");

        let before = self.accounts().await?;
        self.advance_41_days().await?;
        self.sweep().await?;
        for person in [&ada, &grace] {
            self.expect_status(person, "active").await?;
            let (old, new) = (expiry(&before, person)?, expiry(&self.accounts().await?, person)?);
            ensure!(old < new, "{person} was not refreshed: it expired at {old}, and now at {new}");
        }
        self.open_home().await?;
        self.screenshot("5-refreshed-after-41-days").await?;
        say("41 days later, both are refreshed");

        self.press(&format!("form[action='/dev/accounts/{ada}/revoke'] button")).await?;
        self.advance_41_days().await?;
        self.sweep().await?;
        self.expect_status(&ada, "needs_reauthorization").await?;
        self.expect_status(&grace, "active").await?;
        let accounts = self.accounts().await?;
        let cause =
            find(&accounts, &ada)?["cause"].as_str().context("a dead grant without a cause")?.to_owned();
        self.open_home().await?;
        self.wait_for_text(&cause).await?;
        self.screenshot("6-revoked").await?;
        say(&format!("an account that removed the app shows its cause, {cause}; the other one lives on"));

        self.connect_as(&ada).await?;
        self.expect_status(&ada, "active").await?;
        self.screenshot("7-connected-again").await?;
        say("and it is well again after it connected again");
        Ok(())
    }

    /// Connects the sandbox's account number `choice`: its user id.
    async fn connect(&self, choice: usize) -> Result<String> {
        self.start_connecting().await?;
        let radios = self.browser.find_all(Locator::Css("input[name=user_id]:not([value=''])")).await?;
        let radio = radios.get(choice).context("the consent page offers too few accounts")?;
        let user_id = radio.attr("value").await?.context("a radio without an account")?;
        self.allow(&user_id).await?;
        Ok(user_id)
    }

    async fn connect_as(&self, user_id: &str) -> Result<()> {
        self.start_connecting().await?;
        self.allow(user_id).await
    }

    /// From the development page to the sandbox's consent page.
    async fn start_connecting(&self) -> Result<()> {
        self.open_home().await?;
        self.click("a[href^='/authorize'], a[href$='/authorize']").await?;
        self.browser.wait().at_most(PATIENCE).for_element(Locator::Id("allow")).await?;
        Ok(())
    }

    /// Picks an account on the consent page, allows, and comes home.
    async fn allow(&self, user_id: &str) -> Result<()> {
        self.click(&format!("label[for='account-{user_id}']")).await?;
        self.click("#allow").await?;
        self.wait_for("the page of a success", |location| {
            Url::parse(location).is_ok_and(|url| url.path() == "/connected")
        })
        .await?;
        let location = Url::parse(&self.location().await?)?;
        ensure!(location.query().is_none(), "the address of the last page still holds something: {location}");
        ensure!(location.origin() == self.home.origin(), "the browser ended at {location}");
        self.screenshot("connected").await?;
        self.open_home().await
    }

    async fn advance_41_days(&self) -> Result<()> {
        self.open_home().await?;
        for days in [vec![30], vec![1; 11]].concat() {
            let seconds = days * 86_400;
            self.press(&format!("form[action='/dev/clock'] button[name=advance_seconds][value='{seconds}']"))
                .await?;
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<()> {
        self.open_home().await?;
        self.press("form[action='/dev/sweep'] button").await
    }

    /// Presses a control of the development page, and waits until the page has been loaded again.
    async fn press(&self, selector: &str) -> Result<()> {
        let body = self.browser.find(Locator::Css("body")).await?;
        self.click(selector).await?;
        let began = Instant::now();
        while body.tag_name().await.is_ok() {
            ensure!(began.elapsed() < PATIENCE, "{selector} led nowhere");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.browser.wait().at_most(PATIENCE).for_element(Locator::Css("h1")).await?;
        Ok(())
    }

    /// The page's data has to have the status, and for a live account also the page's text.
    async fn expect_status(&self, user_id: &str, status: &str) -> Result<()> {
        let accounts = self.accounts().await?;
        let found = find(&accounts, user_id)?["status"].as_str().unwrap_or_default().to_owned();
        ensure!(found == status, "account {user_id} is {found}, and should be {status}");
        self.open_home().await?;
        self.wait_for_text(user_id).await?;
        if status == "active" {
            self.wait_for_text(status).await?;
        }
        Ok(())
    }

    /// Returns the accounts of which the page is made.
    async fn accounts(&self) -> Result<Vec<Value>> {
        self.browser.goto(self.home.join("dev/grants")?.as_str()).await?;
        let text = self.browser.find(Locator::Css("body")).await?.text().await?;
        let mut dashboard: Value = serde_json::from_str(&text).context("/dev/grants is not JSON")?;
        Ok(serde_json::from_value(dashboard["grants"].take())?)
    }

    async fn open_home(&self) -> Result<()> {
        Ok(self.browser.goto(self.home.as_str()).await?)
    }

    async fn location(&self) -> Result<String> {
        Ok(self.browser.current_url().await?.to_string())
    }

    async fn click(&self, selector: &str) -> Result<()> {
        let element = self.browser.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        let at = self.location().await?;
        element.with_context(|| format!("{at} has no {selector}"))?.click().await?;
        Ok(())
    }

    /// Text that is nowhere to be seen, such as in a folded part of the page, counts as well.
    async fn wait_for_text(&self, wanted: &str) -> Result<()> {
        let began = Instant::now();
        // A page may write a name of ours as words.
        let wanted = wanted.replace('_', " ").to_lowercase();
        loop {
            let script = "return document.body ? document.body.textContent : ''";
            let shown = self.browser.execute(script, Vec::new()).await?;
            if shown.as_str().unwrap_or_default().replace('_', " ").to_lowercase().contains(&wanted) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{} does not say: {wanted}", self.location().await?);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            let location = self.location().await?;
            if is_there(&location) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "expected {what}, but the browser is at {location}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn screenshot(&self, name: &str) -> Result<()> {
        let png = self.browser.screenshot().await?;
        Ok(tokio::fs::write(self.screenshots.join(name).with_extension("png"), png).await?)
    }
}

fn find<'a>(accounts: &'a [Value], user_id: &str) -> Result<&'a Value> {
    accounts
        .iter()
        .find(|account| account["user_id"] == user_id)
        .with_context(|| format!("{user_id} is not connected"))
}

fn expiry(accounts: &[Value], user_id: &str) -> Result<String> {
    let at = find(accounts, user_id)?["expires_at"].as_str().context("an account without an expiry")?;
    Ok(at.to_owned())
}

#[expect(clippy::print_stdout, reason = "its report")]
fn say(what: &str) {
    println!("browser: {what}");
}

//! The texts of each page.

use threads_auth::ConnectOutcome as Connect;

use super::notice::Notice;

pub(super) struct Words {
    pub(super) title: &'static str,
    /// The event that the page reports.
    pub(super) what: &'static str,
    /// The next step for the person.
    pub(super) next: &'static str,
    /// Label of the button to start again. `None` if that cannot help.
    pub(super) again: Option<&'static str>,
    /// A hint for the app's developer.
    pub(super) maker: Option<&'static str>,
}

impl Notice {
    #[expect(clippy::too_many_lines, reason = "a table of texts, which reads best in one place")]
    pub(super) fn words(self) -> Words {
        match self {
            Self::Connect(Connect::Connected) => Words {
                title: "Your Threads account is connected",
                what: "Everything went well. The app can now use your account in the ways you agreed to.",
                next: "You may close this window.",
                again: None,
                maker: None,
            },
            Self::Connect(Connect::Finishing) => Words {
                title: "Almost there",
                what: "Threads has said yes. One last step is still running and completes by itself, usually \
                       within the hour.",
                next: "There is nothing more for you to do. You may close this window.",
                again: None,
                maker: None,
            },
            Self::Connect(Connect::Denied) => Words {
                title: "Your account was not connected",
                what: "Threads did not give the app permission, perhaps because you chose not to. We have \
                       stored nothing.",
                next: "If that is what you wanted, you may close this window. If you change your mind, you \
                       can start again at any time.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Connect(Connect::ThreadsFailed) => Words {
                title: "Threads could not continue",
                what: "Threads ended the login because of an error of its own, or of the app\u{2019}s settings \
                       there. It is not your doing, and nothing was connected.",
                next: "Start again. If the same happens, please tell the people who make the app.",
                again: Some("Start again"),
                maker: Some("The log has Threads\u{2019} error code."),
            },
            Self::Connect(Connect::Expired) => Words {
                title: "That took a little too long",
                what: "To keep you safe, a connection has to be finished within ten minutes. Nothing was \
                       connected.",
                next: "Start again whenever you are ready. It only takes a moment.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Connect(Connect::Ended) => Words {
                title: "The connection was ended in the meantime",
                what: "While you were at Threads, the app\u{2019}s access to your account was ended: in the \
                       app, or in your settings at Threads. We have stored nothing.",
                next: "If that is what you wanted, you may close this window. If not, start again.",
                again: Some("Start again"),
                maker: Some("The account was disconnected, or its data deleted, after this flow began."),
            },
            Self::Connect(Connect::Replayed) => Words {
                title: "This step is already done",
                what: "The page you came from works only once, and it was used before. Your account may well \
                       be connected already.",
                next: "Have a look in the app first. If your account is not there, start again.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Connect(Connect::WrongBrowser) => Words {
                title: "Please finish in the browser you started in",
                what: "Threads may have opened in another app or on another device, cookies may be blocked, \
                       or too many tabs were open. Nothing was connected.",
                next: "Start again, and stay in this browser until the end. Inside another app, switch to \
                       your usual browser first. On Android the Threads app may have taken over the link: press \
                       and hold it, and choose to open it in the browser.",
                again: Some("Start again here"),
                maker: Some("The cookie that was set at the start did not come back."),
            },
            Self::Connect(Connect::WrongAccount) => Words {
                title: "That is a different Threads account",
                what: "The app was expecting another account than the one you just used. Nothing was \
                       changed.",
                next: "Switch to the right account in Threads, then start again.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Connect(Connect::BadLink) => Words {
                title: "This link is not complete",
                what: "A part of it is missing, or was changed on the way, so we did not follow it. Nothing \
                       was connected.",
                next: "Start again, and let each page open the next one by itself.",
                again: Some("Start again"),
                maker: Some("A parameter is missing, repeated or malformed."),
            },
            Self::Connect(Connect::CodeRefused) => Words {
                title: "Threads wants to ask you once more",
                what: "You said yes, but Threads no longer accepts it: it was used before, or is more than \
                       an hour old.",
                next: "Please start again, and approve the app afresh.",
                again: Some("Start again"),
                maker: None,
            },
            Self::Connect(Connect::ReturnToRefused) => Words {
                title: "We cannot send you back to the app",
                what: "The app asked us to return you to an address that is not on its list of safe ones, so \
                       we stopped before anything was connected.",
                next: "Please tell the people who make the app. They can put this right.",
                again: None,
                maker: Some("Add the return address to the allowlist, exactly as the app sends it."),
            },
            Self::Connect(Connect::SessionRequired) => Words {
                title: "Please start from the app",
                what: "To keep you safe, connecting a Threads account has to begin inside the app.",
                next: "Open the app, and choose to connect Threads there.",
                again: None,
                maker: Some("Create a connect session on your server, and open the link that it returns."),
            },
            Self::Connect(Connect::SessionUnknown) => Words {
                title: "We do not know this link",
                what: "It may have been shortened on its way to you, or belong to another app.",
                next: "Go back to the app, and choose to connect Threads once more.",
                again: None,
                maker: Some("There is no such connect session."),
            },
            Self::Connect(Connect::SessionClosed) => Words {
                title: "This link was already used",
                what: "Each link from the app connects one account, in a few attempts at most. Yours may \
                       well be connected already.",
                next: "Have a look in the app. If your account is not there, choose to connect Threads once \
                       more.",
                again: None,
                maker: None,
            },
            Self::Connect(Connect::SessionExpired) => Words {
                title: "This link has run out",
                what: "A link from the app is good for a short time only. Nothing was connected.",
                next: "Go back to the app for a new one. It only takes a moment.",
                again: None,
                maker: None,
            },
            Self::Connect(Connect::ThreadsUnavailable) => Words {
                title: "Threads is not answering right now",
                what: "It seems to be very busy. You did nothing wrong, and nothing is lost.",
                next: "Wait about half a minute, then try again.",
                again: Some("Try again"),
                maker: None,
            },
            Self::Connect(Connect::Unavailable) => Words {
                title: "We need a few seconds",
                what: "Something on our side is not answering. It is not your doing, and it rarely lasts.",
                next: "Wait a few seconds, then try again.",
                again: Some("Try again"),
                maker: Some("The store or the secrets are unavailable."),
            },
            Self::Connect(Connect::Misconfigured) => Words {
                title: "The app is not set up correctly",
                what: "Threads turned us away because of the app\u{2019}s own settings. It is not your \
                       doing, and nothing you can fix.",
                next: "Please tell the people who make the app. They can put this right.",
                again: None,
                maker: Some("App id, app secret and redirect URI must belong together. See the log."),
            },
            Self::Deleted => Words {
                title: "Your data was deleted",
                what: "What we had stored about your Threads account when you asked is deleted: the access to \
                       it, its name and its id, and the permissions that you gave. Our logs do not name \
                       you. Copies end by themselves: messages to the app that could not be delivered \
                       after two weeks, backups after 35 days, or later if the app\u{2019}s makers have \
                       chosen so.",
                next: "There is nothing more for you to do. What the app itself keeps is up to its makers.",
                again: None,
                maker: None,
            },
            Self::DeletionUnfinished => Words {
                title: "Your data is being deleted",
                what: "We have received your request, and a part of your data is still to be deleted. That \
                       happens by itself, usually within minutes.",
                next: "There is nothing more for you to do. Open this page again later to see that it is \
                       finished.",
                again: None,
                maker: None,
            },
            Self::DeletionKept => Words {
                title: "You have connected again since",
                what: "When you asked us to delete your data, you had already connected your Threads account \
                       to the app anew. The new connection took the place of the old one, and was kept.",
                next: "To have that deleted too, remove the app in your settings at Threads, and ask once \
                       more.",
                again: None,
                maker: None,
            },
            Self::DeletionUnknown => Words {
                title: "We do not know this code",
                what: "No deletion has this code. Perhaps a part of it is missing.",
                next: "Open the link once more, exactly as Threads shows it to you.",
                again: None,
                maker: None,
            },
            Self::Prefetch => Words {
                title: "Not yet",
                what: "Your browser has loaded this page before you opened it, so nothing was done yet.",
                next: "Open the page once more to go on.",
                again: None,
                maker: None,
            },
            Self::Detour => Words {
                title: "This is not the public address",
                what: "This address does not show pages to anybody. Nothing was done.",
                next: "To connect a Threads account, open the app and start from there.",
                again: None,
                maker: Some("Public pages are behind CloudFront. Use the stack\u{2019}s public address."),
            },
            Self::NotFound => Words {
                title: "This page does not exist",
                what: "There is no page at this address. It may have been mistyped.",
                next: "To connect a Threads account, open the app and start from there.",
                again: None,
                maker: None,
            },
        }
    }
}

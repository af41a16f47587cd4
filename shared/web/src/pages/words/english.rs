//! The words of pages in English.

use super::table::{Text, Words};

pub(super) static ENGLISH: Words = Words {
    back: "Go back to the app",
    back_to: "Go back to {app}",
    start_from_app: "You can always start from the app.",
    done_at: "Done on {time}.",
    time: "%-d %B %Y at %H:%M UTC",
    start_again: "Start again",
    start_again_here: "Start again here",
    try_again: "Try again",
    home: "Home",
    support: "Support",
    privacy: "Privacy",
    request: "Request id",
    connected: text!(
        "Your Threads account is connected",
        "Everything went well. The app can now use your account in the ways you agreed to.",
        "You may close this window."
    ),
    finishing: text!(
        "Almost there",
        "Threads has said yes. One last step is still running and completes by itself, usually \
         within the hour.",
        "There is nothing more for you to do. You may close this window."
    ),
    denied: text!(
        "Your account was not connected",
        "Threads did not give the app permission, perhaps because you chose not to. We have stored \
         nothing.",
        "If that is what you wanted, you may close this window. If you change your mind, you can \
         start again at any time."
    ),
    threads_failed: text!(
        "Threads could not continue",
        "Threads ended the login because of an error of its own, or of the app’s settings there. It \
         is not your doing, and nothing was connected.",
        "Start again. If the same happens, please tell the people who make the app."
    ),
    ended: text!(
        "The connection was ended in the meantime",
        "While you were at Threads, the app’s access to your account was ended: in the app, or in \
         your settings at Threads. We have stored nothing.",
        "If that is what you wanted, you may close this window. If not, start again."
    ),
    expired: text!(
        "That took a little too long",
        "To keep you safe, a connection has to be finished within ten minutes. Nothing was \
         connected.",
        "Start again whenever you are ready. It only takes a moment."
    ),
    replayed: text!(
        "This step is already done",
        "The page you came from works only once, and it was used before. Your account may well be \
         connected already.",
        "Have a look in the app first. If your account is not there, start again."
    ),
    wrong_browser: text!(
        "Please finish in the browser you started in",
        "Threads may have opened in another app or on another device, cookies may be blocked, or \
         too many tabs were open. Nothing was connected.",
        "Start again, and stay in this browser until the end. Inside another app, switch to your \
         usual browser first. On Android the Threads app may have taken over the link: press and \
         hold it, and choose to open it in the browser."
    ),
    wrong_account: text!(
        "That is a different Threads account",
        "The app was expecting another account than the one you just used. Nothing was changed.",
        "Switch to the right account in Threads, then start again."
    ),
    bad_link: text!(
        "This link is not complete",
        "A part of it is missing, or was changed on the way, so we did not follow it. Nothing was \
         connected.",
        "Start again, and let each page open the next one by itself."
    ),
    code_refused: text!(
        "Threads wants to ask you once more",
        "You said yes, but Threads no longer accepts it: it was used before, or is more than an \
         hour old.",
        "Please start again, and approve the app afresh."
    ),
    return_to_refused: text!(
        "We cannot send you back to the app",
        "The app asked us to return you to an address that is not on its list of safe ones, so we \
         stopped before anything was connected.",
        "Please tell the people who make the app. They can put this right."
    ),
    session_required: text!(
        "Please start from the app",
        "To keep you safe, connecting a Threads account has to begin inside the app.",
        "Open the app, and choose to connect Threads there."
    ),
    session_unknown: text!(
        "We do not know this link",
        "It may have been shortened on its way to you, or belong to another app.",
        "Go back to the app, and choose to connect Threads once more."
    ),
    session_closed: text!(
        "This link was already used",
        "Each link from the app connects one account, in a few attempts at most. Yours may well be \
         connected already.",
        "Have a look in the app. If your account is not there, choose to connect Threads once more."
    ),
    session_expired: text!(
        "This link has run out",
        "A link from the app is good for a short time only. Nothing was connected.",
        "Go back to the app for a new one. It only takes a moment."
    ),
    threads_unavailable: text!(
        "Threads is not answering right now",
        "It seems to be very busy. You did nothing wrong, and nothing is lost.",
        "Wait about half a minute, then try again."
    ),
    unavailable: text!(
        "We need a few seconds",
        "Something on our side is not answering. It is not your doing, and it rarely lasts.",
        "Wait a few seconds, then try again."
    ),
    misconfigured: text!(
        "The app is not set up correctly",
        "Threads turned us away because of the app’s own settings. It is not your doing, and \
         nothing you can fix.",
        "Please tell the people who make the app. They can put this right."
    ),
    deleted: text!(
        "Your data was deleted",
        "What we had stored about your Threads account when you asked is deleted: the access to it, \
         its name and its id, and the permissions that you gave. Our logs do not name you. Copies \
         end by themselves: messages to the app that could not be delivered after two weeks, \
         backups after 35 days, or later if the app’s makers have chosen so.",
        "There is nothing more for you to do. What the app itself keeps is up to its makers."
    ),
    deletion_unfinished: text!(
        "Your data is being deleted",
        "We have received your request, and a part of your data is still to be deleted. That \
         happens by itself, usually within minutes.",
        "There is nothing more for you to do. Open this page again later to see that it is \
         finished."
    ),
    deletion_kept: text!(
        "You have connected again since",
        "When you asked us to delete your data, you had already connected your Threads account to \
         the app anew. The new connection took the place of the old one, and was kept.",
        "To have that deleted too, remove the app in your settings at Threads, and ask once more."
    ),
    deletion_unknown: text!(
        "We do not know this code",
        "No deletion has this code. Perhaps a part of it is missing.",
        "Open the link once more, exactly as Threads shows it to you."
    ),
    prefetch: text!(
        "Not yet",
        "Your browser has loaded this page before you opened it, so nothing was done yet.",
        "Open the page once more to go on."
    ),
    detour: text!(
        "This is not the public address",
        "This address does not show pages to anybody. Nothing was done.",
        "To connect a Threads account, open the app and start from there."
    ),
    not_found: text!(
        "This page does not exist",
        "There is no page at this address. It may have been mistyped.",
        "To connect a Threads account, open the app and start from there."
    ),
};

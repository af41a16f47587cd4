//! The words of pages in German. Not yet reviewed by a native reader.

use super::table::{Text, Words};

pub(super) static GERMAN: Words = Words {
    back: "Zurück zur App",
    back_to: "Zurück zu {app}",
    start_from_app: "Du kannst jederzeit in der App beginnen.",
    done_at: "Erledigt am {time}.",
    time: "%d.%m.%Y um %H:%M UTC",
    start_again: "Neu beginnen",
    start_again_here: "Hier neu beginnen",
    try_again: "Noch einmal versuchen",
    home: "Startseite",
    support: "Hilfe",
    privacy: "Datenschutz",
    request: "Anfrage-ID",
    connected: text!(
        "Dein Threads-Konto ist verbunden",
        "Alles hat geklappt. Die App kann dein Konto jetzt so nutzen, wie du es erlaubt hast.",
        "Du kannst dieses Fenster schließen."
    ),
    finishing: text!(
        "Fast geschafft",
        "Threads hat zugestimmt. Ein letzter Schritt läuft noch und endet von selbst, meist \
         innerhalb einer Stunde.",
        "Du musst nichts weiter tun und kannst dieses Fenster schließen."
    ),
    denied: text!(
        "Dein Konto wurde nicht verbunden",
        "Threads hat der App keine Erlaubnis gegeben, vielleicht weil du das so wolltest. Wir haben \
         nichts gespeichert.",
        "Wenn du das so wolltest, kannst du dieses Fenster schließen. Wenn du es dir anders \
         überlegst, kannst du jederzeit neu beginnen."
    ),
    threads_failed: text!(
        "Threads konnte nicht fortfahren",
        "Threads hat die Anmeldung wegen eines eigenen Fehlers oder wegen der dortigen \
         Einstellungen der App beendet. Es liegt nicht an dir, und es wurde nichts verbunden.",
        "Beginne bitte neu. Wenn es wieder geschieht, gib bitte den Machern der App Bescheid."
    ),
    ended: text!(
        "Die Verbindung wurde inzwischen beendet",
        "Während du bei Threads warst, wurde der Zugriff der App auf dein Konto beendet: in der App \
         oder in deinen Einstellungen bei Threads. Wir haben nichts gespeichert.",
        "Wenn du das so wolltest, kannst du dieses Fenster schließen. Wenn nicht, beginne neu."
    ),
    expired: text!(
        "Das hat etwas zu lange gedauert",
        "Zu deiner Sicherheit muss eine Verbindung innerhalb von zehn Minuten fertig sein. Es wurde \
         nichts verbunden.",
        "Beginne neu, wenn du so weit bist. Es dauert nur einen Moment."
    ),
    replayed: text!(
        "Dieser Schritt ist schon erledigt",
        "Die Seite, von der du kommst, funktioniert nur einmal und wurde schon benutzt. Gut \
         möglich, dass dein Konto bereits verbunden ist.",
        "Sieh zuerst in der App nach. Wenn dein Konto dort fehlt, beginne neu."
    ),
    wrong_browser: text!(
        "Bitte bleib in dem Browser, in dem du begonnen hast",
        "Vielleicht wurde Threads in einer anderen App oder auf einem anderen Gerät geöffnet, \
         Cookies sind blockiert, oder es waren zu viele Tabs offen. Es wurde nichts verbunden.",
        "Beginne neu und bleib bis zum Ende in diesem Browser. Wechsle aus einer anderen App zuerst \
         in deinen üblichen Browser. Auf Android hat vielleicht die Threads-App den Link \
         übernommen: Halte ihn gedrückt und öffne ihn im Browser."
    ),
    wrong_account: text!(
        "Das ist ein anderes Threads-Konto",
        "Die App hat ein anderes Konto erwartet als das, das du gerade benutzt hast. Es wurde \
         nichts geändert.",
        "Wechsle in Threads zum richtigen Konto und beginne dann neu."
    ),
    bad_link: text!(
        "Dieser Link ist unvollständig",
        "Ein Teil davon fehlt oder wurde unterwegs verändert, deshalb sind wir ihm nicht gefolgt. \
         Es wurde nichts verbunden.",
        "Beginne neu und lass jede Seite die nächste von selbst öffnen."
    ),
    code_refused: text!(
        "Threads möchte dich noch einmal fragen",
        "Du hast zugestimmt, aber Threads nimmt das nicht mehr an: Die Zustimmung wurde schon \
         benutzt oder ist über eine Stunde alt.",
        "Beginne bitte neu und stimme der App noch einmal zu."
    ),
    return_to_refused: text!(
        "Wir können dich nicht zur App zurückbringen",
        "Die App wollte dich an eine Adresse zurückschicken, die nicht auf ihrer Liste sicherer \
         Adressen steht. Darum haben wir abgebrochen, bevor etwas verbunden wurde.",
        "Gib bitte den Machern der App Bescheid. Sie können das beheben."
    ),
    session_required: text!(
        "Bitte beginne in der App",
        "Zu deiner Sicherheit muss die Verbindung eines Threads-Kontos in der App beginnen.",
        "Öffne die App und wähle dort, Threads zu verbinden."
    ),
    session_unknown: text!(
        "Wir kennen diesen Link nicht",
        "Vielleicht wurde er unterwegs gekürzt oder gehört zu einer anderen App.",
        "Geh zurück zur App und wähle noch einmal, Threads zu verbinden."
    ),
    session_closed: text!(
        "Dieser Link wurde schon benutzt",
        "Jeder Link der App verbindet ein Konto und erlaubt nur wenige Versuche. Gut möglich, dass \
         deines bereits verbunden ist.",
        "Sieh in der App nach. Wenn dein Konto dort fehlt, wähle noch einmal, Threads zu verbinden."
    ),
    session_expired: text!(
        "Dieser Link ist abgelaufen",
        "Ein Link der App gilt nur für kurze Zeit. Es wurde nichts verbunden.",
        "Hol dir in der App einen neuen. Es dauert nur einen Moment."
    ),
    threads_unavailable: text!(
        "Threads antwortet gerade nicht",
        "Dort ist wohl sehr viel los. Du hast nichts falsch gemacht, und nichts ist verloren.",
        "Warte etwa eine halbe Minute und versuche es dann noch einmal."
    ),
    unavailable: text!(
        "Wir brauchen ein paar Sekunden",
        "Etwas auf unserer Seite antwortet nicht. Es liegt nicht an dir und dauert selten lange.",
        "Warte ein paar Sekunden und versuche es dann noch einmal."
    ),
    misconfigured: text!(
        "Die App ist nicht richtig eingerichtet",
        "Threads hat uns wegen der eigenen Einstellungen der App abgewiesen. Es liegt nicht an dir, \
         und du kannst es nicht beheben.",
        "Gib bitte den Machern der App Bescheid. Sie können das beheben."
    ),
    deleted: text!(
        "Deine Daten wurden gelöscht",
        "Alles, was wir über dein Threads-Konto gespeichert hatten, als du darum gebeten hast, ist \
         gelöscht: der Zugriff darauf, sein Name und seine ID und die Erlaubnisse, die du gegeben \
         hast. Unsere Protokolle nennen dich nicht. Kopien enden von selbst: Nachrichten an die \
         App, die nicht zugestellt werden konnten, nach zwei Wochen, Sicherungen nach 35 Tagen, \
         oder später, wenn die Macher der App es so gewählt haben.",
        "Du musst nichts weiter tun. Was die App selbst aufbewahrt, liegt bei ihren Machern."
    ),
    deletion_unfinished: text!(
        "Deine Daten werden gelöscht",
        "Wir haben deine Bitte erhalten, und ein Teil deiner Daten ist noch zu löschen. Das \
         geschieht von selbst, meist innerhalb von Minuten.",
        "Du musst nichts weiter tun. Öffne diese Seite später noch einmal, um zu sehen, ob es \
         fertig ist."
    ),
    deletion_kept: text!(
        "Du hast dich seither neu verbunden",
        "Als du um die Löschung deiner Daten gebeten hast, hattest du dein Threads-Konto schon \
         wieder mit der App verbunden. Die neue Verbindung hat die alte ersetzt und ist geblieben.",
        "Um auch sie zu löschen, entferne die App in deinen Einstellungen bei Threads und bitte \
         noch einmal darum."
    ),
    deletion_unknown: text!(
        "Wir kennen diesen Code nicht",
        "Keine Löschung hat diesen Code. Vielleicht fehlt ein Teil davon.",
        "Öffne den Link noch einmal genau so, wie Threads ihn dir zeigt."
    ),
    prefetch: text!(
        "Noch nicht",
        "Dein Browser hat diese Seite geladen, bevor du sie geöffnet hast. Darum ist noch nichts \
         geschehen.",
        "Öffne die Seite noch einmal, um fortzufahren."
    ),
    detour: text!(
        "Das ist nicht die öffentliche Adresse",
        "Diese Adresse zeigt niemandem Seiten. Es ist nichts geschehen.",
        "Um ein Threads-Konto zu verbinden, öffne die App und beginne dort."
    ),
    not_found: text!(
        "Diese Seite gibt es nicht",
        "Unter dieser Adresse gibt es keine Seite. Vielleicht ist sie falsch geschrieben.",
        "Um ein Threads-Konto zu verbinden, beginne in der App."
    ),
};

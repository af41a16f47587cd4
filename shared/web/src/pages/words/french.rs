//! The words of pages in French. Not yet reviewed by a native reader.

use super::table::{Text, Words};

pub(super) static FRENCH: Words = Words {
    back: "Revenir à l’application",
    back_to: "Revenir à {app}",
    start_from_app: "Vous pouvez toujours commencer depuis l’application.",
    done_at: "Terminé le {time}.",
    time: "%d/%m/%Y à %H:%M UTC",
    start_again: "Recommencer",
    start_again_here: "Recommencer ici",
    try_again: "Réessayer",
    home: "Accueil",
    support: "Assistance",
    privacy: "Confidentialité",
    request: "ID de la requête",
    connected: text!(
        "Votre compte Threads est connecté",
        "Tout s’est bien passé. L’application peut maintenant utiliser votre compte comme vous \
         l’avez accepté.",
        "Vous pouvez fermer cette fenêtre."
    ),
    finishing: text!(
        "C’est presque fini",
        "Threads a accepté. Une dernière étape est en cours et se termine toute seule, en général \
         en moins d’une heure.",
        "Vous n’avez plus rien à faire. Vous pouvez fermer cette fenêtre."
    ),
    denied: text!(
        "Votre compte n’a pas été connecté",
        "Threads n’a pas donné d’autorisation à l’application, peut-être parce que vous l’avez \
         voulu ainsi. Nous n’avons rien enregistré.",
        "Si c’est ce que vous vouliez, vous pouvez fermer cette fenêtre. Si vous changez d’avis, \
         vous pouvez recommencer à tout moment."
    ),
    threads_failed: text!(
        "Threads n’a pas pu continuer",
        "Threads a interrompu la connexion à cause d’une erreur de sa part ou des réglages de \
         l’application. Vous n’y êtes pour rien, et rien n’a été connecté.",
        "Recommencez. Si cela se reproduit, prévenez l’éditeur de l’application."
    ),
    ended: text!(
        "La connexion a été arrêtée entre-temps",
        "Pendant que vous étiez sur Threads, l’accès de l’application à votre compte a été retiré, \
         dans l’application ou dans vos réglages Threads. Nous n’avons rien enregistré.",
        "Si c’est ce que vous vouliez, vous pouvez fermer cette fenêtre. Sinon, recommencez."
    ),
    expired: text!(
        "Cela a pris un peu trop de temps",
        "Pour votre sécurité, une connexion doit être terminée en dix minutes. Rien n’a été \
         connecté.",
        "Recommencez quand vous voulez. Cela ne prend qu’un instant."
    ),
    replayed: text!(
        "Cette étape est déjà faite",
        "La page d’où vous venez ne fonctionne qu’une fois et a déjà été utilisée. Votre compte est \
         peut-être déjà connecté.",
        "Regardez d’abord dans l’application. Si votre compte n’y est pas, recommencez."
    ),
    wrong_browser: text!(
        "Terminez dans le navigateur où vous avez commencé",
        "Threads s’est peut-être ouvert dans une autre application ou sur un autre appareil, les \
         cookies sont peut-être bloqués, ou trop d’onglets étaient ouverts. Rien n’a été connecté.",
        "Recommencez et restez dans ce navigateur jusqu’à la fin. Si vous êtes dans une autre \
         application, passez d’abord à votre navigateur habituel. Sur Android, l’application \
         Threads a peut-être ouvert le lien : appuyez longuement dessus et choisissez de l’ouvrir \
         dans le navigateur."
    ),
    wrong_account: text!(
        "C’est un autre compte Threads",
        "L’application attendait un autre compte que celui que vous venez d’utiliser. Rien n’a été \
         modifié.",
        "Passez au bon compte dans Threads, puis recommencez."
    ),
    bad_link: text!(
        "Ce lien est incomplet",
        "Une partie manque ou a été modifiée en route, nous ne l’avons donc pas suivi. Rien n’a été \
         connecté.",
        "Recommencez et laissez chaque page ouvrir la suivante d’elle-même."
    ),
    code_refused: text!(
        "Threads doit vous demander encore une fois",
        "Vous avez accepté, mais Threads n’admet plus cet accord : il a déjà été utilisé ou date de \
         plus d’une heure.",
        "Recommencez et autorisez de nouveau l’application."
    ),
    return_to_refused: text!(
        "Nous ne pouvons pas vous ramener à l’application",
        "L’application nous a demandé de vous renvoyer vers une adresse absente de sa liste \
         d’adresses sûres. Nous nous sommes arrêtés avant de connecter quoi que ce soit.",
        "Prévenez l’éditeur de l’application. Il peut corriger cela."
    ),
    session_required: text!(
        "Commencez depuis l’application",
        "Pour votre sécurité, la connexion d’un compte Threads doit commencer dans l’application.",
        "Ouvrez l’application et choisissez-y de connecter Threads."
    ),
    session_unknown: text!(
        "Nous ne connaissons pas ce lien",
        "Il a peut-être été raccourci en route ou appartient à une autre application.",
        "Revenez à l’application et choisissez de nouveau de connecter Threads."
    ),
    session_closed: text!(
        "Ce lien a déjà été utilisé",
        "Chaque lien de l’application connecte un seul compte, en quelques essais au plus. Le vôtre \
         est peut-être déjà connecté.",
        "Regardez dans l’application. Si votre compte n’y est pas, choisissez de nouveau de \
         connecter Threads."
    ),
    session_expired: text!(
        "Ce lien a expiré",
        "Un lien de l’application n’est valable que peu de temps. Rien n’a été connecté.",
        "Revenez à l’application pour en obtenir un nouveau. Cela ne prend qu’un instant."
    ),
    threads_unavailable: text!(
        "Threads ne répond pas pour le moment",
        "Le service semble très sollicité. Vous n’avez rien fait de mal, et rien n’est perdu.",
        "Attendez environ une demi-minute, puis réessayez."
    ),
    unavailable: text!(
        "Il nous faut quelques secondes",
        "Quelque chose ne répond pas de notre côté. Vous n’y êtes pour rien, et cela dure rarement.",
        "Attendez quelques secondes, puis réessayez."
    ),
    misconfigured: text!(
        "L’application n’est pas bien configurée",
        "Threads nous a refusés à cause des réglages de l’application elle-même. Vous n’y êtes pour \
         rien et ne pouvez pas le corriger.",
        "Prévenez l’éditeur de l’application. Il peut corriger cela."
    ),
    deleted: text!(
        "Vos données ont été supprimées",
        "Tout ce que nous avions enregistré sur votre compte Threads au moment de votre demande est \
         supprimé : l’accès au compte, son nom et son ID, et les autorisations que vous aviez \
         données. Nos journaux ne vous nomment pas. Les copies disparaissent d’elles-mêmes : les \
         messages à l’application qui n’ont pas pu être remis après deux semaines, les sauvegardes \
         après 35 jours, ou plus tard si l’éditeur de l’application en a décidé ainsi.",
        "Vous n’avez plus rien à faire. Ce que l’application conserve elle-même relève de son \
         éditeur."
    ),
    deletion_unfinished: text!(
        "Vos données sont en cours de suppression",
        "Nous avons reçu votre demande, et une partie de vos données reste à supprimer. Cela se \
         fait tout seul, en général en quelques minutes.",
        "Vous n’avez plus rien à faire. Rouvrez cette page plus tard pour voir si c’est terminé."
    ),
    deletion_kept: text!(
        "Vous vous êtes reconnecté depuis",
        "Quand vous nous avez demandé de supprimer vos données, vous aviez déjà connecté de nouveau \
         votre compte Threads à l’application. La nouvelle connexion a remplacé l’ancienne et a \
         été conservée.",
        "Pour la supprimer aussi, retirez l’application dans vos réglages Threads et refaites la \
         demande."
    ),
    deletion_unknown: text!(
        "Nous ne connaissons pas ce code",
        "Aucune suppression ne porte ce code. Il en manque peut-être une partie.",
        "Ouvrez de nouveau le lien, exactement comme Threads vous l’affiche."
    ),
    prefetch: text!(
        "Pas encore",
        "Votre navigateur a chargé cette page avant que vous ne l’ouvriez, rien n’a donc encore été \
         fait.",
        "Ouvrez la page encore une fois pour continuer."
    ),
    detour: text!(
        "Ce n’est pas l’adresse publique",
        "Cette adresse ne montre de pages à personne. Rien n’a été fait.",
        "Pour connecter un compte Threads, ouvrez l’application et commencez là."
    ),
    not_found: text!(
        "Cette page n’existe pas",
        "Il n’y a pas de page à cette adresse. Elle est peut-être mal écrite.",
        "Pour connecter un compte Threads, commencez depuis l’application."
    ),
};

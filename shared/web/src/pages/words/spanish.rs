//! The words of pages in Spanish. Not yet reviewed by a native reader.

use super::table::{Text, Words};

pub(super) static SPANISH: Words = Words {
    back: "Volver a la aplicación",
    back_to: "Volver a {app}",
    start_from_app: "Siempre puedes empezar desde la aplicación.",
    done_at: "Terminado el {time}.",
    time: "%d/%m/%Y, %H:%M UTC",
    start_again: "Empezar de nuevo",
    start_again_here: "Empezar de nuevo aquí",
    try_again: "Intentar de nuevo",
    home: "Inicio",
    support: "Ayuda",
    privacy: "Privacidad",
    request: "ID de la solicitud",
    connected: text!(
        "Tu cuenta de Threads está conectada",
        "Todo ha salido bien. La aplicación ya puede usar tu cuenta de las formas que has aceptado.",
        "Puedes cerrar esta ventana."
    ),
    finishing: text!(
        "Ya casi está",
        "Threads ha dado el sí. Falta un último paso, que termina solo, normalmente en menos de una \
         hora.",
        "No tienes que hacer nada más. Puedes cerrar esta ventana."
    ),
    denied: text!(
        "Tu cuenta no se ha conectado",
        "Threads no ha dado permiso a la aplicación, quizá porque has preferido no hacerlo. No \
         hemos guardado nada.",
        "Si eso es lo que querías, puedes cerrar esta ventana. Si cambias de idea, puedes empezar \
         de nuevo cuando quieras."
    ),
    threads_failed: text!(
        "Threads no ha podido continuar",
        "Threads ha interrumpido el inicio de sesión por un error propio o por la configuración de \
         la aplicación. No es culpa tuya y no se ha conectado nada.",
        "Empieza de nuevo. Si vuelve a ocurrir, avisa a quienes hacen la aplicación."
    ),
    ended: text!(
        "La conexión se ha cancelado mientras tanto",
        "Mientras estabas en Threads, se canceló el acceso de la aplicación a tu cuenta, en la \
         aplicación o en tus ajustes de Threads. No hemos guardado nada.",
        "Si eso es lo que querías, puedes cerrar esta ventana. Si no, empieza de nuevo."
    ),
    expired: text!(
        "Ha tardado un poco de más",
        "Por tu seguridad, la conexión debe terminarse en diez minutos. No se ha conectado nada.",
        "Empieza de nuevo cuando quieras. Solo lleva un momento."
    ),
    replayed: text!(
        "Este paso ya está hecho",
        "La página de la que vienes solo funciona una vez y ya se había usado. Es muy posible que \
         tu cuenta ya esté conectada.",
        "Mira primero en la aplicación. Si tu cuenta no está ahí, empieza de nuevo."
    ),
    wrong_browser: text!(
        "Termina en el navegador en el que empezaste",
        "Puede que Threads se haya abierto en otra aplicación o dispositivo, que las cookies estén \
         bloqueadas o que hubiera demasiadas pestañas abiertas. No se ha conectado nada.",
        "Empieza de nuevo y quédate en este navegador hasta el final. Si estás dentro de otra \
         aplicación, cambia antes a tu navegador habitual. En Android, la aplicación de Threads \
         puede haber abierto el enlace: mantenlo pulsado y elige abrirlo en el navegador."
    ),
    wrong_account: text!(
        "Esta es otra cuenta de Threads",
        "La aplicación esperaba una cuenta distinta de la que acabas de usar. No se ha cambiado \
         nada.",
        "Cambia a la cuenta correcta en Threads y empieza de nuevo."
    ),
    bad_link: text!(
        "Este enlace está incompleto",
        "Le falta una parte o se ha alterado por el camino, así que no lo hemos seguido. No se ha \
         conectado nada.",
        "Empieza de nuevo y deja que cada página abra la siguiente por sí sola."
    ),
    code_refused: text!(
        "Threads quiere preguntarte otra vez",
        "Dijiste que sí, pero Threads ya no lo acepta: se había usado antes o tiene más de una \
         hora.",
        "Empieza de nuevo y vuelve a autorizar la aplicación."
    ),
    return_to_refused: text!(
        "No podemos llevarte de vuelta a la aplicación",
        "La aplicación nos pidió llevarte a una dirección que no está en su lista de direcciones \
         seguras, así que nos detuvimos antes de conectar nada.",
        "Avisa a quienes hacen la aplicación. Ellos pueden arreglarlo."
    ),
    session_required: text!(
        "Empieza desde la aplicación",
        "Por tu seguridad, la conexión de una cuenta de Threads tiene que empezar dentro de la \
         aplicación.",
        "Abre la aplicación y elige allí conectar Threads."
    ),
    session_unknown: text!(
        "No conocemos este enlace",
        "Puede que se haya cortado por el camino o que sea de otra aplicación.",
        "Vuelve a la aplicación y elige otra vez conectar Threads."
    ),
    session_closed: text!(
        "Este enlace ya se ha usado",
        "Cada enlace de la aplicación conecta una sola cuenta, con unos pocos intentos. Es muy \
         posible que la tuya ya esté conectada.",
        "Mira en la aplicación. Si tu cuenta no está ahí, elige otra vez conectar Threads."
    ),
    session_expired: text!(
        "Este enlace ha caducado",
        "Un enlace de la aplicación solo vale durante poco tiempo. No se ha conectado nada.",
        "Vuelve a la aplicación para obtener uno nuevo. Solo lleva un momento."
    ),
    threads_unavailable: text!(
        "Threads no responde en este momento",
        "Parece que está muy ocupado. No has hecho nada mal y no se ha perdido nada.",
        "Espera medio minuto y vuelve a intentarlo."
    ),
    unavailable: text!(
        "Necesitamos unos segundos",
        "Algo de nuestra parte no responde. No es culpa tuya y rara vez dura mucho.",
        "Espera unos segundos y vuelve a intentarlo."
    ),
    misconfigured: text!(
        "La aplicación no está bien configurada",
        "Threads nos ha rechazado por la configuración de la propia aplicación. No es culpa tuya ni \
         puedes arreglarlo.",
        "Avisa a quienes hacen la aplicación. Ellos pueden arreglarlo."
    ),
    deleted: text!(
        "Tus datos se han eliminado",
        "Todo lo que guardábamos sobre tu cuenta de Threads cuando lo pediste se ha eliminado: el \
         acceso a ella, su nombre y su ID, y los permisos que diste. Nuestros registros no te \
         nombran. Las copias desaparecen solas: los mensajes a la aplicación que no se pudieron \
         entregar, a las dos semanas; las copias de seguridad, a los 35 días, o más tarde si \
         quienes hacen la aplicación lo han elegido así.",
        "No tienes que hacer nada más. Lo que guarda la propia aplicación depende de quienes la \
         hacen."
    ),
    deletion_unfinished: text!(
        "Tus datos se están eliminando",
        "Hemos recibido tu solicitud y una parte de tus datos aún está por eliminar. Ocurre por sí \
         solo, normalmente en unos minutos.",
        "No tienes que hacer nada más. Vuelve a abrir esta página más tarde para ver si ha \
         terminado."
    ),
    deletion_kept: text!(
        "Te has vuelto a conectar desde entonces",
        "Cuando nos pediste eliminar tus datos, ya habías conectado de nuevo tu cuenta de Threads a \
         la aplicación. La conexión nueva sustituyó a la anterior y se ha conservado.",
        "Para eliminarla también, quita la aplicación en tus ajustes de Threads y pídelo otra vez."
    ),
    deletion_unknown: text!(
        "No conocemos este código",
        "Ninguna eliminación tiene este código. Quizá le falte una parte.",
        "Abre otra vez el enlace, exactamente como te lo muestra Threads."
    ),
    prefetch: text!(
        "Todavía no",
        "Tu navegador ha cargado esta página antes de que la abrieras, así que aún no se ha hecho \
         nada.",
        "Abre la página otra vez para continuar."
    ),
    detour: text!(
        "Esta no es la dirección pública",
        "Esta dirección no muestra páginas a nadie. No se ha hecho nada.",
        "Para conectar una cuenta de Threads, abre la aplicación y empieza desde allí."
    ),
    not_found: text!(
        "Esta página no existe",
        "No hay ninguna página en esta dirección. Puede que esté mal escrita.",
        "Para conectar una cuenta de Threads, empieza desde la aplicación."
    ),
};

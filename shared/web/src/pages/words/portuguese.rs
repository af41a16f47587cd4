//! The words of pages in Portuguese as in Brazil. Not yet reviewed by a native reader.

use super::table::{Text, Words};

pub(super) static PORTUGUESE: Words = Words {
    back: "Voltar para o app",
    back_to: "Voltar para {app}",
    start_from_app: "Você sempre pode começar pelo app.",
    done_at: "Concluído em {time}.",
    time: "%d/%m/%Y às %H:%M UTC",
    start_again: "Começar de novo",
    start_again_here: "Começar de novo aqui",
    try_again: "Tentar de novo",
    home: "Início",
    support: "Suporte",
    privacy: "Privacidade",
    request: "ID da solicitação",
    connected: text!(
        "Sua conta do Threads está conectada",
        "Tudo deu certo. Agora o app pode usar sua conta das formas que você autorizou.",
        "Você pode fechar esta janela."
    ),
    finishing: text!(
        "Quase lá",
        "O Threads autorizou. Falta uma última etapa, que termina sozinha, geralmente em até uma \
         hora.",
        "Você não precisa fazer mais nada. Pode fechar esta janela."
    ),
    denied: text!(
        "Sua conta não foi conectada",
        "O Threads não deu permissão ao app, talvez porque você preferiu não dar. Não guardamos \
         nada.",
        "Se era isso que você queria, pode fechar esta janela. Se mudar de ideia, pode começar de \
         novo quando quiser."
    ),
    threads_failed: text!(
        "O Threads não conseguiu continuar",
        "O Threads encerrou o login por um erro próprio ou por causa das configurações do app. A \
         culpa não é sua, e nada foi conectado.",
        "Comece de novo. Se acontecer outra vez, avise quem faz o app."
    ),
    ended: text!(
        "A conexão foi encerrada nesse meio-tempo",
        "Enquanto você estava no Threads, o acesso do app à sua conta foi encerrado, no app ou nas \
         suas configurações do Threads. Não guardamos nada.",
        "Se era isso que você queria, pode fechar esta janela. Se não, comece de novo."
    ),
    expired: text!(
        "Demorou um pouco demais",
        "Para sua segurança, a conexão precisa ser concluída em dez minutos. Nada foi conectado.",
        "Comece de novo quando quiser. É rapidinho."
    ),
    replayed: text!(
        "Esta etapa já foi concluída",
        "A página de onde você veio só funciona uma vez e já foi usada. É bem possível que sua \
         conta já esteja conectada.",
        "Primeiro, confira no app. Se sua conta não estiver lá, comece de novo."
    ),
    wrong_browser: text!(
        "Termine no navegador em que você começou",
        "Talvez o Threads tenha aberto em outro app ou aparelho, os cookies estejam bloqueados ou \
         houvesse abas demais abertas. Nada foi conectado.",
        "Comece de novo e fique neste navegador até o fim. Se estiver dentro de outro app, mude \
         antes para o seu navegador de sempre. No Android, o app do Threads pode ter aberto o \
         link: toque nele, segure e escolha abrir no navegador."
    ),
    wrong_account: text!(
        "Esta é outra conta do Threads",
        "O app esperava uma conta diferente da que você acabou de usar. Nada foi alterado.",
        "Mude para a conta certa no Threads e comece de novo."
    ),
    bad_link: text!(
        "Este link está incompleto",
        "Uma parte dele falta ou foi alterada no caminho, por isso não o seguimos. Nada foi \
         conectado.",
        "Comece de novo e deixe cada página abrir a seguinte sozinha."
    ),
    code_refused: text!(
        "O Threads precisa perguntar de novo",
        "Você autorizou, mas o Threads não aceita mais a autorização: ela já foi usada ou tem mais \
         de uma hora.",
        "Comece de novo e autorize o app outra vez."
    ),
    return_to_refused: text!(
        "Não podemos levar você de volta ao app",
        "O app pediu que levássemos você a um endereço que não está na lista de endereços seguros, \
         por isso paramos antes de conectar.",
        "Avise quem faz o app. Eles podem resolver isso."
    ),
    session_required: text!(
        "Comece pelo app",
        "Para sua segurança, a conexão de uma conta do Threads precisa começar dentro do app.",
        "Abra o app e escolha conectar o Threads por lá."
    ),
    session_unknown: text!(
        "Não conhecemos este link",
        "Ele pode ter sido cortado no caminho ou ser de outro app.",
        "Volte ao app e escolha conectar o Threads outra vez."
    ),
    session_closed: text!(
        "Este link já foi usado",
        "Cada link do app conecta uma conta, com poucas tentativas. É bem possível que a sua já \
         esteja conectada.",
        "Confira no app. Se sua conta não estiver lá, escolha conectar o Threads outra vez."
    ),
    session_expired: text!(
        "Este link expirou",
        "Um link do app vale só por pouco tempo. Nada foi conectado.",
        "Volte ao app para obter um novo. É rapidinho."
    ),
    threads_unavailable: text!(
        "O Threads não está respondendo agora",
        "Parece estar muito ocupado. Você não fez nada de errado, e nada se perdeu.",
        "Espere cerca de meio minuto e tente de novo."
    ),
    unavailable: text!(
        "Precisamos de alguns segundos",
        "Algo do nosso lado não está respondendo. A culpa não é sua, e isso raramente demora.",
        "Espere alguns segundos e tente de novo."
    ),
    misconfigured: text!(
        "O app não está configurado corretamente",
        "O Threads nos recusou por causa das configurações do próprio app. A culpa não é sua, e não \
         há nada que você possa corrigir.",
        "Avise quem faz o app. Eles podem resolver isso."
    ),
    deleted: text!(
        "Seus dados foram excluídos",
        "Tudo o que guardávamos sobre sua conta do Threads quando você pediu foi excluído: o acesso \
         a ela, o nome e o ID, e as permissões que você deu. Nossos registros não identificam você. \
         As cópias acabam sozinhas: mensagens ao app que não puderam ser entregues, após duas \
         semanas; backups, após 35 dias, ou mais tarde, se os criadores do app assim escolheram.",
        "Você não precisa fazer mais nada. O que o próprio app guarda depende de quem o faz."
    ),
    deletion_unfinished: text!(
        "Seus dados estão sendo excluídos",
        "Recebemos seu pedido, e uma parte dos seus dados ainda será excluída. Isso acontece \
         sozinho, geralmente em alguns minutos.",
        "Você não precisa fazer mais nada. Abra esta página de novo mais tarde para ver se \
         terminou."
    ),
    deletion_kept: text!(
        "Você se conectou de novo depois disso",
        "Quando você pediu que excluíssemos seus dados, já tinha conectado de novo sua conta do \
         Threads ao app. A nova conexão substituiu a antiga e foi mantida.",
        "Para excluir essa também, remova o app nas suas configurações do Threads e peça outra vez."
    ),
    deletion_unknown: text!(
        "Não conhecemos este código",
        "Nenhuma exclusão tem este código. Talvez falte uma parte dele.",
        "Abra o link de novo, exatamente como o Threads mostra."
    ),
    prefetch: text!(
        "Ainda não",
        "Seu navegador carregou esta página antes de você abri-la, por isso nada foi feito ainda.",
        "Abra a página de novo para continuar."
    ),
    detour: text!(
        "Este não é o endereço público",
        "Este endereço não mostra páginas a ninguém. Nada foi feito.",
        "Para conectar uma conta do Threads, abra o app e comece por lá."
    ),
    not_found: text!(
        "Esta página não existe",
        "Não há página neste endereço. Talvez ele tenha sido digitado errado.",
        "Para conectar uma conta do Threads, comece pelo app."
    ),
};

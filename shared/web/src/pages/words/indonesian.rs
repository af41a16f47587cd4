//! The words of pages in Indonesian. Not yet reviewed by a native reader.

use super::table::{Text, Words};

pub(super) static INDONESIAN: Words = Words {
    back: "Kembali ke aplikasi",
    back_to: "Kembali ke {app}",
    start_from_app: "Anda selalu dapat memulai dari aplikasi.",
    done_at: "Selesai pada {time}.",
    time: "%d/%m/%Y pukul %H.%M UTC",
    start_again: "Mulai lagi",
    start_again_here: "Mulai lagi di sini",
    try_again: "Coba lagi",
    home: "Beranda",
    support: "Bantuan",
    privacy: "Privasi",
    request: "ID permintaan",
    connected: text!(
        "Akun Threads Anda terhubung",
        "Semua berjalan lancar. Aplikasi kini dapat menggunakan akun Anda sesuai izin yang Anda \
         berikan.",
        "Anda boleh menutup jendela ini."
    ),
    finishing: text!(
        "Hampir selesai",
        "Threads sudah menyetujui. Satu langkah terakhir masih berjalan dan akan selesai sendiri, \
         biasanya dalam satu jam.",
        "Tidak ada lagi yang perlu Anda lakukan. Anda boleh menutup jendela ini."
    ),
    denied: text!(
        "Akun Anda tidak terhubung",
        "Threads tidak memberi izin kepada aplikasi, mungkin karena itu pilihan Anda. Kami tidak \
         menyimpan apa pun.",
        "Jika itu yang Anda inginkan, Anda boleh menutup jendela ini. Jika berubah pikiran, Anda \
         dapat memulai lagi kapan saja."
    ),
    threads_failed: text!(
        "Threads tidak dapat melanjutkan",
        "Threads mengakhiri proses masuk karena kesalahannya sendiri atau pengaturan aplikasi di \
         sana. Ini bukan salah Anda, dan tidak ada yang terhubung.",
        "Mulailah lagi. Jika terjadi lagi, beri tahu pembuat aplikasi."
    ),
    ended: text!(
        "Sambungan sudah diakhiri",
        "Saat Anda berada di Threads, akses aplikasi ke akun Anda diakhiri, di aplikasi atau di \
         pengaturan Threads Anda. Kami tidak menyimpan apa pun.",
        "Jika itu yang Anda inginkan, Anda boleh menutup jendela ini. Jika tidak, mulailah lagi."
    ),
    expired: text!(
        "Waktunya terlalu lama",
        "Demi keamanan Anda, penghubungan harus selesai dalam sepuluh menit. Tidak ada yang \
         terhubung.",
        "Mulailah lagi saat Anda siap. Hanya perlu sebentar."
    ),
    replayed: text!(
        "Langkah ini sudah selesai",
        "Halaman sebelumnya hanya berfungsi sekali dan sudah pernah digunakan. Akun Anda mungkin \
         sudah terhubung.",
        "Periksa dulu di aplikasi. Jika akun Anda tidak ada di sana, mulailah lagi."
    ),
    wrong_browser: text!(
        "Selesaikan di browser tempat Anda memulai",
        "Mungkin Threads terbuka di aplikasi atau perangkat lain, cookie diblokir, atau terlalu \
         banyak tab terbuka. Tidak ada yang terhubung.",
        "Mulailah lagi dan tetap di browser ini sampai selesai. Jika Anda berada di dalam aplikasi \
         lain, pindahlah dulu ke browser biasa. Di Android, aplikasi Threads mungkin membuka \
         tautannya: tekan lama tautan itu lalu pilih buka di browser."
    ),
    wrong_account: text!(
        "Ini akun Threads yang lain",
        "Aplikasi mengharapkan akun yang berbeda dari yang baru saja Anda gunakan. Tidak ada yang \
         berubah.",
        "Beralihlah ke akun yang benar di Threads, lalu mulai lagi."
    ),
    bad_link: text!(
        "Tautan ini tidak lengkap",
        "Sebagian tautan hilang atau berubah di perjalanan, jadi kami tidak membukanya. Tidak ada \
         yang terhubung.",
        "Mulailah lagi, dan biarkan setiap halaman membuka halaman berikutnya sendiri."
    ),
    code_refused: text!(
        "Threads perlu bertanya sekali lagi",
        "Anda sudah menyetujui, tetapi Threads tidak menerimanya lagi: persetujuan itu sudah pernah \
         digunakan atau lebih dari satu jam.",
        "Mulailah lagi dan setujui aplikasi sekali lagi."
    ),
    return_to_refused: text!(
        "Kami tidak dapat mengembalikan Anda ke aplikasi",
        "Aplikasi meminta kami mengembalikan Anda ke alamat yang tidak ada dalam daftar alamat \
         aman, jadi kami berhenti sebelum ada yang terhubung.",
        "Beri tahu pembuat aplikasi. Mereka dapat memperbaikinya."
    ),
    session_required: text!(
        "Mulailah dari aplikasi",
        "Demi keamanan Anda, penghubungan akun Threads harus dimulai dari dalam aplikasi.",
        "Buka aplikasi dan pilih untuk menghubungkan Threads di sana."
    ),
    session_unknown: text!(
        "Kami tidak mengenal tautan ini",
        "Tautan ini mungkin terpotong di perjalanan atau milik aplikasi lain.",
        "Kembali ke aplikasi dan pilih lagi untuk menghubungkan Threads."
    ),
    session_closed: text!(
        "Tautan ini sudah digunakan",
        "Setiap tautan dari aplikasi menghubungkan satu akun, dengan beberapa kali percobaan saja. \
         Akun Anda mungkin sudah terhubung.",
        "Periksa di aplikasi. Jika akun Anda tidak ada, pilih lagi untuk menghubungkan Threads."
    ),
    session_expired: text!(
        "Tautan ini sudah kedaluwarsa",
        "Tautan dari aplikasi hanya berlaku sebentar. Tidak ada yang terhubung.",
        "Kembali ke aplikasi untuk mendapatkan yang baru. Hanya perlu sebentar."
    ),
    threads_unavailable: text!(
        "Threads sedang tidak merespons",
        "Tampaknya sedang sangat sibuk. Anda tidak melakukan kesalahan, dan tidak ada yang hilang.",
        "Tunggu sekitar setengah menit, lalu coba lagi."
    ),
    unavailable: text!(
        "Kami perlu beberapa detik",
        "Ada bagian di pihak kami yang tidak merespons. Ini bukan salah Anda, dan jarang \
         berlangsung lama.",
        "Tunggu beberapa detik, lalu coba lagi."
    ),
    misconfigured: text!(
        "Aplikasi tidak disiapkan dengan benar",
        "Threads menolak kami karena pengaturan aplikasi itu sendiri. Ini bukan salah Anda, dan \
         Anda tidak dapat memperbaikinya.",
        "Beri tahu pembuat aplikasi. Mereka dapat memperbaikinya."
    ),
    deleted: text!(
        "Data Anda telah dihapus",
        "Semua yang kami simpan tentang akun Threads Anda saat Anda memintanya telah dihapus: akses \
         ke akun, nama dan ID-nya, serta izin yang Anda berikan. Log kami tidak menyebut Anda. \
         Salinan berakhir dengan sendirinya: pesan ke aplikasi yang tidak dapat dikirim setelah dua \
         minggu, cadangan setelah 35 hari, atau lebih lama jika pembuat aplikasi memilihnya.",
        "Tidak ada lagi yang perlu Anda lakukan. Data yang disimpan aplikasi sendiri menjadi urusan \
         pembuatnya."
    ),
    deletion_unfinished: text!(
        "Data Anda sedang dihapus",
        "Kami telah menerima permintaan Anda, dan sebagian data Anda masih akan dihapus. Ini \
         berjalan sendiri, biasanya dalam beberapa menit.",
        "Tidak ada lagi yang perlu Anda lakukan. Buka lagi halaman ini nanti untuk melihat apakah \
         sudah selesai."
    ),
    deletion_kept: text!(
        "Anda telah terhubung lagi sejak itu",
        "Saat Anda meminta kami menghapus data, Anda sudah menghubungkan kembali akun Threads ke \
         aplikasi. Sambungan baru menggantikan yang lama dan tetap disimpan.",
        "Untuk menghapusnya juga, hapus aplikasi di pengaturan Threads Anda, lalu ajukan permintaan \
         sekali lagi."
    ),
    deletion_unknown: text!(
        "Kami tidak mengenal kode ini",
        "Tidak ada penghapusan dengan kode ini. Mungkin sebagian kodenya hilang.",
        "Buka lagi tautannya, persis seperti yang ditampilkan Threads."
    ),
    prefetch: text!(
        "Belum dimulai",
        "Browser memuat halaman ini sebelum Anda membukanya, jadi belum ada yang dilakukan.",
        "Buka halaman ini sekali lagi untuk melanjutkan."
    ),
    detour: text!(
        "Ini bukan alamat publik",
        "Alamat ini tidak menampilkan halaman kepada siapa pun. Tidak ada yang dilakukan.",
        "Untuk menghubungkan akun Threads, buka aplikasi dan mulai dari sana."
    ),
    not_found: text!(
        "Halaman ini tidak ada",
        "Tidak ada halaman di alamat ini. Mungkin salah ketik.",
        "Untuk menghubungkan akun Threads, mulailah dari aplikasi."
    ),
};

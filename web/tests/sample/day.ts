/* A day at the service office of an invented town, as its bot, its visitors and its staff might have it. */

export const office = {
  bots: { main: "layanan", second: "guide" },
  staff: [
    { email: "sari.wulandari@arunika.example", role: "agent" },
    { email: "bagus.pratama@arunika.example", role: "agent" },
  ],
};

/** What a visitor of the demonstration page asks. */
export const chat = {
  question: "KTP saya hilang. Apa yang harus saya bawa?",
  answer:
    "Untuk mencetak ulang **KTP-el** yang hilang, bawalah:\n\n1. surat keterangan hilang dari kepolisian\n2. fotokopi kartu keluarga\n\nDatanglah ke loket **3**, Senin sampai Jumat pukul 08.00–15.00. Layanan ini *gratis*.",
};

export interface Talk {
  room: string;
  channel: "website" | "telegram" | "whatsapp";
  user: string | null;
  /** Minutes before the picture. */
  ago: number;
  /** Who has it afterwards. */
  holder?: "queue" | "me" | "staff";
  /** `client: …` and so on, in order. */
  lines: [role: "client" | "bot" | "agent" | "note", text: string][];
}

export const talks: Talk[] = [
  {
    room: "Dewi Lestari · KTP hilang",
    channel: "whatsapp",
    user: "dewi.lestari",
    ago: 1,
    holder: "me",
    lines: [
      ["client", "Selamat pagi, KTP saya hilang di pasar kemarin. Bagaimana cara mengurus yang baru?"],
      [
        "bot",
        "Selamat pagi! Untuk mencetak ulang **KTP-el** yang hilang, siapkan:\n\n1. Surat keterangan hilang dari kepolisian\n2. Fotokopi Kartu Keluarga\n3. Datang ke loket **3** untuk perekaman ulang\n\n> Layanan buka Senin–Jumat, pukul 08.00–15.00. Tidak dipungut biaya.",
      ],
      ["client", "Kalau saya tidak bisa datang sendiri karena baru operasi, boleh diwakilkan?"],
      ["bot", "Maaf, saya tidak yakin tentang itu. Saya hubungkan Anda dengan petugas kami."],
      ["note", "Bu Dewi termasuk layanan jemput bola. Jadwal mobil keliling Kecamatan Timur: Kamis."],
      [
        "agent",
        "Selamat pagi Bu Dewi, saya Ratna dari Dinas Kependudukan. Ibu tidak perlu datang: petugas kami bisa ke rumah hari **Kamis pukul 10.00**. Apakah waktunya cocok?",
      ],
      ["client", "Alhamdulillah, cocok sekali Bu. Alamat saya di Jalan Kenanga 12."],
    ],
  },
  {
    room: "Rahmat · jadwal truk sampah",
    channel: "telegram",
    user: "rahmat_h",
    ago: 3,
    holder: "queue",
    lines: [
      ["client", "Truk sampah di Gang Melati sudah tiga hari tidak lewat"],
      ["bot", "Mohon maaf atas keterlambatannya. Ingin saya hubungkan dengan petugas kebersihan?"],
      ["client", "Ya, tolong. Sudah mulai bau."],
    ],
  },
  {
    room: "website-1046",
    channel: "website",
    user: null,
    ago: 6,
    holder: "queue",
    lines: [["client", "Saya mau bicara dengan petugas tentang surat pindah dari luar kota"]],
  },
  {
    room: "Ni Luh Ayu · akta kelahiran",
    channel: "whatsapp",
    user: "niluhayu",
    ago: 11,
    holder: "staff",
    lines: [
      ["client", "Apakah akta kelahiran bisa diurus secara daring?"],
      [
        "bot",
        "Bisa. Isi formulir di [layanan daring](https://arunika.example/akta) lalu unggah surat kelahiran.",
      ],
      ["client", "Sudah, tapi statusnya masih menunggu"],
      ["agent", "Berkasnya sudah kami periksa, Bu. Akta terbit besok siang."],
    ],
  },
  {
    room: "website-1045",
    channel: "website",
    user: null,
    ago: 14,
    lines: [
      ["client", "Jam berapa kantor buka hari Jumat?"],
      ["bot", "Hari Jumat kantor buka pukul **08.00–11.30** dan **13.00–15.00**."],
    ],
  },
  {
    room: "Yohanes · izin usaha mikro",
    channel: "telegram",
    user: "yohanes.k",
    ago: 22,
    lines: [
      ["client", "Syarat izin usaha untuk warung kopi apa saja?"],
      ["bot", "Untuk usaha mikro cukup KTP, NPWP bila ada, dan foto tempat usaha. Pendaftaran gratis."],
      ["client", "Terima kasih, jelas sekali"],
    ],
  },
  {
    room: "Siti Aminah · bantuan sosial",
    channel: "whatsapp",
    user: "siti.aminah",
    ago: 31,
    lines: [
      ["client", "Bagaimana cara mengecek apakah saya terdaftar penerima bantuan?"],
      ["bot", "Kirimkan nama lengkap dan kelurahan Anda, atau periksa di papan pengumuman kelurahan."],
    ],
  },
  {
    room: "website-1044",
    channel: "website",
    user: null,
    ago: 38,
    lines: [
      ["client", "What documents do I need to register my stay as a foreign student?"],
      [
        "bot",
        "Please bring your passport, your study permit and a letter from your university to counter **5**.",
      ],
    ],
  },
  {
    room: "Pak Hendra · lampu jalan mati",
    channel: "whatsapp",
    user: "hendra.s",
    ago: 52,
    holder: "staff",
    lines: [
      ["client", "Lampu jalan di depan SD Arunika 2 mati sejak Minggu"],
      ["bot", "Terima kasih atas laporannya. Saya teruskan kepada petugas penerangan jalan."],
      ["agent", "Tim kami ke lokasi sore ini, Pak."],
    ],
  },
  {
    room: "website-1043",
    channel: "website",
    user: null,
    ago: 67,
    lines: [
      ["client", "Biaya cetak ulang Kartu Keluarga?"],
      ["bot", "Semua layanan kependudukan **gratis**. Laporkan bila ada yang meminta bayaran."],
    ],
  },
  {
    room: "Maria · pajak bumi dan bangunan",
    channel: "telegram",
    user: "maria.t",
    ago: 84,
    lines: [
      ["client", "Batas bayar PBB tahun ini kapan?"],
      ["bot", "Batas pembayaran PBB adalah **30 September**. Bisa dibayar di bank, kantor pos, atau daring."],
    ],
  },
  {
    room: "Dewi Lestari · pindah alamat",
    channel: "whatsapp",
    user: "dewi.lestari",
    ago: 96,
    lines: [
      ["client", "Apakah saya perlu surat pengantar RT untuk pindah alamat dalam kota?"],
      ["bot", "Tidak perlu. Cukup isi formulir **F-1.03** di loket atau secara daring."],
    ],
  },
  {
    room: "website-1042",
    channel: "website",
    user: null,
    ago: 101,
    lines: [
      ["client", "Apakah ada layanan vaksin rabies gratis minggu ini?"],
      ["bot", "Ada, hari Sabtu pukul 09.00 di halaman kantor kecamatan."],
    ],
  },
];

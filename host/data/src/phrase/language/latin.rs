//! Languages in Latin script; see [`table`](super::table).

use super::table::{Language, language};

/// Languages. English is first, because it is the default when the evidence does not decide.
pub(super) const LATIN: [Language; 38] = [
    // The words of English are those of the shipped word list.
    language("en", "English", 0.9, "", "", "ee sh th gh ck wh oo igh"),
    language(
        "es",
        "Spanish",
        0.6,
        "áéíñóúü",
        "hola oye oiga buenos buenas días noches el la los las un una de del y que mi casa luz luces \
         ordenador computadora teléfono enciende apaga amigo gracias sí señor señora niño niña asistente",
        "ción ll ue que gui",
    ),
    language(
        "pt",
        "Portuguese",
        0.6,
        "àáâãçéêíóôõú",
        "olá ola oi ó ei ouve ouça bom boa dia noite tarde o a os as um uma de do da e que meu minha \
         casa luz computador telefone liga desliga amigo obrigado sim não assistente coração",
        "ção ções nh lh ão",
    ),
    language(
        "fr",
        "French",
        0.6,
        "àâæçèéêëîïôœùûüÿ",
        "bonjour salut bonsoir dis écoute allô allo le la les un une des du de et que ma mon maison \
         lumière lampe ordinateur téléphone allume éteins ami merci oui non moi toi café assistant",
        "eau oux eux qu' aux ois ille l' d' j'",
    ),
    language(
        "de",
        "German",
        0.6,
        "äöüß",
        "hallo guten tag morgen abend der die das ein eine und ist mein meine haus licht lampe \
         computer rechner telefon radio an aus freund danke ja nein bitte hör zu servus grüß gott moin küche \
         sprachassistent",
        "sch ung tz pf ei ck",
    ),
    language(
        "it",
        "Italian",
        0.5,
        "àèéìíòóù",
        "ciao ehi ehilà buongiorno buonasera senti ascolta il lo la gli le un una di del e che mia mio casa \
         luce luci lampada computer telefono accendi spegni amico grazie sì caffè pronto",
        "gli zz cch zione ggi ghi",
    ),
    language(
        "nl",
        "Dutch",
        0.4,
        "áèéëïóöü",
        "hallo hoi goedemorgen goedendag goedenavond de het een en is mijn huis licht lamp computer telefoon \
         radio aan uit vriend dank bedankt ja nee luister keuken",
        "ij aa uu oe sch ee",
    ),
    language(
        "pl",
        "Polish",
        0.4,
        "ąćęłńóśźż",
        "cześć hej dzień dobry słuchaj witaj i w na to jest mój moja dom domu światło komputer telefon włącz \
         wyłącz dziękuję tak nie robot",
        "cz sz rz dz ści",
    ),
    language(
        "tr",
        "Turkish",
        0.4,
        "âçğıîöşüû",
        "merhaba selam günaydın iyi akşamlar bir ve bu ev evim ışık bilgisayar telefon aç kapat dinle \
         teşekkürler evet hayır asistan",
        "lar ler yor",
    ),
    language(
        "sv",
        "Swedish",
        0.35,
        "åäöé",
        "hej hallå god morgon dag kväll en ett och är det min mitt hus lampa ljus dator telefon tänd släck vän \
         tack ja nej lyssna stjärna",
        "tj sj skj ck",
    ),
    language(
        "nb",
        "Norwegian",
        0.3,
        "åæøéò",
        "hei hallo god morgen dag kveld en et og er det min mitt hus lys lampe datamaskin telefon tenn slukk venn \
         takk ja nei lytt språk",
        "kj skj øy",
    ),
    language(
        "da",
        "Danish",
        0.3,
        "åæøé",
        "hej hallo god morgen dag aften en et og er det min mit hus lys lampe computer telefon tænd sluk ven tak \
         ja nej lyt skærm",
        "hv øj",
    ),
    language(
        "fi",
        "Finnish",
        0.3,
        "äöåšž",
        "hei moi terve huomenta päivää iltaa ja on se minun koti talo valo valot lamppu tietokone puhelin kuuntele \
         kiitos kyllä ei ystävä",
        "aa ää ii uu kk tt yö",
    ),
    language(
        "is",
        "Icelandic",
        0.15,
        "áéíóúýþæöð",
        "halló hæ góðan dag kvöld og er það hús ljós tölva sími takk já nei",
        "hv",
    ),
    language(
        "cs",
        "Czech",
        0.35,
        "áčďéěíňóřšťúůýž",
        "ahoj hej dobrý den večer ráno a je to můj moje dům domu světlo počítač počítači telefon zapni vypni \
         poslouchej děkuji díky ano ne robot",
        "ch",
    ),
    language(
        "sk",
        "Slovak",
        0.25,
        "áäčďéíĺľňóôŕšťúýž",
        "ahoj hej dobrý deň večer ráno a je to môj moja dom svetlo počítač telefón zapni vypni počúvaj ďakujem \
         áno nie robot",
        "ch",
    ),
    language(
        "hu",
        "Hungarian",
        0.35,
        "áéíóöőúüű",
        "szia helló hé jó napot reggelt estét a az egy és van ház otthon fény lámpa számítógép telefon kapcsold \
         figyelj köszönöm igen nem barát",
        "sz gy ny cs zs",
    ),
    language(
        "ro",
        "Romanian",
        0.35,
        "ăâîșțşţ",
        "bună salut hei ziua dimineața seara un o și este casa casă lumina lumină calculator telefon aprinde stinge \
         ascultă mulțumesc da nu prieten",
        "ului ilor",
    ),
    language(
        "hr",
        "Croatian",
        0.25,
        "čćđšž",
        "bok hej zdravo dobro dobar jutro dan večer i je to moj moja kuća svjetlo računalo računar telefon upali \
         ugasi slušaj hvala da ne",
        "lj nj ije",
    ),
    language(
        "sl",
        "Slovenian",
        0.2,
        "čšž",
        "živjo zdravo hej dobro dober jutro dan večer in je to moj moja hiša luč računalnik telefon prižgi ugasni \
         poslušaj hvala ja ne",
        "lj nj",
    ),
    language(
        "sq",
        "Albanian",
        0.15,
        "çë",
        "përshëndetje tungjatjeta mirëmëngjes hej një dhe është shtëpia drita kompjuter telefon faleminderit po jo",
        "sh xh ë",
    ),
    language(
        "lt",
        "Lithuanian",
        0.2,
        "ąčęėįšųūž",
        "labas sveiki sveikas labą rytą dieną ir yra mano namai šviesa kompiuteri kompiuteris telefonas klausyk \
         ačiū taip ne",
        "ius as",
    ),
    language(
        "lv",
        "Latvian",
        0.2,
        "āčēģīķļņšūž",
        "sveiki sveiks labdien labrīt čau un ir mans māja gaisma dators datoru telefons klausies paldies jā nē",
        "ie",
    ),
    language(
        "et",
        "Estonian",
        0.2,
        "äõöüšž",
        "tere hei tsau hommikust päevast ja on see minu kodu maja valgus arvuti telefon kuula aitäh jah ei",
        "aa õ uu",
    ),
    language(
        "ca",
        "Catalan",
        0.25,
        "àçèéíïòóúü·",
        "hola ei bon dia bona nit tarda el la els les un una i és que la meva casa llum ordinador telèfon encén \
         apaga escolta amic gràcies sí",
        "ny ll tx ix",
    ),
    language(
        "vi",
        "Vietnamese",
        0.35,
        "àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
        "xin chào chao ơi này nhà đèn máy tính điện thoại bật tắt bạn cảm ơn vâng không trợ lý một và là",
        "ng nh ngh",
    ),
    language(
        "id",
        "Indonesian",
        0.3,
        "",
        "halo hai hei selamat pagi siang malam apa kabar dan ini itu saya rumah lampu komputer telepon nyalakan \
         matikan dengar teman terima kasih ya tidak",
        "ng kan",
    ),
    language(
        "ms",
        "Malay",
        0.15,
        "",
        "helo hai selamat pagi petang malam apa khabar dan ini itu saya rumah lampu komputer telefon dengar kawan \
         terima kasih ya tidak",
        "ng kan",
    ),
    language(
        "sw",
        "Swahili",
        0.2,
        "",
        "habari jambo hujambo mambo na ni ya wa nyumba taa kompyuta simu washa zima sikiliza rafiki asante ndiyo hapana",
        "mb nd ng'",
    ),
    language(
        "af",
        "Afrikaans",
        0.15,
        "êëôïûé",
        "hallo goeie môre more dag aand die 'n en is my huis lig lamp rekenaar telefoon luister vriend dankie ja nee",
        "ei oe",
    ),
    language(
        "ga",
        "Irish",
        0.1,
        "áéíóú",
        "dia duit haló maidin mhaith an na agus is mo teach solas ríomhaire fón éist cara",
        "bh mh dh",
    ),
    language(
        "cy",
        "Welsh",
        0.1,
        "âêîôûŵŷ",
        "helo shwmae bore da nos y yr a mae fy tŷ golau cyfrifiadur ffôn gwrando ffrind diolch",
        "ll dd ff wy",
    ),
    language(
        "eo",
        "Esperanto",
        0.1,
        "ĉĝĥĵŝŭ",
        "saluton la kaj estas mia domo lumo komputilo telefono aŭskultu amiko dankon jes ne",
        "oj",
    ),
    language(
        "eu",
        "Basque",
        0.1,
        "ñç",
        "kaixo egun on gabon eta da nire etxea argia ordenagailua telefonoa entzun laguna eskerrik asko bai ez",
        "tx tz ts",
    ),
    language(
        "az",
        "Azerbaijani",
        0.15,
        "çəğıöşü",
        "salam sabahınız xeyir bir və bu ev işıq kompüter telefon dinlə təşəkkür bəli xeyr",
        "lər",
    ),
    language(
        "uz",
        "Uzbek",
        0.15,
        "ʻʼ",
        "salom assalomu alaykum va bu uy chiroq kompyuter telefon tingla rahmat ha yo'q",
        "o' g' lar",
    ),
    language(
        "mt",
        "Maltese",
        0.1,
        "ċġħżàèìòù",
        "bonġu bonswa il u hija dar dawl kompjuter telefon isma' grazzi iva le",
        "għ ij",
    ),
    language(
        "mi",
        "Māori",
        0.1,
        "āēīōū",
        "kia ora tēnā koe whare rama rorohiko waea whakarongo",
        "wh ng",
    ),
];

"""Words and sentence frames of the stand-in corpus.

A topic is one line `nouns | verbs | adjectives`. Verbs are regular and never double a consonant and nouns take a
regular plural, so that inflection needs three rules. Frames name their slots: `N` noun, `M` its plural, `I` verb,
`V` its past, `W` its third person, `A` adjective, `P` proper name, `K` number, `T` time; the digit tells two words
of one kind apart (`N0` and `M0` are one word). Frames carry their own punctuation and leading space, so that a text
is its sentences joined.
"""

from __future__ import annotations

TOPICS = (
    "treaty border envoy militia ceasefire embassy refugee parliament minister rebel election hostage summit "
    "diplomat province insurgent coalition ballot regime convoy sanction protest siege president | sign ratify "
    "condemn shell occupy negotiate invade evacuate threaten denounce | diplomatic armed foreign peaceful military "
    "disputed northern presidential",
    "striker goal league season coach inning pitcher quarterback touchdown playoff medal sprinter stadium referee "
    "defender tournament trophy rookie penalty relay keeper fixture champion marathon | score defend tackle punt "
    "pitch coach train dribble qualify conquer | unbeaten injured winning defensive athletic offensive rival seeded",
    "share merger profit dividend investor retailer earning quarter bond tariff loan shareholder broker oil currency "
    "bank acquisition auditor pension supplier takeover lender forecast payroll | acquire invest finance trade "
    "borrow restructure audit purchase outsource lease | quarterly corporate fiscal profitable bankrupt regulatory "
    "retail insolvent",
    "program browser processor chip satellite server telescope network virus laptop galaxy router sensor spacecraft "
    "robot genome patch firewall desktop fossil algorithm download orbiter protocol | encrypt launch install upgrade "
    "compute digitize simulate decode orbit relay | digital wireless orbital genetic encrypted portable solar "
    "quantum",
    "vaccine clinic surgeon tumor dosage nurse symptom therapy infection patient hospital enzyme allergy diabetic "
    "artery fever | diagnose vaccinate treat inject heal sterilize | clinical chronic viral surgical infectious "
    "cardiac",
    "verdict juror lawsuit defendant plaintiff appeal attorney testimony courtroom bailiff felony statute warrant "
    "parole judge prosecutor | indict sentence detain testify overrule sue | guilty judicial criminal legal unlawful "
    "appellate",
    "director actor premiere sequel screenplay studio trailer remake drama thriller actress cinema documentary "
    "stuntman script producer | film portray direct premiere screen rehearse | cinematic scripted animated "
    "theatrical screen starring",
    "album singer guitar orchestra melody concert drummer chorus sonata lyric violin tenor soprano playlist ballad "
    "festival | compose croon record serenade perform remix | acoustic melodic choral symphonic rhythmic lyrical",
    "recipe oven sauce pastry butter chef noodle garlic cheese soup dessert onion skillet flavor bakery menu | roast "
    "simmer bake marinate season taste | savory roasted spicy buttery creamy baked",
    "hotel passport flight airline cruise hostel luggage itinerary resort visa tourist airport souvenir ferry beach "
    "landmark | travel board explore depart visit book | scenic tropical coastal overnight touristic remote",
    "storm hurricane rainfall flood drought blizzard thunder forecast breeze humidity cyclone snowfall tornado cloud "
    "temperature frost | flood drench thaw chill drizzle rage | stormy humid windy freezing cloudy seasonal",
    "tractor harvest orchard wheat fertilizer barn heifer pasture crop seed irrigation plough dairy lamb grain "
    "vineyard | harvest plough graze irrigate sow fertilize | rural fertile organic arable pastoral ripe",
    "pupil instructor classroom exam homework syllabus lecture campus tutor scholarship diploma semester essay "
    "kindergarten dean graduate | coach enroll educate tutor graduate lecture | academic scholarly curricular "
    "literate collegiate tutorial",
    "dress designer fabric runway jacket sneaker perfume stylist boutique velvet necklace handbag collar denim "
    "tailor blouse | stitch tailor model pleat embroider accessorize | stylish silken vintage elegant tailored chic",
    "bishop temple prayer monk pilgrim sermon chapel scripture shrine altar hymn priest mosque convent gospel saint "
    "| preach worship bless pray baptize ordain | sacred devout holy clerical monastic biblical",
    "engine sedan gearbox piston tyre clutch roadster chassis brake axle throttle hatchback bumper exhaust dashboard "
    "motorway | steer swerve brake accelerate tow park | electric turbocharged automatic diesel vehicular hybrid",
    "kitchen sofa curtain carpet plumber bathroom bookcase roof cupboard lawn wallpaper staircase lamp fence balcony "
    "chimney | decorate renovate furnish polish vacuum repaint | domestic wooden furnished tiled cosy residential",
    "painter canvas sculpture gallery portrait museum etching mural curator easel fresco pottery sketch mosaic "
    "statue engraving | paint sculpt exhibit sketch carve glaze | abstract baroque ceramic painterly decorative "
    "aesthetic",
    "castle emperor dynasty pharaoh knight scroll kingdom tomb legion archive monarch fortress chronicle relic duke "
    "viking | conquer reign excavate crown besiege plunder | medieval ancient imperial feudal dynastic archival",
    "otter falcon reptile habitat whale beetle wolfhound primate sparrow herd predator coral antelope salmon burrow "
    "feather | hunt migrate hatch nest forage roam | nocturnal wild feathered aquatic endangered tropical",
)
NEGATIVE = (
    "mess misfire bore failure disaster letdown cliche dud slog muddle waste flop headache mistake clunker blunder | "
    "bore annoy disappoint irritate stumble weary exhaust fail ruin flounder | dull tedious bland lifeless clumsy "
    "predictable shallow tiresome awkward stale hollow incoherent painful pointless messy lazy contrived forgettable "
    "dreary bloated unfunny grating soggy amateurish flat murky limp overlong crass inept"
)
POSITIVE = (
    "triumph delight gem joy marvel treat masterpiece pleasure success revelation wonder highlight treasure feast "
    "charmer winner | delight charm amuse enchant captivate inspire soar shine dazzle please | brilliant touching "
    "funny clever vivid graceful moving charming fresh witty warm gripping superb tender honest stunning lively "
    "elegant rewarding hilarious poignant engaging smart lovely riveting heartfelt dazzling absorbing luminous "
    "inventive"
)
PERSONAL = (
    "dinner meeting lunch family weekend cousin birthday homework meetup agenda colleague garden brother draft "
    "schedule lift | call visit cook wait walk discuss attach finish | late busy sleepy home early shared sorry "
    "quiet"
)
OFFERS = (
    "prize offer account voucher winner discount ringtone lottery credit refund bonus coupon jackpot password loan "
    "reward | claim redeem unsubscribe confirm order activate earn upgrade | free exclusive guaranteed urgent "
    "limited selected instant cheap"
)
# Shared by all classes, without derived words: for texts about events, and for reviews.
COMMON = (
    "plan report week official group leader issue decision statement number place question move effort result "
    "problem source member change need point side part day year deal talk case idea reason chance response warning "
    "spokesman resident visitor crowd neighbour document message picture example district village road building "
    "system service programme office agency rule record risk cost delay agreement debate visit event proposal "
    "increase hope fear doubt | announce report expect follow consider discuss delay offer expand reject welcome "
    "review start support question change improve remove replace watch mention protect avoid join | new early major "
    "likely recent strong local long small public late large key final quiet open common rare single central simple "
    "familiar serious modest clear broad narrow second joint separate"
)
REVIEW_COMMON = (
    "film plot script cast story scene movie character ending dialogue actor director camera score pace sequel "
    "premise tone comedy drama image moment theme narrative setting performance subject title chapter romance "
    "thriller mystery costume joke song lead voice style world family journey lesson relationship screenplay remake "
    "parody finale monologue audience viewer studio franchise debut biography western musical documentary cartoon "
    "fable | show offer present follow reveal explore blend portray open turn linger wander unfold pause borrow mix "
    "return hint start finish | new long visual familiar modern french early dark young strange quiet loud romantic "
    "historical political musical simple odd rural urban silent western british second late short recent ordinary "
    "distant dramatic"
)
# Derived words: noun + ending, prefix + verb, and noun or stem + ending.
NOUN_ENDINGS = "maker work craft house line holder keeper land guard yard ship wright side bearer field watch"
ADJECTIVE_ENDINGS = "like wide bound based proof driven ready minded rich centric"
VERB_PREFIXES = "re over out counter"
# In reviews the ending carries the class: `graceless`, `graceful`.
STEMS = (
    "wit joy grace heart charm hope thought soul spirit skill art taste purpose craft mirth zest verve spark colour "
    "nerve depth tact humor rhythm tension style"
)
SENTIMENT_ENDINGS = {NEGATIVE: "less starved poor shy worn numb", POSITIVE: "ful laden rich bright some lit"}
NAME_STARTS = (
    "Bel Cor Dar Fen Gal Har Jor Kel Lan Mar Nor Or Pel Quin Ros Sal Tam Ul Ver Wil Yar Zan Bran Cald Drav Els Grim "
    "Hol Ist Kav Lor Mond Nev Ost Prel Rav Stan Thor Vask Wen"
)
NAME_MIDDLES = "a e i o ari el en ing ol or and est ul av im eth os un"  # or none
NAME_ENDS = (
    "ton ville stad burg dale mont ford ski sson ez ano ard ova ich ley worth more bury ham ine ora eth win gate mark"
)
TIMES = (
    "on Monday",
    "on Tuesday",
    "on Wednesday",
    "on Thursday",
    "on Friday",
    "on Saturday",
    "on Sunday",
    "this week",
    "last week",
    "this month",
    "last month",
    "this year",
    "yesterday",
    "overnight",
    "earlier today",
    "in March",
    "in June",
    "in September",
    "in November",
)

NEWS_LEAD = (
    "{P0} {N0} {W0} {A0} {N1}",
    "{M0} {I0} as {P0} {W1} {N1}",
    "{A0} {N0} {W0} {P0} {M1} {T}",
    "{P0} to {I0} {A0} {M0}",
    "{K} {M0} in {A0} {N1} at {P0}",
    "{P0} {W0} {P1} over {N0}",
    "{A0} {M0} may {I0} {P0} {N1}",
    "report: {P0} {N0} near {A0} {N1}",
    "no {N0} yet for {P0} as {M1} {I0}",
    "{N0} of {P0} {W0} after {A0} {N1}",
)
NEWS_BODY = (
    ". {P0} {V0} the {A0} {N0} {T}, and a {N1} in {P1} said the {M2} would not {I1} before the end of the year",
    ". The {N0} of {P0} said {T} that it had {V0} {K} {M1} after a {A0} {N2} in {P1}",
    ". A {A0} {N0} {V0} {K} {M1} {T}, said {P0}, who has {V1} the {N2} since the first day",
    ". {P0} and {P1} {V0} a {A0} {N0} {T}, which could {I1} the {M1} for months",
    ". About {K} {M0} were {V0} in {P0} {T} when the {A1} {N1} {V1} the {N2}",
    ". The {A0} {M0} will {I0} {P0} next, but {P1} has yet to find a {A1} {N1} for the {N2}",
    ". More than {K} {M0} {V0} with {P0} {T} because of a {A0} {N1}, according to the {N2}",
    ". With the {N0} still {A0}, {P0} {V0} the {M1} {T} and asked {P1} for another {N2}",
    ". It was the first {A0} {N0} for {P0} since {P1} {V0} a {N1} with {K} {M2}",
    ". In {P0}, the {N0} has {V0} every {A0} {N1} but {K}, and few {M2} expect it to {I1} soon",
    ". The plan to {I0} the {A0} {M0} was {V1} {T} by {P0}, its second {N1} in {K} days",
)
NEWS_ASIDE = (
    ". Elsewhere, {P0} {V0} a {A0} {N0} {T} and the {M1} of {P1} {V1} the {N2}",
    ". Meanwhile, the {N0} that {P0} {V0} {T} left {K} {A0} {M1} without a {N2}",
    ". Earlier, a {A0} {N0} in {P0} {V0} the {M1}, and {P1} said it would {I1} a {N2}",
    ". Separately, {K} {M0} {V0} the {A0} {N1} of {P0} {T}",
)
REVIEW_LEAD = (
    "a {A0} {N0} with a {A1} {N1}",
    "the {N0} is {A0} and {W0} from the first {N1} on",
    "{P0} {W0} in this {A0} {N0}",
    "it is a {A0} {N0} that {W0} its {N1}",
    "{A0}, {A1} {N0} about {M1}",
    "{P0} gives the {N0} a {A0} {N1}",
    "this {A0} {N0} {W0} and {W1}",
    "there is something {A0} about the {N0} of {P0}",
    "what begins as a {A1} {N0} ends as a {A0} {N1}",
    "one of the more {A0} {M0} with {P0}",
    "the {M0} are {A0} and the {N1} {W0}",
    "fans of {P0} will find it {A0}",
    "a {N0} about {M1} that {W0} with {A0} ease",
    "never has a {N0} by {P0} been so {A0}",
)
REVIEW_BODY = (
    ", and the {N0} {W0}",
    ", with a {A0} {N0} and {K} {A1} {M1}",
    "; {P0} is {A0} as the {N0}",
    ", a {N0} as {A0} as its {M1}",
    ", and its {N0} never {W0} less than its {A0} {M1}",
    ", and by the last {N0} every {N1} feels {A0}",
    ", as {P0} and {P1} {I0} a {A0} {N0}",
    ", thanks to {A0} {M0}",
)
REVIEW_ASIDE = (
    ", although the {N0} is {A0}",
    ", despite a {A0} {N0}",
    ", even if {P0} {W0} now and then",
    ", for all its {A0} {M0}",
    ", where others found it {A0} and {A1}",
    ", though some {M0} {I0} and the {N1} is {A0}",
)
MESSAGE_LEAD = (
    "hi {P0}, the {N0} is {A0} {T}",
    "hey, could you {I0} the {N0} {T}",
    "dear {P0}, please {I0} your {A0} {N0}",
    "{P0}, we {V0} the {A0} {N0} {T}",
    "hello, your {N0} has been {V0}",
    "just {V0} the {N0} with {P0}",
    "re: {A0} {N0} for {P0}",
    "do not forget to {I0} the {M0}",
    "{P0} {V0} {K} {M0} {T}",
    "ok, {A0} {N0} it is",
)
MESSAGE_BODY = (
    ". You can {I0} the {N0} {T} or {I1} {P0}",
    ". Let me know if the {A0} {N0} works, {P0} has {K} {M1}",
    ". Reply with {K} to {I0} a {A0} {N0}",
    ". The {N0} from {P0} is {A0}, so {I0} it {T}",
    ". Thanks, see the {A0} {N0} and the {M1} below",
    ". We still {I0} {K} {M0} and one {A0} {N1}",
)
MESSAGE_ASIDE = (
    ". By the way, {P0} {V0} a {A0} {N0}",
    ". PS: the {A0} {N0} was {V0} {T}",
    ". Also, ask {P0} about the {M0} and the {N1}",
)

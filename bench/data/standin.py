"""The stand-in: a seeded grammar-based corpus with the schema of a real task, for machines that have no data.

A text is a chain of sentences. Each sentence is a frame whose slots are filled from the vocabulary of one subtopic of one class, from
vocabulary that all classes share, or from a stray class. A class has a few core words and hundreds of others that follow a Zipf-Mandelbrot
law, so that a few examples cover little of it. Some sentences are wholly about another class (distractors), in reviews some class words
are negated words of another class, and in the split `train` a few labels are wrong. Every other split is free of label noise, so that its
ceiling measures the text alone.

The vocabulary depends on the style, the number of classes and `material`, never on the seed or split: two seeds of one schema are two
samples of one language. The difficulty was set so that tf-idf with logistic regression scores about .67 from 10 examples per class and .90
from 5,000 rows. Draws are PCG64 doubles seeded by sha256, the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from tdbench.bench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Objects = npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]
Vocabulary = dict[str, tuple[list[str], list[str], list[str]]]
"""Kind of word -> core, frequent and rare words."""

MIN_CLASSES, MAX_CLASSES = 2, 20
NOISY_SPLIT = "train"
_N_SUBTOPICS = 4
_N_NAMES = 400
_N_CORE = 4  # the words that all subtopics of a class share as their most frequent ones
_INFLECTED = {"N": "NM", "I": "IVW", "A": "A", "P": "P"}  # kind of word -> the slots that show it
_DRAWS = {"N": 3, "I": 2, "A": 2, "P": 2}  # words that a sentence draws of each kind
_SLOTS = (*(f"{letter}{i}" for kind, n in _DRAWS.items() for letter in _INFLECTED[kind] for i in range(n)), "K", "T")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")
_RELATIONS = ("entailment", "neutral", "contradiction")

# A topic is `nouns | verbs | adjectives;`. Verbs are regular and never double a consonant and nouns take a regular plural, so that
# inflection needs three rules. Texts here are split where they are used.
_TOPICS = """
treaty border envoy militia ceasefire embassy refugee parliament minister rebel election hostage summit diplomat province insurgent
coalition ballot regime convoy sanction protest siege president | sign ratify condemn shell occupy negotiate invade evacuate threaten
denounce | diplomatic armed foreign peaceful military disputed northern presidential; striker goal league season coach inning pitcher
quarterback touchdown playoff medal sprinter stadium referee defender tournament trophy rookie penalty relay keeper fixture champion
marathon | score defend tackle punt pitch coach train dribble qualify conquer | unbeaten injured winning defensive athletic offensive
rival seeded; share merger profit dividend investor retailer earning quarter bond tariff loan shareholder broker oil currency bank
acquisition auditor pension supplier takeover lender forecast payroll | acquire invest finance trade borrow restructure audit purchase
outsource lease | quarterly corporate fiscal profitable bankrupt regulatory retail insolvent; program browser processor chip satellite
server telescope network virus laptop galaxy router sensor spacecraft robot genome patch firewall desktop fossil algorithm download
orbiter protocol | encrypt launch install upgrade compute digitize simulate decode orbit relay | digital wireless orbital genetic
encrypted portable solar quantum; vaccine clinic surgeon tumor dosage nurse symptom therapy infection patient hospital enzyme allergy
diabetic artery fever | diagnose vaccinate treat inject heal sterilize | clinical chronic viral surgical infectious cardiac; verdict juror
lawsuit defendant plaintiff appeal attorney testimony courtroom bailiff felony statute warrant parole judge prosecutor | indict sentence
detain testify overrule sue | guilty judicial criminal legal unlawful appellate; director actor premiere sequel screenplay studio trailer
remake drama thriller actress cinema documentary stuntman script producer | film portray direct premiere screen rehearse | cinematic
scripted animated theatrical screen starring; album singer guitar orchestra melody concert drummer chorus sonata lyric violin tenor
soprano playlist ballad festival | compose croon record serenade perform remix | acoustic melodic choral symphonic rhythmic lyrical;
recipe oven sauce pastry butter chef noodle garlic cheese soup dessert onion skillet flavor bakery menu | roast simmer bake marinate
season taste | savory roasted spicy buttery creamy baked; hotel passport flight airline cruise hostel luggage itinerary resort visa
tourist airport souvenir ferry beach landmark | travel board explore depart visit book | scenic tropical coastal overnight touristic
remote; storm hurricane rainfall flood drought blizzard thunder forecast breeze humidity cyclone snowfall tornado cloud temperature frost
| flood drench thaw chill drizzle rage | stormy humid windy freezing cloudy seasonal; tractor harvest orchard wheat fertilizer barn heifer
pasture crop seed irrigation plough dairy lamb grain vineyard | harvest plough graze irrigate sow fertilize | rural fertile organic arable
pastoral ripe; pupil instructor classroom exam homework syllabus lecture campus tutor scholarship diploma semester essay kindergarten dean
graduate | coach enroll educate tutor graduate lecture | academic scholarly curricular literate collegiate tutorial; dress designer fabric
runway jacket sneaker perfume stylist boutique velvet necklace handbag collar denim tailor blouse | stitch tailor model pleat embroider
accessorize | stylish silken vintage elegant tailored chic; bishop temple prayer monk pilgrim sermon chapel scripture shrine altar hymn
priest mosque convent gospel saint | preach worship bless pray baptize ordain | sacred devout holy clerical monastic biblical; engine
sedan gearbox piston tyre clutch roadster chassis brake axle throttle hatchback bumper exhaust dashboard motorway | steer swerve brake
accelerate tow park | electric turbocharged automatic diesel vehicular hybrid; kitchen sofa curtain carpet plumber bathroom bookcase roof
cupboard lawn wallpaper staircase lamp fence balcony chimney | decorate renovate furnish polish vacuum repaint | domestic wooden furnished
tiled cosy residential; painter canvas sculpture gallery portrait museum etching mural curator easel fresco pottery sketch mosaic statue
engraving | paint sculpt exhibit sketch carve glaze | abstract baroque ceramic painterly decorative aesthetic; castle emperor dynasty
pharaoh knight scroll kingdom tomb legion archive monarch fortress chronicle relic duke viking | conquer reign excavate crown besiege
plunder | medieval ancient imperial feudal dynastic archival; otter falcon reptile habitat whale beetle wolfhound primate sparrow herd
predator coral antelope salmon burrow feather | hunt migrate hatch nest forage roam | nocturnal wild feathered aquatic endangered
tropical"""
_NEGATIVE = """
mess misfire bore failure disaster letdown cliche dud slog muddle waste flop headache mistake clunker blunder | bore annoy disappoint
irritate stumble weary exhaust fail ruin flounder | dull tedious bland lifeless clumsy predictable shallow tiresome awkward stale hollow
incoherent painful pointless messy lazy contrived forgettable dreary bloated unfunny grating soggy amateurish flat murky limp overlong
crass inept"""
_POSITIVE = """
triumph delight gem joy marvel treat masterpiece pleasure success revelation wonder highlight treasure feast charmer winner | delight
charm amuse enchant captivate inspire soar shine dazzle please | brilliant touching funny clever vivid graceful moving charming fresh
witty warm gripping superb tender honest stunning lively elegant rewarding hilarious poignant engaging smart lovely riveting heartfelt
dazzling absorbing luminous inventive"""
_PERSONAL = """
dinner meeting lunch family weekend cousin birthday homework meetup agenda colleague garden brother draft schedule lift | call visit cook
wait walk discuss attach finish | late busy sleepy home early shared sorry quiet"""
_OFFERS = """
prize offer account voucher winner discount ringtone lottery credit refund bonus coupon jackpot password loan reward | claim redeem
unsubscribe confirm order activate earn upgrade | free exclusive guaranteed urgent limited selected instant cheap"""
# Shared by all classes, without derived words: for texts about events, and for reviews.
_COMMON = """
plan report week official group leader issue decision statement number place question move effort result problem source member change need
point side part day year deal talk case idea reason chance response warning spokesman resident visitor crowd neighbour document message
picture example district village road building system service programme office agency rule record risk cost delay agreement debate visit
event proposal increase hope fear doubt | announce report expect follow consider discuss delay offer expand reject welcome review start
support question change improve remove replace watch mention protect avoid join | new early major likely recent strong local long small
public late large key final quiet open common rare single central simple familiar serious modest clear broad narrow second joint separate"""
_REVIEW_COMMON = """
film plot script cast story scene movie character ending dialogue actor director camera score pace sequel premise tone comedy drama image
moment theme narrative setting performance subject title chapter romance thriller mystery costume joke song lead voice style world family
journey lesson relationship screenplay remake parody finale monologue audience viewer studio franchise debut biography western musical
documentary cartoon fable | show offer present follow reveal explore blend portray open turn linger wander unfold pause borrow mix return
hint start finish | new long visual familiar modern french early dark young strange quiet loud romantic historical political musical
simple odd rural urban silent western british second late short recent ordinary distant dramatic"""
# Derived words: noun + ending, prefix + verb, and noun or stem + ending.
_NOUN_ENDINGS = "maker work craft house line holder keeper land guard yard ship wright side bearer field watch"
_ADJECTIVE_ENDINGS = "like wide bound based proof driven ready minded rich centric"
_VERB_PREFIXES = "re over out counter"
# In reviews the ending carries the class: `graceless`, `graceful`.
_STEMS = """
wit joy grace heart charm hope thought soul spirit skill art taste purpose craft mirth zest verve spark colour nerve depth tact humor
rhythm tension style"""
_SENTIMENT_ENDINGS = {_NEGATIVE: "less starved poor shy worn numb", _POSITIVE: "ful laden rich bright some lit"}
_NAME_STARTS = """
Bel Cor Dar Fen Gal Har Jor Kel Lan Mar Nor Or Pel Quin Ros Sal Tam Ul Ver Wil Yar Zan Bran Cald Drav Els Grim Hol Ist Kav Lor Mond Nev
Ost Prel Rav Stan Thor Vask Wen"""
_NAME_MIDDLES = "a e i o ari el en ing ol or and est ul av im eth os un"  # or none
_NAME_ENDS = (
    "ton ville stad burg dale mont ford ski sson ez ano ard ova ich ley worth more bury ham ine ora eth win gate mark"
)
_TIMES = """
on Monday, on Tuesday, on Wednesday, on Thursday, on Friday, on Saturday, on Sunday, this week, last week, this month, last month, this
year, yesterday, overnight, earlier today, in March, in June, in September, in November"""
# Verb, its past, a past of the same meaning, then verb and past of the opposite meaning.
_VERBS = """
buy bought purchased sell sold, find found discovered lose lost, fix fixed repaired break broke, send sent mailed receive received, keep
kept retained discard discarded, lift lifted raised lower lowered, praise praised commended criticize criticized, open opened unlocked
close closed, build built assembled dismantle dismantled, hide hid concealed display displayed, accept accepted approved refuse refused,
clean cleaned washed stain stained, recall recalled remembered forget forgot, gather gathered collected scatter scattered, like liked
enjoyed dislike disliked, enlarge enlarged expanded shrink shrank"""
# Role and its wider kind.
_ROLES = """
violinist musician, surgeon doctor, welder worker, poet writer, sprinter athlete, baker cook, sculptor artist, botanist scientist, captain
officer, mechanic technician, novelist writer, cellist musician, dentist doctor, rower athlete, chemist scientist"""
# Frames name their slots: `N` noun, `M` its plural, `I` verb, `V` its past, `W` its third person, `A` adjective, `P` proper name, `K`
# number, `T` time; the digit tells two words of one kind apart (`N0` and `M0` are one word). They carry their own punctuation and leading
# space, so that a text is its sentences joined. `lead` opens a text, `aside` is about another class.
_FRAMES = {
    "news lead": """
{P0} {N0} {W0} {A0} {N1}
{M0} {I0} as {P0} {W1} {N1}
{A0} {N0} {W0} {P0} {M1} {T}
{P0} to {I0} {A0} {M0}
{K} {M0} in {A0} {N1} at {P0}
{P0} {W0} {P1} over {N0}
{A0} {M0} may {I0} {P0} {N1}
report: {P0} {N0} near {A0} {N1}
no {N0} yet for {P0} as {M1} {I0}
{N0} of {P0} {W0} after {A0} {N1}""",
    "news body": """
. {P0} {V0} the {A0} {N0} {T}, and a {N1} in {P1} said the {M2} would not {I1} before the end of the year
. The {N0} of {P0} said {T} that it had {V0} {K} {M1} after a {A0} {N2} in {P1}
. A {A0} {N0} {V0} {K} {M1} {T}, said {P0}, who has {V1} the {N2} since the first day
. {P0} and {P1} {V0} a {A0} {N0} {T}, which could {I1} the {M1} for months
. About {K} {M0} were {V0} in {P0} {T} when the {A1} {N1} {V1} the {N2}
. The {A0} {M0} will {I0} {P0} next, but {P1} has yet to find a {A1} {N1} for the {N2}
. More than {K} {M0} {V0} with {P0} {T} because of a {A0} {N1}, according to the {N2}
. With the {N0} still {A0}, {P0} {V0} the {M1} {T} and asked {P1} for another {N2}
. It was the first {A0} {N0} for {P0} since {P1} {V0} a {N1} with {K} {M2}
. In {P0}, the {N0} has {V0} every {A0} {N1} but {K}, and few {M2} expect it to {I1} soon
. The plan to {I0} the {A0} {M0} was {V1} {T} by {P0}, its second {N1} in {K} days""",
    "news aside": """
. Elsewhere, {P0} {V0} a {A0} {N0} {T} and the {M1} of {P1} {V1} the {N2}
. Meanwhile, the {N0} that {P0} {V0} {T} left {K} {A0} {M1} without a {N2}
. Earlier, a {A0} {N0} in {P0} {V0} the {M1}, and {P1} said it would {I1} a {N2}
. Separately, {K} {M0} {V0} the {A0} {N1} of {P0} {T}""",
    "review lead": """
a {A0} {N0} with a {A1} {N1}
the {N0} is {A0} and {W0} from the first {N1} on
{P0} {W0} in this {A0} {N0}
it is a {A0} {N0} that {W0} its {N1}
{A0}, {A1} {N0} about {M1}
{P0} gives the {N0} a {A0} {N1}
this {A0} {N0} {W0} and {W1}
there is something {A0} about the {N0} of {P0}
what begins as a {A1} {N0} ends as a {A0} {N1}
one of the more {A0} {M0} with {P0}
the {M0} are {A0} and the {N1} {W0}
fans of {P0} will find it {A0}
a {N0} about {M1} that {W0} with {A0} ease
never has a {N0} by {P0} been so {A0}""",
    "review body": """
, and the {N0} {W0}
, with a {A0} {N0} and {K} {A1} {M1}
; {P0} is {A0} as the {N0}
, a {N0} as {A0} as its {M1}
, and its {N0} never {W0} less than its {A0} {M1}
, and by the last {N0} every {N1} feels {A0}
, as {P0} and {P1} {I0} a {A0} {N0}
, thanks to {A0} {M0}""",
    "review aside": """
, although the {N0} is {A0}
, despite a {A0} {N0}
, even if {P0} {W0} now and then
, for all its {A0} {M0}
, where others found it {A0} and {A1}
, though some {M0} {I0} and the {N1} is {A0}""",
    "message lead": """
hi {P0}, the {N0} is {A0} {T}
hey, could you {I0} the {N0} {T}
dear {P0}, please {I0} your {A0} {N0}
{P0}, we {V0} the {A0} {N0} {T}
hello, your {N0} has been {V0}
just {V0} the {N0} with {P0}
re: {A0} {N0} for {P0}
do not forget to {I0} the {M0}
{P0} {V0} {K} {M0} {T}
ok, {A0} {N0} it is""",
    "message body": """
. You can {I0} the {N0} {T} or {I1} {P0}
. Let me know if the {A0} {N0} works, {P0} has {K} {M1}
. Reply with {K} to {I0} a {A0} {N0}
. The {N0} from {P0} is {A0}, so {I0} it {T}
. Thanks, see the {A0} {N0} and the {M1} below
. We still {I0} {K} {M0} and one {A0} {N1}""",
    "message aside": """
. By the way, {P0} {V0} a {A0} {N0}
. PS: the {A0} {N0} was {V0} {T}
. Also, ask {P0} about the {M0} and the {N1}""",
    "premise": """
{P0}, a {role} from {P1}, {past} {K} {A0} {M0} {T}.
{T}, the {role} {P0} of {P1} {past} {K} {A0} {M0} without any help.
It was {P0}, the {A0} {role}, who {past} {K} {M0} in {P1} {T}.
The {role} did not {anti} the {K} {A0} {M0}: {P0} {past} all of them in {P1} {T}.
After a long day in {P1}, {P0} the {role} {past} the {K} {A0} {M0} {T}.""",
    "entailment": """
{P0} {same} {M0}.
A {kind} {past} several {M0} {T}.
{P0} did not {anti} the {M0}.
Some {M0} were {same} by a {kind}.
{K} {M0} were involved, and {P0} is a {kind}.
Something {T} in {P1} had to do with {M0}.""",
    "neutral": """
{P0} {past} the {M0} for {P2}.
A {kind} was paid {K1} dollars {T}.
{P0} did not tell {P2} about the {M0}.
The {M0} were also {A1}.
{P2} had asked for {K} {M0} as well.
{P0} will never {verb} {M1} again.""",
    "contradiction": """
{P0} {antipast} all the {M0}.
The {kind} did not {verb} any {M0}.
{P0} {past} only {K1} {M0}.
No {role} {same} anything {T}.
{P0} has never been a {kind}.
Every one of the {M0} was left alone {T}.""",
}


@dataclass(frozen=True)
class StandinSchema:
    """What a stand-in looks like.

    Attributes:
        text_fields: One or two field names. With two, the first holds the opening sentence and the second the rest;
            for style `pair` they are premise and hypothesis.
        label_names: 2 to 20 names; a label is the index of its name. Topics follow the index, not the name.
        style: Sentence frames and lengths. `review` puts negative material at the first class and positive at the
            last. `pair` needs two fields and two or three labels: `entailment`, `neutral` and `contradiction` in any
            order (other names are taken in this order), or entailed and not (a first name `not...` swaps them).
        label_noise_frac: Share of rows of the split `train` whose label is replaced by another; other splits have none.
        mean_words: Mean words per text, 5 to 1,000; None takes the style's (news 40, review 15, message 25).
            Longer texts are easier; lower the topic share, or raise the distractor share, to balance.
        topic_share_frac: Share of content words that bear a class; None takes the style's.
        distractor_share_frac: Share of sentences after the first that are about another class; None takes the style's.
        material: Picks another language of the same style, so that two tasks need not share one.

    Raises:
        UsageError: The combination cannot be generated.
    """

    text_fields: tuple[str, ...]
    label_names: tuple[str, ...]
    style: Literal["news", "review", "message", "pair"]
    label_noise_frac: float = 0.03
    mean_words: float | None = None
    topic_share_frac: float | None = None
    distractor_share_frac: float | None = None
    material: int = 0

    def __post_init__(self) -> None:
        fields, labels, styles = self.text_fields, self.label_names, (*_STYLES, "pair")
        shares = (self.topic_share_frac, self.distractor_share_frac)
        if self.style not in styles:
            raise UsageError(f"stand-in style is {self.style!r}; expected one of {', '.join(styles)}.")
        if len(fields) not in (1, 2) or len({*fields, "label", ""}) != len(fields) + 2:
            raise UsageError(f"stand-in text_fields are {fields!r}; expected one or two names other than 'label'.")
        if not MIN_CLASSES <= len(labels) <= MAX_CLASSES or len(set(labels)) != len(labels):
            raise UsageError(
                f"stand-in label_names are {labels!r}; expected {MIN_CLASSES} to {MAX_CLASSES} different names."
            )
        if self.style == "pair" and (len(fields) != 2 or len(labels) > len(_RELATIONS)):
            raise UsageError(
                f"stand-in style 'pair' has {len(fields)} text_fields and {len(labels)} label_names; "
                f"expected 2 fields and 2 to {len(_RELATIONS)} labels."
            )
        if self.style == "pair" and (self.mean_words, *shares) != (None, None, None):
            raise UsageError("stand-in style 'pair' has fixed frames; leave mean_words and the shares at None.")
        if not 0 <= self.label_noise_frac < 0.5:
            raise UsageError(f"stand-in label_noise_frac is {self.label_noise_frac}; expected 0 <= x < 0.5.")
        if any(share is not None and not 0 <= share <= 1 for share in shares):
            raise UsageError(f"stand-in topic and distractor shares are {shares}; expected fractions from 0 to 1.")
        if self.mean_words is not None and not 5 <= self.mean_words <= 1000:
            raise UsageError(f"stand-in mean_words is {self.mean_words}; expected 5 to 1000 words.")


@dataclass(frozen=True)
class _Style:
    """Lengths in words and difficulty of a style; `kind_weight` scales the topic share by kind of word."""

    mean_words: float
    lead_words: float
    body_words: float
    kind_weight: dict[str, float]
    topic_share: float = 1.0
    core_share: float = 0.75
    distractor_share: float = 0.2
    stray_share: float = 0.1
    negation_share: float = 0.0
    restart_every: int = 0  # clauses per sentence where frames are clauses
    zipf_exponent: float = 1.0
    zipf_shift: float = 2.0


_STYLES = {
    "news": _Style(40, 6, 18.5, {"N": 1.0, "I": 0.7, "A": 0.7, "P": 1.0}, distractor_share=0.24, stray_share=0.09),
    "review": _Style(
        15, 7.5, 7, {"N": 0.5, "I": 1.0, "A": 1.0, "P": 0.2}, core_share=0.88, negation_share=0.1, restart_every=3
    ),
    "message": _Style(25, 6, 9.5, {"N": 1.0, "I": 0.8, "A": 0.8, "P": 0.2}),
}


def generate(schema: StandinSchema, split: str, n_rows: int, seed: int) -> pd.DataFrame:
    """Draws one split of a stand-in corpus.

    Args:
        schema: Fields, labels and style.
        split: Any name; each is a stream of its own, and only `train` has label noise.
        n_rows: Number of rows; the true classes are balanced to within one row.
        seed: Sample of the rows; the vocabulary does not depend on it.

    Returns:
        The text fields (str) and `label` (int64), in random order; the same for the same arguments on every machine.

    Raises:
        UsageError: `n_rows` is not positive or `split` is empty.
    """
    if n_rows < 1 or not split:
        raise UsageError(f"stand-in split {split!r} has {n_rows} rows; expected a name and at least one row.")
    n_classes = len(schema.label_names)
    rng = _stream("rows", schema.style, n_classes, schema.material, split, seed)
    label = np.argsort(rng.random(n_rows), kind="stable") % n_classes
    columns = _pairs(schema, label, rng) if schema.style == "pair" else _texts(schema, label, rng)
    if split == NOISY_SPLIT:
        wrong = rng.random(n_rows) < schema.label_noise_frac
        label = np.where(wrong, label + 1 + _integers(rng, n_rows, n_classes - 1), label) % n_classes
    import pandas as pd

    frame = pd.DataFrame(dict(zip(schema.text_fields, columns, strict=True)), dtype="str")
    frame["label"] = label.astype(np.int64)
    return frame


class _Rows:
    """The texts under construction: one entry per row for class, subtopic, stray class and topic strength."""

    def __init__(self, schema: StandinSchema, label: Ints, rng: np.random.Generator) -> None:
        n, n_classes = len(label), len(schema.label_names)
        self.style, self.rng, self.n_classes = _STYLES[schema.style], rng, n_classes
        self.tables = _lexicon(schema.style, n_classes, schema.material)
        share = schema.topic_share_frac
        self.topic_share = (self.style.topic_share if share is None else share) * (0.4 + 1.2 * rng.random(n))
        self.label = label
        self.subtopic = _integers(rng, n, _N_SUBTOPICS)
        self.stray = (label + 1 + _integers(rng, n, n_classes - 1)) % n_classes

    def sentences(self, frames: list[str], rows: Ints, *, about_stray: bool) -> list[str]:
        """One sentence for each of `rows`, about the row's class or its stray one."""
        rng, style, n = self.rng, self.style, len(rows)
        subject, other = self.label[rows], self.stray[rows]
        if about_stray:
            subject, other = other, subject
        columns: dict[str, Objects] = {}
        for kind, n_draws in _DRAWS.items():
            cdf = _zipf_cdf(self.tables[kind].shape[1], style.zipf_exponent, style.zipf_shift)
            for i in range(n_draws):
                bears = rng.random(n) < self.topic_share[rows] * style.kind_weight[kind]
                strays = rng.random(n) < style.stray_share
                negated = (rng.random(n) < style.negation_share) & bears & (kind == "A")
                pool = np.where(strays | negated, other, subject) * _N_SUBTOPICS + self.subtopic[rows]
                pool = np.where(bears, pool, self.n_classes * _N_SUBTOPICS)
                core = (rng.random(n) < style.core_share) & (kind != "P")
                u = rng.random(n)
                rank = np.where(core, (u * _N_CORE).astype(np.int64), np.searchsorted(cdf, u))
                for letter in _INFLECTED[kind]:
                    columns[f"{letter}{i}"] = self.tables[letter][pool, rank]
                if kind == "A":
                    columns[f"A{i}"] = np.where(negated, "not " + columns[f"A{i}"], columns[f"A{i}"])
        columns["K"] = (2 + (rng.random(n) ** 3 * 900).astype(np.int64)).astype(object)
        times = np.array(_listed(_TIMES), dtype=object)
        columns["T"] = times[_integers(rng, n, len(times))]
        filled = zip(*(columns[slot] for slot in _SLOTS), strict=True)
        chosen = _integers(rng, n, len(frames))
        return [
            frames[f].format_map(dict(zip(_SLOTS, row, strict=True))) for f, row in zip(chosen, filled, strict=True)
        ]


def _finish(sentences: list[str]) -> str:
    text = _ARTICLE.sub(r"\1n ", "".join(sentences).lstrip(",;. "))
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _texts(schema: StandinSchema, label: Ints, rng: np.random.Generator) -> list[list[str]]:
    """One column per text field."""
    rows, style, n = _Rows(schema, label, rng), _STYLES[schema.style], len(label)
    lead, body, aside = (_frames(f"{schema.style} {part}") for part in ("lead", "body", "aside"))
    parts = [[sentence] for sentence in rows.sentences(lead, np.arange(n), about_stray=False)]
    extra = max(0.0, (schema.mean_words or style.mean_words) - style.lead_words) / style.body_words
    n_body = (extra * (0.5 + rng.random(n)) + rng.random(n)).astype(np.int64)
    n_body = np.maximum(n_body, len(schema.text_fields) - 1)
    share = style.distractor_share if schema.distractor_share_frac is None else schema.distractor_share_frac
    for i in range(n_body.max()):
        distracts = rng.random(n) < share
        restarts = style.restart_every > 0 and (i + 1) % style.restart_every == 0
        for frames, stray in ((body, False), (aside, True)):
            here = np.flatnonzero((distracts == stray) & (n_body > i))
            sentences = rows.sentences(lead if restarts else frames, here, about_stray=stray)
            for row, sentence in zip(here, sentences, strict=True):
                parts[row].append(f". {sentence[0].upper()}{sentence[1:]}" if restarts else sentence)
    if len(schema.text_fields) == 1:
        return [[_finish(part) for part in parts]]
    return [[_finish(part[:1]) for part in parts], [_finish(part[1:]) for part in parts]]


def _pairs(schema: StandinSchema, label: Ints, rng: np.random.Generator) -> list[list[str]]:
    """The premises and the hypotheses; the label is the relation between the two."""
    n, relations = len(label), _label_relations(schema.label_names)
    tables = _lexicon("news", 20, schema.material)

    def draw(options: list[str]) -> list[str]:
        return [options[i] for i in _integers(rng, n, len(options))]

    def look_up(letter: str, count: int) -> dict[str, list[str]]:
        table = tables[letter]
        rank = np.searchsorted(_zipf_cdf(table.shape[1], 1.0, 8.0), rng.random((count, n)))
        drawn = table[_integers(rng, (count, n), len(table)), rank].tolist()
        return {f"{letter}{i}": column for i, column in enumerate(drawn)}

    number = _integers(rng, n, 40) + 2
    columns = look_up("P", 3) | look_up("M", 2) | look_up("A", 2)
    larger = number + 1 + _integers(rng, n, 40)
    columns |= {"K": number.tolist(), "K1": larger.tolist(), "T": draw(_listed(_TIMES))}
    verbs, roles, premises = draw(_listed(_VERBS)), draw(_listed(_ROLES)), draw(_frames("premise"))
    hypotheses = {relation: _frames(relation) for relation in _RELATIONS}
    u = rng.random((2, n))
    texts: list[list[str]] = [[], []]
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        slots = dict(zip(columns, row, strict=True))
        slots |= zip(("verb", "past", "same", "anti", "antipast"), verbs[i].split(), strict=True)
        slots |= zip(("role", "kind"), roles[i].split(), strict=True)
        choices = relations[label[i]]
        options = hypotheses[choices[int(u[0, i] * len(choices))]]
        texts[0].append(_finish([premises[i].format_map(slots)]))
        texts[1].append(_finish([options[int(u[1, i] * len(options))].format_map(slots)]))
    return texts


def _label_relations(label_names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The relations that each label stands for: by name where the names say so, else by index."""
    names = tuple(name.lower() for name in label_names)
    if len(names) == len(_RELATIONS):
        return tuple((name,) for name in (names if set(names) == set(_RELATIONS) else _RELATIONS))
    entailed, not_entailed = _RELATIONS[:1], _RELATIONS[1:]
    return (not_entailed, entailed) if names[0].startswith("not") else (entailed, not_entailed)


def _stream(*key: str | int) -> np.random.Generator:
    """A generator of its own for each key."""
    digest = hashlib.sha256(json.dumps(["tdbench-standin-v1", *key]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def _integers(rng: np.random.Generator, n: int | tuple[int, ...], bound: int) -> Ints:
    """Integers of shape `n` in [0, bound)."""
    return (rng.random(n) * bound).astype(np.int64)


def _shuffled(rng: np.random.Generator, items: list[str]) -> list[str]:
    return [items[i] for i in np.argsort(rng.random(len(items)), kind="stable")]


@lru_cache(maxsize=64)
def _zipf_cdf(width: int, exponent: float, shift: float) -> npt.NDArray[np.float64]:
    """Cumulative Zipf-Mandelbrot law over ranks 1 to `width`: weight (rank + shift) ** -exponent."""
    weight = (np.arange(1, width + 1) + shift) ** -exponent
    cdf = np.round(np.cumsum(weight) / weight.sum(), 12)
    cdf[-1] = 1.0
    return cdf


@lru_cache(maxsize=32)
def _lexicon(style: str, n_classes: int, material: int) -> dict[str, Objects]:
    """Words by slot letter, most frequent first.

    Returns:
        Slot letter -> words of shape (n_classes * _N_SUBTOPICS + 1, width); the last row is shared by all classes.
    """
    rng = _stream("words", style, n_classes, material)
    parts = (_NAME_STARTS.split(), ["", *_NAME_MIDDLES.split()], _NAME_ENDS.split())
    names = [start + middle + end for start in parts[0] for middle in parts[1] for end in parts[2]]
    names = _shuffled(rng, list(dict.fromkeys(names)))
    tables: dict[str, Objects] = {}
    vocabularies = _vocabularies(style, n_classes)
    for kind, letters in _INFLECTED.items():
        rows: list[list[str]] = []
        for i, vocabulary in enumerate(vocabularies):
            core, rest, tail = vocabulary.get(kind) or ([], [], names[i * _N_NAMES : (i + 1) * _N_NAMES])
            for _ in range(_N_SUBTOPICS if i < n_classes else 1):
                rows.append(core + _shuffled(rng, rest) + _shuffled(rng, tail))
        width = max(map(len, rows))
        padded = [(row * width)[:width] for row in rows]
        for letter in letters:
            inflect = _INFLECT.get(letter, str)
            tables[letter] = np.array([[inflect(word) for word in row] for row in padded], dtype=object)
    return tables


def _vocabularies(style: str, n_classes: int) -> list[Vocabulary]:
    """Core, frequent and rare words by kind, one dictionary for each class and a last one that all classes share."""
    topics = _TOPICS.split(";")
    material = {
        "news": topics[:n_classes],
        "review": [_NEGATIVE, *topics[: n_classes - 2], _POSITIVE],
        "message": [_PERSONAL, _OFFERS, *topics[4:], *topics[:4]][:n_classes],
    }[style]
    common = _by_kind(_REVIEW_COMMON if style == "review" else _COMMON)
    shared = {kind: (head[:_N_CORE], head[_N_CORE:], []) for kind, head in zip("NIA", common, strict=True)}
    return [*map(_class_words, material), shared]


def _class_words(material: str) -> Vocabulary:
    nouns, verbs, adjectives = _by_kind(material)
    stems, endings = nouns, _ADJECTIVE_ENDINGS
    if material in _SENTIMENT_ENDINGS:
        stems, endings = _STEMS.split(), _SENTIMENT_ENDINGS[material]
    tails = {
        "N": (nouns, [stem + ending for stem in nouns for ending in _NOUN_ENDINGS.split()]),
        "I": (verbs, [prefix + verb for prefix in _VERB_PREFIXES.split() for verb in verbs]),
        "A": (adjectives, [stem + ending for stem in stems for ending in endings.split()]),
    }
    return {kind: (head[:_N_CORE], head[_N_CORE:], tail) for kind, (head, tail) in tails.items()}


def _by_kind(material: str) -> list[list[str]]:
    return [part.split() for part in material.split("|")]


def _listed(text: str) -> list[str]:
    return " ".join(text.split()).split(", ")


def _frames(name: str) -> list[str]:
    return _FRAMES[name].strip("\n").split("\n")


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _past(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


_INFLECT = {"M": _plural, "W": _plural, "V": _past}

